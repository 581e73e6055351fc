"""Watches whether outcomes and latencies of models change, and says so in a metric and in the log."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from turnout.outcomes.change import ChangeDetector

if TYPE_CHECKING:
    from turnout.outcomes import Outcome
    from turnout.serve.metrics import Metrics
    from turnout.serve.settings.outcomes import ChangeSettings, Signal

logger = logging.getLogger("turnout.serve")

#: Answers that may wait for their outcomes.
_MOST_ANSWERS = 10_000


class Changes:
    """The detectors, one for each model and signal. For one event loop.

    Args:
        settings: Of ``[changes]``.
        metrics: Counts alarms.
    """

    def __init__(self, settings: ChangeSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._detectors: dict[tuple[str, Signal], ChangeDetector] = {}
        # Name and label: a model would keep its upstream and its connections after a reload.
        self._answers: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def took(self, label: str, seconds: float) -> None:
        """Takes the latency of an attempt.

        Args:
            label: Of the model.
            seconds: That the model took for its whole answer.
        """
        if "latency" in self._settings.watch:
            self._add(label, "latency", seconds)

    def timed_out(self, label: str) -> None:
        """Takes an attempt that a model did not answer in time: slower than all that were answered.

        Args:
            label: Of the model.
        """
        self.took(label, math.inf)

    def answered(self, receipt_id: str, model: str, label: str) -> None:
        """Remembers whose answer the outcomes of a receipt are about.

        Args:
            receipt_id: Of the decision.
            model: Name of the model that answered.
            label: Of the model.
        """
        if "outcomes" in self._settings.watch:
            self._answers[receipt_id] = model, label
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

    def _add(self, label: str, signal: Signal, value: float) -> None:
        detector = self._detectors.get((label, signal))
        if detector is None:
            detector = self._detectors[label, signal] = ChangeDetector(self._settings.mean_values)
        if detector.add(value):
            self._metrics.changes.labels(label, signal).inc()
            logger.warning("model %s: its %s have changed", label, "outcomes" if signal == "outcomes" else "latencies")
