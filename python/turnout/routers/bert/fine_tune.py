"""Fine-tunes any encoder checkpoint of Hugging Face to say who wins a prompt: strong, tie or weak.

The result is a folder of ``save_pretrained``, which ``turnout import bert`` turns into an artifact.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.graphs.checkpoint import Checkpoint
from turnout.progress import ProgressCallback, silent
from turnout.routers.bert.bert_graph import BERT_TYPES, bert_positions
from turnout.training.files import TrainingData
from turnout.training.fine_tuning import (
    FineTuningConfig,
    device,
    fine_tune,
    mixed_precision,
    stored_type,
    with_master_weights,
)
from turnout.training.pair import LabelledPrompts, Pair, Warn, labelled_prompts
from turnout.training.targets import CLASSES, balanced_weights, class_targets


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything that :func:`train_classifier` needs besides the files.

    Attributes:
        pair: The two models to route between.
        tuning: Steps and rates.
    """

    pair: Pair = field(default_factory=Pair)
    tuning: FineTuningConfig = field(default_factory=FineTuningConfig)


def train_classifier(
    config: ClassifierConfig,
    checkpoint: Path,
    data: TrainingData,
    out: Path,
    report: ProgressCallback = silent,
    warn: Warn = warnings.warn,
) -> float:
    """Fine-tunes a checkpoint with class-balanced cross-entropy and writes it with its tokenizer.

    Args:
        config: Pair, steps and rates.
        checkpoint: Folder of an encoder, with or without a classification head.
        data: Tables, battles and grades.
        out: Folder to write.
        report: Called with the progress.
        warn: Called with a line on every table that has no scores of the pair.

    Returns:
        The mean held-out loss.

    Raises:
        ConfigError: The folder has no encoder that transformers can read, or there are too few prompts for a validation set.
    """
    tuning = config.tuning
    train, held = labelled_prompts(config.pair, data.tables, data.battles, data.grades, warn).split(
        tuning.held_out, tuning.seed
    )
    return train_on(tuning, checkpoint, train, held, out, report)


def train_on(
    tuning: FineTuningConfig,
    checkpoint: Path,
    train: LabelledPrompts,
    held: LabelledPrompts,
    out: Path,
    report: ProgressCallback = silent,
) -> float:
    """:func:`train_classifier` on prompts that are split already.

    Args:
        tuning: Steps and rates.
        checkpoint: Folder of an encoder, with or without a classification head.
        train: Prompts to train on.
        held: Held-out prompts.
        out: Folder to write.
        report: Called with the progress.

    Returns:
        The mean held-out loss.

    Raises:
        ConfigError: The folder has no encoder that transformers can read.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        torch.manual_seed(tuning.seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            local_files_only=True,
            num_labels=len(CLASSES),
            id2label=dict(enumerate(CLASSES)),
            label2id={name: index for index, name in enumerate(CLASSES)},
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{checkpoint}: expected a folder with an encoder, {error}") from error
    where, stored = device(), stored_type(model)
    model = with_master_weights(model, where)
    balance = torch.from_numpy(balanced_weights(class_targets(train.gain), train.weight)).float().to(where)
    most_tokens = min(tuning.max_tokens, _positions(checkpoint, model), tokenizer.model_max_length)
    losses, lengths = [], []
    for part in (train, held):
        ids = _ids(tokenizer, part.prompts, most_tokens)
        lengths.append([len(row) for row in ids])
        losses.append(_Loss(model, tokenizer, ids, part, balance, where))
    loss = fine_tune(model, lengths[0], losses[0], lengths[1], losses[1], tuning, report)
    model.to("cpu", stored).save_pretrained(out)
    tokenizer.model_max_length = most_tokens
    tokenizer.save_pretrained(out)
    return loss


def _positions(checkpoint: Path, model: Any) -> int:
    """Tokens for which the encoder has positions."""
    source = Checkpoint(checkpoint)
    if source.kind in BERT_TYPES:
        return bert_positions(source)
    positions = getattr(model.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else sys.maxsize


def _ids(tokenizer: object, prompts: Sequence[str], max_tokens: int) -> list[list[int]]:
    # A token has about four characters; text far beyond the limit need not be tokenized.
    short = [prompt[: 16 * max_tokens] for prompt in prompts]
    found: list[list[int]] = tokenizer(short, truncation=True, max_length=max_tokens)["input_ids"]  # type: ignore[operator]
    return found


@dataclass(frozen=True)
class _Loss:
    model: torch.nn.Module
    tokenizer: object
    ids: list[list[int]]
    part: LabelledPrompts
    balance: torch.Tensor
    where: str

    def __call__(self, indices: NDArray[np.int64]) -> tuple[torch.Tensor, float]:
        batch = self.tokenizer.pad(  # type: ignore[attr-defined]
            {"input_ids": [self.ids[int(index)] for index in indices]}, return_tensors="pt"
        ).to(self.where)
        targets = torch.from_numpy(class_targets(self.part.gain[indices])).float().to(self.where)
        weight = torch.from_numpy(self.part.weight[indices]).float().to(self.where)
        with mixed_precision(self.where):
            logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        balanced = targets * self.balance
        rows = -(balanced * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)
        return (weight * rows).sum(), float((weight * balanced.sum(dim=1)).sum())
