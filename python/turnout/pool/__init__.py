"""Pools: routing between N models by their chances of success, their expected costs and limits.

- :mod:`~turnout.pool.model`: ``Model`` and ``Pool``, the description;
- :mod:`~turnout.pool.router`: ``PoolRouter``, from :func:`turnout.load`;
- :mod:`~turnout.pool.request`: what a call may ask;
- :mod:`~turnout.pool.chat_request`: the same from a chat completion;
- :mod:`~turnout.pool.budget`: limits on cost, CO2 and latency over many requests;
- :mod:`~turnout.pool.profiles`: chances of success from embeddings, for fitting them.
"""

from turnout.pool.budget import PoolBudget
from turnout.pool.model import Effort, Model, Pool
from turnout.pool.request import PoolRequest
from turnout.pool.router import PoolRouter

__all__ = ["Effort", "Model", "Pool", "PoolBudget", "PoolRequest", "PoolRouter"]
