"""Figures as JSON, which has neither NaN nor infinity."""

from __future__ import annotations

import math
from typing import Any


def json_values(value: Any) -> Any:
    """Nested dictionaries and lists with ``None`` in place of numbers that are not finite.

    Args:
        value: Dictionaries, lists, numbers and texts.

    Returns:
        The same, for :func:`json.dumps`.

    Example:
        >>> json_values({"low": float("nan"), "cost": [1.0, float("inf")]})
        {'low': None, 'cost': [1.0, None]}
    """
    if isinstance(value, dict):
        return {name: json_values(one) for name, one in value.items()}
    if isinstance(value, list):
        return [json_values(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
