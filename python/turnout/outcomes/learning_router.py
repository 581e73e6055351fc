"""A pool's router that learns from outcomes."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from turnout.durable_files import replace_file
from turnout.errors import ConfigError, InvalidInputError, InvalidTypeError
from turnout.outcomes.bandit import Bandit, BanditSettings, Choice, Floats, features_of
from turnout.outcomes.outcome import Outcome
from turnout.outcomes.signature import ReceiptKey
from turnout.outcomes.store import Outcomes

logger = logging.getLogger("turnout.outcomes")

#: The last decisions, whose outcomes are learned.
MOST_DECISIONS = 100_000


class Ranking(Protocol):
    """What is used of a ``turnout.PoolRouter``."""

    @property
    def models(self) -> Sequence[str]:
        """Names."""

    @property
    def artifact_hash(self) -> str:
        """Of the artifact."""

    def rank(self, prompt: str, **request: Any) -> Sequence[Any]:
        """Entries with ``model``, ``success``, ``expected_cost`` and ``feasible``, the best first."""


class _Waiting(NamedTuple):
    """What an outcome of a decision teaches about: the model's index, its predicted chance of success, and features."""

    model: int
    success: float
    features: Floats


class _Saved(NamedTuple):
    """A state that was saved, and the decisions that were made since."""

    bandit: Bandit
    decisions: dict[str, _Waiting | None]
    #: Outcomes of the database that were learned.
    seen: int
    since: list[tuple[str, _Waiting]]


class LearnedDecision(NamedTuple):
    """A decision of :class:`LearningRouter`.

    Attributes:
        model: The chosen model.
        receipt_id: For :meth:`LearningRouter.record`.
        receipt: For a decision log in JSON lines, which ``turnout report`` and :meth:`LearningRouter.replay` read.

    Example:
        >>> LearnedDecision("large", "4f1c", {}).model
        'large'
    """

    model: str
    receipt_id: str
    receipt: Mapping[str, Any]


