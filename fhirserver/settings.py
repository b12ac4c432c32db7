"""All settings, in one tree: `FHIRSERVER_*` variables (nested with `__`) over a TOML file over these defaults.

Nothing else in the server reads the environment.
"""

from __future__ import annotations

import ipaddress
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "example",
    "sample",
    "your-",
    "your_",
    "<",
    "xxxx",
)


def _is_real(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().casefold()
    if any(word in text for word in _PLACEHOLDERS):
        raise ValueError("this is a placeholder of a sample configuration; take: openssl rand -hex 32")
    return value


Secret = Annotated[SecretStr, AfterValidator(_is_real)]


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Limits(BaseModel, extra="forbid"):
    """Bounds on what one request may cost. Over a limit is refused, never cut silently."""

    body_bytes: int = Field(10 * 2**20, description="Largest request body, also after decompression.")
    binary_bytes: int = Field(50 * 2**20, description="Largest Binary body.")
    body_seconds: float = Field(60, gt=0, description="Longest time in which a request body may arrive.")
    url_bytes: int = Field(16 * 2**10, description="Longest request target.")
    bundle_entries: int = Field(1000, description="Most entries of a batch or transaction.")
    nesting: int = Field(64, description="Deepest nesting of a JSON or XML body.")
    search_parameters: int = Field(50, description="Most parameters of one search.")
    or_values: int = Field(500, description="Most comma-separated values of one search parameter.")
    chain_depth: int = Field(3, description="Most hops of a chain or _has.")
    count_default: int = Field(20, description="Page size where _count is absent.")
    count_max: int = Field(1000, description="Largest page size; a larger _count is clamped.")
    included: int = Field(1000, description="Most included resources of a page; beyond, an outcome says so.")
    include_rounds: int = Field(3, description="Most rounds of :iterate.")
    expansion: int = Field(10_000, description="Most codes of a value set expansion, or of one page of it.")
    search_ms: int = Field(5000, description="Longest time for one database query, in milliseconds.")


class Anchor(BaseModel, extra="forbid"):
    """Where checkpoints of the audit ledger are kept apart from the database, once a day."""

    file: Path | None = Field(
        None, description="File that checkpoint notes are appended to, on other storage."
    )
    email: str = Field("", description="Address that checkpoint notes are mailed to.")
    smtp: str = Field("localhost:25", description="host:port of the mail server for anchors.")
    sender: str = Field("fhirserver@localhost", description="Sender address of the mails with anchors.")


class Syslog(BaseModel, extra="forbid"):
    """The feed of audit events to a syslog receiver: RFC 5424 over TLS (RFC 5425)."""

    host: str = Field("", description="Syslog receiver for audit events; empty: no feed.")
    port: int = Field(6514, description="Port of the syslog receiver.")
    ca_file: Path | None = Field(
        None, description="Certificates that the receiver's must descend from; empty: the system's."
    )
    cert_file: Path | None = Field(None, description="Own certificate for mutual TLS (PEM).")
    key_file: Path | None = Field(None, description="Key of the own certificate (PEM).")


class Atna(BaseModel, extra="forbid"):
    """The feed of audit events to an ATNA repository: each is POSTed as a FHIR AuditEvent (IHE ITI-20)."""

    url: str = Field(
        "", description="FHIR base of the ATNA repository, https outside of this machine; empty: no feed."
    )
    token: SecretStr | None = Field(None, description="Bearer token for the repository.")
    ca_file: Path | None = Field(
        None, description="Certificates that the repository's must descend from; empty: the system's."
    )
    cert_file: Path | None = Field(None, description="Own certificate for mutual TLS (PEM).")
    key_file: Path | None = Field(None, description="Key of the own certificate (PEM).")

    @field_validator("url")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if not value or (parts.scheme == "https" and parts.hostname):
            return value
        if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
            return value
        raise ValueError("audit events leave this machine over https only")


class AlertThresholds(BaseModel, extra="forbid"):
    """From when on an access pattern is an alert."""

    patients_per_hour: int = Field(
        50, ge=1, description="Distinct patients that one user, or app without a user, reads within an hour."
    )
    times_usual: float = Field(
        5.0, ge=1, description="So many times what 95 % of one's hours of the last 30 days stay below."
    )
    patients_unusual: int = Field(
        10, ge=1, description="Fewest patients within an hour at which times_usual counts."
    )
    denials: int = Field(
        10, ge=1, description="Refused requests of one user, client or address in 5 minutes."
    )
    export_patients: int = Field(
        1000, ge=1, description="Patients exported to one recipient within 24 hours."
    )
    identifiers: int = Field(
        100,
        ge=1,
        description="Identifiers searched for in vain within 5 minutes; further searches are refused.",
    )


class Alerts(AlertThresholds):
    """The alerts on the audit log: thresholds, and where they are sent."""

    services: dict[str, AlertThresholds] = Field(
        {}, description="Client id -> thresholds of its own for an app that works without a user."
    )
    clock_offset: float = Field(1.0, gt=0, description="Seconds that the clock may be off.")
    clock_host: str = Field(
        "", description="NTP server to compare the clock with, besides MongoDB's; host or host:port."
    )
    webhook_url: str = Field("", description="Address that each alert is posted to; empty: none.")
    webhook_secrets: list[SecretStr] = Field(
        [], description="Keys that the posts are signed with, each whsec_ and base64 of 24 to 64 bytes."
    )


class Audit(BaseModel, extra="forbid"):
    """The audit ledger. There is no setting that turns auditing off."""

    origin: str = Field(
        "localhost/audit",
        pattern=r"^[^\s+]{1,200}$",
        description="Name of the ledger, signed into each checkpoint: a domain of yours and a path.",
    )
    signing_key_file: Path | None = Field(
        None, description="Ed25519 seed in hex, mode 0600; empty: audit/signing.key in the data folder."
    )
    ingest_key_file: Path | None = Field(
        None,
        description="Key of the ingest MAC in hex, mode 0600; empty: audit/ingest.key in the data folder.",
    )
    mongo_uri: SecretStr | None = Field(
        None,
        description="Replica set of the audit log, with a user that may only find and insert; empty: the server's own.",
    )
    database: str = Field("", description="Database of the audit log; empty: the server's own.")
    commit_timeout: float = Field(
        2.0, gt=0, le=30, description="Seconds until an answer whose events are not durable is withheld."
    )
    max_queue: int = Field(10_000, ge=1, description="Most events of a worker that may wait to be stored.")
    on_failure: Literal["closed", "spool"] = Field(
        "closed",
        description="Where the log fails: refuse every answer, or keep events in spool_dir until it is back.",
    )
    spool_dir: Path | None = Field(
        None, description="Folder for on_failure=spool, on a disk of this machine."
    )
    query_values: Literal["hashed", "raw"] = Field(
        "hashed", description="How values that identify people stand in recorded queries."
    )
    seal_interval: float = Field(10.0, gt=0, le=60, description="Seconds between two sealings.")
    retention_years: int | None = Field(
        None, ge=5, description="Years after which events may be purged; empty: kept for ever. At least 5."
    )
    purge_uri: SecretStr | None = Field(
        None, description="MongoDB URI of a user that may remove audit events, for `audit purge` alone."
    )
    migrate_uri: SecretStr | None = Field(
        None,
        description="MongoDB URI of a user that may make collections, indexes and roles, for `audit prepare` and "
        "`audit roles --create` alone.",
    )
    legal_hold: str = Field("", description="Why nothing may be purged now; empty: no legal hold.")
    timezone: str = Field(
        "America/Sao_Paulo", description="Timezone of the clinic, for reports and opening hours."
    )
    opening_hours: str = Field(
        "mo-fr 07:00-20:00; sa 07:00-13:00",
        description="When the clinic is open; access outside is after hours.",
    )
    holidays: list[date] = Field([], description="Local holidays, in addition to the national ones.")
    anchor: Anchor = Anchor()
    syslog: Syslog = Syslog()
    atna: Atna = Atna()
    alerts: Alerts = Alerts()


class Outgoing(BaseModel, extra="forbid"):
    """Calls to addresses in the settings (key sets of issuers, webhook of alerts): https to public hosts, and to these."""

    hosts: list[str] = Field(
        [],
        description="Hosts of the own network that may be called, as host or host:port (443 where it is absent).",
    )
    ca_file: Path | None = Field(
        None, description="Certificates (PEM) that are trusted for these calls besides the system's."
    )


class OAuth(BaseModel, extra="forbid"):
    """The authorization server: how long things live, and what is refused."""

    access_seconds: int = Field(3600, ge=60, le=3600, description="Life of an access token of a user.")
    system_seconds: int = Field(300, ge=30, le=300, description="Life of a backend service's access token.")
    offline_days: int = Field(90, ge=1, le=365, description="Longest life of a grant with offline_access.")
    offline_idle_days: int = Field(30, ge=1, description="A refresh token not used for so long ends.")
    refresh_reuse_leeway_s: int = Field(
        0,
        ge=0,
        le=60,
        description="Seconds in which a used refresh token may be used again, for apps that lost the answer; "
        "afterwards a second use ends the grant.",
    )
    session_idle_minutes: int = Field(15, ge=1, le=60, description="A sign-in not used for so long ends.")
    session_hours: int = Field(12, ge=1, le=24, description="Longest life of a sign-in.")
    password_policy: Literal["default", "br"] = Field(
        "default", description="br: also four character classes, and none of the last three passwords."
    )
    calls_per_minute: int = Field(
        600, ge=1, description="Calls of the authorization server by one address, in each worker."
    )
    secrets_key_file: Path | None = Field(
        None,
        description="Key that encrypts second factors and signing keys in the database, 64 hex digits, mode 0600; "
        "empty: oauth/secrets.key in the data folder. The same file for every machine of one database.",
    )
    registration_token: Secret | None = Field(
        None, min_length=32, description="Turns dynamic registration on, for callers with this token."
    )


class RoleSettings(BaseModel, extra="forbid"):
    """What a role may do at most: types and letters as in scopes ("Patient.rs Observation.rs?category=laboratory")."""

    all: str = Field("", description="Types of which all resources are reached.")
    linked: str = Field(
        "", description="Types of which those of the practitioner's own patients are reached."
    )
    own: str = Field(
        "", description="Types of which those in one's own Practitioner compartment are reached."
    )
    patients: str = Field("", description="Types of which those of the patients one acts for are reached.")
    clearance: list[str] = Field(
        [], description="Security labels (R, V, HIV ...) that the role may see; * for all."
    )
    figures: str = Field(
        "",
        description="Types of which operations give the role figures, though it reaches no resource of them.",
    )
    masks: dict[str, Literal["administrative", "billing", "desk", "pseudonymous"]] = Field(
        {}, description="Types of which the role sees a part only, and the mask that says which."
    )


class Issuer(BaseModel, extra="forbid"):
    """A foreign authorization server whose access tokens (JWTs) are accepted."""

    issuer: str = Field(description="Exact value of the claim iss.")
    audience: str = Field("", description="Required value of the claim aud; empty: this server's FHIR base.")
    jwks_url: str = Field(description="Where its public keys are; https only.")
    algorithms: list[Literal["RS256", "ES256", "ES384", "EdDSA"]] = Field(
        ["RS256"], description="Signature algorithms that are accepted."
    )
    types: list[str] = Field(["at+jwt"], description="Accepted values of the header typ.")
    scope: str = Field("scope", description="Claim with the scopes, a string or a list.")
    roles: str = Field("roles", description="Claim with the role codes; dots lead into objects.")
    fhir_user: str = Field("fhirUser", description="Claim with the user's own resource.")
    patient: str = Field("patient", description="Claim with the id of the patient in context.")
    acts_for: str = Field("acts_for", description="Claim with the ids of patients that the user acts for.")
    client: str = Field("client_id", description="Claim with the client's id.")


class Validation(BaseModel, extra="forbid"):
    """Against what writes are checked, besides the R4 definition of their type."""

    mode: Literal["base", "claimed", "assigned"] = Field(
        "claimed",
        description="Profiles of every type: base: none; claimed: those in meta.profile that are known; "
        "assigned: those in `assigned`. Extensions are checked by their definitions but for base.",
    )
    modes: dict[str, Literal["base", "claimed", "assigned"]] = Field(
        {}, description="Another mode for single types, such as {Patient = 'assigned'}."
    )
    assigned: dict[str, list[str]] = Field(
        {}, description="Type -> canonicals of the profiles that it must conform to in mode assigned."
    )
    unknown_profile: Literal["warning", "error"] = Field(
        "warning", description="Whether a claimed profile that is not known is refused (error)."
    )
    unknown_modifier_extension: Literal["warning", "error"] = Field(
        "warning", description="Whether a modifierExtension without a known definition is refused (error)."
    )


class Settings(BaseSettings):
    """The server's settings. Unknown names in the TOML file are refused."""

    model_config = SettingsConfigDict(
        env_prefix="FHIRSERVER_", env_nested_delimiter="__", toml_file="fhirserver.toml", extra="forbid"
    )

    host: str = Field("127.0.0.1", description="Address to listen on. In open mode only loopback.")
    port: int = Field(8000, description="TCP port to listen on.")
    workers: int = Field(1, ge=1, description="Worker processes.")
    stop_seconds: float = Field(
        10, gt=0, description="How long a stop waits for requests in flight; what is left then is cut off."
    )
    base_url: str = Field("", description="Public URL of the server without /fhir; empty: http://host:port.")
    data_dir: Path = Field(
        Path(".data"), description="Folder of the embedded MongoDB and of the signing key."
    )
    mongodb_uri: SecretStr | None = Field(
        None, description="Replica set to use; empty: the embedded MongoDB."
    )
    mongod: Path | None = Field(
        None, description="mongod program for the embedded MongoDB; empty: search for it."
    )
    database: str = Field("fhir", description="Name of the database.")
    tenant: str = Field(
        "default", pattern="^[a-z0-9-]{1,32}$", description="Tenant key of every stored document."
    )
    cursor_key: Secret | None = Field(
        None, description="Signs paging links; empty: a key kept in the database, shared by all workers."
    )
    cors_origins: list[str] = Field([], description="Origins that browsers may call the API from.")
    trusted_proxies: list[str] = Field(
        [], description="Networks of reverse proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    tracing: bool = Field(False, description="OpenTelemetry tracing; needs the extra fhirserver[otel].")
    metrics_dir: Path | None = Field(
        None, description="Folder where several workers share their metrics; set by serve."
    )
    docs: bool | None = Field(
        None,
        description="Serve the OpenAPI document and its pages at /docs; empty: where host and base_url are loopback.",
    )
    metrics_token: Secret | None = Field(
        None,
        min_length=32,
        description="Bearer token that /metrics asks for; empty: /metrics is served where host and base_url are loopback, "
        "to whoever asks, and nowhere else.",
    )
    open_mode: bool = Field(
        False, description="Ask for no token: everyone on this machine may do everything. Loopback only."
    )
    roles: dict[str, RoleSettings] = Field(
        {}, description="Roles that replace those of the same code, or add to them."
    )
    by_organization: bool = Field(
        False,
        description="Of Patient, Encounter, EpisodeOfCare, Device, Account and Invoice users reach the rows of "
        "organizations that they work for by a PractitionerRole, and those of none.",
    )
    link_past_months: int = Field(
        24, ge=0, description="How long ago an Appointment or Encounter still links."
    )
    link_future_months: int = Field(3, ge=0, description="How far ahead an Appointment links already.")
    issuers: list[Issuer] = Field([], description="Foreign authorization servers whose tokens are accepted.")
    outgoing: Outgoing = Outgoing()
    limits: Limits = Limits()
    audit: Audit = Field(Audit(), description="The audit log; it cannot be turned off.")
    validation: Validation = Validation()
    oauth: OAuth = OAuth()

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        return [str(ipaddress.ip_network(network)) for network in value]

    @property
    def is_local(self) -> bool:
        """True where the server is for this machine alone: it listens on loopback and its public URL says so."""
        return is_loopback(self.host) and is_loopback(urlsplit(self.root_url).hostname or "")

    @property
    def serves_docs(self) -> bool:
        """Whether the OpenAPI document and its pages are served."""
        return self.is_local if self.docs is None else self.docs

    @property
    def root_url(self) -> str:
        """The public URL of the server, without a trailing slash; also the issuer of its tokens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.base_url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def fhir_base(self) -> str:
        """The FHIR base URL, without a trailing slash."""
        return f"{self.root_url}/fhir"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
