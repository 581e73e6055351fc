"""From ``turnout.toml``, or from the flags of the simple case, to :class:`~turnout.serve.settings.Settings`."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from turnout._core import ConfigError
from turnout.routing.context import CONTEXTS
from turnout.routing.needs import CAPABILITIES
from turnout.serve import settings as s

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = TypeVar("Table")

_TABLES: dict[str, type] = {
    "server": s.ServerSettings,
    "pair": s.PairSettings,
    "affinity": s.AffinitySettings,
    "log": s.LogSettings,
    "telemetry": s.TelemetrySettings,
}
_TABLES_BY_NAME: dict[str, type] = {
    "upstreams": s.UpstreamSettings,
    "models": s.ModelSettings,
    "aliases": s.AliasSettings,
}


def read_config(path: str | Path) -> s.Settings:
    """Reads and checks a configuration file.

    Raises:
        ConfigError: No TOML, an unknown key, a value of the wrong type or out of range, or a name that nothing has; says where.
        OSError: The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return settings_of(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def settings_of(found: Mapping[str, Any]) -> s.Settings:
    """Settings from the tables of a file; raises as :func:`read_config`."""
    known = [*_TABLES, *_TABLES_BY_NAME, "routers"]
    if unknown := sorted(found.keys() - set(known)):
        raise ConfigError(f"unknown table [{unknown[0]}], expected {', '.join(known)}")
    tables: dict[str, Any] = {}
    for name, cls in _TABLES.items():
        if name in found:
            tables[name] = _table(cls, found[name], name)
    for name, cls in _TABLES_BY_NAME.items():
        group = _mapping(found.get(name, {}), name)
        tables[name] = {key: _table(cls, value, f"{name}.{key}") for key, value in group.items()}
    routers = {
        key: _mapping(value, f"routers.{key}") for key, value in _mapping(found.get("routers", {}), "routers").items()
    }
    if "pair" not in tables:
        raise ConfigError("table [pair] is missing: it names the strong and the weak model")
    settings = s.Settings(**tables, routers=routers or {"mf": {}})
    check(settings)
    return settings


def simple_settings(
    strong_model: str,
    weak_model: str,
    base_url: str,
    *,
    routers: Sequence[str] = ("mf",),
    threshold: float | None = None,
    key_env: str = "OPENAI_API_KEY",
    **server: Any,
) -> s.Settings:
    """Settings of the simple case: two models behind one endpoint, where other names pass through.

    Args:
        strong_model: Name of the strong model.
        weak_model: Name of the weak model.
        base_url: Of the endpoint, with its ``/v1``.
        routers: Names of routers, or folders of artifacts, which then go by the folder's name.
        threshold: Of every router, where a request names none.
        key_env: Environment variable with the endpoint's key.
        **server: Fields of :class:`~turnout.serve.settings.ServerSettings`.
    """
    tables: dict[str, dict[str, Any]] = {}
    for router in routers:
        is_folder = (Path(router) / "router.json").is_file()
        options: dict[str, Any] = {"path": router} if is_folder else {}
        if threshold is not None:
            options["threshold"] = threshold
        tables[Path(router).resolve().name if is_folder else router] = options
    models = {strong_model: {"upstream": "default"}, weak_model: {"upstream": "default"}}
    return settings_of(
        {
            "server": {"passthrough": "default", **server},
            "upstreams": {"default": {"base_url": base_url, "key_env": key_env}},
            "models": models,
            "pair": {"strong": strong_model, "weak": weak_model},
            "routers": tables,
        }
    )


def check(settings: s.Settings) -> None:
    """Raises ``ConfigError`` for a name that nothing has, or a number out of range."""
    for name, upstream in settings.upstreams.items():
        where = f"[upstreams.{name}]"
        _check_url(upstream.base_url, where)
        if upstream.key_env and upstream.key_file:
            raise ConfigError(f"{where} has both key_env and key_file, expected one")
        _positive(
            upstream,
            where,
            "connect_timeout_s first_byte_timeout_s total_timeout_s max_concurrency breaker_failures breaker_open_s",
        )
        _at_least_zero(upstream, where, "retries backoff_s")
    for name, model in settings.models.items():
        where = f"[models.{name}]"
        _one_of(where, "upstream", model.upstream, settings.upstreams)
        for capability in model.capabilities or ():
            _one_of(where, "capabilities", capability, CAPABILITIES)
        _at_least_zero(model, where, "input_cost_per_mtok output_cost_per_mtok")
    _check_pair("[pair]", settings.pair.strong, settings.pair.weak, settings)
    for name, alias in settings.aliases.items():
        where = f"[aliases.{name}]"
        if name in settings.models:
            raise ConfigError(f"{where} is also the name of a model, expected another name")
        _one_of(where, "router", alias.router, settings.routers)
        _unit(where, "threshold", alias.threshold)
        _unit(where, "strong_share", alias.strong_share)
        if alias.threshold is not None and alias.strong_share is not None:
            raise ConfigError(f"{where} has both threshold and strong_share, expected one")
        _check_pair(where, alias.strong or settings.pair.strong, alias.weak or settings.pair.weak, settings)
    _check_server(settings)


def _check_server(settings: s.Settings) -> None:
    server, affinity, log = settings.server, settings.affinity, settings.log
    for field in ("port", "admin_port"):
        if not 0 <= getattr(server, field) <= 65535:
            raise ConfigError(f"[server] {field} is {getattr(server, field)}, expected 0 to 65535")
    _positive(server, "[server]", "max_body_bytes max_concurrency shutdown_s")
    if server.passthrough:
        _one_of("[server]", "passthrough", server.passthrough, settings.upstreams)
    if ":" not in server.context:
        _one_of("[server]", "context", server.context, (*CONTEXTS, "module:function"))
    if server.client_keys_file and "*" in server.cors_origins:
        raise ConfigError('[server] cors_origins is "*" beside client_keys_file: name the origins that may send keys')
    _one_of("[affinity]", "by", affinity.by, ("off", "header", "conversation"))
    _positive(affinity, "[affinity]", "sessions ttl_s")
    _one_of("[log]", "format", log.format, ("jsonl", "parquet"))
    _positive(log, "[log]", "max_bytes keep")


def _check_pair(where: str, strong: str, weak: str, settings: s.Settings) -> None:
    _one_of(where, "strong", strong, settings.models)
    _one_of(where, "weak", weak, settings.models)


def _check_url(url: str, where: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{where} base_url is {url!r}, expected http:// or https:// and a host, such as http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{where} base_url holds more than scheme, host, port and path; keys go into key_env or key_file"
        )


def _one_of(where: str, key: str, value: str, known: Any) -> None:
    if value not in known:
        raise ConfigError(f"{where} {key} is {value!r}, expected one of {', '.join(known) or '(none is configured)'}")


def _unit(where: str, key: str, value: float | None) -> None:
    if value is not None and not 0.0 <= value <= 1.0:
        raise ConfigError(f"{where} {key} is {value}, expected a number between 0 and 1")


def _positive(table: Any, where: str, keys: str) -> None:
    for key in keys.split():
        if not getattr(table, key) > 0:
            raise ConfigError(f"{where} {key} is {getattr(table, key)}, expected more than 0")


def _at_least_zero(table: Any, where: str, keys: str) -> None:
    for key in keys.split():
        value = getattr(table, key)
        if value is not None and not value >= 0:
            raise ConfigError(f"{where} {key} is {value}, expected 0 or more")


def _mapping(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where} is of type {type(found).__name__}, expected a table")
    return found


def _table(cls: type[Table], found: object, where: str) -> Table:
    """A dataclass from a table: unknown keys, missing keys and wrong types are errors."""
    mapping = _mapping(found, f"[{where}]")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(mapping.keys() - fields.keys()):
        raise ConfigError(f"[{where}] has the unknown key {unknown[0]!r}, expected {', '.join(fields)}")
    hints = typing.get_type_hints(cls)
    values = {key: _typed(value, hints[key], f"[{where}] {key}") for key, value in mapping.items()}
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"[{where}] lacks {name!r}")
    return cls(**values)


def _typed(value: Any, hint: Any, where: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if option in (str, bool) and isinstance(value, option):
            return value
        if (
            typing.get_origin(option) is tuple
            and isinstance(value, list)
            and all(isinstance(one, str) for one in value)
        ):
            return tuple(value)
    expected = {
        "tuple": "an array of strings",
        "str": "a string",
        "bool": "true or false",
        "int": "an integer",
        "float": "a number",
    }
    name = getattr(typing.get_origin(options[0]) or options[0], "__name__", str(options[0]))
    raise ConfigError(f"{where} is {value!r}, expected {expected.get(name, name)}")
