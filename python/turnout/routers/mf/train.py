"""Trains a matrix-factorization router on own tables, from the encoder of a router that there is.

``gain ~ ridge(embedding, log counts, tokens)``: the strong model's gain is linear in what the encoder says of a prompt and in which
tokens occur. The tokens' weights become a further column of the encoder's table. A logistic function of the gain that each prompt is
given by the fit without it is the win rate. Where tables have more models, the components of their scores are learned in the same way, and
every model gets a vector over them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InvalidInputError
from turnout.artifact.calibration import sigmoid
from turnout.artifact.manifest import Manifest
from turnout.calibrate.win_rate import fit_platt
from turnout.data import Outcomes
from turnout.evaluate.dev import DevResult, dev_results
from turnout.graphs.fold import quantize_rows
from turnout.graphs.static import MatrixFactorizationHead, StaticEncoder, View
from turnout.graphs.static_reader import read_static
from turnout.progress import ProgressCallback, silent
from turnout.router import load
from turnout.shipped import artifact_folder
from turnout.training.factors import fit_factors, head_of, principal_scores
from turnout.training.files import TrainingData
from turnout.training.pair import Pair, Warn, labelled_prompts
from turnout.training.prompt_features import prompt_features
from turnout.training.ridge import fit_ridge
from turnout.training.tables import pair_examples

Doubles = NDArray[np.float64]

#: Labeled prompts at least. A few hundred are needed for a router that is better than the one that it starts from.
MIN_PROMPTS = 20
#: Bias of a column that passes its number through gelu: ``gelu(x + 8) = x + 8`` to float32 precision for ``x > -3``.
_BIAS = 8.0


@dataclass(frozen=True)
class MfConfig:
    """Everything that :func:`train_mf` needs besides the data.

    Attributes:
        pair: The two models to route between.
        tokens: Tokens with a weight of their own, at most.
        components: Components of the scores of further models, at most.
        examples: Examples of two models that are drawn from each table and from the battles, for the vectors of further models.
        min_battles: A model with fewer battles gets no vector, unless a table has its scores.
        seed: Seed of everything random.
    """

    pair: Pair = field(default_factory=Pair)
    tokens: int = 1024
    components: int = 7
    examples: int = 20_000
    min_battles: int = 10
    seed: int = 0


@dataclass(frozen=True)
class TrainedMf:
    """A trained router.

    Attributes:
        encoder: The encoder that it started from, with a column for every component and a constant one.
        head: Vectors of the models.
        models: Their names.
        pair: Strong and weak model.
        start: Folder of the router that it started from, whose tokenizer it has.
        left_out: Win rate of every labelled prompt by the fit without it, by source: what the quantiles are taken from.
        scores: APGR of these win rates.
        start_scores: APGR of the router that it started from, on the same prompts.
        settings: For the manifest.
    """

    encoder: StaticEncoder
    head: MatrixFactorizationHead
    models: list[str]
    pair: Pair
    start: Path
    left_out: list[Doubles]
    scores: Sequence[DevResult]
    start_scores: Sequence[DevResult]
    settings: dict[str, Any]


def train_mf(
    config: MfConfig,
    data: TrainingData,
    start: Path | None = None,
    report: ProgressCallback = silent,
    warn: Warn = warnings.warn,
) -> TrainedMf:
    """Trains a router.

    Args:
        config: Pair and sizes.
        data: Tables, battles and grades.
        start: Artifact of kind ``mf`` to start from; by default the shipped one.
        report: Called with the progress.
        warn: Called with a line on every table that says nothing about the pair.

    Raises:
        ConfigError: Too little is known of the pair, or the router to start from has no static encoder.
    """
    folder = artifact_folder(start)
    labelled = labelled_prompts(config.pair, data.tables, data.battles, data.grades, warn)
    if len(labelled.prompts) < MIN_PROMPTS:
        raise ConfigError(
            f"{len(labelled.prompts)} prompts with outcomes, battles or grades of {config.pair}, expected at least {MIN_PROMPTS}"
        )
    component_prompts, components = principal_scores(data.tables, config.components)
    examples = pair_examples(
        data.tables, data.battles, per_table=config.examples, min_battles=config.min_battles, seed=config.seed
    )
    prompts = list(dict.fromkeys([*labelled.prompts, *component_prompts, *examples.prompts]))
    row = {prompt: index for index, prompt in enumerate(prompts)}

    manifest = Manifest.read(folder)
    encoder = read_static((folder / str(manifest.graph)).read_bytes(), manifest.name)
    router = load(folder)
    features = prompt_features(router, encoder, prompts, config.tokens, report)

    # Each target by its own ridge regression. A prompt's own values are those of the fit without it.
    weights, values, penalties = [], [], []
    for texts, target in ((labelled.prompts, labelled.gain[:, None]), (component_prompts, components)):
        if not texts:
            continue
        rows = np.array([row[text] for text in texts])
        fit = fit_ridge(features.columns[rows], target, report=report)
        found = fit.predict(features.columns)
        found[rows] = fit.left_out
        unscaled = features.unscaled(fit.weights)
        unscaled[-1] += fit.intercept
        weights.append(unscaled)
        values.append(found)
        penalties.append(fit.penalty)
    outputs, known = np.hstack(weights), np.hstack(values)

    # The win rate of the pair depends on the gain alone; other models on all components and a constant.
    own = np.array([row[prompt] for prompt in labelled.prompts])
    gain = known[own, 0]
    try:
        platt = fit_platt(sigmoid(gain), (1.0 + labelled.gain) / 2.0)
    except InvalidInputError as error:
        raise ConfigError(
            f"{len(own)} prompts do not tell when {config.pair.strong} is better than {config.pair.weak}: predictions for left-out "
            "prompts are no better than chance; expected more prompts, or use the shipped router"
        ) from error
    half = np.zeros(known.shape[1] + 1)
    half[0], half[-1] = platt["slope"] / 2.0, platt["intercept"] / 2.0
    positions = np.array([row[prompt] for prompt in examples.prompts], dtype=np.int64)
    models, factors = fit_factors(
        np.column_stack([known[positions], np.ones(len(positions))]),
        examples,
        {config.pair.strong: half, config.pair.weak: -half},
    )
    extended, projection = with_columns(encoder, outputs, features.tokens)

    win_rates = sigmoid(platt["slope"] * gain + platt["intercept"])
    table = Outcomes(
        "left-out prompts",
        labelled.prompts,
        {config.pair.strong: labelled.gain, config.pair.weak: np.zeros(len(labelled.gain))},
    )
    by_prompt = dict(zip(labelled.prompts, win_rates, strict=True))
    names = (config.pair.strong, config.pair.weak)
    sources = np.array(labelled.source)
    settings = {
        **asdict(config),
        "start": manifest.name,
        "penalties": penalties,
        "labelled_prompts": len(own),
        "token_columns": len(features.tokens),
    }
    return TrainedMf(
        encoder=extended,
        head=head_of(projection, factors),
        models=models,
        pair=config.pair,
        start=folder,
        left_out=[win_rates[sources == source] for source in dict.fromkeys(labelled.source)],
        scores=dev_results([table], lambda texts: np.array([by_prompt[text] for text in texts]), names, config.seed),
        start_scores=dev_results([table], router.win_rates, names, config.seed),
        settings=settings,
    )


def with_columns(encoder: StaticEncoder, outputs: Doubles, tokens: NDArray[np.int64]) -> tuple[StaticEncoder, Doubles]:
    """Appends columns to a static encoder, so that linear functions of embedding, log counts and tokens are linear in its embedding.

    Args:
        encoder: The encoder.
        outputs: Weights of the embedding's numbers, of log counts and of ``tokens``, then the constant, float64 ``[columns, outputs]``.
        tokens: Token ids with weights.

    Returns:
        The encoder with one more column for every output and a constant one; and the projection from its embedding to the outputs and
        the constant 1, float64 ``[outputs + 1, dim + outputs + 1]``.
    """
    dim, counts, number = len(encoder.bias), len(encoder.feature_weight), outputs.shape[1]
    own = np.zeros((len(encoder.token_table), number))
    own[tokens] = outputs[dim + counts : -1]
    counted = outputs[dim : dim + counts]
    old = encoder.token_table.astype(np.float64) * encoder.row_scale[:, None]
    # A row's numbers share a scale: the new ones are made about as large as the old ones.
    gain = np.median(np.abs(old).max(axis=1)) / np.maximum(np.abs(own).max(axis=0), 1e-12)
    table, scale = quantize_rows(np.column_stack([old, own * gain, np.zeros(len(old))]))
    more = np.zeros(number + 1, dtype=np.float32)
    views = None
    if encoder.views is not None:
        first, last = (View(view.tokens, np.concatenate([view.gain, more])) for view in encoder.views)
        views = first, last
    extended = replace(
        encoder,
        token_table=table,
        row_scale=scale,
        feature_weight=np.column_stack([encoder.feature_weight, counted * gain, np.zeros(counts)]).astype(np.float32),
        bias=np.concatenate([encoder.bias, np.full(number + 1, _BIAS)]).astype(np.float32),
        views=views,
    )
    projection = np.zeros((number + 1, dim + number + 1))
    projection[:number, :dim] = outputs[:dim].T
    projection[np.arange(number), dim + np.arange(number)] = 1.0 / gain
    projection[:number, -1] = outputs[-1] / _BIAS - 1.0 / gain
    projection[-1, -1] = 1.0 / _BIAS
    return extended, projection
