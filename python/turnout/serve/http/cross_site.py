"""Turns away requests that other web sites make through a visitor's browser.

The server uses its upstreams' keys for every client that reaches it, so a page of another origin must not be able to use it: neither
by a form or a script that sends without reading (checked by ``Origin`` and ``Sec-Fetch-Site``), nor by a name that the page's
owner lets point to this machine, which makes the page same-origin with the server (checked by ``Host``).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from turnout.serve.dialects import of_scope
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import Receive, Scope, Send, send_error

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Paths for probes, which accept any host.
_ANY_HOST = frozenset({"/health", "/ready"})
#: Paths whose requests have no body.
_BODILESS = frozenset({"/admin/reload"})
#: Host headers that are kept, and characters of one.
_MOST_KNOWN, _LONGEST_KNOWN = 256, 256
_PORTS = {"http": "80", "https": "443"}


class AllowedHosts:
    """Names under which clients may address a listener.

    Args:
        bound: The address it listens on. Loopback allows loopback addresses and ``localhost``; all addresses
            (``0.0.0.0``, ``::``, the empty string) allow any IP address, ``localhost`` and this machine's name.
        configured: Further names or addresses, without port; ``*`` allows all.

    Example:
        >>> hosts = AllowedHosts("127.0.0.1", ["llm.example.com"])
        >>> [hosts.allow(host) for host in ("localhost:6060", "[::1]:6060", "LLM.example.com", "evil.example:6060", "10.0.0.1")]
        [True, True, True, False, False]
    """

    def __init__(self, bound: str, configured: Iterable[str]) -> None:
        address = _ip(bound)
        self._is_any_ip = not bound or (address is not None and address.is_unspecified)
        self._names = {"localhost", bound.lower(), *(name.lower() for name in configured)} - {""}
        self._addresses = {_ip(name) for name in self._names}
        if self._is_any_ip:
            self._names.add(socket.gethostname().lower())
        #: Headers that were allowed: to read one takes ten times as long as to find it here.
        self._known: set[str] = set()

    def allow(self, host: str) -> bool:
        """Whether the value of a ``Host`` header is one of them."""
        if host in self._known:
            return True
        is_allowed = self._allow(host)
        if is_allowed and len(self._known) < _MOST_KNOWN and len(host) <= _LONGEST_KNOWN:
            self._known.add(host)
        return is_allowed

    def _allow(self, host: str) -> bool:
        if "*" in self._names:
            return True
        name = _name(host)
        address = _ip(name)
        if address is None:
            return name in self._names
        return self._is_any_ip or address.is_loopback or address in self._addresses


class CrossSiteGuard:
    """ASGI middleware.

    Args:
        app: What comes after.
        hosts: Names of this listener.
        origins: Origins beside its own that may change state, as in ``[server] cors_origins``.
        refused: Called with the code of each refusal.
    """

    def __init__(self, app: Any, hosts: AllowedHosts, origins: Iterable[str], refused: Callable[[str], None]) -> None:
        self.app = app
        self._refused = refused
        self._hosts = hosts
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, or turns it away."""
        if scope["type"] == "http" and (error := self._refusal(scope)):
            self._refused(error.code)
            await send_error(send, error, dialect=of_scope(scope))
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in (b"host", b"origin", b"sec-fetch-site", b"content-type"):
                headers.setdefault(name, []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        if len(hosts) > 1:
            return ApiError(400, f"{len(hosts)} Host headers, expected one", code="invalid_host")
        host = hosts[0] if hosts else ""
        # Browsers always send the header.
        if host and scope["path"] not in _ANY_HOST and not self._hosts.allow(host):
            return ApiError(
                421,
                f"host {(_name(host) or host)[:200]!r} is not a name of this server; add it to [server] allowed_hosts, or with --allowed-host",
                code="invalid_host",
            )
        if scope["method"] in _SAFE:
            return None
        if not self._is_allowed(host, headers):
            origin = headers.get(b"origin", ["unknown"])[0]
            return ApiError(
                403, f"origin {origin[:200]!r} is not allowed; add it to [server] cors_origins", code="invalid_origin"
            )
        # A form or a script of another site can send three types without asking first; JSON is none of them.
        kind = headers.get(b"content-type", ["application/json"])[0].partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json") and scope["path"] not in _BODILESS:
            return ApiError(
                415, f"content-type is {kind[:200]!r}, expected application/json", code="invalid_content_type"
            )
        return None

    def _is_allowed(self, host: str, headers: dict[bytes, list[str]]) -> bool:
        site = headers.get(b"sec-fetch-site", [""])[0].lower()
        origins = headers.get(b"origin", [])
        if any(origin in self._origins for origin in origins) or "*" in self._origins:
            return True
        # Only browsers set it, and it stays correct behind a proxy that changes Host.
        if site in ("same-origin", "none"):
            return True
        return not site and all(_is_same(origin, host) for origin in origins)


def _is_same(origin: str, host: str) -> bool:
    """Whether an ``Origin`` and a ``Host`` are the same name and port."""
    scheme, _, authority = origin.partition("://")
    suffix = f":{_PORTS.get(scheme, '')}"
    return bool(authority) and authority.lower().removesuffix(suffix) == host.lower().removesuffix(suffix)


def _name(host: str) -> str:
    """Name or address of a ``Host`` header, without the port; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
