"""Settings of `bgai serve`: addresses, limits, and how long results are kept."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path

from bgai.errors import UsageError

SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Addresses and limits of one service."""

    folder: Path
    """Where uploads and results lie; made if it is not there."""
    host: str = "127.0.0.1"
    port: int = 8765
    """0 takes one that is free."""
    token: str = ""
    """What clients must show; needed unless `host` is this machine's own address."""
    names: tuple[str, ...] = ()
    """Further host names under which browsers may ask."""
    keep_hours: float = 24
    """Time after which a finished result is removed."""
    keep_megabytes: float = 2000
    """Size of all uploads and results above which the oldest results are removed."""
    max_megabytes: float = 100
    """Largest upload."""
    max_megapixels: float = 50
    """Largest picture, before it is enlarged."""
    queue: int = 200
    """Most pictures that wait at a time."""
    rate: int = 1200
    """Most uploads in a minute from one address."""

    def __post_init__(self) -> None:
        for name in ("keep_hours", "keep_megabytes", "max_megabytes", "max_megapixels", "queue", "rate"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} {value:g}: expected a number above 0", parameter=name)
        if not 0 <= self.port < 65536:
            raise UsageError(f"port {self.port}: expected 0 to 65535", parameter="port")
        if self.token and (len(self.token) < SHORTEST_TOKEN or not (self.token.isascii() and self.token.isprintable())):
            raise UsageError(f"the token: expected at least {SHORTEST_TOKEN} printable ASCII characters")
        if not self.token and not self.is_loopback:
            raise UsageError(f"host {self.host}: other machines can reach it; a token is needed", parameter="token")

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach the service."""
        return is_loopback(self.host)

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * 1e6)

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)

    @property
    def keep_bytes(self) -> int:
        return int(self.keep_megabytes * 1e6)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's own address: `localhost`, 127.0.0.0/8 or ::1."""
    address = as_address(host)
    return host == "localhost" if address is None else address.is_loopback


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, with or without the brackets of IPv6; None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
