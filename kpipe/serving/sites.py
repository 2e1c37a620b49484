"""What other web sites may do with a server through the browser of somebody who can reach it."""

import functools
import ipaddress
import urllib.parse
from collections.abc import Collection, Mapping

from .limits import Refusal

_READING = ("GET", "HEAD", "OPTIONS")  # whose answers a browser keeps from other sites


class Sites:
    """Refuses requests that a browser sends for another site.

    A site may let its own name point to 127.0.0.1 and then use the server as its own (DNS
    rebinding): its requests are known by the `Host` header. A POST that a page of another site
    sends is known by `Sec-Fetch-Site`, or else by its `Origin`, as in `CrossOriginProtection` of
    Go's net/http. Programs send neither.

    Args:
        hosts: Names that a request may be for, besides localhost and IP addresses; None for any.
        origins: Origins of other pages that may use the server; "*" for any.
    """

    def __init__(self, hosts: Collection[str] | None, origins: Collection[str]) -> None:
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._origins = set(origins)
        self._is_known = functools.lru_cache(64)(self._is_known_host)

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Looks at a request's head.

        Raises:
            Refusal: It comes from another site.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host and self._hosts is not None and not self._is_known(host):
            raise _forbidden(
                f"this server is not known as {host[:80]!r}; expected localhost, an IP address or "
                "a name that was given as --allow-host"
            )
        if method in _READING or "*" in self._origins:
            return
        origin = headers.get(b"origin", b"").decode("latin-1")
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        is_own = site in ("same-origin", "none") if site else _authority(origin) in ("", host)
        if not is_own and origin not in self._origins:
            raise _forbidden(
                f"a page of {origin[:80] or 'another site'} may not use this server; allow it with "
                "--allow-origin"
            )

    def _is_known_host(self, host: str) -> bool:
        assert self._hosts is not None
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in {*self._hosts, "localhost"} or name.endswith(".localhost") or _is_ip(name)


def _is_ip(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _authority(origin: str) -> str:
    """Returns the host and port of an origin; an opaque one, "null", has none but is another."""
    return origin.partition("://")[2].lower() if "://" in origin else origin


def _forbidden(message: str) -> Refusal:
    return Refusal(403, "forbidden", message)
