"""From the ONNX graph of a static encoder back to its weights."""

from __future__ import annotations

from typing import Any

from turnout._core import ConfigError
from turnout.graphs.static import Activation, StaticEncoder, View

_NEEDED = {"token_table", "row_scale", "count_table", "feature_weight", "bias"}
_ACTIVATIONS: dict[str, Activation] = {"Relu": "relu", "Tanh": "tanh", "Gelu": "gelu"}


def read_static(graph: bytes, name: str) -> StaticEncoder:
    """Reads the weights of a graph that :func:`turnout.graphs.static.static_graph` has written.

    Args:
        graph: Serialized model.
        name: Name of the router, for messages.

    Raises:
        ConfigError: The graph is not of a static encoder.
    """
    import onnx
    from onnx import numpy_helper

    found = onnx.load_from_string(graph).graph
    weights: dict[str, Any] = {one.name: numpy_helper.to_array(one) for one in found.initializer}
    if not set(weights) >= _NEEDED:
        raise ConfigError(f"{name}: expected a router with a static encoder, such as the shipped mf")
    operators = [node.op_type for node in found.node if "embedding" in node.output]
    views = None
    if "first_gain" in weights:
        first, last = (View(int(weights[f"{end}_tokens"][0]), weights[f"{end}_gain"]) for end in ("first", "last"))
        views = first, last
    return StaticEncoder(
        token_table=weights["token_table"],
        row_scale=weights["row_scale"].ravel(),
        count_table=weights["count_table"],
        feature_weight=weights["feature_weight"],
        bias=weights["bias"],
        activation=_ACTIVATIONS.get(operators[0], "identity"),
        views=views,
    )
