"""Graphs of classifiers that this package does not write itself: torch traces the model that transformers makes of a checkpoint.

A trace may hold what was true of its example only, such as its length, and some architectures let padding change the answer. So
:mod:`turnout.routers.bert.traced_check` runs it before anything is written.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout._core import ArtifactError
from turnout.extras import require
from turnout.routers.bert.classifier_network import ClassifierNetwork
from turnout.routers.bert.traced_check import LARGEST_BATCH_ERROR, LARGEST_ERROR, differences

if TYPE_CHECKING:
    from turnout.graphs.checkpoint import Checkpoint

_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime")


def traced(
    source: Checkpoint, out: Path, labels: int, written: Sequence[str], log: Callable[[str], object]
) -> ClassifierNetwork:
    """Exports a classifier through torch, and checks the graph against it.

    Args:
        source: The checkpoint, of any architecture that ``AutoModelForSequenceClassification`` knows; its own code is never run.
        out: Folder of the artifact, for the file of weights of a large one; it must be there.
        labels: Columns of the classifier.
        written: Architectures that need none of this, for the messages.
        log: Called with a line before the export, and with one of differences found.

    Returns:
        The network.

    Raises:
        ArtifactError: transformers cannot load it, torch cannot export it, or the graph does not do what torch does.
        ConfigError: A package is missing; names the remedy.
    """
    config = source.folder / "config.json"
    require(
        "train,onnx",
        *_PACKAGES,
        purpose=f"{config}: model_type is {source.kind!r}, expected {', '.join(written)}; any other architecture",
    )
    import torch
    import transformers

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    log(f"{config}: model_type is {source.kind!r}, not {', '.join(written)}: exporting it through {versions}")
    model = _model(source)
    limit, dim = _limit(source, model.config), getattr(model.config, "hidden_size", None)
    if not isinstance(dim, int):
        raise ArtifactError.at(config, "hidden_size is missing, expected the width of the encoder")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".traced-") as folder:
        file = _export(source, model, labels, Path(folder))
        found = differences(source, model, file, labels, limit)
        if not found.acceptable:
            raise ArtifactError.at(
                config,
                f"the graph that torch exports of {source.kind!r} cannot be used as a router: {found}; "
                f"expected at most {LARGEST_ERROR:.0e} and {LARGEST_BATCH_ERROR:.0e}",
            )
        log(f"{config}: checked: {found}")
        graph, data = file.read_bytes(), None
        weights = _data_file(file)
        if weights.exists():
            data = Path(shutil.move(weights, out / weights.name))
    return ClassifierNetwork(
        graph=graph,
        data=data,
        dim=dim,
        max_tokens=limit,
        provenance={"weights": "float32", "graph": f"{versions}, torch.onnx.export", "checked": str(found)},
    )


def _model(source: Checkpoint) -> Any:
    """The classifier in float32."""
    from transformers import AutoModelForSequenceClassification

    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            source.folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            # Expanded into basic operators, which every exporter supports.
            attn_implementation="eager",
            output_loading_info=True,
        )
    except Exception as error:
        raise ArtifactError.at(source.folder, f"transformers cannot load it as a classifier: {error}") from error
    if loading["missing_keys"]:
        absent = ", ".join(sorted(loading["missing_keys"])[:8])
        raise ArtifactError.at(source.folder, f"not a classifier: missing weights: {absent}")
    return model.eval().float()


def _limit(source: Checkpoint, config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        return source.max_tokens(positions)
    if "model_max_length" not in source.optional_json("tokenizer_config.json"):
        raise ArtifactError.at(
            source.folder / "tokenizer_config.json",
            "model_max_length is missing, and config.json names no "
            "max_position_embeddings either: expected the number of tokens that the model reads",
        )
    return source.max_tokens(None)


def _export(source: Checkpoint, model: Any, labels: int, folder: Path) -> Path:
    """Writes ``model.onnx``, with large weights in a separate file."""
    import onnx
    import torch

    from turnout.graphs.network import INLINE_BYTES
    from turnout.graphs.static import OPSET

    padding = getattr(model.config, "pad_token_id", None)

    class Logits(torch.nn.Module):
        """The interface of a router's graph; the core pads with zeros, whatever the model's padding is."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            if padding is not None:
                input_ids = torch.where(attention_mask.bool(), input_ids, padding)
            return self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).logits

    file = folder / "traced" / "model.onnx"
    file.parent.mkdir()
    ids = torch.ones((2, 5), dtype=torch.int64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    axes = {0: "prompts", 1: "tokens"}
    try:
        # What the tracer warns of is what the check finds or does not find; where it fails, it prints the graph.
        with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Logits().eval(),
                (ids, mask),
                str(file),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "prompts"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise ArtifactError.at(source.folder, f"torch cannot export {source.kind!r}: {error}") from error
    made = onnx.load(file)
    shape: list[str | int | None] = ["prompts", labels]
    made.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape))
    file = folder / "model.onnx"
    large = source.bytes_as_float32 > INLINE_BYTES
    onnx.save_model(made, file, save_as_external_data=large, location=_data_file(file).name)
    return file


def _data_file(file: Path) -> Path:
    from turnout.graphs.network import DATA_FILE

    return file.with_name(DATA_FILE)