class LearningRouter:
    """Routes between the models of a pool and learns from outcomes. Safe to share between threads.

    The pool's router is the baseline. See :class:`~turnout.outcomes.bandit.BanditSettings` for what bounds how far decisions may fall below it.

    Args:
        router: A pool's router.
        error_cost: What a failure costs, in the pool's currency: the objective.
        outcomes: The database of outcomes; by default one in memory. Outcomes that other processes record there are learned, too.
        settings: How it learns.
        unknown: Models of whose chances nothing is known, such as new ones.
        receipt_key: Signs receipts; by default they are not signed.

    Raises:
        ConfigError: ``error_cost`` is not positive, or a name of ``unknown`` is not one of the pool's.

    Example:
        >>> import turnout
        >>> pool = turnout.Pool([turnout.Model("a", success=0.9, input_price=1, output_price=1)], error_cost=0.01)
        >>> router = LearningRouter(turnout.load(pool=pool), error_cost=0.01)
        >>> decision = router.route("Hi")
        >>> decision.model, router.record(decision.receipt_id, passed=True)
        ('a', True)
    """

    def __init__(
        self,
        router: Ranking,
        *,
        error_cost: float,
        outcomes: Outcomes | None = None,
        settings: BanditSettings | None = None,
        unknown: Sequence[str] = (),
        receipt_key: ReceiptKey | None = None,
    ) -> None:
        if not 0 < error_cost < float("inf"):
            raise ConfigError(f"error_cost is {error_cost}, expected a number above 0", option="error_cost")
        self.router = router
        self.outcomes = Outcomes(":memory:") if outcomes is None else outcomes
        self._error_cost = error_cost
        self._receipt_key = receipt_key
        self._bandit = Bandit(list(router.models), settings)
        self._index = {name: index for index, name in enumerate(self._bandit.models)}
        for name in unknown:
            if name not in self._index:
                raise ConfigError(f"unknown has {name!r}, expected some of {', '.join(self._index)}", option="unknown")
            self._bandit.set_prior_std(self._index[name], 0.5)
        #: The last decisions by receipt id; ``None`` where the outcome was learned.
        self._decisions: dict[str, _Waiting | None] = {}
        self._unknown = 0
        self._seen = len(self.outcomes)
        self._lock = threading.Lock()

    def route(self, prompt: str, **request: Any) -> LearnedDecision:
        """Chooses a model.

        Args:
            prompt: The prompt.
            **request: Limits of :class:`turnout.pool.PoolRequest`, without an objective.

        Returns:
            The decision with its receipt.

        Raises:
            RouterError: As ``PoolRouter.rank``; also where no model is feasible, or one has no price.
        """
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt is of type {type(prompt).__name__}, expected str", argument="prompt")
        success, cost, allowed, baseline = self._ranked(prompt, request)
        receipt_id = _new_id()
        with self._lock:
            self._catch_up()
            choice = self._bandit.choose(success, cost, baseline, allowed, receipt_id)
            receipt = self._receipt(prompt, receipt_id, success, baseline, choice)
            self._wait(receipt_id, _Waiting(choice.model, float(success[choice.model]), choice.features))
        signed = receipt if self._receipt_key is None else self._receipt_key.signed(receipt)
        return LearnedDecision(str(receipt["model"]), receipt_id, signed)

    def record(self, receipt_id: str, **outcome: Any) -> bool:
        """Records an outcome, durably where the database is a file, and learns it.

        The first grade of a receipt counts for learning. One of a receipt that is not among the last 100,000 decisions made or restored
        here is kept, not learned, and is a warning in the log.

        Args:
            receipt_id: Of the decision.
            **outcome: As for :meth:`turnout.outcomes.Outcomes.record`.

        Returns:
            Whether it is new.

        Raises:
            RouterError: As :meth:`turnout.outcomes.Outcomes.record`.
        """
        is_new = self.outcomes.record(receipt_id, **outcome)
        with self._lock:
            self._catch_up()
        return is_new

    def replay(self, receipt: Mapping[str, Any], prompt: str, **request: Any) -> list[str]:
        """Makes a decision again, which needs the state that made it: see :meth:`save`.

        Args:
            receipt: Of the decision.
            prompt: The prompt.
            **request: As for :meth:`route`.

        Returns:
            What differs, a sentence each; nothing where all agrees bit for bit.

        Raises:
            InvalidInputError: Not a receipt of a learning router.
        """
        compared = ("prompt_sha256", "artifact_hash", "state", "model", "propensities", "success")
        if missing := [name for name in ("request_id", *compared) if name not in receipt]:
            raise InvalidInputError(f"the receipt lacks {', '.join(missing)}", argument="receipt")
        success, cost, allowed, baseline = self._ranked(prompt, request)
        with self._lock:
            bandit = Bandit.from_dict(self._bandit.to_dict())
        receipt_id = str(receipt["request_id"])
        choice = bandit.choose(success, cost, baseline, allowed, receipt_id)
        found = self._receipt(prompt, receipt_id, success, baseline, choice)
        return [
            f"{name} is {found[name]!r}, the receipt has {receipt[name]!r}"
            for name in compared
            if found[name] != receipt[name]
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Learns what was recorded so far, then writes the state and the last decisions; the file is replaced as a whole.

        Args:
            path: A JSON file.

        Raises:
            OutcomesError: The database is damaged or closed.
        """
        with self._lock:
            # What comes before the save is not "since": rolling back would leave it out.
            self._catch_up()
            decisions = {
                name: one and [one.model, one.success, one.features.tolist()] for name, one in self._decisions.items()
            }
            values = {"bandit": self._bandit.to_dict(), "decisions": decisions, "seen": self._seen, "time": time.time()}
        replace_file(Path(path), json.dumps(values).encode())

    def restore(self, path: str | os.PathLike[str], receipts: Iterable[Mapping[str, Any]] = ()) -> None:
        """Goes on from the state of :meth:`save` after a restart; outcomes that the database has got since are learned with the next call, once.

        Args:
            path: A JSON file.
            receipts: Lines of the decision log, from which decisions made after the save are known: their outcomes are learned, too.
                Earlier ones and those of other routers are left out.

        Raises:
            ConfigError: The file is not such a state, or one of other models.
            InvalidInputError: A receipt of a learning router lacks a field, or is one of other models.
        """
        saved = self._saved(path, receipts)
        with self._lock:
            self._take(saved)

    def roll_back(self, path: str | os.PathLike[str], receipts: Iterable[Mapping[str, Any]] = ()) -> None:
        """Goes back to the state of :meth:`save` for good: what was recorded since is not learned again.

        Outcomes that come later are learned, those of the decisions since the save, too. :meth:`save` afterwards, because :meth:`restore` of
        the same file learns what this leaves out.

        Args:
            path: A JSON file.
            receipts: As for :meth:`restore`; this router's own decisions are known without.

        Raises:
            ConfigError: As for :meth:`restore`.
            InvalidInputError: Likewise.
            OutcomesError: The database is damaged or closed; nothing has changed.
        """
        saved = self._saved(path, receipts)
        with self._lock:
            left_out = list(self.outcomes.read(saved.seen))
            mine = self._decisions
            self._take(saved)
            for name, waiting in mine.items():
                if name not in self._decisions:
                    self._wait(name, waiting)
            for outcome in left_out:
                self._seen += 1
                self._first_grade(outcome)

    def _saved(self, path: str | os.PathLike[str], receipts: Iterable[Mapping[str, Any]]) -> _Saved:
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            bandit = Bandit.from_dict(values["bandit"])
            decisions = {
                str(name): one and _Waiting(int(one[0]), float(one[1]), np.array(one[2], dtype=np.float64))
                for name, one in values["decisions"].items()
            }
            seen, saved = int(values["seen"]), float(values["time"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{os.fspath(path)}: not the state of a learning router: {error}") from error
        if bandit.models != self._bandit.models:
            raise ConfigError(
                f"{os.fspath(path)}: models {', '.join(bandit.models)}, expected {', '.join(self._index)}"
            )
        since = [self._waiting(row, one) for row, one in enumerate(receipts) if _is_later(one, saved)]
        return _Saved(bandit, decisions, seen, since)

    def _take(self, saved: _Saved) -> None:
        self._bandit, self._decisions, self._seen = saved.bandit, saved.decisions, saved.seen
        for name, waiting in saved.since:
            if name not in self._decisions:
                self._wait(name, waiting)

    def _wait(self, receipt_id: str, waiting: _Waiting | None) -> None:
        while len(self._decisions) >= MOST_DECISIONS:
            self._decisions.pop(next(iter(self._decisions)))
        self._decisions[receipt_id] = waiting

    def _waiting(self, row: int, receipt: Mapping[str, Any]) -> tuple[str, _Waiting]:
        """What a receipt says of its decision: all that an outcome needs."""
        try:
            success = np.array([float(receipt["success"][name]) for name in self._bandit.models])
            model = self._index[receipt["model"]]
            return str(receipt["request_id"]), _Waiting(model, float(success[model]), features_of(success)[model])
        except (KeyError, TypeError, ValueError) as error:
            message = (
                f"receipt {row} is not one of this router: {error!r}, expected chances of {', '.join(self._index)}"
            )
            raise InvalidInputError(message, row=row) from error

    def _ranked(self, prompt: str, request: Mapping[str, Any]) -> tuple[Floats, Floats, Any, int]:
        """Chances, costs in units of ``error_cost``, feasibility, and the baseline's choice."""
        ranked = self.router.rank(prompt, error_cost=self._error_cost, **request)
        count = len(self._bandit.models)
        success, cost, allowed = np.empty(count), np.zeros(count), np.zeros(count, dtype=bool)
        for one in ranked:
            at = self._index[one.model]
            success[at], allowed[at] = one.success, one.feasible
            if one.feasible and one.expected_cost is None:
                raise ConfigError(
                    f"model {one.model} has no price, expected input_price and output_price", option="pool"
                )
            cost[at] = (one.expected_cost or 0.0) / self._error_cost
        baseline = next((one.model for one in ranked if one.feasible), None)
        if baseline is None:
            raise InvalidInputError("no model of the pool may serve the request", argument="prompt")
        return success, cost, allowed, self._index[baseline]

    def _receipt(self, prompt: str, receipt_id: str, success: Floats, baseline: int, choice: Choice) -> dict[str, Any]:
        names = self._bandit.models
        return {
            "time": time.time(),
            "request_id": receipt_id,
            "router": "learning",
            "artifact_hash": self.router.artifact_hash,
            "prompt_sha256": hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(),
            "model": names[choice.model],
            "served": names[choice.model],
            "baseline": names[baseline],
            "success": dict(zip(names, success.tolist(), strict=True)),
            "propensities": dict(zip(names, choice.propensities.tolist(), strict=True)),
            "seed": self._bandit.settings.seed,
            "number": choice.number,
            "state": choice.state,
        }

    def _catch_up(self) -> None:
        """Learns what the database has got since: each outcome once, in its order."""
        for outcome in self.outcomes.read(self._seen):
            self._seen += 1
            if outcome.receipt_id not in self._decisions:
                self._unknown += 1
                if math.log10(self._unknown).is_integer():
                    logger.warning(
                        "%d outcomes so far are of receipts that are not among the last decisions of this router: kept, not learned",
                        self._unknown,
                    )
            elif (found := self._first_grade(outcome)) is not None:
                grade, waiting = found
                self._bandit.learn(waiting.model, grade, waiting.success, waiting.features)

    def _first_grade(self, outcome: Outcome) -> tuple[float, _Waiting] | None:
        """What an outcome teaches; ``None`` where it is not the first grade of a decision that is known. It waits for no other then."""
        waiting = self._decisions.get(outcome.receipt_id)
        if waiting is None or (grade := outcome.grade_of(self._bandit.models[waiting.model])) is None:
            return None
        self._decisions[outcome.receipt_id] = None
        return grade, waiting


def _new_id() -> str:
    """A receipt's id: the draw depends on it, so that no two decisions share one, whatever was restored."""
    return uuid.uuid4().hex


def _is_later(receipt: Mapping[str, Any], saved: float) -> bool:
    """Whether this is a decision of a learning router that was made after a state was saved."""
    made = receipt.get("time")
    return receipt.get("router") == "learning" and isinstance(made, int | float) and made >= saved
