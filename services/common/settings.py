"""What every service is told by its environment."""

import os
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Scope = Literal["read", "write"]


class ApiKey(BaseModel):
    """A caller's key, held as its SHA-256 so that a leaked environment opens nothing."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Who holds the key; appears in logs.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key, in hex.")
    scopes: frozenset[Scope] = Field(description="`read` asks and searches; `write` changes.")


class ServiceSettings(BaseSettings):
    """Settings common to the four services; each subclasses it with its own prefix."""

    # What cannot be read may be a secret; an error would show it.
    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True)

    mode: Literal["local", "production"] = Field(
        "production",
        description="`local` serves loopback callers without keys; `production` demands a key "
        "on every path but health.",
    )
    database_url: str = Field(description="SQLAlchemy URL, `postgresql+psycopg://…`.")
    database_pool_size: int = Field(
        8, ge=1, le=200, description="Connections kept open; twice as many after a rush."
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Celery's broker.")
    api_keys: tuple[ApiKey, ...] = Field((), description="JSON list of accepted keys.")
    service_key: SecretStr | None = Field(
        None, description="Key this service presents when it calls another."
    )
    max_body_bytes: int = Field(
        16 * 2**20, ge=1024, description="Largest JSON body accepted, in bytes."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        prefix = self.model_config.get("env_prefix", "")
        known = {prefix + name.upper() for name in type(self).model_fields}
        unknown = sorted(
            name for name in os.environ if prefix and name.startswith(prefix) and name not in known
        )
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]}; see the settings in AGENTS.md")
        if self.mode == "production" and not self.api_keys:
            raise ValueError(
                f"{prefix}API_KEYS is empty: set at least one key, or {prefix}MODE=local on a "
                "machine that only you can reach"
            )
        return self

    @property
    def peer_key(self) -> str | None:
        """What this service shows when it calls another, in the clear."""
        return self.service_key.get_secret_value() if self.service_key else None
