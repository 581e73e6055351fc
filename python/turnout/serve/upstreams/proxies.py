"""The proxy that requests to an upstream go through."""

from __future__ import annotations

import logging
from urllib.request import getproxies_environment, proxy_bypass

import yarl

from turnout._core import ConfigError
from turnout.serve.settings.upstreams import UpstreamSettings

logger = logging.getLogger("turnout.serve")


def proxy_of(name: str, settings: UpstreamSettings) -> yarl.URL | None:
    """The proxy of an upstream; ``None`` for a direct connection.

    With ``proxy = "env"`` it is that of ``HTTP_PROXY``, ``HTTPS_PROXY`` or ``ALL_PROXY`` (in either case), unless ``NO_PROXY``
    lists the host.

    Args:
        name: Of the upstream.
        settings: Of the upstream.

    Raises:
        ConfigError: The environment names a proxy that is not an HTTP proxy.
    """
    if settings.proxy and settings.proxy != "env":
        return yarl.URL(settings.proxy)
    target = yarl.URL(settings.base_url)
    proxies = getproxies_environment()
    text = proxies.get(target.scheme) or proxies.get("all")
    if not text or proxy_bypass(f"{target.host}:{target.port}"):
        return None
    if not settings.proxy:
        logger.info('upstream %s: the proxy of the environment is not used without proxy = "env"', name)
        return None
    try:
        # As for curl, a proxy without a scheme is an HTTP proxy.
        found = yarl.URL(text if "://" in text else f"http://{text}")
    except ValueError:
        found = yarl.URL()
    if found.scheme not in ("http", "https") or not found.host:
        # The value is not shown: it may hold a password.
        raise ConfigError(f"[upstreams.{name}] proxy: the environment's proxy for {target.scheme} is not an HTTP proxy")
    return found
