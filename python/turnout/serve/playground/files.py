"""The page's files. They load nothing from anywhere else, and the browser is told to hold them to it."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from turnout.serve.dialects.errors import ApiError

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

#: Scripts, styles and connections of this server only; no frame around the page, no form that leaves it.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # A page of one release must not run beside a server of another.
    "cache-control": "no-cache",
}


def _read() -> dict[str, Response]:
    """Every file as an answer, by name: what is not here is not served, whatever the path looks like."""
    return {
        path.name: Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers=_HEADERS)
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES
    }


_FILES = _read()


async def index(request: Request) -> Response:
    """``GET /``."""
    return _FILES["index.html"]


async def static(request: Request) -> Response:
    """``GET /playground/NAME``."""
    found = _FILES.get(request.path_params["name"])
    if found is None:
        raise ApiError(404, "the playground has no such file", code="not_found")
    return found
