"""The student: a one-layer network over static features, and a vector for every model.

``e = gelu(x @ weight + bias)``, score of model m ``w2 . (v_m * (W1 e))`` with ``v_m`` of unit length, win rate of the pair
``sigmoid(score_strong - score_weak)`` (arXiv 2406.18665, section 4.2). The network learns the pair's logit from the lessons, as
``2 * gain``: a gain ``g`` is a win rate ``(1 + g) / 2``, whose logit is about that. The vectors of all other models are
fitted afterwards to who answered better, with the encoder as it is; the pair keeps the first factor to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnout.evaluate.dev import DevResult
from turnout.progress import Show
from turnout.training.config import MfConfig
from turnout.training.features import Floats, Ids, encode, inputs
from turnout.training.lessons import Lesson
from turnout.training.tables import PairExamples

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Bias of the constant unit of a network.
_CONSTANT = 3.0
#: Steps between two looks at the held-out prompts.
LOOK_EVERY = 250
_HELD_OUT = 0.05

#: Called with the number of steps done and the held-out loss at the last look.
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class HiddenLayer:
    """``gelu(x @ weight + bias)``, gelu in its tanh form (arXiv 1606.08415).

    Attributes:
        weight: float32 ``[inputs, dim]``.
        bias: float32 ``[dim]``.
        direction: float32 ``[dim]``; its product with the embedding is the logit of the pair's win rate.
    """

    weight: Floats
    bias: Floats
    direction: Floats

    def embed(self, x: Floats) -> Floats:
        """Embeddings of inputs, float32 ``[prompts, dim]``."""
        before = torch.from_numpy(x @ self.weight + self.bias)
        embedded: Floats = nn.functional.gelu(before, approximate="tanh").numpy()
        return embedded


@dataclass(frozen=True)
class Encoder:
    """A hidden layer over ``concat(mean(token_rows[ids]), log1p(counts))``.

    Attributes:
        token_rows: float32 ``[vocabulary, width]``.
        count_table: float32 ``[vocabulary, counts]``.
        hidden: The layer.
    """

    token_rows: Floats
    count_table: Floats
    hidden: HiddenLayer

    def embed(self, ids: Sequence[Ids]) -> Floats:
        """Embeddings of prompts, float32 ``[prompts, dim]``."""
        return self.hidden.embed(inputs(ids, self.token_rows, self.count_table))


@dataclass(frozen=True)
class TrainedMf:
    """A trained router in float32; the export folds ``weight`` into the table and quantises it.

    Attributes:
        encoder: The encoder.
        projection: ``W1``, float32 ``[factors, dim]``.
        factor_weights: ``w2``, float32 ``[factors]``.
        model_vectors: ``v_m``, float32 ``[models, factors]``, rows of unit length.
        models: Names in the order of the vectors.
        strong: Strong model of the pair.
        weak: Weak model of the pair.
        max_tokens: Token limit.
        report: Dev metrics and what was read, ready for JSON.
        dev: Dev metrics.
        left_out: A line on each part of the data or the recipe that had no part in the training.
    """

    encoder: Encoder
    projection: Floats
    factor_weights: Floats
    model_vectors: Floats
    models: list[str]
    strong: str
    weak: str
    max_tokens: int
    report: Mapping[str, object] = field(default_factory=dict)
    dev: Sequence[DevResult] = ()
    left_out: Sequence[str] = ()

    activation: ClassVar[Literal["gelu"]] = "gelu"

    def win_rates(self, tokenizer: Tokenizer, prompts: Sequence[str]) -> NDArray[np.float64]:
        """Win rate of the strong model, float64 ``[prompts]``."""
        embedded = self.encoder.embed(encode(tokenizer, prompts, self.max_tokens))
        pair = self.model_vectors[self.models.index(self.strong)] - self.model_vectors[self.models.index(self.weak)]
        logit = embedded.astype(np.float64) @ (self.projection.T @ (self.factor_weights * pair))
        return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


class _Network(nn.Module):
    """Standardised inputs, one hidden layer whose last unit is constant, one output without a bias."""

    def __init__(self, sample: torch.Tensor, hidden: int) -> None:
        super().__init__()
        self.center = sample.mean(dim=0)
        self.spread = sample.std(dim=0) + 1e-3
        self.first = nn.Linear(sample.shape[1], hidden - 1)
        self.last = nn.Linear(hidden - 1, 1)

    def forward(self, x: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
        x = (x - self.center) / self.spread
        if noise and self.training:
            x = x + noise * torch.randn_like(x)
        hidden = nn.functional.gelu(self.first(x), approximate="tanh")
        logits: torch.Tensor = self.last(hidden)[:, 0]
        return logits

    def folded(self) -> tuple[Floats, Floats, Floats]:
        """Weight ``[inputs, hidden]``, bias and direction ``[hidden]`` on inputs that are not standardised."""
        with torch.no_grad():
            weight = self.first.weight.T / self.spread[:, None]
            bias = self.first.bias - self.center @ weight
            constant = nn.functional.gelu(torch.tensor(_CONSTANT), approximate="tanh")
            weight = torch.cat([weight, torch.zeros(len(weight), 1)], dim=1)
            bias = torch.cat([bias, torch.tensor([_CONSTANT])])
            direction = torch.cat([self.last.weight[0], self.last.bias / constant])
        return weight.numpy(), bias.numpy(), direction.numpy()


def train_hidden(
    lessons: Sequence[Lesson],
    see: Callable[[Sequence[Ids]], Floats],
    config: MfConfig,
    progress: Progress | None = None,
) -> HiddenLayer:
    """Trains the networks and joins them into one layer, whose logit is the mean of theirs.

    Args:
        lessons: What to learn.
        see: Inputs of prompts, float32 ``[prompts, inputs]``.
        config: Sizes, steps, seed.
        progress: Called at every look.
    """
    generator = np.random.default_rng(config.seed)
    split = [lesson.split(_HELD_OUT, generator) for lesson in lessons]
    # A lesson of very few prompts may have been held out whole.
    train = [_tensors(first if first.ids else second, see) for first, second in split]
    held = [_tensors(lesson, see) for _, lesson in split if lesson.ids]
    parts = [_train_network(train, held, config, config.seed + m, progress).folded() for m in range(config.members)]
    return HiddenLayer(
        np.concatenate([part[0] for part in parts], axis=1),
        np.concatenate([part[1] for part in parts]),
        (np.concatenate([part[2] for part in parts]) / config.members).astype(np.float32),
    )


@dataclass(frozen=True)
class _Tensors:
    x: torch.Tensor
    target: torch.Tensor
    share: float
    weight: float


def _tensors(lesson: Lesson, see: Callable[[Sequence[Ids]], Floats]) -> _Tensors:
    return _Tensors(
        torch.from_numpy(see(lesson.ids)),
        torch.from_numpy(2.0 * lesson.gain.astype(np.float32)),
        lesson.share,
        lesson.weight,
    )


def _train_network(
    train: Sequence[_Tensors], held: Sequence[_Tensors], config: MfConfig, seed: int, progress: Progress | None
) -> _Network:
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    sample = torch.cat([part.x[torch.randperm(len(part.x))[:3000]] for part in train])
    network = _Network(sample, config.hidden)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.1)
    total = sum(part.share for part in train)
    rows = [max(1, round(config.batch * part.share / total)) for part in train]
    weights = torch.cat([torch.full((number,), part.weight) for number, part in zip(rows, train, strict=True)])
    best, best_state, stale = float("inf"), network.state_dict(), 0
    for step in range(1, config.steps + 1):
        network.train()
        drawn = [torch.from_numpy(generator.integers(0, len(p.x), n)) for n, p in zip(rows, train, strict=True)]
        x = torch.cat([part.x[places] for places, part in zip(drawn, train, strict=True)])
        target = torch.cat([part.target[places] for places, part in zip(drawn, train, strict=True)])
        loss = (weights * (network(x, config.noise) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % LOOK_EVERY and step != config.steps:
            continue
        now = _held_out_loss(network, held or train)
        if now < best:
            best, stale = now, 0
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            stale += 1
        if progress:
            progress(step, now)
        if stale > config.patience:
            break
    network.load_state_dict(best_state)
    return network.eval()


def _held_out_loss(network: _Network, parts: Sequence[_Tensors]) -> float:
    network.eval()
    with torch.no_grad():
        losses = [part.share * part.weight * float(((network(part.x) - part.target) ** 2).mean()) for part in parts]
    return sum(losses)


def fit_models(
    direction: Floats, embedded: Floats, examples: PairExamples, config: MfConfig
) -> tuple[Floats, Floats, Floats, list[str]]:
    """Fits a vector for every model, the encoder left as it is.

    The loss is the cross-entropy of ``sigmoid(score_a - score_b)`` with the outcomes. The first factor is the encoder's
    direction, on which the strong model stands at one end and the weak model at the other; all their other factors are zero.

    Args:
        direction: Of the encoder: its product with an embedding is the pair's logit.
        embedded: Embeddings of the examples' prompts, float32 ``[examples, dim]``.
        examples: Who answered better.
        config: Number of factors, steps, pair.

    Returns:
        ``W1`` ``[factors, dim]``, ``w2`` ``[factors]``, vectors ``[models, factors]`` and the models' names.
    """
    torch.manual_seed(config.seed)
    models = [config.strong, config.weak, *(m for m in examples.models if m not in (config.strong, config.weak))]
    place = torch.tensor([models.index(model) for model in examples.models])
    first, second = place[torch.from_numpy(examples.first)], place[torch.from_numpy(examples.second)]
    outcome = torch.from_numpy(examples.outcome)
    x = torch.from_numpy(embedded)
    own = torch.from_numpy(direction)[None]
    factors, dim = config.factors, len(direction)
    rest = nn.Parameter(torch.randn(factors - 1, dim) / dim**0.5)
    free = nn.Parameter(torch.randn(len(models) - 2, factors) / factors**0.5)
    pair = torch.zeros(2, factors)
    pair[0, 0], pair[1, 0] = 1.0, -1.0
    w2 = torch.ones(factors)
    w2[0] = 0.5
    optimizer = torch.optim.AdamW([rest, free], lr=1e-2, weight_decay=1e-2)
    generator = np.random.default_rng(config.seed)

    def weights() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([own, rest]), torch.cat([pair, nn.functional.normalize(free, dim=1)])

    for _ in range(config.factor_steps if len(x) else 0):
        rows = torch.from_numpy(generator.integers(0, len(x), 2048))
        projection, vectors = weights()
        logit = ((vectors[first[rows]] - vectors[second[rows]]) * (x[rows] @ projection.T)) @ w2
        loss = nn.functional.binary_cross_entropy_with_logits(logit, outcome[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        projection, vectors = weights()
    return projection.numpy(), w2.numpy(), vectors.numpy(), models


def looks(show: Show, config: MfConfig) -> Progress:
    """Progress of all networks of the student as one bar."""
    done = 0

    def looked(step: int, loss: float) -> None:
        nonlocal done
        done += 1
        show("student", done, config.members * -(-config.steps // LOOK_EVERY))

    return looked
