"""Writes ONNX graphs of networks node by node, weights streamed, linear layers in float32 or int8.

int8 quantisation keeps its promise that a prompt alone and in a batch gives the same win rate: weights have one scale for each
output channel, fixed; activations have one scale for each row (each token of each prompt), made from that row alone. A scale for
the whole tensor, as ``DynamicQuantizeLinear`` makes it, would depend on whatever shares the run.

    row_scale = max(|x|, 1e-30) / 127          q = round(x / row_scale) + 128                      uint8
    y = ((q - 128) @ W_int8) * column_scale * row_scale + bias                                     float32

Weights use 7 of the 8 bits: on processors without VNNI, two products of full 8-bit numbers overflow the 16 bits in which ONNX
Runtime adds them, and the same artifact would give other win rates there.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from turnout.export.onnx import IR_VERSION, OPSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Beyond this many bytes weights go into a file of their own: an ONNX file cannot have more than 2 GiB.
INLINE_BYTES = 512 << 20
#: Name of that file.
DATA_FILE = "model.onnx.data"
_WEIGHT_RANGE = 63
_ACTIVATION_RANGE = 127


class NetworkWriter:
    """Collects nodes and weights.

    Args:
        folder: Where the file of weights is written, if there is one.
        bytes_expected: Size of all weights, which decides on that file.
        int8: Whether linear layers and embeddings are quantised.
    """

    def __init__(self, folder: Path, bytes_expected: int, *, int8: bool = False) -> None:
        self.int8 = int8
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._count = 0
        self._known: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self.data: Path | None = None
        self._stream: IO[bytes] | None = None
        if bytes_expected > INLINE_BYTES:
            folder.mkdir(parents=True, exist_ok=True)
            self.data = folder / DATA_FILE
            self._stream = self.data.open("wb")

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Adds a node.

        Returns:
            The name of its output, or a list of names if there are several.
        """
        from onnx import helper

        names = [self._name(op.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def name_output(self, value: str, name: str) -> None:
        """Gives a value the name of a graph output."""
        from onnx import helper

        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._known:
            self._known[key] = self.weight(array)
        return self._known[key]

    def weight(self, array: NDArray[Any]) -> str:
        """A weight; large ones go to the file of weights where there is one."""
        from onnx import TensorProto, helper, numpy_helper

        name = self._name("w")
        array = np.ascontiguousarray(array)
        if self._stream is None or array.nbytes < 1024:
            self._weights.append(numpy_helper.from_array(array, name))
            return name
        # Aligned, so that the engine may use the bytes where they are.
        self._stream.write(b"\0" * (-self._stream.tell() % 4096))
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": DATA_FILE, "offset": self._stream.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._stream.write(array.data)
        self._weights.append(tensor)
        return name

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """``x @ weight.T + bias``; ``weight`` is float32 ``[out, in]``, as torch stores it."""
        y: str
        if not self.int8:
            y = self.add("MatMul", x, self.weight(weight.T))
        else:
            scale = np.maximum(np.abs(weight).max(axis=1), 1e-30) / _WEIGHT_RANGE
            quantised = np.rint(weight / scale[:, None]).astype(np.int8)
            rows, row_scale = self._rows_as_int8(x)
            integers = self.add(
                "MatMulInteger", rows, self.weight(quantised.T), self.constant(_ACTIVATION_RANGE + 1, np.uint8)
            )
            unscaled = self.add("Mul", self.add("Cast", integers, to=1), self.weight(scale.astype(np.float32)))
            y = self.add("Mul", unscaled, row_scale)
        return y if bias is None else self.add("Add", y, self.weight(bias))

    def gather(self, table: NDArray[np.float32], ids: str) -> str:
        """Rows of an embedding table, float32 ``[rows, width]``; int8 has one scale for each row of it."""
        if not self.int8:
            return str(self.add("Gather", self.weight(table), ids))
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-30) / 127
        quantised = np.rint(table / scale).astype(np.int8)
        rows = self.add("Cast", self.add("Gather", self.weight(quantised), ids), to=1)
        return str(self.add("Mul", rows, self.add("Gather", self.weight(scale.astype(np.float32)), ids)))

    def finish(self, outputs: Sequence[tuple[str, Sequence[Any]]]) -> bytes:
        """The serialised model, from ``input_ids`` and ``attention_mask`` to float32 outputs of these names and shapes."""
        from onnx import TensorProto, checker, helper

        if self._stream is not None:
            self._stream.close()
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["prompts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs]
        graph = helper.make_graph(self._nodes, "turnout_network", inputs, made, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        if self.data is None:
            checker.check_model(model, full_check=True)
        serialised: bytes = model.SerializeToString()
        return serialised

    def _rows_as_int8(self, x: str) -> tuple[str, str]:
        largest = self.add("ReduceMax", self.add("Abs", x), self.constant([-1], np.int64), keepdims=1)
        scale = self.add("Mul", self.add("Max", largest, self.constant(1e-30)), self.constant(1 / _ACTIVATION_RANGE))
        unit = self.add("Div", x, scale)
        zero = self.constant(_ACTIVATION_RANGE + 1, np.uint8)
        return self.add("QuantizeLinear", unit, self.constant(1.0), zero), scale

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"
