"""From ``turnout.toml``, or from the flags of the simple case, to :class:`~turnout.serve.settings.tables.Settings`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from turnout._core import ConfigError
from turnout.serve.settings.tables import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: TOML's words for what pydantic names in Python's.
_EXPECTED = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "tuple_type": "an array",
    "bool_type": "true or false",
}


def read_config(path: str | Path) -> Settings:
    """Reads and checks a configuration file, in UTF-8 with or without a byte order mark.

    Args:
        path: The TOML file.

    Raises:
        ConfigError: Not TOML, an unknown key, a value of the wrong type or out of range, or a name that is not configured.
            The message has the file, the key, what was expected and what was found.
        OSError: The file cannot be read.
    """
    try:
        return settings_of(tomllib.loads(Path(path).read_bytes().decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}, expected a TOML file in UTF-8") from error
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def settings_of(tables: Mapping[str, Any]) -> Settings:
    """Settings from the tables of a file.

    Args:
        tables: As ``tomllib`` reads them.

    Raises:
        ConfigError: As for :func:`read_config`, without the file.
    """
    try:
        return Settings.model_validate(dict(tables))
    except ValidationError as error:
        found = error.errors(include_url=False)
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise ConfigError(_message(found[0]) + more) from None


def simple_settings(
    strong_model: str,
    weak_model: str,
    base_url: str,
    *,
    routers: Sequence[str] = ("mf",),
    threshold: float | None = None,
    key_env: str = "OPENAI_API_KEY",
    proxy: str = "",
    dialects: Sequence[str] = ("chat",),
    **server: Any,
) -> Settings:
    """Settings of the simple case: two models behind one endpoint, which also gets all other model names.

    Args:
        strong_model: Name of the strong model.
        weak_model: Name of the weak model.
        base_url: Of the endpoint, with its ``/v1``.
        routers: Names of routers, or folders of artifacts, which then go by the folder's name.
        threshold: Of every router, for requests without one.
        key_env: Environment variable with the endpoint's key; empty for no key.
        proxy: A proxy's URL, or ``env`` for that of the environment.
        dialects: What the endpoint speaks: ``chat``, ``messages``, ``responses``.
        **server: Fields of :class:`~turnout.serve.settings.tables.ServerSettings`.

    Raises:
        ConfigError: As for :func:`settings_of`.
    """
    tables: dict[str, dict[str, Any]] = {}
    for router in routers:
        is_folder = (Path(router) / "router.json").is_file()
        options: dict[str, Any] = {"path": router} if is_folder else {}
        if threshold is not None:
            options["threshold"] = threshold
        tables[Path(router).resolve().name if is_folder else router] = options
    return settings_of(
        {
            "server": {"passthrough": "default", **server},
            "upstreams": {"default": {"base_url": base_url, "key_env": key_env, "proxy": proxy}},
            "models": {
                name: {"upstream": "default", "dialects": tuple(dialects)} for name in (strong_model, weak_model)
            },
            "pair": {"strong": strong_model, "weak": weak_model},
            "routers": tables,
        }
    )


def _message(error: ErrorDetails) -> str:
    """One of pydantic's errors with the place as the file writes it: ``[server] port is '1', expected a valid integer``."""
    kind, path = error["type"], error["loc"]
    if kind == "value_error":
        return " ".join([_place(path), str(error["ctx"]["error"])]).lstrip()
    *parent, key = path
    if kind == "extra_forbidden":
        found = f"{_place(parent)} has an unknown key {key!r}" if parent else f"unknown table [{key}]"
        return f"{found}, expected {', '.join(_model(parent).model_fields)}"
    if kind == "missing":
        return f"{_place(parent)} lacks {key!r}" if parent else f"table [{key}] is missing"
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Input should be ")
    return f"{_place(path)} is {error['input']!r}, expected {expected}"


def _place(path: Sequence[int | str]) -> str:
    """``[upstreams.main] retries`` for the path ``upstreams, main, retries``."""
    if not path:
        return ""
    depth = 2 if _is_named(path[0]) else 1
    header = f"[{'.'.join(map(str, path[:depth]))}]"
    return header + "".join(f"[{part}]" if isinstance(part, int) else f" {part}" for part in path[depth:])


def _model(path: Sequence[int | str]) -> type[BaseModel]:
    """The class of a table."""
    if not path:
        return Settings
    annotation: Any = Settings.model_fields[str(path[0])].annotation
    if _is_named(path[0]):
        return get_args(annotation)[1]  # type: ignore[no-any-return]
    # Of a table that may be absent, its class.
    return next(iter(get_args(annotation)), annotation)  # type: ignore[no-any-return]


def _is_named(table: int | str) -> bool:
    """Whether a table holds tables by name, as ``[upstreams.NAME]``."""
    return table in Settings.model_fields and get_origin(Settings.model_fields[str(table)].annotation) is dict
