"""The description of a pool; the core checks it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from turnout import _core

_OBJECTIVE = ("target", "kl_radius", "max_cost", "error_cost", "tolerance")
_LIMITS = ("max_price", "max_latency_ms", "allow_tags", "deny_tags", "regions")


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """What a model and a reasoning effort have in common. ``None`` stands for unknown, or for the model's own."""

    #: Success is that of this model of the artifact.
    like: str | None = None
    #: File with the model's profile, from ``turnout profile``.
    profile: str | None = None
    #: Chance in ``[0, 1]`` that an answer is good, the same for every prompt.
    success: float | None = None
    #: Prices per million tokens, in the pool's currency; a cached token costs as much as another by default.
    input_price: float | None = None
    cached_input_price: float | None = None
    output_price: float | None = None
    #: Tokens of input and output together, at most; and of output alone.
    context_window: int | None = None
    max_output: int | None = None
    #: The model's tokens of one token of the artifact's tokenizer; 1 by default.
    token_ratio: float | None = None
    #: Mean output tokens of an answer; by default the profile's, else 300.
    output_tokens: float | None = None
    #: What it serves beyond text; ``None``: everything.
    capabilities: Sequence[str] | None = None
    region: str | None = None
    tags: Sequence[str] | None = None
    #: Milliseconds of a whole answer: ``{"p50": ..., "p95": ...}``; or the speed of its output.
    latency_ms: Mapping[str, float] | None = None
    tokens_per_second: float | None = None
    first_token_ms: float | None = None
    #: Grams of CO2e for a million tokens.
    co2_grams: float | None = None
    #: Requests a minute, at most. ``turnout serve`` enforces it; for others it is a number.
    quota: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that are given, as plain values."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name not in ("name", "efforts"))
        return {name: _plain(value) for name, value in given if value is not None}


@dataclass(frozen=True, kw_only=True)
class Effort(_Fields):
    """A reasoning effort of a model: a candidate of its own, ``model:effort``, whose fields replace the model's."""


