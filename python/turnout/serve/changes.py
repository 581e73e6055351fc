"""Watches whether a model's outcomes, latencies, log-probabilities or reported name change: a metric, a line in the log, and a list."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from turnout.outcomes.change import ChangeDetector

if TYPE_CHECKING:
    from turnout.outcomes import Outcome
    from turnout.serve.decisions.snapshot import Model
    from turnout.serve.metrics import Metrics
    from turnout.serve.settings.outcomes import ChangeSettings, Signal
    from turnout.serve.upstreams.answer import Answer

logger = logging.getLogger("turnout.serve")

#: Answers that may wait for their outcomes.
_MOST_ANSWERS = 10_000
#: Names that are known of one model; one that reports another name for each answer is not watched.
_MOST_NAMES = 32
#: Of the number in a revision.
_MOST_DIGITS = 20
_WORDS: Mapping[Signal, str] = {
    "outcomes": "outcomes have changed",
    "latency": "latencies have changed",
    "logprobs": "log-probabilities have changed",
}


class Change(NamedTuple):
    """A change that was noticed."""

    model: str
    signal: Signal
    #: Seconds since 1970.
    time: float
    #: What happened, for people.
    text: str
    #: Its place among the changes of all models since the start, from 1.
    number: int


class StaleRevisionError(Exception):
    """There are changes that the revision does not have.

    Args:
        changes: Those.
    """

    def __init__(self, changes: list[Change]) -> None:
        super().__init__("; ".join(f"model {one.model}: {one.text}" for one in changes))
        self.changes = changes


class Changes:
    """The detectors, one for each model and signal. For one event loop.

    Answers may outlast a reload: what models say that it replaced is ignored.

    Args:
        settings: Of ``[changes]``.
        metrics: Counts alarms.
        models: By name.
    """

    def __init__(self, settings: ChangeSettings, metrics: Metrics, models: Mapping[str, Model]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._models = models
        self._detectors: dict[tuple[str, Signal], ChangeDetector] = {}
        # Name and label: a model would keep its upstream and its connections after a reload.
        self._answers: OrderedDict[str, tuple[str, str]] = OrderedDict()
        #: Names that models reported, by label; the last one that was reported comes last.
        self._names: dict[str, dict[str, None]] = {}
        self._unconfirmed: dict[tuple[str, Signal], Change] = {}
        self._noticed = 0
        #: Revisions of another start, or of another process, are unknown.
        self._start = secrets.token_hex(4)

    @property
    def reads_logprobs(self) -> bool:
        """Whether log-probabilities are watched."""
        return "logprobs" in self._settings.watch

    @property
    def unconfirmed(self) -> list[Change]:
        """The last change of each model and signal since they were confirmed."""
        return list(self._unconfirmed.values())

    @property
    def revision(self) -> str:
        """Name of all changes so far."""
        return f"{self._start}-{self._noticed}"

    @property
    def pinned_by(self) -> list[Change]:
        """The changes for which a reload keeps what was learned; none without ``pin``."""
        return self.unconfirmed if self._settings.pin else []

    def confirm(self, revision: str) -> list[Change]:
        """Forgets the changes of a revision, which somebody has seen; gives them.

        Args:
            revision: :attr:`revision`, when they were seen.

        Raises:
            StaleRevisionError: There are others since, or the revision is unknown; nothing is forgotten.
        """
        found = self.unconfirmed
        start, _, number = revision.partition("-")
        is_number = start == self._start and number.isdecimal() and len(number) < _MOST_DIGITS
        seen = int(number) if is_number and int(number) <= self._noticed else None
        newer = [one for one in found if seen is None or one.number > seen]
        if newer or seen is None:
            raise StaleRevisionError(newer)
        self._unconfirmed.clear()
        return found

    def reloaded(self, models: Mapping[str, Model]) -> None:
        """Starts over for models that the configuration replaced: the provider did not make their differences.

        Args:
            models: By name, after the reload.
        """
        before, self._models = self._models, models
        replaced = {one.label for one in before.values() if not self._is_current(one)}
        if not replaced:
            return
        for label, signal in [*self._detectors, *self._unconfirmed]:
            if label in replaced:
                self._detectors.pop((label, signal), None)
                self._unconfirmed.pop((label, signal), None)
        for label in replaced:
            self._names.pop(label, None)
        for receipt_id in [one for one, (_, label) in self._answers.items() if label in replaced]:
            del self._answers[receipt_id]

    def delivered(self, model: Model, answer: Answer) -> None:
        """Takes a complete answer: its log-probabilities, and what the model calls itself.

        Args:
            model: That answered.
            answer: The answer, after it was relayed.
        """
        if not self._settings.watch or not self._is_current(model):
            return
        if self.reads_logprobs and (mean := answer.mean_logprob) is not None:
            self._add(model.label, "logprobs", mean)
        if "model" in self._settings.watch and answer.model:
            self._named(model.label, answer.model)

    def took(self, model: Model, seconds: float) -> None:
        """Takes the latency of an attempt.

        Args:
            model: That was asked.
            seconds: That it took for its whole answer.
        """
        if "latency" in self._settings.watch and self._is_current(model):
            self._add(model.label, "latency", seconds)

    def timed_out(self, model: Model) -> None:
        """Takes an attempt that a model did not answer in time: slower than all that were answered.

        Args:
            model: That was asked.
        """
        self.took(model, math.inf)

    def answered(self, receipt_id: str, model: Model) -> None:
        """Remembers whose answer the outcomes of a receipt are about.

        Args:
            receipt_id: Of the decision.
            model: That answered.
        """
        if "outcomes" in self._settings.watch and self._is_current(model):
            self._answers[receipt_id] = model.name, model.label
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def outcome(self, outcome: Outcome) -> None:
        """Takes an outcome; the first grade of one of the last answers counts.

        Args:
            outcome: As it was recorded.
        """
        answer = self._answers.get(outcome.receipt_id)
        if answer is None or (grade := outcome.grade_of(answer[0])) is None:
            return
        del self._answers[outcome.receipt_id]
        self._add(answer[1], "outcomes", grade)

    def _is_current(self, model: Model) -> bool:
        found = self._models.get(model.name)
        return found is not None and _served_by(found) == _served_by(model)

    def _named(self, label: str, name: str) -> None:
        """Compares a reported name with those before: a new one is a change, alternating between known ones is not."""
        names = self._names.setdefault(label, {})
        if name in names:
            del names[name]
        elif len(names) == _MOST_NAMES:
            return
        elif names:
            before = next(reversed(names))
            self._alarm(label, "model", f"reports the name {name!a}, before {before!a}")
            if len(names) == _MOST_NAMES - 1:
                logger.warning("model %s: has reported %d names: new ones are not watched", label, _MOST_NAMES)
        names[name] = None

    def _add(self, label: str, signal: Signal, value: float) -> None:
        detector = self._detectors.get((label, signal))
        if detector is None:
            detector = self._detectors[label, signal] = ChangeDetector(self._settings.mean_values)
        if detector.add(value):
            self._alarm(label, signal, f"its {_WORDS[signal]}")

    def _alarm(self, label: str, signal: Signal, text: str) -> None:
        self._noticed += 1
        self._unconfirmed[label, signal] = Change(label, signal, time.time(), text, self._noticed)
        self._metrics.changes.labels(label, signal).inc()
        logger.warning("model %s: %s", label, text)


def _served_by(model: Model) -> tuple[str, str, str]:
    return model.upstream.settings.base_url, model.upstream_name, model.effort
