"""A small transformer encoder and its distillation from a sentence encoder.

Two layers 128 numbers wide read a prompt in a fraction of a millisecond on one CPU core. They learn the sentence encoder's
embedding on the prompts of the training tables, without their labels, as in "DistilBERT, a distilled version of BERT" (arXiv 1910.01108, section 3) but from the pooled
output alone. A token's row is the teacher's own word embedding times one matrix, plus a correction of the token's own, so that words
that occur once in the training prompts keep the place that the teacher gave them.

Attention may be narrower than the layer: on a CPU its share of the time grows with the length of the prompt, its share of the
quality does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnout.training.features import Floats, Ids

#: Called with the number of steps done and the share of the teacher's variance that is explained on held-out prompts.
Progress = Callable[[int, float], None]

_HELD_OUT = 0.04
_LOOK_EVERY = 100


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the encoder and how it is distilled.

    Attributes:
        layers: Transformer layers.
        width: Numbers a token.
        attention: Width of queries, keys and values of all heads together.
        heads: Attention heads.
        inner: Hidden units of the feed-forward part.
        max_tokens: Token limit.
        steps: Training steps at most.
        tokens_a_step: Tokens of a batch, padding included.
        learning_rate: Peak of a one-cycle schedule.
        weight_decay: AdamW's.
        token_dropout: Share of tokens that are left out of a training prompt.
        patience: Looks at the held-out prompts without improvement before training stops; a look is every 100 steps.
    """

    layers: int = 2
    width: int = 128
    attention: int = 64
    heads: int = 2
    inner: int = 256
    max_tokens: int = 256
    steps: int = 2200
    tokens_a_step: int = 4096
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    token_dropout: float = 0.1
    patience: int = 8


class Layer(nn.Module):
    """Self-attention and a feed-forward part, both added to the input ("On Layer Normalization in the Transformer Architecture", arXiv 2002.04745, figure 1b)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.before_attention = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.attention)
        self.mix = nn.Linear(config.attention, config.width)
        self.before_inner = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, config.inner)
        self.narrow = nn.Linear(config.inner, config.width)
        for last in (self.mix, self.narrow):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def forward(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """``x`` is ``[prompts, tokens, width]``, ``attended`` boolean ``[prompts, 1, 1, tokens]``."""
        prompts, tokens, _ = x.shape
        split = self.query_key_value(self.before_attention(x)).view(prompts, tokens, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=attended)
        x = x + self.mix(mixed.transpose(1, 2).reshape(prompts, tokens, -1))
        y: torch.Tensor = x + self.narrow(torch.relu(self.widen(self.before_inner(x))))
        return y


class SmallTransformer(nn.Module):
    """Token ids to the mean of the last layer's rows.

    Args:
        config: Sizes.
        token_rows: Where the token table starts, float32 ``[vocabulary, width]``.
    """

    def __init__(self, config: TransformerConfig, token_rows: Floats) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding.from_pretrained(torch.from_numpy(token_rows), freeze=False, sparse=True)
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, config.width))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings float32 ``[prompts, width]`` of ids int64 ``[prompts, tokens]`` under a mask of ones and zeros."""
        x = self.tokens(ids) + self.positions[: ids.shape[1]]
        attended = mask[:, None, None, :] > 0
        for layer in self.layers:
            x = layer(x, attended)
        kept = mask[..., None].to(x.dtype)
        return (x * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1.0)

    def embed(self, ids: Sequence[Ids]) -> Floats:
        """Embeddings of prompts, float32 ``[prompts, width]``."""
        result = np.zeros((len(ids), self.config.width), dtype=np.float32)
        self.eval()
        with torch.inference_mode():
            for indices in batches([len(row) for row in ids], self.config):
                padded, mask = pad([ids[index] for index in indices], self.config.max_tokens)
                result[indices] = self(padded, mask).numpy()
        return result


def first_rows(static: Floats, word_embeddings: Floats, token_share: NDArray[np.integer], width: int) -> Floats:
    """Where the token table starts: the static table, and the teacher's word embeddings reduced to the rest of the width.

    Args:
        static: :func:`turnout.training.distill.static_table`, float32 ``[vocabulary, components]``; its mean over a prompt's tokens
            is near the teacher's embedding, so the encoder starts as good as the static table and learns what order adds.
        word_embeddings: float32 ``[vocabulary, teacher width]``.
        token_share: How often each token occurs; frequent tokens decide which axes to keep.
        width: Of the table.
    """
    share = np.sqrt(np.asarray(token_share, dtype=np.float64))
    share /= share.sum()
    words = word_embeddings - share @ word_embeddings
    values, axes = np.linalg.eigh((words * share[:, None]).T @ words)
    kept = width - static.shape[1]
    reduced = words @ axes[:, ::-1][:, :kept] / np.sqrt(np.maximum(values[::-1][:kept], 1e-12))
    return np.hstack([static, 0.5 * reduced]).astype(np.float32)


