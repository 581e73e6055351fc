"""Mixed precision: where a graph computes in float16, and the casts between.

Graphs are written as if all were float32. Weights of linear layers are float16, and this adds what follows from that:

- A product of matrices is float16, unless one of them is a float32 weight: such a layer was meant to stay exact.
- Where sums of squares or exponentials could overflow (65,504 is the largest float16), the operator takes float32.
- Elsewhere float16 meets float32 as float32: sums over layers, and scores under a mask of minus a billion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

# Element types by their numbers in ONNX.
_FLOAT32, _INT64, _BOOL, _FLOAT16 = 1, 7, 9, 10
_NEEDS_FLOAT32 = frozenset({"LayerNormalization", "ReduceMean", "ReduceSum", "Softmax"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_ANSWERS_YES_OR_NO = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"})


class Autocast:
    """Tracks the type of every value.

    Args:
        cast: Adds a node that casts a value to a type; returns the name of the result.
    """

    def __init__(self, cast: Callable[[str, int], str]) -> None:
        self._cast = cast
        self._types = {"input_ids": _INT64, "attention_mask": _INT64}
        self._weights: set[str] = set()
        self._casts: dict[tuple[str, int], str] = {}

    def weight(self, name: str, type_: int) -> None:
        """Takes note of a weight or constant."""
        self._types[name] = type_
        self._weights.add(name)

    def inputs(self, op: str, names: Sequence[str]) -> list[str]:
        """What a node has to take in place of these values."""
        types = [self._types[name] for name in names]
        if op == "Cast" or (_FLOAT16 not in types and op not in _PRODUCTS):
            return list(names)
        exact = any(name in self._weights and self._types[name] == _FLOAT32 for name in names)
        narrow = not exact if op in _PRODUCTS else _FLOAT32 not in types and op not in _NEEDS_FLOAT32
        target = _FLOAT16 if narrow else _FLOAT32
        return [self.as_type(name, target) if self._types[name] in (_FLOAT32, _FLOAT16) else name for name in names]

    def outputs(self, op: str, inputs: Sequence[str], names: Sequence[str], attributes: dict[str, Any]) -> None:
        """Takes note of what a node makes."""
        if op == "Cast":
            made = int(attributes["to"])
        elif op == "Shape":
            made = _INT64
        elif op in _ANSWERS_YES_OR_NO:
            made = _BOOL
        else:
            made = self._types[inputs[1 if op == "Where" else 0]]
        self._types.update(dict.fromkeys(names, made))

    def as_type(self, name: str, target: int) -> str:
        """A float value in that type, cast at most once."""
        if self._types[name] == target:
            return name
        if (name, target) not in self._casts:
            self._casts[name, target] = self._cast(name, target)
        return self._casts[name, target]
