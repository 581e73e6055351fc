"""Fine-tuning of a network on batches of prompts: early stopping on held-out prompts, bfloat16 where the processor has it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from turnout._core import ConfigError
from turnout.progress import ProgressCallback

#: Loss of the prompts at these indices: a sum over them, and the sum of their weights.
Loss = Callable[[NDArray[np.int64]], tuple[torch.Tensor, float]]


@dataclass(frozen=True)
class FineTuningConfig:
    """How a checkpoint is fine-tuned.

    Attributes:
        epochs: Passes over the training prompts at most.
        batch: Prompts a step.
        learning_rate: Peak of a schedule that rises over a tenth of the steps and then falls linearly to zero.
        weight_decay: AdamW's.
        max_tokens: Token limit; longer prompts are cut as the checkpoint's tokenizer cuts them.
        held_out: Share of the prompts for validation.
        validations: Validation steps in an epoch.
        patience: Validation steps without improvement before training stops.
        seed: Seed of everything random.
    """

    epochs: int = 3
    batch: int = 32
    learning_rate: float = 3e-5
    weight_decay: float = 0.01
    max_tokens: int = 256
    held_out: float = 0.05
    validations: int = 4
    patience: int = 3
    seed: int = 0


def device() -> str:
    """``"cuda"`` where there is a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def native_bfloat16(where: str) -> bool:
    """Whether a GPU or CPU multiplies bfloat16 natively."""
    return torch.cuda.is_bf16_supported() if where == "cuda" else bool(torch.cpu._is_avx512_bf16_supported())


def mixed_precision(where: str) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where the processor multiplies it natively; elsewhere it would be slower, so float32."""
    return torch.autocast(where, dtype=torch.bfloat16) if native_bfloat16(where) else contextlib.nullcontext()


def stored_type(model: nn.Module) -> torch.dtype:
    """The type of a loaded checkpoint's weights on the disk, which transformers before 5 turns into float32 while it loads them."""
    config: Any = model.config
    named = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    named = getattr(torch, named.removeprefix("torch."), None) if isinstance(named, str) else named
    return named if isinstance(named, torch.dtype) else next(model.parameters()).dtype


def with_master_weights(model: nn.Module, where: str) -> nn.Module:
    """The model on its device, with what is trained in float32: a step of 1e-5 is below the last bit of most bfloat16 weights.

    Weights that are not trained keep their type where they are multiplied as bfloat16, and are float32 elsewhere.

    Args:
        model: The network, in any type.
        where: The device.
    """
    if not native_bfloat16(where):
        return model.to(where, torch.float32)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.to(where)


def fine_tune(
    model: nn.Module,
    lengths: Sequence[int],
    train_loss: Loss,
    held_lengths: Sequence[int],
    held_loss: Loss,
    config: FineTuningConfig,
    report: ProgressCallback,
) -> float:
    """Trains a model in place and leaves it with the weights of its best validation step.

    Args:
        model: The network, on its device.
        lengths: Tokens of the training prompts; prompts of similar length share a batch.
        train_loss: Loss of training prompts.
        held_lengths: Tokens of the held-out prompts.
        held_loss: Loss of held-out prompts.
        config: Steps and rates.
        report: Called with the progress.

    Returns:
        The mean held-out loss at the best validation step.

    Raises:
        ConfigError: No validation step had a finite loss; the weights are not trained.
    """
    torch.manual_seed(config.seed)
    generator = np.random.default_rng(config.seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    steps_an_epoch = -(-len(lengths) // config.batch)
    steps = config.epochs * steps_an_epoch
    eval_every = max(1, steps_an_epoch // config.validations)
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, max(steps, 2), pct_start=0.1, anneal_strategy="linear"
    )
    best, best_state, stale, step, now = float("inf"), _kept(model), 0, 0, float("nan")
    stage = "fine-tuning"
    report(stage, 0, steps)
    for _ in range(config.epochs):
        for indices in _batches(lengths, config.batch, generator):
            model.train()
            total, weight = train_loss(indices)
            optimizer.zero_grad()
            (total / max(weight, 1e-12)).backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % eval_every == 0 or step == steps:
                now = _mean_loss(model, held_loss, held_lengths, config.batch)
                stale = 0 if now < best else stale + 1
                if now < best:
                    best, best_state = now, _kept(model)
                stage = f"fine-tuning, loss {now:.4f}"
            report(stage, step, steps)
            if stale > config.patience:
                break
        if stale > config.patience:
            break
    if not np.isfinite(best):
        raise ConfigError(
            f"fine-tuning failed: the held-out loss was {now} after {step} of {steps} steps and never finite; "
            "expected weights that are finite, and prompts and steps to train on"
        )
    model.load_state_dict(best_state, strict=False)
    return best


def _kept(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of what is trained; the rest of a large model stays where it is."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: value.detach().clone() for name, value in model.state_dict().items() if name in trained}


def _batches(lengths: Sequence[int], batch: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    jitter = np.asarray(lengths) * np.exp(generator.uniform(-0.2, 0.2, len(lengths)))
    order = np.argsort(jitter, kind="stable")
    starts = np.arange(0, len(order), batch)
    for start in generator.permutation(starts):
        yield order[start : start + batch]


def _mean_loss(model: nn.Module, loss: Loss, lengths: Sequence[int], batch: int) -> float:
    model.eval()
    order = np.argsort(np.asarray(lengths), kind="stable")
    total, weights = 0.0, 0.0
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            part, weight = loss(order[start : start + batch])
            total, weights = total + float(part), weights + weight
    return total / max(weights, 1e-12)
