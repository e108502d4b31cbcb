"""Which hosted models there are, and where they may be."""

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HEADER = re.compile(r"[!-~]+")
LOOPBACK: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)


class HostedModel(BaseModel):
    """A model behind an OpenAI-compatible URL, asked under a name of ours.

    The key is given as it is, or by the name of an environment variable or file that holds it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:@/+-]+$")]
    url: HttpUrl = Field(description="As OpenAI's base URL: paths follow its `/v1`.")
    model: str | None = Field(None, min_length=1, description="Its name there; else the same.")
    max_model_len: int = Field(ge=256, description="Its window in tokens, answer included.")
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    max_concurrent_requests: int = Field(64, ge=1)
    first_token_timeout_seconds: float | None = Field(None, gt=0)
    token_timeout_seconds: float | None = Field(None, gt=0)
    request_timeout_seconds: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _make_sense(self) -> "HostedModel":
        if self.name.startswith("ft:"):
            raise ValueError("a hosted model is not called ft:…; adapters are")
        if self.url.username or self.url.password or self.url.query or self.url.fragment:
            raise ValueError("the URL has no user, query or fragment; the key goes into api_key")
        if sum(bool(x) for x in (self.api_key, self.api_key_env, self.api_key_file)) > 1:
            raise ValueError("give one of api_key, api_key_env and api_key_file")
        self.secret()
        return self

    @property
    def host(self) -> str:
        return (self.url.host or "").strip("[]").lower()

    def secret(self) -> str | None:
        """The key in the clear. Raises ``ValueError`` where it should be and is not."""
        key = self.api_key.get_secret_value() if self.api_key else None
        if self.api_key_env:
            key = os.environ.get(self.api_key_env, "")
        if self.api_key_file:
            try:
                key = self.api_key_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"the key of '{self.name}' cannot be read") from error
        if key is not None and not _HEADER.fullmatch(key):
            raise ValueError(f"the key of '{self.name}' is empty, or cannot stand in a header")
        return key


def split_hosts(allowed: Sequence[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Names, and networks; an address is a network of one."""
    names: set[str] = set()
    networks: list[Network] = []
    for entry in allowed:
        try:
            networks.append(ipaddress.ip_network(entry.strip("[]")))
        except ValueError:
            names.add(entry.lower())
    return frozenset(names), tuple(networks)


def is_open(address: str, networks: Sequence[Network]) -> bool:
    """Whether a request may go there: to the public internet, or into one of these networks."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if any(ip.version == network.version and ip in network for network in networks):
        return True
    return ip.is_global and not ip.is_multicast


def check(models: Sequence[HostedModel], allowed: Sequence[str], *, local: bool) -> None:
    """Raise ``ValueError`` for the first model that may not be asked."""
    names, networks = split_hosts(allowed)
    for model in models:
        try:
            listed, here = _in(model.host, networks), _in(model.host, LOOPBACK)
        except ValueError:
            listed, here = model.host in names, model.host == "localhost"
        if local and here:
            continue
        if model.url.scheme != "https":
            raise ValueError(f"the URL of '{model.name}' must be https")
        if not listed:
            raise ValueError(f"UPSTREAM_ALLOWED_HOSTS does not list the host of '{model.name}'")


def _in(address: str, networks: Sequence[Network]) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip.version == network.version and ip in network for network in networks)
