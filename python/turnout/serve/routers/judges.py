"""The judge of a router with ``mode = "cascade"``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from turnout._core import ConfigError
from turnout.cascade import SIGNALS, Answer, Judge, Scorer
from turnout.cascade.judge import Action
from turnout.serve.routers.scorers import Scorers
from turnout.serve.settings.tables import RouterSettings

_LOGPROBS = ("logprobs", "first_top_logprobs")


@dataclass(frozen=True)
class LoadedCascade:
    """A judge, and how much of a stream is held for it."""

    judge: Judge
    path: str
    asks_logprobs: bool
    hold_tokens: int
    hold_s: float
    #: ``None`` where the judge reads no learned score.
    scorer: Scorer | None = None

    def action(self, risk: float) -> Action:
        """What happens to a prompt before any call: ``cheap``, ``cascade`` or ``strong``.

        Args:
            risk: The prompt's win rate.
        """
        return self.judge.policy.action(risk)

    @property
    def bare_signals(self) -> list[str]:
        """Signals by which answers without log-probabilities are judged."""
        return list(self.judge.form(self._bare)[0].signals)

    @property
    def _bare(self) -> Answer:
        """An answer without log-probabilities."""
        return Answer("", score=None if self.scorer is None else 0.5)

    def signals(self, dialect: str) -> list[str]:
        """Signals by which answers in a dialect are judged, if the upstream gives log-probabilities where the dialect has them.

        Args:
            dialect: Its name.
        """
        has_logprobs = self.asks_logprobs and dialect != "messages"
        answer = self._bare
        if has_logprobs:
            answer = replace(answer, logprobs=[-1.0], first_top_logprobs=[-1.0, -2.0])
        return list(self.judge.form(answer)[0].signals)


def load_cascade(name: str, settings: RouterSettings, scorers: Scorers) -> LoadedCascade | None:
    """Reads the judge of a router; ``None`` for one that does not cascade.

    Args:
        name: Of the router.
        settings: Of ``[routers.NAME]``.
        scorers: Those that judges read.

    Raises:
        ConfigError: The file is missing or wrong, or has no form for answers without log-probabilities.
    """
    if settings.mode != "cascade" or (settings.judges and not settings.judge):
        return None
    if not settings.judge:
        raise ConfigError(
            f'[routers.{name}] mode is "cascade" and needs judge: the file of turnout calibrate --cascade'
        )
    return _load(f"[routers.{name}] judge", settings.judge, settings, scorers)


def load_judges(
    name: str, settings: RouterSettings, models: Sequence[str], scorers: Scorers
) -> dict[str, LoadedCascade]:
    """Reads the judges of a router that cascades in a pool; empty for one that does not.

    Args:
        name: Of the router.
        settings: Of ``[routers.NAME]``.
        models: Of the pool.
        scorers: Those that judges read.

    Raises:
        ConfigError: A file is missing or wrong, a model is not in the pool, or as for :func:`load_cascade`.
    """
    if settings.mode != "cascade":
        return {}
    for model in settings.judges:
        if model not in models:
            raise ConfigError(f"[routers.{name}] judges: {model!r} is not in the pool: {', '.join(models)}")
    return {
        model: _load(f"[routers.{name}] judges.{model}", path, settings, scorers)
        for model, path in settings.judges.items()
    }


def _load(where: str, path: str, settings: RouterSettings, scorers: Scorers) -> LoadedCascade:
    if not Path(path).is_file():
        raise ConfigError(f"{where}: {path}: no such file")
    judge = Judge.load(path)
    scorer = None
    if "score" in judge.needs():
        if not settings.scorer:
            raise ConfigError(
                f"{where}: {path} reads the signal scorer, expected scorer: the artifact of turnout train scorer"
            )
        scorer = scorers.open(settings.scorer)
    reads_logprobs = any(SIGNALS[name].needs in _LOGPROBS for form in judge.forms for name in form.signals)
    asks_logprobs = settings.ask_logprobs and reads_logprobs
    found = LoadedCascade(judge, path, asks_logprobs, settings.hold_tokens, settings.hold_ms / 1e3, scorer)
    try:
        found.bare_signals  # noqa: B018
    except ConfigError:
        raise ConfigError(f"{where}: {path} has no form for answers without log-probabilities") from None
    return found
