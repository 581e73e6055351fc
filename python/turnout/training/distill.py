"""The sentence encoder that teaches, and the static table that learns from it.

The teacher (all-MiniLM-L6-v2) reads a prompt in milliseconds, the table in a fraction of a microsecond. The table is linear in
the tokens: ``mean(rows[ids]) ~ principal components of the teacher's embedding``. A row is the teacher's own word embedding times
one matrix, plus a correction of the token's own; both come from a single ridge regression. In the way of Model2Vec, the teacher's
input layer is the starting point, but the fit is to its output on whole prompts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from turnout.training.features import Bags, Floats

#: Called with the number of prompts done.
Progress = Callable[[int], None]

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n+")
_SOLVER_STEPS = 40
_TEACHER_BATCH = 32


class Teacher:
    """A sentence encoder from a folder in the layout of Hugging Face; mean pooling, unit length.

    Args:
        folder: Holds ``config.json``, ``model.safetensors`` and the tokenizer's files.
        max_tokens: Longer prompts are cut.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        self._max_tokens = max_tokens

    @property
    def word_embeddings(self) -> Floats:
        """Input embeddings, float32 ``[vocabulary, width]``."""
        rows: Floats = self._model.get_input_embeddings().weight.detach().numpy().astype(np.float32)
        return rows

    def embed(self, prompts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Embeddings, float32 ``[prompts, width]``, rows of unit length."""
        import torch

        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        result = np.zeros((len(prompts), self._model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), _TEACHER_BATCH):
                places = order[start : start + _TEACHER_BATCH]
                batch = self._tokenizer(
                    # A token has about four characters; what lies far behind the limit need not be tokenised.
                    [prompts[place][: 16 * self._max_tokens] for place in places],
                    truncation=True,
                    max_length=self._max_tokens,
                    padding=True,
                    return_tensors="pt",
                )
                mask = batch["attention_mask"][..., None]
                hidden = self._model(**batch).last_hidden_state
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                result[places] = torch.nn.functional.normalize(mean, dim=-1).numpy()
                if progress:
                    progress(start + len(places))
        return result


def fragments(prompts: Sequence[str], number: int, seed: int) -> list[str]:
    """One or two neighbouring sentences of prompts: more, and shorter, text for the teacher to label.

    Prompts of a single sentence, and sentences in other scripts, give none.
    """
    generator = random.Random(seed)
    found = []
    for prompt in prompts:
        sentences = [s for s in _SENTENCE_END.split(prompt) if 20 < len(s) < 300 and sum(ord(c) > 127 for c in s) < 3]
        if len(sentences) > 1:
            place = generator.randrange(len(sentences))
            found.append(" ".join(sentences[place : place + generator.choice((1, 1, 2))]))
    found = list(dict.fromkeys(found))
    generator.shuffle(found)
    return found[:number]


def static_table(
    means: Bags,
    targets: NDArray[np.floating],
    word_embeddings: Floats,
    frequency: Floats,
    *,
    token_scale: float,
    ridge: float,
) -> Floats:
    """Rows whose mean over a prompt's tokens comes closest to the targets.

    Ridge regression on ``concat(mean(w * words), token_scale * mean bag * frequency)`` where ``w`` is the inverse document
    frequency, at most 8, and ``words`` the centred word embeddings; solved by conjugate gradients for all targets at once.

    Args:
        means: Mean bags, sparse float32 ``[prompts, vocabulary]``.
        targets: ``[prompts, components]``, centred.
        word_embeddings: ``[vocabulary, width]``.
        frequency: Inverse document frequencies, ``[vocabulary]``.
        token_scale: Scale of a token's own weights.
        ridge: Ridge.

    Returns:
        float32 ``[vocabulary, components]``.
    """
    words = word_embeddings * np.minimum(frequency, 8.0)[:, None]
    share = np.asarray(means.sum(axis=0)).ravel()
    words = words - (share @ words) / share.sum()
    pooled = means @ words
    words, pooled = words / pooled.std() / 16.0, pooled / pooled.std() / 16.0
    own = token_scale * (means @ sp.diags(frequency))
    ones = sp.csr_matrix(np.ones((means.shape[0], 1), dtype=np.float32))
    design = sp.hstack([sp.csr_matrix(pooled), own, ones]).tocsr().astype(np.float32)
    weights = _conjugate_gradients(design, np.asarray(targets, dtype=np.float32), ridge)
    width = words.shape[1]
    table = words @ weights[:width] + token_scale * frequency[:, None] * weights[width:-1]
    return np.asarray(table, dtype=np.float32)


def _conjugate_gradients(design: Bags, targets: Floats, ridge: float) -> Floats:
    """Solves ``(X'X + ridge) W = X'Y``, one column of ``Y`` beside the other, with a diagonal preconditioner."""
    transposed = design.T.tocsr()
    inverse = 1.0 / (np.asarray(design.multiply(design).sum(axis=0)).ravel() + ridge)[:, None]
    weights = np.zeros((design.shape[1], targets.shape[1]), dtype=np.float32)
    residual = transposed @ targets
    step = inverse * residual
    norm = (residual * step).sum(axis=0)
    for _ in range(_SOLVER_STEPS):
        image = transposed @ (design @ step) + ridge * step
        length = norm / ((step * image).sum(axis=0) + 1e-12)
        weights += length * step
        residual -= length * image
        preconditioned = inverse * residual
        following = (residual * preconditioned).sum(axis=0)
        step = preconditioned + following / (norm + 1e-12) * step
        norm = following
    return weights


def topic_teacher(embeddings: Floats, gain: NDArray[np.floating], weight: NDArray[np.floating], ridge: float) -> Ridge:
    """Regression of the gain on the teacher's embedding: which kinds of prompt need the strong model."""
    return Ridge(alpha=ridge).fit(embeddings, gain, sample_weight=weight)
