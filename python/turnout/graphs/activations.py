"""Activation functions by the names that configurations of transformers give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout._core import ArtifactError

if TYPE_CHECKING:
    from turnout.graphs.checkpoint import Checkpoint
    from turnout.graphs.network import NetworkWriter

_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}


class Activation:
    """The function that a field of ``config.json`` names, ``gelu`` where it names none.

    Args:
        source: The checkpoint.
        fields: Names of the field; the first that is there counts.

    Raises:
        ArtifactError: The function is another one; names field and value.
    """

    def __init__(self, source: Checkpoint, *fields: str) -> None:
        field = next((field for field in fields if field in source.config), fields[0])
        name = str(source.config.get(field, "gelu"))
        if name not in _OPERATORS:
            config = source.folder / "config.json"
            raise ArtifactError.at(config, f"{field} is {name!r}, expected {', '.join(_OPERATORS)}")
        self._operator, self._attributes = _OPERATORS[name]

    def __call__(self, w: NetworkWriter, x: str) -> str:
        """Adds it to the graph after ``x``."""
        return str(w.add(self._operator, x, **self._attributes))
