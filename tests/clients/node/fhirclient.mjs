// The SMART JavaScript client (npm fhirclient) as a server-side app: prints the address to sign in at, reads the
// address that the user was sent back to, then reads the patient, refreshes, reads again. Speaks JSON lines.
import FHIR from "fhirclient";
import { createInterface } from "node:readline";

const { issuer, clientId, clientSecret, redirectUri, scope } = JSON.parse(process.argv[2]);
const session = {};
const request = (url) => ({ session, url, headers: { host: new URL(redirectUri).host }, socket: { encrypted: true } });
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => console.log(JSON.stringify(value));

let location;
const response = { writeHead: (status, headers) => (location = headers.location), end: () => {} };
await FHIR(request("/launch"), response).authorize({ iss: issuer, clientId, clientSecret, redirectUri, scope, pkceMode: "required" });
say({ open: location });

const back = new URL((await lines.next()).value);
const client = await FHIR(request(back.pathname + back.search), response).ready();
const first = await client.patient.read();
const before = client.getState("tokenResponse.access_token");
await client.refresh();
const again = await client.request(`Patient/${client.patient.id}`);
say({
  patient: first.id,
  again: again.id,
  user: client.user.fhirUser,
  rotated: before !== client.getState("tokenResponse.access_token"),
});
process.exit(0);
