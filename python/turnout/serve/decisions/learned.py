"""What a server has learned: artifacts, profiles and judges, apart from what the operator wrote into the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Snapshot
    from turnout.serve.routers.judges import LoadedCascade


def relearned(before: Snapshot, after: Snapshot) -> list[str]:
    """What was learned anew between two readings of the configuration; routers and models that only one of them has do not count.

    Args:
        before: The earlier one.
        after: The later one.

    Returns:
        What differs, in words.
    """
    known, found = _learned(before), _learned(after)
    return [name for name, value in found.items() if name in known and known[name] != value]


def _learned(snapshot: Snapshot) -> dict[str, object]:
    """By what it is; values are equal where nothing was learned between."""
    found: dict[str, object] = {}
    for (name, strong, weak), router in snapshot.loaded.items():
        found[f"the artifact of router {name}"] = (router.artifact_hash, router.beside)
        if router.cascade is not None:
            found |= _judges(name, {f"{strong} and {weak}": router.cascade})
    for name, pool in snapshot.pools.items():
        found[f"the artifact of router {name} in the pool"] = (pool.artifact_hash, pool.beside)
        found |= {f"the profile of model {model}": digest for model, digest in pool.profiles.items()}
        found |= _judges(name, pool.judges)
    return found


def _judges(router: str, judges: Mapping[str, LoadedCascade]) -> dict[str, object]:
    return {
        f"the judge of router {router} for {name}": (
            one.judge,
            None if one.scorer is None else getattr(one.scorer.router, "artifact_hash", None),
        )
        for name, one in judges.items()
    }
