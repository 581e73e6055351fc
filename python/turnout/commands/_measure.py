"""What the measuring commands share: routers by name, embedding options, extras that must be there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.extras import require

if TYPE_CHECKING:
    import argparse


def add_embedding_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--embedding-url``, ``--embedding-model`` and ``--embedding-key``, for artifacts whose encoder is external."""
    group = parser.add_argument_group(
        "embeddings", "for routers that take embeddings from the caller (`turnout import mf`)"
    )
    group.add_argument(
        "--embedding-url", metavar="URL", help="base URL of an OpenAI-compatible API, such as http://localhost:8000/v1"
    )
    group.add_argument("--embedding-model", metavar="NAME", help="embedding model; default: the artifact's")
    group.add_argument(
        "--embedding-key",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with the key (default: %(default)s)",
    )
    group.add_argument("--embedding-cache", type=Path, metavar="FILE", help="SQLite file that caches embeddings")


def load_one(path: str | None, args: argparse.Namespace) -> Any:
    """Loads a router, with embeddings attached where it needs them and an endpoint is named."""
    import turnout

    router = turnout.load(path)
    if router.manifest["encoder"]["kind"] != "external":
        return router
    if not args.embedding_url:
        raise turnout.ConfigError(f"{router.path.name} takes embeddings: name an endpoint with --embedding-url")
    require("eval", "openai", purpose="--embedding-url")
    from turnout.embeddings.client import EmbeddingClient
    from turnout.embeddings.router import with_embeddings

    model = args.embedding_model or router.manifest["provenance"].get("embedding_model")
    if not model:
        raise turnout.ConfigError(f"{router.path.name} names no embedding model: give --embedding-model")
    client = EmbeddingClient(
        args.embedding_url,
        model,
        key_variable=args.embedding_key,
        dim=router.embedding_dim,
        cache_file=args.embedding_cache,
    )
    return with_embeddings(router, client)


def _by_name(name: str, args: argparse.Namespace) -> Any:
    """A shipped or registered router, or a class ``module:Class``; the options give the pair of a router without one."""
    from turnout import ConfigError
    from turnout.registry import open_router

    router = open_router(name.rpartition(":")[2], {"class": name} if ":" in name else None)
    if not hasattr(router, "manifest"):
        if not args.strong or not args.weak:
            raise ConfigError(f"router {name} has no model names: choose columns with --strong and --weak")
        router.strong, router.weak = args.strong[0], args.weak[0]  # type: ignore[misc]
    return router


def load_routers(args: argparse.Namespace) -> dict[str, Any]:
    """Loads the routers of ``--router`` under distinct names."""
    import turnout
    from turnout.registry.by_name import is_known

    found: dict[str, Any] = {}
    for path in args.router:
        if args.router.count(path) > 1:
            raise turnout.ConfigError(f"--router {path} is given twice")
        if path is not None and not Path(path).exists() and (":" in path or is_known(path)):
            found[path] = _by_name(path, args)
            continue
        router = load_one(path, args)
        name = str(router.manifest["name"])
        if name in found:
            name = str(path or "default")
        found[name] = router
    return found
