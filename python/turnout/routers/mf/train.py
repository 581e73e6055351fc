"""The recipe of the shipped matrix-factorisation router, from tables to weights; read it from top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace

from tokenizers import Tokenizer

from turnout.data import Battles, Outcomes
from turnout.evaluate.dev import dev_results
from turnout.progress import Show, silent
from turnout.training.config import MfConfig
from turnout.training.curriculum import Embeds, plan
from turnout.training.features import Floats, Ids, inputs
from turnout.training.files import TrainingFiles
from turnout.training.matrix_factorization import Encoder, TrainedMf, fit_models, looks, train_hidden
from turnout.training.pair import Tell
from turnout.training.tables import EXAMPLES_A_TABLE, pair_examples


def train_mf(config: MfConfig, files: TrainingFiles, show: Show = silent, tell: Tell = warnings.warn) -> TrainedMf:
    """Trains the router of a config on files and judges it on the dev tables.

    Prompts of the dev tables are left out of training, wherever they occur.

    Args:
        config: The recipe; its defaults are those of the shipped router.
        files: What to read.
        show: Told of the progress.
        tell: Told of what of the data or the recipe has no part in the training.

    Raises:
        ConfigError: Neither a table nor a battle is about the pair or its stand-ins.
    """
    data = files.read()
    tokenizer = files.read_tokenizer()
    teacher = files.read_teacher(config.teacher_tokens)
    trained = fit_mf(config, data.tables, data.battles, teacher, tokenizer, show, tell)
    pair = (config.strong, config.weak)
    results = dev_results(data.dev, lambda prompts: trained.win_rates(tokenizer, prompts), pair, config.seed)
    return replace(trained, report=data.report(asdict(config), results, trained.left_out), dev=results)


def fit_mf(
    config: MfConfig,
    tables: Sequence[Outcomes],
    battles: Battles,
    teacher: Embeds,
    tokenizer: Tokenizer,
    show: Show = silent,
    tell: Tell = warnings.warn,
) -> TrainedMf:
    """Trains the router on tables in memory; arguments as for :func:`train_mf`."""
    curriculum = plan(config, tables, battles, teacher, tokenizer, show, tell)
    token_rows, counts = curriculum.token_rows, curriculum.counts

    def see(ids: Sequence[Ids]) -> Floats:
        return inputs(ids, token_rows, counts)

    hidden = train_hidden(curriculum.lessons, see, config, looks(show, config))

    # A vector for every model.
    examples = pair_examples(
        tables, battles, per_table=EXAMPLES_A_TABLE, min_battles=config.min_battles, seed=config.seed
    )
    embedded = hidden.embed(see([curriculum.ids[prompt] for prompt in examples.prompts]))
    show("model vectors", 0, 1)
    projection, factor_weights, vectors, models = fit_models(hidden.direction, embedded, examples, config)
    show("model vectors", 1, 1)
    encoder = Encoder(token_rows, counts, hidden)
    return TrainedMf(
        encoder,
        projection,
        factor_weights,
        vectors,
        models,
        config.strong,
        config.weak,
        config.max_tokens,
        left_out=curriculum.left_out,
    )
