"""Imports causal language models that answer with a score token, as RouteLLM's ``causal_llm`` router uses them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from turnout._core import ArtifactError
from turnout.graphs.checkpoint import Checkpoint
from turnout.graphs.checkpoint_tokenizer import check_token_ids
from turnout.graphs.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.network import NetworkWriter

#: The tokens that RouteLLM adds to the vocabulary, from score 1 to score 5.
SCORE_TOKENS = ("[[1]]", "[[2]]", "[[3]]", "[[4]]", "[[5]]")
#: RouteLLM generates at most so many tokens.
MAX_NEW_TOKENS = 6
#: The ``model_type`` of every checkpoint that can be imported.
_TYPES = ("llama", "mistral", "qwen2")

#: How a turn of a conversation is written down, by default as Llama 3 does.
DEFAULT_FORMAT = {
    "system": "<|start_header_id|>system<|end_header_id|>\n\n{text}<|eot_id|>",
    "user": "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
}
#: Used if no file of the checkpoint has another text.
DEFAULT_SYSTEM = """\
You judge how well a language model of modest size would answer a question. Think of the knowledge, the care and the number of
steps that a good answer takes, then give one score and nothing else:
[[5]] or [[4]]: its answer would be good; nobody would miss a larger model.
[[3]]: its answer would do, but a larger model would do better.
[[2]] or [[1]]: it would fail; the question is hard, vague or beyond what it knows."""
DEFAULT_CLASSIFIER = "Question:\n{question}\n\nScore:"


def import_causal_llm(
    checkpoint: str | Path,
    out: str | Path,
    *,
    strong: str = "gpt-4-1106-preview",
    weak: str = "mixtral-8x7b-instruct-v0.1",
    threshold: float = 0.5,
    name: str = "causal_llm",
    precision: Precision = "float32",
) -> Path:
    """Writes an artifact from a Llama-architecture checkpoint with the five score tokens ``[[1]]`` to ``[[5]]``.

    The win rate is the share of the scores 1 to 3 in the softmax of the five score logits, at the first score token among at most
    six greedy ones, and 1 if none comes (RouteLLM's ``CausalLLMRouter``). The graph gives the logits of the last token only.

    Texts around the prompt come from files of the checkpoint if they exist: ``system*.txt`` and ``classifier*.txt``
    (RouteLLM's are ``system_ft_v5.txt`` and ``classifier_ft_v5.txt``), the latter with ``{question}`` in it, and
    ``prompt_format.json`` with ``system`` and ``user``, each with ``{text}`` in it.

    Args:
        checkpoint: Folder with ``config.json``, safetensors and ``tokenizer.json``.
        out: Artifact folder to write; see :func:`turnout.artifact.staged.staged` for what an error leaves of it.
        strong: Strong model.
        weak: Weak model.
        threshold: Default threshold.
        name: Of the artifact.
        precision: Of linear layers and embeddings: ``"float32"``, ``"float16"`` (for GPUs alone), ``"int8"`` or ``"int4"``; see
            :mod:`turnout.graphs.precision`.

    Returns:
        The artifact folder.

    Raises:
        ArtifactError: The checkpoint is of another kind, or damaged; names file and tensor.
        ConfigError: There is no such precision, or a weight is beyond it.
    """
    from turnout.artifact.manifest import Manifest
    from turnout.artifact.staged import staged
    from turnout.artifact.writer import write_artifact
    from turnout.graphs.network import NetworkWriter

    source, out = Checkpoint(checkpoint), Path(out)
    check_architecture(source)
    tokenizer = source.tokenizer()
    scores = _score_tokens(source)
    check_token_ids(source.folder / "tokenizer.json", tokenizer, source.whole("vocab_size"))
    before, after = frame(source)
    positions = source.max_tokens(source.whole("max_position_embeddings"))
    generation = {
        "before": before,
        "after": after,
        "score_tokens": scores,
        "end_tokens": _end_tokens(source),
        "max_new_tokens": MAX_NEW_TOKENS,
    }
    with staged(out) as folder:
        with NetworkWriter(folder, source.bytes_as_float32, precision) as writer:
            logits = _last_logits(writer, source, positions, scores)
            writer.name_output(logits, "logits")
            graph = writer.finish([("logits", ["prompts", source.whole("vocab_size")])])
        spec = Manifest(
            name=name,
            kind="causal_llm",
            models=[strong, weak],
            strong=strong,
            weak=weak,
            encoder={"kind": "graph", "dim": source.whole("hidden_size")},
            default_threshold=threshold,
            graph_precision=precision,
            sections={"generation": generation},
            provenance={
                "imported_from": f"{source.kind} checkpoint {source.folder.name}",
                "weights": PRECISIONS[precision],
            },
        )
        write_artifact(folder, spec, graph=graph, tokenizer=tokenizer, max_tokens=positions, data=writer.data)
    return out


def check_architecture(source: Checkpoint) -> None:
    """Whether the graph can be written, according to the configuration.

    Raises:
        ArtifactError: It cannot; names the field.
    """
    config = source.folder / "config.json"
    if source.kind not in _TYPES:
        raise ArtifactError.at(config, f"model_type is {source.kind!r}, expected {', '.join(_TYPES)}")
    if source.config.get("hidden_act", "silu") != "silu":
        raise ArtifactError.at(config, f"hidden_act is {source.config['hidden_act']!r}, expected 'silu'")
    if source.config.get("sliding_window") and source.config.get("use_sliding_window", True):
        raise ArtifactError.at(config, "sliding_window is not supported")
    _frequencies(source, 2)


def _score_tokens(source: Checkpoint) -> list[int]:
    file, vocabulary = source.folder / "tokenizer.json", source.whole("vocab_size")
    try:
        added = {token["content"]: token["id"] for token in source.json(file.name)["added_tokens"]}
    except (KeyError, TypeError) as error:
        raise ArtifactError.at(file, f"not a list of added tokens: {error}") from error
    missing = [token for token in SCORE_TOKENS if token not in added]
    if missing:
        raise ArtifactError.at(file, f"no added token {missing[0]!r}, expected the scores {', '.join(SCORE_TOKENS)}")
    scores = [added[token] for token in SCORE_TOKENS]
    for token, number in zip(SCORE_TOKENS, scores, strict=True):
        if not _is_token(number) or number >= vocabulary or scores.count(number) > 1:
            raise ArtifactError.at(
                file, f"the id of {token!r} is {number!r}, expected a distinct id below vocab_size, {vocabulary}"
            )
    return scores


def _end_tokens(source: Checkpoint) -> list[int]:
    found = source.optional_json("generation_config.json").get("eos_token_id", source.config.get("eos_token_id"))
    listed = found if isinstance(found, list) else [] if found is None else [found]
    if not all(map(_is_token, listed)):
        raise ArtifactError.at(source.folder, f"eos_token_id is {found!r}, expected ids of tokens")
    return listed


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def frame(source: Checkpoint) -> tuple[str, str]:
    """The texts before and after the prompt. As in RouteLLM, each turn is stripped after the question is put in.

    Raises:
        ArtifactError: A file of the checkpoint does not contain the question's placeholder exactly once; the message names it.
    """
    form = source.optional_json("prompt_format.json") or DEFAULT_FORMAT
    for turn in ("system", "user"):
        if str(form.get(turn, "")).count("{text}") != 1:
            raise ArtifactError.at(source.folder / "prompt_format.json", f"{turn!r} must contain {{text}} once")
    system = _text(source, "system", DEFAULT_SYSTEM).strip()
    classifier = _text(source, "classifier", DEFAULT_CLASSIFIER).strip()
    parts = classifier.split("{question}")
    if len(parts) != 2 or not all(part.strip() for part in parts):
        raise ArtifactError.at(
            source.folder, "the classifier text must contain {question} once, with text on both sides"
        )
    opening, closing = str(form["user"]).split("{text}")
    before, after = str(form["system"]).replace("{text}", system) + opening + parts[0], parts[1] + closing
    try:
        (before + after).encode()
    except UnicodeEncodeError as error:
        raise ArtifactError.at(source.folder / "prompt_format.json", f"{error}") from error
    return before, after


def _text(source: Checkpoint, stem: str, default: str) -> str:
    files = sorted(source.folder.glob(f"{stem}*.txt"))
    if len(files) > 1:
        raise ArtifactError.at(source.folder, f"{', '.join(file.name for file in files)}: expected one {stem}*.txt")
    try:
        return files[0].read_text(encoding="utf-8-sig") if files else default
    except UnicodeDecodeError as error:
        raise ArtifactError.at(files[0], f"expected UTF-8: {error}") from error


def _frequencies(source: Checkpoint, size: int) -> NDArray[np.float64]:
    """Angle per position of each pair of numbers in a head ("RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv 2104.09864, section 3.2), with Llama 3's stretching."""
    config = source.folder / "config.json"
    rope = source.table("rope_parameters") or source.table("rope_scaling")

    def positive(key: str) -> float:
        value = rope.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1e-6 <= value <= 1e30:
            raise ArtifactError.at(config, f"{key} of the rotary embedding is {value!r}, expected a number above 0")
        return float(value)

    has_theta = rope.get("rope_theta") is not None
    theta = positive("rope_theta") if has_theta else source.number("rope_theta", default=10000.0, least=1e-6)
    angles = theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return angles
    if kind == "linear":
        return angles / positive("factor")
    if kind == "llama3":
        factor, low, high = positive("factor"), positive("low_freq_factor"), positive("high_freq_factor")
        if low >= high:
            raise ArtifactError.at(config, f"low_freq_factor is {low}, expected less than high_freq_factor, {high}")
        periods = positive("original_max_position_embeddings") * angles / (2 * math.pi)
        share = np.clip((periods - low) / (high - low), 0.0, 1.0)
        return (1 - share) * angles / factor + share * angles
    raise ArtifactError.at(config, f"rope_type is {kind!r}, expected default, linear or llama3")


def _last_logits(w: NetworkWriter, source: Checkpoint, positions: int, scores: list[int]) -> str:
    config = source.folder / "config.json"
    dim, layers, inner = (source.whole(key) for key in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    heads = source.whole("num_attention_heads")
    groups = source.whole("num_key_value_heads", default=heads)
    size = source.whole("head_dim", default=dim // heads)
    vocabulary = source.whole("vocab_size")
    if heads % groups or size == 0 or size % 2:
        raise ArtifactError.at(config, f"{heads} heads of size {size} do not share {groups} key/value heads")
    # Before tables of angles are made for heads of that size.
    source.expect("model.layers.0.self_attn.q_proj.weight", heads * size, dim)
    epsilon = source.number("rms_norm_eps", default=1e-6, least=0, most=1)

    def normalized(x: str, name: str) -> str:
        """Normalizes by the root mean square ("Root Mean Square Layer Normalization", arXiv 1910.07467, section 4)."""
        mean = w.add("ReduceMean", w.add("Mul", x, x), w.constant([-1], np.int64), keepdims=1)
        root = w.add("Sqrt", w.add("Add", mean, w.constant(epsilon)))
        return str(w.add("Mul", w.add("Div", x, root), w.weight(source.tensor(f"{name}.weight", dim))))

    def linear(x: str, name: str, rows: int, columns: int) -> str:
        bias = source.tensor(f"{name}.bias", rows) if f"{name}.bias" in source else None
        return w.linear(x, source.tensor(f"{name}.weight", rows, columns), bias)

    def split(x: str, count: int) -> str:
        """``[prompts, count, tokens, size]``."""
        return str(
            w.add("Transpose", w.add("Reshape", x, w.constant([0, 0, count, size], np.int64)), perm=[0, 2, 1, 3])
        )

    def rotated(x: str, cosine: str, sine: str) -> str:
        first, second = w.add("Split", x, outputs=2, axis=-1, num_outputs=2)
        left = w.add("Sub", w.add("Mul", first, cosine), w.add("Mul", second, sine))
        right = w.add("Add", w.add("Mul", second, cosine), w.add("Mul", first, sine))
        return str(w.add("Concat", left, right, axis=-1))

    axis, zero, one = w.constant([1], np.int64), w.constant([0], np.int64), w.constant([1], np.int64)
    tokens = w.add("Shape", "input_ids", start=1, end=2)
    token_positions = w.add("Range", w.constant(0, np.int64), w.add("Squeeze", tokens, zero), w.constant(1, np.int64))
    angles = np.arange(positions)[:, None] * _frequencies(source, size)[None, :]
    tables = [w.weight(values.astype(np.float32)) for values in (np.cos(angles), np.sin(angles))]
    cosine, sine = (w.add("Gather", table, token_positions) for table in tables)
    # A token attends to itself and earlier tokens, so padding on the right has no effect.
    later = w.add("Greater", w.add("Unsqueeze", token_positions, zero), w.add("Unsqueeze", token_positions, one))
    unseen = w.add("Where", later, w.constant(-1e9), w.constant(0.0))
    # The position of the last token, the only one that the last layer computes.
    length = w.add("ReduceSum", "attention_mask", axis, keepdims=1)
    last = w.add("Max", w.add("Sub", length, one), zero)
    beyond = w.add("Greater", w.add("Unsqueeze", token_positions, zero), last)
    beyond = w.add(
        "Unsqueeze", w.add("Where", beyond, w.constant(-1e9), w.constant(0.0)), w.constant([1, 2, 3], np.int64)
    )

    def last_of(x: str) -> str:
        """``[prompts, 1, dim]``."""
        return str(w.add("Unsqueeze", w.add("GatherND", x, last, batch_dims=1), axis))

    x = w.gather(source.tensor("model.embed_tokens.weight", vocabulary, dim), "input_ids")
    for number in range(layers):
        layer = f"model.layers.{number}"
        h = normalized(x, f"{layer}.input_layernorm")
        k = rotated(split(linear(h, f"{layer}.self_attn.k_proj", groups * size, dim), groups), cosine, sine)
        v = split(linear(h, f"{layer}.self_attn.v_proj", groups * size, dim), groups)
        bias, q_cosine, q_sine = w.add("Unsqueeze", unseen, w.constant([0, 1, 2], np.int64)), cosine, sine
        if number + 1 == layers:
            x, h, bias = last_of(x), last_of(h), beyond
            # [prompts, 1, 1, size / 2]: each prompt's last token has its own position.
            q_cosine, q_sine = (w.add("Unsqueeze", w.add("Gather", table, last), axis) for table in tables)
        q = rotated(split(linear(h, f"{layer}.self_attn.q_proj", heads * size, dim), heads), q_cosine, q_sine)
        q = w.add("Mul", q, w.constant(1 / math.sqrt(size)))
        # Heads of a group share keys and values: [prompts, groups, heads of a group, tokens, size].
        q = w.add("Reshape", q, w.constant([0, groups, heads // groups, -1, size], np.int64))
        k = w.add("Unsqueeze", w.add("Transpose", k, perm=[0, 1, 3, 2]), w.constant([2], np.int64))
        v = w.add("Unsqueeze", v, w.constant([2], np.int64))
        weights = w.add("Softmax", w.add("Add", w.add("MatMul", q, k), bias), axis=-1)
        mixed = w.add("Reshape", w.add("MatMul", weights, v), w.constant([0, heads, -1, size], np.int64))
        mixed = w.add("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = w.add("Reshape", mixed, w.constant([0, 0, heads * size], np.int64))
        x = w.add("Add", x, linear(mixed, f"{layer}.self_attn.o_proj", dim, heads * size))
        h = normalized(x, f"{layer}.post_attention_layernorm")
        gate = linear(h, f"{layer}.mlp.gate_proj", inner, dim)
        gate = w.add("Mul", gate, w.add("Sigmoid", gate))
        hidden = w.add("Mul", gate, linear(h, f"{layer}.mlp.up_proj", inner, dim))
        x = w.add("Add", x, linear(hidden, f"{layer}.mlp.down_proj", dim, inner))
    x = w.add("Squeeze", normalized(x, "model.norm"), axis)
    head = "model.embed_tokens.weight" if source.config.get("tie_word_embeddings") else "lm_head.weight"
    rows = source.tensor(head, vocabulary, dim)
    logits = w.linear(x, rows)
    if w.precision == "float32":
        return logits
    # The win rate is read from these five logits alone: their rows stay float32.
    exact = w.add("MatMul", x, w.weight(rows[scores].T))
    token_positions = w.add("Expand", w.constant([scores], np.int64), w.add("Shape", exact))
    return str(w.add("ScatterElements", logits, token_positions, exact, axis=1))
