"""The recipe of the small transformer router, from tables to weights; read it from top to bottom.

The transformer is distilled from the sentence encoder first, without labels. Beside its embedding stand, for every prompt, the mean
of what the experts and the topic teacher think of the tokens, and log counts: what an expert knows is linear in the tokens, and a
transformer would only learn it again, worse (wide beside deep, arXiv 1606.07792). The student above them, its lessons and the
vectors of the models are those of the matrix-factorisation router.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turnout.data import Battles, Outcomes
from turnout.evaluate.dev import DevResult, dev_results
from turnout.progress import Show, silent
from turnout.routers.bert.transformer import SmallTransformer, TransformerConfig, distil, first_rows
from turnout.training.config import MfConfig
from turnout.training.curriculum import Curriculum, plan
from turnout.training.features import Floats, Ids, encode, inputs
from turnout.training.files import TrainingFiles
from turnout.training.matrix_factorization import HiddenLayer, fit_models, looks, train_hidden
from turnout.training.pair import Tell
from turnout.training.tables import EXAMPLES_A_TABLE, pair_examples


@dataclass(frozen=True)
class BertConfig:
    """Everything that :func:`train_bert` needs besides the files.

    Attributes:
        lessons: Pair, experts, lessons and student: the recipe of the matrix-factorisation router.
        transformer: The encoder.
    """

    lessons: MfConfig = field(default_factory=MfConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)


@dataclass(frozen=True)
class TrainedBert:
    """A trained router in float32; the export quantises it.

    Attributes:
        transformer: The encoder.
        opinions: What experts and topic teacher think of a token, float32 ``[vocabulary, opinions]``.
        counts: Counting columns, float32 ``[vocabulary, columns]``.
        hidden: Layer over ``concat(embedding, mean opinions, log1p(counts))``.
        projection: ``W1``, float32 ``[factors, dim]``.
        factor_weights: ``w2``, float32 ``[factors]``.
        model_vectors: ``v_m``, float32 ``[models, factors]``, rows of unit length.
        models: Names in the order of the vectors.
        strong: Strong model of the pair.
        weak: Weak model of the pair.
        report: Dev metrics, sizes and what was read, ready for JSON.
        dev: Dev metrics.
    """

    transformer: SmallTransformer
    opinions: Floats
    counts: Floats
    hidden: HiddenLayer
    projection: Floats
    factor_weights: Floats
    model_vectors: Floats
    models: list[str]
    strong: str
    weak: str
    report: Mapping[str, object] = field(default_factory=dict)
    dev: Sequence[DevResult] = ()

    @property
    def max_tokens(self) -> int:
        """Token limit."""
        return self.transformer.config.max_tokens

    def model_scores(self, ids: Sequence[Ids]) -> NDArray[np.float64]:
        """Score of every model, float64 ``[prompts, models]``."""
        embedded = self.hidden.embed(sees(self.transformer, self.opinions, self.counts, ids)).astype(np.float64)
        scores: NDArray[np.float64] = (embedded @ self.projection.T * self.factor_weights) @ self.model_vectors.T
        return scores

    def win_rates(self, tokenizer: Tokenizer, prompts: Sequence[str]) -> NDArray[np.float64]:
        """Win rate of the strong model, float64 ``[prompts]``."""
        scores = self.model_scores(encode(tokenizer, prompts, self.max_tokens))
        logit = scores[:, self.models.index(self.strong)] - scores[:, self.models.index(self.weak)]
        return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


def sees(transformer: SmallTransformer, opinions: Floats, counts: Floats, ids: Sequence[Ids]) -> Floats:
    """What the student sees of prompts: float32 ``[prompts, width + opinions + counting columns]``."""
    ids = [row[: transformer.config.max_tokens] for row in ids]
    return np.hstack([transformer.embed(ids), inputs(ids, opinions, counts)]).astype(np.float32)


def train_bert(
    config: BertConfig, files: TrainingFiles, show: Show = silent, tell: Tell = warnings.warn
) -> TrainedBert:
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
    lessons = config.lessons
    data = files.read()
    tokenizer = files.read_tokenizer()
    teacher = files.read_teacher(lessons.teacher_tokens)
    curriculum = plan(lessons, data.tables, data.battles, teacher, tokenizer, show, tell)
    transformer = distilled(config, curriculum, teacher.word_embeddings, show)
    trained = fit_bert(config, curriculum, transformer, data.tables, data.battles, show)
    pair = (lessons.strong, lessons.weak)
    results = dev_results(data.dev, lambda prompts: trained.win_rates(tokenizer, prompts), pair, lessons.seed)
    return replace(trained, report=data.report(asdict(config), results, curriculum.left_out), dev=results)


def distilled(
    config: BertConfig, curriculum: Curriculum, word_embeddings: Floats, show: Show = silent
) -> SmallTransformer:
    """The transformer, from what the sentence encoder made of the texts; no label has a part in it."""
    seed, width = config.lessons.seed, config.transformer.width
    unit = float(np.sqrt((curriculum.targets**2).sum(axis=1).mean()))
    share = np.bincount(np.concatenate(curriculum.read_ids), minlength=len(word_embeddings))
    rows = first_rows(curriculum.static / unit, word_embeddings, share, width)
    # The teacher saw no more of a prompt than this.
    seen = [row[: config.lessons.teacher_tokens] for row in curriculum.read_ids]
    steps = config.transformer.steps
    return distil(
        config.transformer,
        rows,
        seen,
        curriculum.targets / unit,
        seed,
        lambda step, explained: show(f"distilled, R2 {explained:.3f}", step, steps),
    )


def fit_bert(
    config: BertConfig,
    curriculum: Curriculum,
    transformer: SmallTransformer,
    tables: Sequence[Outcomes],
    battles: Battles,
    show: Show = silent,
) -> TrainedBert:
    """Trains the student and the models' vectors over a distilled transformer.

    Args:
        config: The recipe.
        curriculum: What to teach.
        transformer: The encoder, left as it is.
        tables: Correctness tables.
        battles: Battles.
        show: Told of the progress.
    """
    lessons = config.lessons
    opinions, counts = curriculum.opinions, curriculum.counts

    def see(ids: Sequence[Ids]) -> Floats:
        return sees(transformer, opinions, counts, ids)

    hidden = train_hidden(curriculum.lessons, see, lessons, looks(show, lessons))
    examples = pair_examples(
        tables, battles, per_table=EXAMPLES_A_TABLE, min_battles=lessons.min_battles, seed=lessons.seed
    )
    distinct = list(dict.fromkeys(examples.prompts))
    show("model vectors", 0, 1)
    embedded = hidden.embed(see([curriculum.ids[prompt] for prompt in distinct]))
    place = {prompt: row for row, prompt in enumerate(distinct)}
    by_example = embedded[[place[prompt] for prompt in examples.prompts]]
    projection, factor_weights, vectors, models = fit_models(hidden.direction, by_example, examples, lessons)
    show("model vectors", 1, 1)
    return TrainedBert(
        transformer,
        opinions,
        counts,
        hidden,
        projection,
        factor_weights,
        vectors,
        models,
        lessons.strong,
        lessons.weak,
    )
