"""The recipe of the shipped router as one frozen value; every default is written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from glob import escape


@dataclass(frozen=True)
class Slice:
    """Rows of one table.

    Attributes:
        table: Name of the table: its file name without the suffix.
        categories: Shell patterns; a row belongs when its category matches one of them.
        models: Shell patterns of models, where the use of the slice needs some.
    """

    table: str
    categories: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)


#: Categories of MMLU-Pro in which an answer is looked up or argued rather than calculated.
_KNOWLEDGE = ("biology", "business", "economics", "psychology", "law", "other", "health", "philosophy", "history")
_LARGE = ("gpt-4o-*", "gemini-1.5-*", "meta-llama-3_1-70b-instruct")
_MIDDLE = ("mixtral-8x7b-*", "yi-34b", "c4ai-command-r-*", "qwen1.5-72b-chat")
#: Large enough to stand for the strong model where a table does not have it.
_CAPABLE = ("qwen2.5-7b-instruct", "llama-3.?-nemotron-*", "gemma-2-9b-it", "llama-3.1-8b-instruct")


@dataclass(frozen=True)
class ExpertConfig:
    """How an expert on one kind of prompt is fitted; see ``turnout.training.experts``.

    Attributes:
        rows: The rows that it ranks.
        strong: Patterns of the strong side.
        weak: Patterns of the weak side.
        bag_weight: Prior variance of the token weights.
        difficulty_weight: Prior variance of the weights of the difficulty directions.
        length_weight: Prior variance of the weight of the log token count.
        count_weight: Prior variance shared by the other counting columns.
        ridge: Noise variance; more of it shrinks more.
        mean: Mean gain that the student is taught on such prompts.
        spread: Standard deviation of that gain.
        mixed: Mixed prompts to teach with; see ``turnout.training.lessons``.
    """

    rows: Slice
    strong: tuple[str, ...]
    weak: tuple[str, ...]
    bag_weight: float
    difficulty_weight: float = 0.0
    length_weight: float = 0.0
    count_weight: float = 0.0
    ridge: float = 10.0
    mean: float = 0.1
    spread: float = 0.1
    mixed: int = 8000


@dataclass(frozen=True)
class MfConfig:
    """Everything that :func:`turnout.routers.mf.train.train_mf` needs besides the files.

    Attributes:
        strong: Strong model of the pair, in canonical form.
        weak: Weak model of the pair.
        strong_stand_ins: Patterns of models whose mean stands for the strong model in tables without the pair.
        weak_stand_ins: The same for the weak model: its relatives.
        choice: Expert on bare multiple choice.
        word: Expert on arithmetic word problems.
        difficulties: Slices whose mean error is a direction of difficulty for the choice expert.
        calculation: The direction that tells calculation from knowledge: categories of one table.
        topic_ridge: Ridge of the regression from sentence embeddings to gains.
        chat_weight: Weight of a prompt from battles in it; its gain is taken to be zero.
        length_pull: Gain per unit of log token count, added to what the topic teacher says.
        fragments: Pieces of prompts that the teacher labels besides the prompts.
        components: Principal components of the teacher's embedding in the static table.
        static_ridge: Ridge of the static table.
        static_token_scale: Scale of a token's own weight against the part that is linear in the teacher's word embeddings.
        hidden: Hidden units of one network; one of them is a constant that carries the output's bias.
        members: Networks, with seeds ``seed, seed + 1, ...``, averaged into one.
        steps: Steps of one network at most.
        batch: Prompts a step.
        learning_rate: Peak of a one-cycle schedule.
        noise: Gaussian noise on the standardised inputs.
        weight_decay: AdamW's.
        patience: Looks at the held-out prompts without improvement before training stops; a look is every 250 steps.
        factors: Dimensions of a model vector.
        factor_steps: Steps of the model vectors.
        min_battles: A model with fewer battles than this gets no vector.
        max_tokens: Token limit of the router.
        teacher_tokens: Token limit of the teacher.
        seed: Seed of everything random.
    """

    strong: str = "gpt-4-1106-preview"
    weak: str = "mixtral-8x7b-instruct-v0.1"
    strong_stand_ins: tuple[str, ...] = (*_LARGE, *_CAPABLE)
    weak_stand_ins: tuple[str, ...] = (*_MIDDLE, "mistral-7b-instruct-v0.3")
    choice: ExpertConfig = field(
        default_factory=lambda: ExpertConfig(
            rows=Slice("mmlu_gold"),
            strong=("gpt-4-1106-preview",),
            weak=("mixtral-8x7b-instruct-v0.1",),
            bag_weight=2.0,
            difficulty_weight=0.5,
            ridge=60.0,
            mean=0.10,
            spread=0.09,
        )
    )
    word: ExpertConfig = field(
        default_factory=lambda: ExpertConfig(
            rows=Slice("llmrouter", ("gsm8k", "agentverse-mgsm")),
            strong=_CAPABLE,
            weak=("mistral-7b-instruct-v0.3", "codegemma-7b", "llama3-chatqa-1.5-70b"),
            bag_weight=1.5,
            length_weight=0.2,
            count_weight=0.1,
            ridge=10.0,
            mean=0.42,
            spread=0.10,
            mixed=4000,
        )
    )
    difficulties: tuple[Slice, ...] = (
        Slice("mmlu_pro", ("*",), _LARGE),
        Slice("mmlu_pro", ("*",), _MIDDLE),
        Slice("mmlu_pro", _KNOWLEDGE, _LARGE),
        Slice("mmlu_pro", _KNOWLEDGE, _MIDDLE),
        Slice("llmrouter", ("trivia_qa",)),
        Slice("llmrouter", ("arc_challenge",)),
        Slice("llmrouter", ("mmlu",)),
    )
    calculation: Slice = field(
        default_factory=lambda: Slice("mmlu_pro", ("math", "physics", "chemistry", "engineering"))
    )
    topic_ridge: float = 6.0
    chat_weight: float = 0.3
    length_pull: float = 0.06
    fragments: int = 6000
    components: int = 96
    static_ridge: float = 0.5
    static_token_scale: float = 0.3
    hidden: int = 32
    members: int = 4
    steps: int = 2500
    batch: int = 512
    learning_rate: float = 1e-2
    noise: float = 0.1
    weight_decay: float = 1e-4
    patience: int = 4
    factors: int = 16
    factor_steps: int = 600
    min_battles: int = 1000
    max_tokens: int = 512
    teacher_tokens: int = 128
    seed: int = 0

    def for_pair(self, strong: str, weak: str) -> MfConfig:
        """The recipe for a pair. The stand-ins are those of this recipe's own pair: another pair has none.

        Args:
            strong: Strong model, in canonical form.
            weak: Weak model, likewise.
        """
        if (strong, weak) == (self.strong, self.weak):
            return self
        left, right = (escape(strong),), (escape(weak),)
        return replace(
            self,
            strong=strong,
            weak=weak,
            strong_stand_ins=(),
            weak_stand_ins=(),
            choice=replace(self.choice, strong=left, weak=right),
            word=replace(self.word, strong=left, weak=right),
        )
