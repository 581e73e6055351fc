"""A router whose embeddings come from a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InvalidInputError
from turnout.scored_router import ScoredRouter

if TYPE_CHECKING:
    from turnout.router import Router

#: From prompts to one embedding a row.
Embed = Callable[[Sequence[str]], Any]


def with_embeddings(router: Router, embed: Embed) -> ScoredRouter:
    """Attaches an embedding function to a router whose encoder is external, such as one of ``turnout import mf``.

    Args:
        router: A router that takes embeddings from the caller.
        embed: From a list of prompts to a matrix, one row a prompt: an :class:`turnout.embeddings.client.EmbeddingClient`, a model's
            ``encode``, your own function. It must be the embedding that the router was trained with.

    Returns:
        A router with the methods of :class:`turnout.Router` that take prompts. What the router itself has (``manifest``, ``path``
        and so on) is found there too.

    Raises:
        ConfigError: The router computes its own embeddings.

    Example:
        >>> import tempfile, turnout
        >>> from turnout.routers.mf.import_ import tiny_checkpoint, import_mf
        >>> folder = tempfile.TemporaryDirectory()
        >>> artifact = import_mf(tiny_checkpoint(f"{folder.name}/checkpoint"), f"{folder.name}/artifact")
        >>> router = turnout.with_embeddings(turnout.load(artifact), lambda prompts: [[len(p), 1.0] for p in prompts])
        >>> router.route("What is 2 + 2?").model in (router.strong, router.weak)
        True
    """
    if router.manifest["encoder"]["kind"] != "external":
        raise ConfigError(f"{router.path.name} computes its own embeddings: call it with prompts as it is")
    return ScoredRouter(router.path.name, _Embedded(router, embed), router.strong, router.weak)


class _Embedded:
    """Win rates of a router for embeddings of a function; everything else is the router's."""

    #: An embedding call waits for a network or a model.
    is_microseconds = False

    def __init__(self, router: Router, embed: Embed) -> None:
        self.router = router
        self.embed_prompts = embed
        self.threshold: float = router.threshold
        self.quantiles = router.quantiles
        self.max_queue: int = router.options()["max_queue"]

    def embeddings(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of prompts as the router takes them, float32 ``[prompts, dim]``."""
        matrix = np.ascontiguousarray(self.embed_prompts(prompts), dtype=np.float32)
        expected = (len(prompts), self.router.embedding_dim)
        if matrix.shape != expected:
            raise InvalidInputError(f"the embedding function returned shape {matrix.shape}, expected {expected}")
        return matrix

    def win_rates(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Win rates of many prompts, float32 ``[prompts]``, with as few embedding calls as the function makes."""
        return self.router.win_rates(embeddings=self.embeddings(prompts))

    def __getattr__(self, name: str) -> Any:
        # What takes prompts itself is not the router's: it would ask for embeddings.
        if name in ("router", "win_rate") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.router, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Embedded, (self.router, self.embed_prompts)

    def __repr__(self) -> str:
        return f"{self.router!r}, {self.embed_prompts!r}"
