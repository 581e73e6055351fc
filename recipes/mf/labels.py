"""Labels of every prompt for the student: how hard it is, and where outcomes of a pair are known, how much the strong model gains.

One scale: a prompt of grade 1 is near -1, one of grade 5 near 3. Each source of outcomes is ranked by its own teacher, around
what the grades say of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

_HASHED = 1 << 14
_LANDMARKS = 2500
#: Spread of the gains of a source on the scale of labels, and where they are cut, in standard deviations.
_SPREAD, _CUT = 0.8, 2.5


@dataclass(frozen=True)
class Features:
    """Inputs of the teachers for every prompt.

    Attributes:
        dense: Standardized sentence embeddings and log counts, ``[prompts, 512 + counts]``.
        sparse: Tokens, hashed pairs of neighbors, first and last tokens, ``[prompts, many]``.
    """

    dense: Doubles
    sparse: Any


def features(ids: Sequence[Indices], embeddings: NDArray[Any], counts: NDArray[Any], tokens: int) -> Features:
    """Makes them.

    Args:
        ids: Token ids of every prompt.
        embeddings: Sentence embeddings, ``[prompts, 512]``.
        counts: Log counts, ``[prompts, counts]``.
        tokens: Size of the vocabulary.
    """
    dense = StandardScaler().fit_transform(np.hstack([embeddings, counts]).astype(np.float64))
    dense[:, embeddings.shape[1] :] *= 0.3
    pairs = [(row[:-1] * 1_000_003 + row[1:] * 7919) % _HASHED for row in ids]
    parts = [_bag(ids, tokens), 0.7 * _bag(pairs, _HASHED)]
    parts += [0.7 * _bag([row[:16] for row in ids], tokens), 0.7 * _bag([row[-8:] for row in ids], tokens)]
    return Features(dense, sp.csr_matrix(sp.hstack([*parts, counts])))


def _bag(rows: Sequence[Indices], width: int) -> Any:
    ends = np.cumsum([0, *(len(row) for row in rows)])
    weights = np.concatenate([np.full(len(row), len(row) ** -0.5) for row in rows if len(row)])
    return sp.csr_matrix((weights, np.concatenate(rows), ends), shape=(len(rows), width))


def graded(inputs: Features, indices: Indices, grades: Doubles) -> Doubles:
    """Grades of all prompts, predicted by a teacher that learned from some: a kernel on embeddings and a ridge on tokens."""
    landmarks = min(_LANDMARKS, len(indices))
    kernel_map = Nystroem(gamma=0.25 / inputs.dense.shape[1], n_components=landmarks, random_state=0).fit(
        inputs.dense[indices]
    )
    kernel = Ridge(alpha=0.1).fit(kernel_map.transform(inputs.dense[indices]), grades)
    ridge = Ridge(alpha=2.0, solver="sparse_cg").fit(inputs.sparse[indices], grades)
    joined = 0.75 * kernel.predict(kernel_map.transform(inputs.dense)) + 0.35 * ridge.predict(inputs.sparse)
    return np.asarray(joined - joined[indices].mean() + grades.mean())


def gains(inputs: Features, indices: Indices, gain: Doubles, grade: Doubles) -> Doubles:
    """Gains of the strong model, predicted by a teacher that learned from one source, standardized over that source."""
    dense = np.hstack([inputs.dense / 20.0, 0.3 * _standard(grade, indices)[:, None]])
    by_meaning = Ridge(alpha=40.0).fit(dense[indices], gain).predict(dense)
    by_words = Ridge(alpha=30.0, solver="sparse_cg").fit(inputs.sparse[indices], gain).predict(inputs.sparse)
    return _standard(_standard(by_meaning, indices) + 0.7 * _standard(by_words, indices), indices)


def _standard(values: Doubles, indices: Indices) -> Doubles:
    return np.asarray((values - values[indices].mean()) / (values[indices].std() + 1e-9))


@dataclass(frozen=True)
class Source:
    """Prompts that one teacher of gains ranks.

    Attributes:
        own: Indices of the prompts with outcomes of the pair or its proxy models.
        gain: Their gains, strong less weak, in -1..1.
        alike: Indices of further prompts of the same form.
        share: Share of the teacher of gains in the label; the rest is the grade's.
        predicted: What a teacher of its own says of every prompt, in standard deviations of ``own``; otherwise two ridge regressions do.
        made: What it says of prompts that were made for the source.
    """

    own: Indices
    gain: Doubles
    alike: Indices
    share: float
    predicted: Doubles | None = None
    made: Doubles = field(default_factory=lambda: np.empty(0))


def labels(
    inputs: Features, indices: Indices, grades: Doubles, sources: Mapping[str, Source]
) -> tuple[Doubles, Doubles]:
    """Label and weight of every prompt.

    Args:
        inputs: Inputs of the teachers.
        indices: Indices of graded prompts.
        grades: Their grades.
        sources: Sources of outcomes.

    Returns:
        Labels and weights, float64 ``[prompts + made prompts of all sources]`` each.
    """
    grade = graded(inputs, indices, grades)
    mixed = grade.copy()
    mixed[indices] = 0.6 * grades + 0.4 * grade[indices]
    label = (mixed - 2.1) / 0.9
    weight = np.ones(len(label))
    weight[indices] = 3.0
    made = [np.empty(0)]
    for source in sources.values():
        gain = gains(inputs, source.own, source.gain, grade) if source.predicted is None else source.predicted
        both = np.concatenate([source.own, source.alike])
        center = label[both].mean()
        for part, share in ((source.own, source.share), (source.alike, source.share / 2)):
            label[part] = (
                center + (1.0 - share) * (label[part] - center) + share * _SPREAD * np.clip(gain[part], -_CUT, _CUT)
            )
        weight[source.own] = 2.0
        made.append(center + source.share * _SPREAD * np.clip(source.made, -_CUT, _CUT))
    made_label = np.concatenate(made)
    return np.concatenate([label, made_label]), np.concatenate([weight, np.ones(len(made_label))])
