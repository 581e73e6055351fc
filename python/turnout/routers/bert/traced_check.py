"""Whether a traced graph says what torch says, at every length, and says it whatever shares the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.checkpoint import Checkpoint

#: Largest difference of a logit from torch's.
LARGEST_ERROR = 1e-4
#: Largest difference of a label's probability between a batch and the prompt alone, as guaranteed for win rates.
LARGEST_BATCH_ERROR = 1e-5


@dataclass(frozen=True)
class Differences:
    """What a check found.

    Attributes:
        error: Largest difference of a logit from torch's.
        batch_error: Largest difference of a label's probability in a batch from that of the prompt alone.
        lengths: Tokens of every text that was run.
    """

    error: float
    batch_error: float
    lengths: Sequence[int]

    @property
    def acceptable(self) -> bool:
        """Whether the graph may become a router; numbers that are not finite may not."""
        return self.error <= LARGEST_ERROR and self.batch_error <= LARGEST_BATCH_ERROR

    def __str__(self) -> str:
        return (
            f"logits at most {self.error:.1e} from torch's, probabilities in a batch at most {self.batch_error:.1e} from alone, "
            f"on {len(self.lengths)} texts of {min(self.lengths)} to {max(self.lengths)} tokens"
        )


def differences(source: Checkpoint, model: Any, file: Path, labels: int, limit: int) -> Differences:
    """Runs the prompts of ``turnout demo`` and one of the greatest length through torch and through the graph.

    torch reads them one at a time, without padding, as RouteLLM does; the graph reads them alone and in one padded batch.

    Args:
        source: The checkpoint, for its tokenizer.
        model: The classifier of transformers, in float32.
        file: The graph.
        labels: Logits of a text.
        limit: Tokens of the longest text.

    Returns:
        What was found.

    Raises:
        ArtifactError: torch gives another number of logits or cannot read so many tokens, or the graph cannot read texts that torch can.
    """
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(batch: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Logits, float64 ``[prompts, labels]``."""
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        try:
            found = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        except Exception as error:
            raise ArtifactError.at(
                source.folder,
                f"the graph that torch exports cannot read {len(batch)} texts of up to {ids.shape[1]} tokens: {error}",
            ) from error
        return np.asarray(found, dtype=np.float64)

    texts = _texts(source, limit)
    try:
        with torch.no_grad():
            expected = np.concatenate([model(input_ids=torch.tensor([ids])).logits.numpy() for ids in texts])
    except (IndexError, RuntimeError) as error:
        raise ArtifactError.at(
            source.folder,
            f"the model cannot read {max(map(len, texts))} tokens ({error}): expected the right "
            "model_max_length in tokenizer_config.json",
        ) from error
    if expected.ndim != 2 or expected.shape[1] != labels:
        raise ArtifactError.at(
            source.folder / "config.json",
            f"{labels} labels, but the model of transformers gives logits of shape "
            f"{list(expected.shape[1:])}: expected id2label with a name for each logit",
        )
    alone = np.concatenate([run([ids]) for ids in texts])
    # The longest stays out: at the limit of some models, two rows would take gigabytes.
    together = run(texts[:-1])
    return Differences(
        error=float(np.abs(np.concatenate([alone, together]) - np.concatenate([expected, expected[:-1]])).max()),
        batch_error=float(np.abs(_probabilities(together) - _probabilities(alone[:-1])).max()),
        lengths=[len(ids) for ids in texts],
    )


def _texts(source: Checkpoint, limit: int) -> list[list[int]]:
    """Ids of the texts, those of the longest last."""
    from tokenizers import Tokenizer

    from turnout.sample_prompts import PROMPTS

    tokenizer = Tokenizer.from_str(source.tokenizer().decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    # More words than tokens are allowed; a prompt has five at least.
    longest = " ".join(PROMPTS * (1 + limit // (5 * len(PROMPTS))))
    return [tokenizer.encode(text).ids for text in (*PROMPTS, longest)]


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the labels, or over the only one and zero: float64 ``[prompts, labels or 2]``."""
    if logits.shape[1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
