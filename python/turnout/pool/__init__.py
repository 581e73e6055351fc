"""Pools: routing between N models by their chances of success, their expected costs and limits.

- :mod:`~turnout.pool.model`: ``Model`` and ``Pool``, the description;
- :mod:`~turnout.pool.router`: ``PoolRouter``, from :func:`turnout.load`;
- :mod:`~turnout.pool.request`: what a call may ask.
"""

from turnout.pool.model import Model, Pool
from turnout.pool.request import PoolRequest
from turnout.pool.router import PoolRouter

__all__ = ["Model", "Pool", "PoolRequest", "PoolRouter"]
