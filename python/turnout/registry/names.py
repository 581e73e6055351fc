"""Names of models that mean routing: ``router-<name>-<threshold>``, ``router-<name>-share-<share>``, and for pools ``router-<name>-target-<P>``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from numbers import Real

from turnout._core import InvalidInputError, InvalidTypeError
from turnout.errors import RoutingError

PREFIX = "router-"
#: Objectives of a pool, as names and headers write them, and their arguments.
OBJECTIVES = {"target": "target", "max-cost": "max_cost", "error-cost": "error_cost", "tolerance": "tolerance"}
#: Characters of a client's text that an error shows.
_QUOTED = 200


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A router by name, and a threshold, a share of strong calls or an objective of a pool; without any, the router's or the pool's own."""

    router: str
    threshold: float | None = None
    strong_share: float | None = None
    #: Argument of :meth:`turnout.PoolRouter.route` and its number.
    objective: tuple[str, float] | None = None

    @property
    def is_bare(self) -> bool:
        """Whether there is only a name."""
        return self.threshold is None and self.strong_share is None and self.objective is None

    @property
    def options(self) -> dict[str, float]:
        """The threshold or share as arguments of a router's ``route``; none where the router's own threshold is meant.

        Raises:
            RoutingError: There is an objective, which only pools have.
        """
        if self.objective is not None:
            raise RoutingError(
                f"router {self.router}: {self.objective[0]} is an objective of a pool, and there is no pool"
            )
        given = {"threshold": self.threshold, "strong_share": self.strong_share}
        return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def naming(router: str) -> Iterator[None]:
    """Errors of a router about its input as :class:`~turnout.errors.RoutingError` with the router's name.

    Args:
        router: The name.
    """
    try:
        yield
    except RoutingError:
        raise
    except (InvalidInputError, InvalidTypeError) as error:
        raise RoutingError(f"router {router}: {error}", argument=error.argument) from error


def parse_model_name(model: str, routers: Collection[str]) -> RouteSpec:
    """Parses a model name.

    Args:
        model: Such as ``router-mf-0.11593``, ``router-mf-share-0.3``, ``router-mf`` for the router's own threshold, or for a pool
            ``router-mf-target-0.85``, ``router-mf-max-cost-0.002``, ``router-mf-error-cost-0.05`` and ``router-mf-tolerance-0.05``.
        routers: Names of the routers that there are; they may contain hyphens.

    Returns:
        The router and its number, which is in ``[0, 1]``, for costs 0 or more.

    Raises:
        RoutingError: Another form, a router that is not there, or a number out of range.

    Example:
        >>> parse_model_name("router-mf-0.11593", ["mf"])
        RouteSpec(router='mf', threshold=0.11593, strong_share=None, objective=None)
        >>> parse_model_name("router-mf-share-0.3", ["mf"])
        RouteSpec(router='mf', threshold=None, strong_share=0.3, objective=None)
        >>> parse_model_name("router-mf-max-cost-0.002", ["mf"]).objective
        ('max_cost', 0.002)
    """
    if not model.startswith(PREFIX):
        raise RoutingError(
            f"invalid model {model[:_QUOTED]!r}: expected router-[name]-[threshold], router-[name]-share-[share] or router-[name]-target-[P]"
        )
    rest = model[len(PREFIX) :]
    matching = [name for name in routers if rest == name or rest.startswith(name + "-")]
    if not matching:
        raise RoutingError(
            f"invalid router in {model[:_QUOTED]!r}: available routers: {', '.join(sorted(routers)) or 'none'}"
        )
    name = max(matching, key=len)
    if rest == name:
        return RouteSpec(name)
    number = rest[len(name) + 1 :]
    if number.startswith("share-"):
        return RouteSpec(name, strong_share=unit_number(number[len("share-") :], "share"))
    for written, argument in OBJECTIVES.items():
        if number.startswith(f"{written}-"):
            return RouteSpec(name, objective=(argument, objective_number(number[len(written) + 1 :], argument)))
    return RouteSpec(name, threshold=unit_number(number, "threshold"))


def objective_number(value: object, argument: str) -> float:
    """The number of an objective of a pool.

    Args:
        value: A number or its text.
        argument: One of the values of :data:`OBJECTIVES`.

    Raises:
        RoutingError: It is out of range.
    """
    if argument in ("max_cost", "error_cost"):
        return _number(value, argument, math.inf, "a number of 0 or more")
    return unit_number(value, argument)


def unit_number(value: object, what: str) -> float:
    """A number in ``[0, 1]``.

    Args:
        value: A number or its text.
        what: Its name in the message.

    Raises:
        RoutingError: Anything else.
    """
    return _number(value, what, 1.0, "a number between 0 and 1")


def _number(value: object, what: str, most: float, expected: str) -> float:
    number = math.nan
    if isinstance(value, str):
        shown = repr(value[:_QUOTED])
        # Python also reads other scripts' digits, and 0_5 as 5.
        if value.isascii() and "_" not in value:
            with contextlib.suppress(ValueError):
                number = float(value)
    elif isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        shown = f"{number:g}"
    else:
        shown = f"of type {type(value).__name__}"
    if not 0.0 <= number <= most or math.isinf(number):
        raise RoutingError(f"{what} is {shown}, expected {expected}")
    return number
