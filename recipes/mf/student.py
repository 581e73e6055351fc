"""The student: token rows summed over all, the first and the last tokens, counting features, one hidden layer.

``e = gelu(all + first_gain * first + last_gain * last + log1p(counts) @ W + b)``, where each of the three is a sum of token rows divided
by the square root of their number, and the pair's logit is ``e . direction``. A token's row is its teacher's input embedding
times one matrix, plus a part of its own, so words that no training prompt has are near words that some have, in every language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnout.progress import ProgressCallback

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

FIRST, LAST = 64, 64


@dataclass(frozen=True)
class StudentConfig:
    """Settings of the student.

    Attributes:
        dim: Numbers of the embedding.
        epochs: Passes over the prompts.
        batch: Prompts a step.
        learning_rate: Peak of a one-cycle schedule.
        weight_decay: AdamW's (arXiv 1711.05101); three times as much for the tokens' own parts.
        drop: Share of the tokens of a prompt left out at most.
        rewritten: Share of prompts in their rewritten form.
        planted: Share of prompts with three words planted that look hard to the student as it is.
        pieces: Share of the way by which the rows of Latin pieces inside words are moved to their mean after the training. A typo
            splits its word into pieces that say little of it.
        seed: Seed of everything random.
    """

    dim: int = 64
    epochs: int = 8
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    drop: float = 0.3
    rewritten: float = 0.6
    planted: float = 0.5
    pieces: float = 0.5
    seed: int = 0


class Student(nn.Module):
    """The network. ``base`` are the teacher's input embeddings, float32 ``[vocabulary, 512]``."""

    def __init__(self, base: Floats, counts: Floats, dim: int) -> None:
        super().__init__()
        self.base = torch.from_numpy(base / 20.0)
        self.own = nn.EmbeddingBag(len(base), dim, mode="sum")
        nn.init.normal_(self.own.weight, 0.0, 0.01)
        self.shared = nn.Linear(base.shape[1], dim, bias=False)
        nn.init.normal_(self.shared.weight, 0.0, 0.05)
        self.first_gain = nn.Parameter(0.5 * torch.randn(dim))
        self.last_gain = nn.Parameter(0.5 * torch.randn(dim))
        self.counted = nn.Linear(counts.shape[1], dim)
        self.center = torch.from_numpy(counts.mean(axis=0))
        self.spread = torch.from_numpy(counts.std(axis=0) + 0.05)
        self.direction = nn.Linear(dim, 1)

    def rows(self) -> Floats:
        """Token rows, float32 ``[vocabulary, dim]``."""
        with torch.no_grad():
            found: Floats = (self.own.weight + self.shared(self.base)).numpy()
        return found

    def draw_together(self, tokens: Ids, share: float) -> None:
        """Moves the rows of some tokens towards their mean.

        Args:
            tokens: Their ids.
            share: Of the way; 1 makes the rows equal.
        """
        with torch.no_grad():
            chosen = torch.from_numpy(tokens)
            rows = self.own.weight[chosen] + self.shared(self.base[chosen])
            self.own.weight[chosen] += share * (rows.mean(dim=0) - rows)

    def _sum(self, ids: Sequence[Ids]) -> torch.Tensor:
        lengths = np.array([len(row) for row in ids])
        flat = torch.from_numpy(np.concatenate(ids))
        starts = torch.from_numpy(np.cumsum(lengths) - lengths)
        weights = torch.from_numpy(np.repeat(np.maximum(lengths, 1) ** -0.5, lengths).astype(np.float32))
        base = nn.functional.embedding_bag(flat, self.base, starts, mode="sum", per_sample_weights=weights)
        own: torch.Tensor = self.own(flat, starts, per_sample_weights=weights)
        return own + self.shared(base)

    def embed(self, ids: Sequence[Ids], counts: Floats) -> torch.Tensor:
        """Embeddings, ``[prompts, dim]``."""
        first, last = [row[:FIRST] for row in ids], [row[-LAST:] for row in ids]
        total = self._sum(ids) + self.first_gain * self._sum(first) + self.last_gain * self._sum(last)
        features = (torch.from_numpy(counts) - self.center) / self.spread
        return nn.functional.gelu(total + self.counted(features), approximate="tanh")

    def forward(self, ids: Sequence[Ids], counts: Floats) -> torch.Tensor:
        logits: torch.Tensor = self.direction(self.embed(ids, counts))[:, 0]
        return logits

    def folded_counts(self) -> tuple[Floats, Floats]:
        """Weight ``[counts, dim]`` and bias ``[dim]`` of log counts that are not standardized."""
        with torch.no_grad():
            weight = self.counted.weight.T / self.spread[:, None]
            bias = self.counted.bias - self.center @ weight
        return weight.numpy(), bias.numpy()


