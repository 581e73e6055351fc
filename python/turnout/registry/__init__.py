"""Routers by name; the Controller, the server and the commands all open them here.

- :mod:`~turnout.registry.names`: ``router-mf-0.5``, ``router-mf-share-0.3`` and ``router-mf-target-0.85``;
- :mod:`~turnout.registry.by_name`: what a name stands for, your own classes included.
"""

from turnout.registry.by_name import open_pool, open_router, register_router
from turnout.registry.names import RouteSpec, naming, parse_model_name

__all__ = ["RouteSpec", "naming", "open_pool", "open_router", "parse_model_name", "register_router"]