@dataclass(frozen=True)
class Model(_Fields):
    """One model of a pool. :class:`Pool` checks the values.

    Args:
        name: Its name. Without ``like``, ``profile`` or ``success``, its chances are those of the artifact's model of this name.
        efforts: Reasoning efforts by name.

    Example:
        >>> Model("small", success=0.8, input_price=0.1, output_price=0.4).to_dict()
        {'success': 0.8, 'input_price': 0.1, 'output_price': 0.4}
    """

    name: str
    efforts: Mapping[str, Effort] = field(default_factory=dict, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """The fields that are given, as plain values; without the name.

        Returns:
            Fields by name; efforts as a dictionary of such dictionaries.
        """
        found = super().to_dict()
        if self.efforts:
            found["efforts"] = {name: effort.to_dict() for name, effort in self.efforts.items()}
        return found


class Pool:
    """Models to choose from, with defaults for objective and limits. Immutable.

    Args:
        models: The models, in the order that decides ties.
        target: Default objective, at most one of this, ``max_cost``, ``error_cost`` and ``tolerance``; see
            :class:`turnout.pool.PoolRequest`. Without one, ``tolerance=0.05``.
        kl_radius: With ``target``.
        max_cost: As above.
        error_cost: As above.
        tolerance: As above.
        max_price: Default limit, as are the next four; a call's own replaces it.
        max_latency_ms: Milliseconds; as above.
        allow_tags: As above.
        deny_tags: As above.
        regions: As above.
        fallback: Name of the model that serves a request for which no model is feasible.
        currency: Of all prices; for people.

    Raises:
        PoolError: A field is wrong; the message names it.

    Example:
        >>> import turnout
        >>> pool = turnout.Pool([turnout.Model("a", success=0.9), turnout.Model("b", success=0.8)], tolerance=0)
        >>> [model.name for model in pool.models]
        ['a', 'b']
        >>> turnout.Pool([turnout.Model("a", success=1.5)])
        Traceback (most recent call last):
            ...
        turnout.PoolError: models.a.success: 1.5, expected a number in 0..=1
    """

    def __init__(
        self,
        models: Iterable[Model],
        *,
        target: float | None = None,
        kl_radius: float | None = None,
        max_cost: float | None = None,
        error_cost: float | None = None,
        tolerance: float | None = None,
        max_price: float | None = None,
        max_latency_ms: float | None = None,
        allow_tags: Sequence[str] | None = None,
        deny_tags: Sequence[str] | None = None,
        regions: Sequence[str] | None = None,
        fallback: str | None = None,
        currency: str = "USD",
    ) -> None:
        given = locals()
        objective = {name: given[name] for name in _OBJECTIVE if given[name] is not None}
        limits = {name: _plain(given[name]) for name in _LIMITS if given[name] is not None}
        pairs = [(model.name, model.to_dict()) for model in models]
        by_name = dict(pairs)
        values = {
            # A name that is listed twice is the core's to refuse.
            "models": by_name if len(by_name) == len(pairs) else pairs,
            "currency": currency,
            "limits": limits,
            **({"objective": objective} if objective else {}),
            **({"fallback": {"model": fallback}} if fallback is not None else {}),
        }
        self._values: dict[str, Any] = _core.check_pool(values)
        self._folder = os.getcwd()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Pool:
        """Reads a ``pool.toml``; docs/pools.md describes every field.

        Args:
            path: The file. Files of profiles are looked for beside it.

        Returns:
            The pool.

        Raises:
            PoolError: The file is missing or wrong; the message has the line, the column and the field.

        Example:
            >>> import pathlib, tempfile, turnout
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = pathlib.Path(folder, "pool.toml")
            ...     _ = file.write_text("[objective]\\ntolerance = 0\\n[models.a]\\nsuccess = 0.9\\n")
            ...     turnout.Pool.load(file)
            Pool(a)
        """
        pool = cls.__new__(cls)
        pool._values = _core.read_pool(path)
        pool._folder = os.path.dirname(os.path.abspath(path))
        return pool

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: str | os.PathLike[str] = ".") -> Pool:
        """A pool from plain values, as :meth:`to_dict` gives them.

        Args:
            values: What ``pool.toml`` holds.
            folder: Where files of profiles are looked for.

        Returns:
            The pool.

        Raises:
            PoolError: A field is wrong; the message names it.

        Example:
            >>> import turnout
            >>> turnout.Pool.from_dict({"objective": {"tolerance": 0}, "models": {"a": {"success": 0.9}}})
            Pool(a)
        """
        pool = cls.__new__(cls)
        pool._values = _core.check_pool(values)
        pool._folder = os.path.abspath(folder)
        return pool

    @property
    def models(self) -> tuple[Model, ...]:
        """The models, in order."""
        return tuple(
            Model(
                name,
                **_without_efforts(own),
                efforts={key: Effort(**one) for key, one in own.get("efforts", {}).items()},
            )
            for name, own in self._values["models"].items()
        )

    @property
    def currency(self) -> str:
        """Currency of all prices."""
        return str(self._values["currency"])

    @property
    def objective(self) -> dict[str, float]:
        """The default objective: one of ``target``, ``max_cost``, ``error_cost`` and ``tolerance`` with its number."""
        return dict(self._values.get("objective") or {"tolerance": 0.05})

    @property
    def limits(self) -> dict[str, Any]:
        """Default limits by name."""
        return dict(self._values["limits"])

    @property
    def fallback(self) -> str | None:
        """Name of the model that serves a request for which no model is feasible."""
        found = self._values.get("fallback")
        return found and found["model"]

    @property
    def folder(self) -> Path:
        """Folder in which files of profiles are looked for."""
        return Path(self._folder)

    def to_dict(self) -> dict[str, Any]:
        """The pool as plain values, as ``pool.toml`` holds them, with defaults filled in.

        Returns:
            A copy that the caller may change.
        """
        return _copy(self._values)  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and (self._values, self._folder) == (other._values, other._folder)

    def __hash__(self) -> int:
        return hash((*self._values["models"], self._folder))

    def __repr__(self) -> str:
        return f"Pool({', '.join(self._values['models'])})"


def _without_efforts(own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in own.items() if name != "efforts"}


def _plain(value: Any) -> Any:
    """Sets, tuples and mappings of other classes as lists and dicts; the core says what is wrong with anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    is_listed = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return list(value) if is_listed else value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(one) for name, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value