def train_student(
    ids: Sequence[Ids],
    rewritten: Sequence[Ids],
    count_table: Floats,
    labels: NDArray[np.float64],
    weights: NDArray[np.float64],
    base: Floats,
    config: StudentConfig,
    report: ProgressCallback,
) -> Student:
    """Trains the student on labels by squared error.

    Args:
        ids: Token ids of every prompt.
        rewritten: Token ids of its rewritten form, which stands in for it in some steps.
        count_table: Counting columns of every token, ``[vocabulary, counts]``.
        labels: ``[prompts]``.
        weights: Weights of the errors.
        base: The teacher's input embeddings of the tokens.
        config: Settings.
        report: Called with the progress.
    """
    torch.manual_seed(config.seed)
    generator = np.random.default_rng(config.seed)
    counts = log_counts(ids, count_table)
    student = Student(base, counts, config.dim)
    own = [student.own.weight]
    rest = [parameter for name, parameter in student.named_parameters() if name != "own.weight"]
    decay = config.weight_decay
    groups = [{"params": own, "weight_decay": 3.0 * decay}, {"params": rest, "weight_decay": decay}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    steps = len(ids) // config.batch
    total = steps * config.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total, pct_start=0.15)
    for epoch in range(config.epochs):
        order = generator.permutation(len(ids))
        for step in range(steps):
            if step % 20 == 0:
                hard = _hard_words(student, count_table)
            indices = order[step * config.batch : (step + 1) * config.batch]
            swap = generator.random(len(indices)) < config.rewritten
            read = [rewritten[row] if other else ids[row] for row, other in zip(indices, swap, strict=True)]
            drawn = [_changed(row, hard, config, generator) for row in read]
            errors = (student(drawn, log_counts(drawn, count_table)) - torch.from_numpy(labels[indices]).float()) ** 2
            weight = torch.from_numpy(weights[indices]).float()
            loss = (weight * errors).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 10 == 0:
                report(f"student, loss {loss.item():.3f}", epoch * steps + step, total)
    report("student", total, total)
    return student.eval()


def log_counts(ids: Sequence[Ids], count_table: Floats) -> Floats:
    """``log1p`` of the sums of counting columns, float32 ``[prompts, counts]``."""
    return np.log1p(np.stack([count_table[row].sum(axis=0) for row in ids])).astype(np.float32)


def _hard_words(student: Student, count_table: Floats, number: int = 150) -> Ids:
    """Tokens that raise the logit the most, three of them in a prompt of sixteen, in no view, in one and in both."""
    with torch.no_grad():
        slope = student.direction.weight[0].numpy()
        first, last = student.first_gain.numpy(), student.last_gain.numpy()
    counted = np.log1p(3.0 * count_table) @ (student.folded_counts()[0] @ slope)
    rows = student.rows() * 3.0 / 19**0.5
    gains = (np.ones_like(slope), 1.0 + first, 1.0 + last, 1.0 + first + last)
    orders = [np.argsort(rows @ (slope * gain) + counted) for gain in gains]
    return np.concatenate([order[-number:] for order in orders]).astype(np.int64)


def _changed(row: Ids, hard: Ids, config: StudentConfig, generator: np.random.Generator) -> Ids:
    """Some tokens left out; sometimes three words planted, at the front, at the end or anywhere."""
    if len(row) > 3:
        row = row[generator.random(len(row)) >= config.drop * generator.random()]
    if generator.random() < config.planted:
        # One word three times is the stronger attack.
        words = generator.choice(hard, 3) if generator.random() < 0.4 else np.repeat(generator.choice(hard), 3)
        position = (0, len(row), int(generator.integers(len(row) + 1)))[generator.integers(3)]
        row = np.concatenate([row[:position], words, row[position:]])
    return row


def predict(student: Student, ids: Sequence[Ids], count_table: Floats, batch: int = 512) -> NDArray[np.float64]:
    """Logits, float64 ``[prompts]``."""
    parts = [ids[start : start + batch] for start in range(0, len(ids), batch)]
    with torch.no_grad():
        found = [student(part, log_counts(part, count_table)).numpy() for part in parts]
    return np.concatenate(found).astype(np.float64)
