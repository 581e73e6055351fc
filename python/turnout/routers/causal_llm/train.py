"""Fine-tunes a causal language model to answer with a score token ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2): all weights, or LoRA.

The score says how good the weak model's answer will be, 1 to 5; ``turnout import causal_llm`` turns the result into an artifact.
The model reads what it will read in the router: texts and format come from the same files beside the checkpoint.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from turnout._core import ArtifactError, ConfigError
from turnout.graphs.checkpoint import Checkpoint
from turnout.progress import ProgressCallback, silent
from turnout.routers.causal_llm.import_ import SCORE_TOKENS, check_architecture, frame
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
from turnout.training.targets import balanced_weights, scores

#: Files of a checkpoint with the texts around a question.
_TEXTS = ("system*.txt", "classifier*.txt", "prompt_format.json")


@dataclass(frozen=True)
class CausalConfig:
    """Everything that :func:`train_causal_llm` needs besides the files.

    Attributes:
        pair: The two models to route between.
        tuning: Steps and rates.
        lora_rank: Rank of the low-rank updates ("LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4.1); 0 trains all weights.
    """

    pair: Pair = field(default_factory=Pair)
    tuning: FineTuningConfig = field(
        default_factory=lambda: FineTuningConfig(epochs=1, batch=8, learning_rate=1e-5, max_tokens=1024)
    )
    lora_rank: int = 0


def train_causal_llm(
    config: CausalConfig,
    checkpoint: Path,
    data: TrainingData,
    out: Path,
    report: ProgressCallback = silent,
    warn: Warn = warnings.warn,
) -> float:
    """Fine-tunes a checkpoint with class-balanced cross-entropy at the score token and writes it with its tokenizer and texts.

    Args:
        config: Pair, steps and rates.
        checkpoint: Folder of a causal language model; score tokens that it does not have are added.
        data: Tables, battles and grades.
        out: Folder to write; not the checkpoint itself.
        report: Called with the progress.
        warn: Called with a line on every table that has no scores of the pair.

    Returns:
        The mean held-out loss.

    Raises:
        ConfigError: The folder has no causal language model that transformers can read and `turnout import causal_llm` takes, or
            there are too few prompts.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuning = config.tuning
    train, held = labelled_prompts(config.pair, data.tables, data.battles, data.grades, warn).split(
        tuning.held_out, tuning.seed
    )
    torch.manual_seed(tuning.seed)
    source = _importable(checkpoint)
    before, after = frame(source)
    most_tokens = min(tuning.max_tokens, source.max_tokens(int(source.number("max_position_embeddings"))))
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{checkpoint}: expected a folder with a causal language model, {error}") from error
    if tokenizer.add_tokens(list(SCORE_TOKENS), special_tokens=True):
        model.resize_token_embeddings(max(len(tokenizer), model.get_input_embeddings().num_embeddings))
    where, stored = device(), stored_type(model)
    if config.lora_rank:
        model = _with_lora(model, config.lora_rank)
    model = with_master_weights(model, where)
    targets = np.eye(len(SCORE_TOKENS))[scores(train.gain) - 1]
    balance = balanced_weights(targets, train.weight)
    score_ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(SCORE_TOKENS)), device=where)
    losses, lengths, parts = [], [], []
    for part in (train, held):
        ids = [tokenizer(before + prompt + after)["input_ids"] for prompt in part.prompts]
        # The router refuses a prompt that is too long, so training leaves it out.
        kept = np.flatnonzero([len(row) <= most_tokens for row in ids])
        parts.append(part.rows(kept))
        lengths.append([len(ids[int(index)]) for index in kept])
        losses.append(_Loss(model, [ids[int(index)] for index in kept], parts[-1], balance, score_ids, where))
    if not all(lengths):
        raise ConfigError(f"no prompt is within {most_tokens} tokens together with the texts around it")
    loss = fine_tune(model, lengths[0], losses[0], lengths[1], losses[1], tuning, report)
    model = model.to("cpu", torch.float32)
    if config.lora_rank:
        model = _merged(model)
    model.to(stored).save_pretrained(out)
    tokenizer.save_pretrained(out)
    for pattern in _TEXTS:
        for file in checkpoint.glob(pattern):
            shutil.copy(file, out / file.name)
    return loss


def _importable(folder: Path) -> Checkpoint:
    """The checkpoint, if an artifact can be made of its kind: said before hours of training rather than after them."""
    try:
        source = Checkpoint(folder)
        check_architecture(source)
    except ArtifactError as error:
        raise ConfigError(f"{folder}: expected a folder with a causal language model to import, {error}") from error
    return source


def _with_lora(model: torch.nn.Module, rank: int) -> torch.nn.Module:
    from peft import LoraConfig, get_peft_model

    # The score tokens may be new: their rows are trained whole.
    whole = ["embed_tokens", "lm_head"]
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", modules_to_save=whole)
    adapted: torch.nn.Module = get_peft_model(model, lora)
    return adapted


def _merged(model: Any) -> Any:
    """The model with its low-rank updates added. Rows of tokens and of scores that were one table are two by now."""
    merged = model.merge_and_unload()
    read, written = merged.get_input_embeddings().weight, merged.get_output_embeddings().weight
    merged.config.tie_word_embeddings = read.data_ptr() == written.data_ptr()
    return merged


@dataclass(frozen=True)
class _Loss:
    model: torch.nn.Module
    ids: list[list[int]]
    part: LabelledPrompts
    balance: NDArray[np.float64]
    score_ids: torch.Tensor
    where: str

    def __call__(self, indices: NDArray[np.int64]) -> tuple[torch.Tensor, float]:
        rows = [self.ids[int(index)] for index in indices]
        tokens = max(len(row) for row in rows)
        # Padding on the left, so that the last position is the score's; positions are relative, so the shift does not matter.
        ids = torch.tensor([[0] * (tokens - len(row)) + row for row in rows], device=self.where)
        mask = torch.tensor([[0] * (tokens - len(row)) + [1] * len(row) for row in rows], device=self.where)
        score = scores(self.part.gain[indices]) - 1
        with mixed_precision(self.where):
            logits = self.model(input_ids=ids, attention_mask=mask).logits[:, -1]
        expected = self.score_ids[torch.from_numpy(score).to(self.where)]
        weight = self.part.weight[indices] * self.balance[score]
        entropy = torch.nn.functional.cross_entropy(logits.float(), expected, reduction="none")
        return (torch.from_numpy(weight).float().to(self.where) * entropy).sum(), float(weight.sum())
