"""All settings, in one tree: `FHIRSERVER_*` variables (nested with `__`) over a TOML file over these defaults.

Nothing else in the server reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Limits(BaseModel, extra="forbid"):
    """Bounds on what one request may cost. Over a limit is refused, never cut silently."""

    body_bytes: int = Field(10 * 2**20, description="Largest request body, also after decompression.")
    binary_bytes: int = Field(50 * 2**20, description="Largest Binary body.")
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

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Others than loopback need authorization."
    )
    port: int = Field(8000, description="TCP port to listen on.")
    workers: int = Field(1, ge=1, description="Worker processes.")
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
    cursor_key: SecretStr | None = Field(
        None, description="Signs paging links; empty: a key kept in the database, shared by all workers."
    )
    cors_origins: list[str] = Field([], description="Origins that browsers may call the API from.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    tracing: bool = Field(False, description="OpenTelemetry tracing; needs the extra fhirserver[otel].")
    metrics_dir: Path | None = Field(
        None, description="Folder where several workers share their metrics; set by serve."
    )
    docs: bool = Field(True, description="Serve the OpenAPI document and its pages at /docs.")
    limits: Limits = Limits()
    validation: Validation = Validation()

    @property
    def fhir_base(self) -> str:
        """The FHIR base URL, without a trailing slash."""
        return (self.base_url.rstrip("/") or f"http://{self.host}:{self.port}") + "/fhir"

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
