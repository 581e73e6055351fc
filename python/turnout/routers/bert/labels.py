"""What the logits of a classifier mean: how many there are, and which of them is the strong model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnout._core import ArtifactError, ConfigError
from turnout.graphs.checkpoint import Checkpoint

#: What RouteLLM's labels mean, by their number (its ``BERTRouter``: the win rate is the first label's probability).
DEFAULT_LABELS = {1: ("strong",), 2: ("strong", "weak"), 3: ("strong", "tie", "weak")}
#: Labels of a configuration that names neither ``id2label`` nor ``num_labels``, as transformers has it.
_UNSAID = 2


def labels_of(source: Checkpoint, labels: Sequence[str] | None = None) -> tuple[str, ...]:
    """Meanings of the logits, in their order.

    Args:
        source: A checkpoint of a classifier.
        labels: ``"strong"``, ``"tie"`` and ``"weak"`` in the order of the logits; by default the checkpoint's own names. Where it has
            none (``LABEL_0``, as transformers calls labels without a name), RouteLLM's order.

    Returns:
        One to three of ``"strong"``, ``"tie"`` and ``"weak"``, each once.

    Raises:
        ArtifactError: The checkpoint has another number of labels; names file and field.
        ConfigError: ``labels`` do not match the number of logits, or the checkpoint has other names and their meaning is not given.
    """
    config = source.folder / "config.json"
    own = source.config.get("id2label")
    if own is not None and not isinstance(own, dict):
        raise ArtifactError.at(config, f"id2label is a {type(own).__name__}, expected an object of numbers to names")
    count = len(own) if own else source.config.get("num_labels", _UNSAID)
    if isinstance(count, bool) or not isinstance(count, int) or count not in DEFAULT_LABELS:
        raise ArtifactError.at(config, f"{'id2label' if own else 'num_labels'} says {count} labels, expected 1, 2 or 3")
    expected = DEFAULT_LABELS[count]
    if labels is not None:
        if sorted(labels) != sorted(expected):
            raise ConfigError(
                f"labels are {', '.join(labels)}, expected {', '.join(sorted(expected))} in the order of the logits"
            )
        return tuple(labels)
    names = [_name(own, index) for index in range(count)]
    if sorted(names) == sorted(expected):
        return tuple(names)
    if all(name in ("", f"label_{index}") for index, name in enumerate(names)):
        return expected
    raise ConfigError(
        f"{config}: id2label is {own}, expected {', '.join(expected)}: give their meaning with --labels, in the order of the logits"
    )


def _name(own: dict[str, Any] | None, index: int) -> str:
    name = (own or {}).get(str(index))
    return "" if name is None else str(name).strip().lower()
