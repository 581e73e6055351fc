"""What goes wrong between a request and a decision."""

from __future__ import annotations

from turnout._core import InvalidInputError


class RoutingError(InvalidInputError):
    """A model name, router, threshold or list of messages that cannot be routed with; says what was expected."""