def batches(
    lengths: Sequence[int], config: TransformerConfig, generator: np.random.Generator | None = None
) -> Iterator[NDArray[np.int64]]:
    """Places of prompts of similar length, at most ``tokens_a_step`` tokens a batch with padding; each prompt once.

    Args:
        lengths: Tokens of each prompt.
        config: Limits.
        generator: Shuffles prompts of similar length, and the batches; without it the order is that of the lengths.
    """
    cut = np.clip(np.asarray(lengths), 1, config.max_tokens)
    jitter = cut if generator is None else cut * np.exp(generator.uniform(-0.1, 0.1, len(cut)))
    order = np.argsort(jitter, kind="stable")
    found, start = [], 0
    while start < len(order):
        end, longest = start, 0
        while end < len(order):
            longest = max(longest, int(cut[order[end]]))
            if end > start and longest * (end + 1 - start) > config.tokens_a_step:
                break
            end += 1
        found.append(order[start:end])
        start = end
    for batch in range(len(found)) if generator is None else generator.permutation(len(found)):
        yield found[batch]


def pad(ids: Sequence[Ids], max_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64 ``[prompts, tokens]``, padded with zeros on the right to the longest prompt."""
    tokens = min(max(1, max(len(row) for row in ids)), max_tokens)
    padded = np.zeros((len(ids), tokens), dtype=np.int64)
    mask = np.zeros((len(ids), tokens), dtype=np.int64)
    for index, row in enumerate(ids):
        cut = row[:tokens]
        padded[index, : len(cut)], mask[index, : len(cut)] = cut, 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def distil(
    config: TransformerConfig,
    token_rows: Floats,
    ids: Sequence[Ids],
    targets: Floats,
    seed: int,
    progress: Progress | None = None,
) -> SmallTransformer:
    """Trains an encoder whose embedding, times one matrix, comes close to the targets.

    Args:
        config: Sizes, steps.
        token_rows: :func:`first_rows` of a static table for the same targets.
        ids: Token ids of prompts, cut where the teacher cut them.
        targets: Principal components of the teacher's embeddings, float32 ``[prompts, components]``.
        seed: Seed of everything random.
        progress: Called at every look.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    model = SmallTransformer(config, token_rows)
    to_teacher = nn.Linear(config.width, targets.shape[1])
    with torch.no_grad():
        to_teacher.weight.copy_(torch.eye(*to_teacher.weight.shape))
        to_teacher.bias.zero_()
    target = torch.from_numpy(targets)

    held = generator.random(len(ids)) < _HELD_OUT
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    dense = [value for name, value in model.named_parameters() if name != "tokens.weight"]
    optimizers = [
        torch.optim.AdamW([*dense, *to_teacher.parameters()], config.learning_rate, weight_decay=config.weight_decay),
        torch.optim.SparseAdam([model.tokens.weight], config.learning_rate),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, config.learning_rate, config.steps, pct_start=0.1, cycle_momentum=False)
        for o in optimizers
    ]
    best, best_state, stale, step = -float("inf"), model.state_dict(), 0, 0
    while step < config.steps and stale <= config.patience:
        for indices in batches([len(ids[int(index)]) for index in train], config, generator):
            rows = train[indices]
            padded, mask = pad(
                [thinned(ids[int(row)], config.token_dropout, generator) for row in rows], config.max_tokens
            )
            model.train()
            loss = (to_teacher(model(padded, mask)) - target[rows]).square().sum(dim=1).mean()
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(dense, 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            step += 1
            if step % _LOOK_EVERY == 0 or step == config.steps:
                with torch.inference_mode():
                    error = (
                        to_teacher(torch.from_numpy(model.embed([ids[int(index)] for index in test]))) - target[test]
                    )
                now = 1.0 - float(error.square().sum() / (target[test] - target.mean(dim=0)).square().sum())
                stale = 0 if now > best else stale + 1
                if now > best:
                    best, best_state = now, {name: value.clone() for name, value in model.state_dict().items()}
                if progress:
                    progress(step, now)
            if step == config.steps or stale > config.patience:
                break
    model.load_state_dict(best_state)
    return model.eval()


def thinned(ids: Ids, share: float, generator: np.random.Generator) -> Ids:
    """The tokens without a share of them; a short prompt stays whole."""
    return ids[generator.random(len(ids)) >= share] if len(ids) > 8 else ids
