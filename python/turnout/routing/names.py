"""Names of models that mean routing: ``router-<name>-<threshold>`` and ``router-<name>-share-<share>``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from numbers import Real

from turnout._core import InvalidInputError, InvalidTypeError
from turnout.errors import RoutingError

PREFIX = "router-"
#: Characters of a client's text that an error shows.
_QUOTED = 200


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A router by name, and either a threshold or a share of strong calls; without both, the router's own threshold."""

    router: str
    threshold: float | None = None
    strong_share: float | None = None

    @property
    def options(self) -> dict[str, float]:
        """The threshold or share as arguments of a router's ``route``; none where the router's own threshold is meant."""
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
        model: Such as ``router-mf-0.11593``, ``router-mf-share-0.3``, or ``router-mf`` for the router's own threshold.
        routers: Names of the routers that there are; they may contain hyphens.

    Returns:
        The router and its number, which is in ``[0, 1]``.

    Raises:
        RoutingError: Another form, a router that is not there, or a number outside ``[0, 1]``.

    Example:
        >>> parse_model_name("router-mf-0.11593", ["mf"])
        RouteSpec(router='mf', threshold=0.11593, strong_share=None)
        >>> parse_model_name("router-mf-share-0.3", ["mf"])
        RouteSpec(router='mf', threshold=None, strong_share=0.3)
    """
    if not model.startswith(PREFIX):
        raise RoutingError(
            f"invalid model {model[:_QUOTED]!r}: expected router-[name]-[threshold] or router-[name]-share-[share]"
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
    return RouteSpec(name, threshold=unit_number(number, "threshold"))


def unit_number(value: object, what: str) -> float:
    """A number in ``[0, 1]``.

    Args:
        value: A number or its text.
        what: Its name in the message.

    Raises:
        RoutingError: Anything else.
    """
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
    if not 0.0 <= number <= 1.0:
        raise RoutingError(f"{what} is {shown}, expected a number between 0 and 1")
    return number
