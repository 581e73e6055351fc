"""The evaluation that lies beside an artifact: ``turnout eval --router FOLDER --data TABLE --json FOLDER/evaluation.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.scored_router import AnyRouter

FILE = "evaluation.json"
_MAX_BYTES = 16 << 20


def evaluation_of(router: AnyRouter) -> dict[str, Any]:
    """Curves of quality over the share of strong calls.

    Args:
        router: Any router; only an artifact in a folder can have an evaluation.

    Returns:
        ``evaluation``: for each table ``table``, ``prompts``, ``strong``, ``weak``, ``weak_quality``, ``strong_quality`` and ``curve``
        (``shares``, ``quality``), maybe none; ``no_evaluation_because``: why there is none, else null.
    """
    folder, artifact_hash = (getattr(router, name, None) for name in ("path", "artifact_hash"))
    if artifact_hash is None or folder is None:
        return _none("this router is not an artifact, so it has no stored evaluation")
    path = folder / FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            return _none(f"{FILE} is larger than {_MAX_BYTES >> 20} MiB")
        document = json.loads(path.read_bytes())
        hashes = {
            key.removeprefix("artifact "): value
            for key, value in document["facts"].items()
            if key.startswith("artifact ")
        }
        names = [name for name, value in hashes.items() if value == artifact_hash]
        if not names:
            return _none(f"the {FILE} in the artifact folder belongs to another artifact; run turnout eval again")
        found = [_table(table, names[0]) for table in document["tables"]]
    except FileNotFoundError:
        return _none(f"the artifact has no {FILE}; turnout eval --json writes one")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return _none(f"the {FILE} in the artifact folder is not in the format of turnout eval ({type(error).__name__})")
    return {"evaluation": found, "no_evaluation_because": None}


def _none(reason: str) -> dict[str, Any]:
    return {"evaluation": [], "no_evaluation_because": reason}


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    curve = table["routers"][name]["curve"]
    shares, quality = _numbers(curve["shares"]), _numbers(curve["quality"])
    if len(shares) != len(quality) or len(shares) < 2 or sorted(shares) != shares:
        raise ValueError("a curve has as many rising shares as qualities, and at least two")
    return {
        "table": str(table["table"]),
        "prompts": int(table["prompts"]),
        "strong": str(table["strong"]),
        "weak": str(table["weak"]),
        "strong_quality": _numbers([table["strong_quality"]["value"]])[0],
        "weak_quality": _numbers([table["weak_quality"]["value"]])[0],
        "curve": {"shares": shares, "quality": quality},
    }


def _numbers(values: Any) -> list[float]:
    found = [float(value) for value in values]
    if not all(map(math.isfinite, found)):
        raise ValueError("numbers are finite")
    return found
