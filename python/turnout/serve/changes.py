"""Watches whether outcomes and latencies of models change, and says so in a metric and in the log."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from turnout.outcomes.change import ChangeDetector

if TYPE_CHECKING:
    from turnout.serve.metrics import Metrics
    from turnout.serve.outcome_settings import ChangeSettings, Signal
    from turnout.serve.snapshot import Model

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
        self._answers: OrderedDict[str, str] = OrderedDict()

    def answered(self, receipt_id: str, model: Model, seconds: float) -> None:
        """Takes the latency of an answer.

        Args:
            receipt_id: Of the decision.
            model: The model that answered.
            seconds: To the end of the answer.
        """
        if "latency" in self._settings.watch:
            self._add(model.label, "latency", seconds)
        if "outcomes" in self._settings.watch:
            self._answers[receipt_id] = model.label
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def outcome(self, receipt_id: str, value: float) -> None:
        """Takes an outcome; the first one of one of the last answers counts.

        Args:
            receipt_id: Of the decision.
            value: In ``[0, 1]``.
        """
        label = self._answers.pop(receipt_id, None)
        if label is not None:
            self._add(label, "outcomes", value)

    def _add(self, label: str, signal: Signal, value: float) -> None:
        detector = self._detectors.get((label, signal))
        if detector is None:
            detector = self._detectors[label, signal] = ChangeDetector(self._settings.mean_values)
        if detector.add(value):
            self._metrics.changes.labels(label, signal).inc()
            logger.warning("model %s: its %s have changed", label, "outcomes" if signal == "outcomes" else "latencies")
