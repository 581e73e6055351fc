"""Networks one step at a time: the specification of ``bert`` and ``causal_llm``.

The class lives in :mod:`turnout.evaluate.cpu_network`, because the report on a precision also runs it.
"""

from turnout.evaluate.cpu_network import ReferenceNetwork

__all__ = ["ReferenceNetwork"]
