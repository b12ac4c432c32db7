// A certified OpenID Connect client (npm openid-client): discovery, code with PKCE, id_token checks, userinfo, refresh,
// introspection, revocation; then client_credentials with private_key_jwt. Speaks JSON lines.
import * as oidc from "openid-client";
import { createInterface } from "node:readline";

const { issuer, clientId, clientSecret, redirectUri, scope, service } = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => console.log(JSON.stringify(value));
const options = { execute: [oidc.allowInsecureRequests] };

const config = await oidc.discovery(new URL(issuer), clientId, clientSecret, undefined, options);
const verifier = oidc.randomPKCECodeVerifier();
const state = oidc.randomState();
const nonce = oidc.randomNonce();
const url = oidc.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri, scope, state, nonce, aud: `${issuer}/fhir`,
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
});
say({ open: url.href });

const back = new URL((await lines.next()).value);
const tokens = await oidc.authorizationCodeGrant(config, back, {
  pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true,
});
const claims = tokens.claims();
const info = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
const read = async (token) => (await fetch(`${issuer}/fhir/Patient/${tokens.patient}`, { headers: { authorization: `Bearer ${token}` } })).status;
const first = await read(tokens.access_token);
const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token);
const second = await read(fresh.access_token);
const told = await oidc.tokenIntrospection(config, fresh.access_token);
await oidc.tokenRevocation(config, fresh.refresh_token);
const after = await oidc.tokenIntrospection(config, fresh.access_token);

const key = await crypto.subtle.importKey("jwk", service.jwk, { name: "ECDSA", namedCurve: "P-384" }, false, ["sign"]);
const backend = await oidc.discovery(new URL(issuer), service.clientId, undefined,
  oidc.PrivateKeyJwt({ key, kid: service.jwk.kid }), options);
const granted = await oidc.clientCredentialsGrant(backend, { scope: "system/Patient.rs" });
let refusal;
try {
  await oidc.clientCredentialsGrant(backend, { scope: "user/Patient.rs" });
} catch (problem) {
  refusal = problem.error;
}
say({ sub: claims.sub, fhirUser: info.fhirUser, first, second, active: told.active, after: after.active,
  system: granted.scope, refusal });
process.exit(0);
