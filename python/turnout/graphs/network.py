"""Writes ONNX graphs of networks node by node, weights streamed, linear layers and embeddings in one of four precisions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from turnout._core import ConfigError
from turnout.graphs.autocast import Autocast
from turnout.graphs.blocks import row_blocks
from turnout.graphs.int4 import int4_linear
from turnout.graphs.int8 import int8_gather, int8_linear
from turnout.graphs.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Beyond this many bytes weights go into a file of their own, streamed: an ONNX file cannot have more than 2 GiB, and building one in
#: memory takes six times its size.
INLINE_BYTES = 64 << 20
#: The first operator set whose ``QuantizeLinear`` takes a scale for each row, and the first format version that has it.
_OPSET, _IR_VERSION = 21, 10
#: Name of that file.
DATA_FILE = "model.onnx.data"


class NetworkWriter:
    """Collects nodes and weights. A ``with`` block ends with a whole file of weights, or with none if it raises.

    Args:
        folder: Where the file of weights is written, if there is one; it must be there.
        bytes_expected: Size of all weights in float32, which decides on that file.
        precision: Of linear layers and embeddings.

    Raises:
        ConfigError: An unknown precision.
    """

    def __init__(self, folder: Path, bytes_expected: int, precision: Precision = "float32") -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"precision is {precision!r}, expected {', '.join(PRECISIONS)}")
        self.precision = precision
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._count = 0
        self._known: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self._autocast = (
            Autocast(lambda value, to: str(self.add("Cast", value, to=to))) if precision == "float16" else None
        )
        self.data: Path | None = None
        self._stream: IO[bytes] | None = None
        if bytes_expected > INLINE_BYTES:
            self.data = folder / DATA_FILE
            # Under another name until it is whole: an artifact that is there already stays whole too.
            self._stream = (folder / f".{DATA_FILE}.part").open("wb")

    def __enter__(self) -> NetworkWriter:
        return self

    def __exit__(self, *_: object) -> None:
        # After `finish` there is nothing left under the other name.
        if self._stream is not None:
            self._stream.close()
            Path(self._stream.name).unlink(missing_ok=True)

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Adds a node.

        Returns:
            The name of its output, or a list of names if there are several.
        """
        from onnx import helper

        taken = list(inputs) if self._autocast is None else self._autocast.inputs(op, inputs)
        names = [self._name(op.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(op, taken, names, domain=domain, **attributes))
        if self._autocast is not None:
            self._autocast.outputs(op, taken, names, attributes)
        return names[0] if outputs == 1 else names

    def name_output(self, value: str, name: str) -> None:
        """Gives a float value the name of a graph output, which is float32."""
        from onnx import TensorProto, helper

        exact = value if self._autocast is None else self._autocast.as_type(value, TensorProto.FLOAT)
        self._nodes.append(helper.make_node("Identity", [exact], [name]))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._known:
            self._known[key] = self.weight(array)
        return self._known[key]

    def weight(self, array: NDArray[Any]) -> str:
        """A weight, as it is; large ones go to the file of weights where there is one."""
        return self._stored(array, array.dtype)

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """``x @ weight.T + bias``; ``weight`` is float32 ``[out, in]``, as torch stores it."""
        if self.precision == "int8":
            y = int8_linear(self, x, weight)
        elif self.precision == "int4":
            y = int4_linear(self, x, weight)
        else:
            y = str(self.add("MatMul", x, self._stored(weight.T, self._float)))
        return y if bias is None else str(self.add("Add", y, self._stored(bias, self._float)))

    def dense(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """``linear`` of an ``x`` of two dimensions: where nothing is quantized, ONNX Runtime adds the bias while it multiplies."""
        if self.precision in ("int8", "int4"):
            return self.linear(x, weight, bias)
        return str(self.add("Gemm", x, self._stored(weight.T, self._float), self._stored(bias, self._float)))

    def gather(self, table: NDArray[np.float32], ids: str) -> str:
        """Rows of an embedding table, float32 ``[rows, width]``, as float32; with 8 bits and less, int8."""
        if self.precision in ("int8", "int4"):
            return int8_gather(self, table, ids)
        rows = str(self.add("Gather", self._stored(table, self._float), ids))
        return rows if self._autocast is None else str(self.add("Cast", rows, to=1))

    def finish(self, outputs: Sequence[tuple[str, Sequence[Any]]]) -> bytes:
        """The serialized model, from ``input_ids`` and ``attention_mask`` to float32 outputs of these names and shapes."""
        from onnx import TensorProto, checker, helper

        if self._stream is not None and self.data is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self._stream.name, self.data)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["prompts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs]
        graph = helper.make_graph(self._nodes, "turnout_network", inputs, made, self._weights)
        domains = {"": _OPSET} | {node.domain: 1 for node in self._nodes if node.domain}
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        if self.data is None:
            checker.check_model(model, full_check=True)
        serialized: bytes = model.SerializeToString()
        return serialized

    @property
    def _float(self) -> np.dtype[Any]:
        """Of the weights of linear layers and embeddings that are not integers."""
        return np.dtype(np.float16 if self.precision == "float16" else np.float32)

    def _stored(self, array: NDArray[Any], dtype: np.dtype[Any]) -> str:
        """A weight in that type, written a piece at a time."""
        from onnx import TensorProto, helper, numpy_helper

        name = self._name("w")
        type_, bytes_ = helper.np_dtype_to_tensor_dtype(dtype), array.size * dtype.itemsize
        if self._autocast is not None:
            self._autocast.weight(name, type_)
        if self._stream is None or bytes_ < 1024:
            self._weights.append(numpy_helper.from_array(_converted(array, dtype), name))
            return name
        # Aligned, so that the engine may use the bytes where they are.
        self._stream.write(b"\0" * (-self._stream.tell() % 4096))
        tensor = TensorProto(name=name, dims=array.shape, data_type=type_)
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": DATA_FILE, "offset": self._stream.tell(), "length": bytes_}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        for rows in row_blocks(array):
            self._stream.write(_converted(array[rows], dtype).data)
        self._weights.append(tensor)
        return name

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _converted(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype == np.float16 and np.abs(array).max(initial=0.0) > np.finfo(np.float16).max:
        raise ConfigError(
            f"a weight is {np.abs(array).max():g}, beyond float16's {np.finfo(np.float16).max:g}: choose another precision"
        )
    return np.asarray(array, dtype=dtype, order="C")
