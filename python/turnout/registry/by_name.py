"""Routers by name: artifacts that ship or lie in a folder, ``random``, and classes of the user's."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from turnout._core import DEFAULT_OPTIONS, ConfigError, RouterError
from turnout.registry.random_router import RandomRouter
from turnout.scored_router import AnyRouter, ScoredRouter
from turnout.shipped import ARTIFACTS, MADE_BY, did_you_mean, shipped_names

if TYPE_CHECKING:
    from turnout.pool.model import Pool
    from turnout.pool.router import PoolRouter

#: Entry points of this group register routers when a package is installed: ``mine = "my_package:MyRouter"``.
ENTRY_POINTS = "turnout.routers"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REGISTERED: dict[str, Callable[..., Any]] = {"random": RandomRouter}

_LOAD_OPTIONS = ("path", "index", *DEFAULT_OPTIONS)
_EMBEDDING_OPTIONS = ("embedding_url", "embedding_model", "embedding_key_env")


def register_router(name: str, router: Callable[..., Any]) -> None:
    """Makes a router of your own known by name, to the Controller, the server and ``turnout eval``.

    Args:
        name: Letters, digits, ``.``, ``_`` and ``-``. A name that is taken is taken over.
        router: A class, or any function, whose result has ``win_rate(prompt) -> float`` in ``[0, 1]``. Its arguments are the
            entries of the configuration under the name. Other attributes: :class:`turnout.scored_router.ScoredRouter`.

    Raises:
        ConfigError: The name has other characters.

    Example:
        >>> import turnout
        >>> class Longer:
        ...     def win_rate(self, prompt: str) -> float:
        ...         return min(len(prompt) / 1000, 1.0)
        >>> turnout.register_router("longer", Longer)
        >>> client = turnout.Controller(["longer"], strong_model="large", weak_model="small")
        >>> client.route("short", "longer", 0.5)
        'small'
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"router name {name!r}: expected letters, digits, '.', '_' and '-', at most 64 of them")
    _REGISTERED[name] = router


