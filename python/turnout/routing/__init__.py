"""From a model name and messages to a decision; the Controller and the server both stand on it.

- :mod:`~turnout.routing.names`: ``router-mf-0.5``, ``router-mf-share-0.3`` and ``router-mf-target-0.85``;
- :mod:`~turnout.routing.registry`: routers by name, your own included;
- :mod:`~turnout.routing.needs`: what a request needs of a model beyond text;
- :mod:`~turnout.routing.chat_request`: what a chat completion asks of the models of a pool.
"""

from turnout.routing.names import RouteSpec, naming, parse_model_name
from turnout.routing.needs import able_to_serve, needs_of
from turnout.routing.registry import open_pool, open_router, register_router

__all__ = [
    "RouteSpec",
    "able_to_serve",
    "naming",
    "needs_of",
    "open_pool",
    "open_router",
    "parse_model_name",
    "register_router",
]