def open_router(
    name: str, options: Mapping[str, Any] | None = None, *, strong: str | None = None, weak: str | None = None
) -> AnyRouter:
    """Opens a router.

    Looked for in this order: ``options["class"]``, written ``"module:Class"``; what :func:`register_router` or an installed package's
    entry point registered; the artifact in ``options["path"]``; the artifact of that name that ships with turnout.

    Args:
        name: The name.
        options: For an artifact ``path`` and the options of :func:`turnout.load`, and where it takes embeddings ``embedding_url``,
            ``embedding_model``, ``embedding_key_env``; for a class, its arguments.
        strong: Name of the strong model, unless ``options`` has one. As everywhere, a name that the artifact knows is that model, and
            another is a label: see :func:`turnout.load`.
        weak: Name of the weak model, likewise.

    Raises:
        ConfigError: No such router, or an option that it does not take.
        ArtifactError: The folder is missing or damaged.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"router name {name!r}: expected letters, digits, '.', '_' and '-', at most 64 of them")
    given = dict(options or {})
    if "class" in given:
        make: Callable[..., Any] | None = imported(given.pop("class"))
    else:
        make = _REGISTERED.get(name)
    if make is None and "path" not in given and "checkpoint_path" not in given:
        make = _entry_point(name)
        if make is None:
            if name not in shipped_names():
                raise ConfigError(_unknown(name))
            given["path"] = ARTIFACTS / name
    if make is not None:
        return ScoredRouter(name, _made(name, make, given), strong or "strong", weak or "weak")
    pair = {side: model for side, model in (("strong", strong), ("weak", weak)) if model is not None}
    return _artifact(name, {**pair, **given})


def open_pool(name: str, options: Mapping[str, Any] | None, pool: Pool) -> PoolRouter:
    """Opens a router for a pool.

    Args:
        name: Of an artifact that ships, unless ``options`` has a ``path``.
        options: ``path``, and the options of :func:`turnout.load` for the engine; those about a pair are left out.
        pool: The pool.

    Raises:
        ConfigError: The router is not an artifact, or does not take an option.
        PoolError: The pool does not fit the artifact.
        ArtifactError: The folder is missing or damaged.
    """
    from turnout.pool.router import PoolRouter

    given = {key: value for key, value in (options or {}).items() if key not in ("strong", "weak")}
    folder = given.pop("path", ARTIFACTS / name if name in shipped_names() and "class" not in given else None)
    if folder is None:
        raise ConfigError(f"router {name} is not an artifact and cannot choose from a pool")
    try:
        return PoolRouter(folder, pool, **given)
    except TypeError as error:
        raise ConfigError(f"router {name}: {error}") from error


def is_known(name: str) -> bool:
    """Whether :func:`open_router` finds the name without options."""
    if name in _REGISTERED or _entry_point(name) is not None:
        return True
    return name in shipped_names()


def imported(spec: object) -> Callable[..., Any]:
    """The class that ``"module:Class"`` names.

    Raises:
        ConfigError: Another form, a module that cannot be imported, or one without the class.
    """
    module, _, attribute = str(spec).partition(":")
    if not module or not attribute:
        raise ConfigError(f"class {spec!r}: expected module:Class")
    # The installed command does not look for modules beside the working folder, as Python's own does.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = attrgetter(attribute)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"class {spec!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"class {spec!r}: importing {module} raised {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"class {spec!r} is of type {type(found).__name__}, expected a class")
    return found  # type: ignore[no-any-return]


def _made(name: str, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    import inspect

    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ConfigError(f"router {name}: {error}") from error
    except ValueError:
        pass  # A class written in C tells no signature.
    try:
        return make(**options)
    except RouterError:
        raise
    except Exception as error:
        raise ConfigError(f"router {name}: {type(error).__name__}: {error}") from error


def _artifact(name: str, options: dict[str, Any]) -> AnyRouter:
    from turnout.embeddings.router import with_embeddings
    from turnout.router import Router, load

    if "checkpoint_path" in options:
        hint = MADE_BY.get(name, "name an artifact folder with `path`")
        raise ConfigError(f"router {name}: checkpoint_path names a checkpoint of RouteLLM, expected `path`; {hint}")
    if unknown := sorted(options.keys() - set(_LOAD_OPTIONS) - set(_EMBEDDING_OPTIONS)):
        raise ConfigError(
            f"router {name}: unknown option {unknown[0]!r}, expected {', '.join((*_LOAD_OPTIONS, *_EMBEDDING_OPTIONS))}"
        )
    given: Any = {key: value for key, value in options.items() if key in _LOAD_OPTIONS}
    router: Router = load(**given)
    if router.manifest["encoder"]["kind"] != "external":
        return router
    model = options.get("embedding_model") or router.manifest["provenance"].get("embedding_model")
    if "embedding_url" not in options or not model:
        raise ConfigError(f"router {name} takes embeddings: give embedding_url and embedding_model")
    from turnout.embeddings.client import EmbeddingClient

    client = EmbeddingClient(
        options["embedding_url"],
        model,
        key_variable=options.get("embedding_key_env", "OPENAI_API_KEY"),
        dim=router.embedding_dim,
    )
    return with_embeddings(router, client)


def _entry_point(name: str) -> Callable[..., Any] | None:
    from importlib.metadata import entry_points

    for found in entry_points(group=ENTRY_POINTS):
        if found.name == name:
            return imported(found.value)
    return None


def _unknown(name: str) -> str:
    known = [*shipped_names(), *_REGISTERED]
    told = f"no router {name!r}; known routers: {', '.join(known)}"
    if name in MADE_BY:
        return f"{told}; for a {name} router, {MADE_BY[name]}; then name its folder with `path` in the router's configuration"
    return (
        f"{told}{did_you_mean(name, known)}; name an artifact folder with `path` in the router's configuration, "
        "or register your own"
    )
