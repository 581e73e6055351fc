"""Runs RouteLLM's own server, with empty modules where it imports packages that its `random` router does not use."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from types import ModuleType
from typing import Any


class _Anything:
    """Stands for a class, a decorator or a decorator's factory."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, function: Any = None, *_: Any, **__: Any) -> Any:
        return function

    def __init_subclass__(cls, **_: Any) -> None: ...


class _Empty(ModuleType):
    """A module in which every name can be found."""

    __path__ = ()  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}", _Anything)


PARTS = {
    "torch": ("torch", "torch.nn", "torch.nn.functional"),
    "datasets": ("datasets",),
    "transformers": ("transformers",),
}
for package, modules in PARTS.items():
    if importlib.util.find_spec(package) is None:
        sys.modules.update((name, _Empty(name)) for name in modules)

if __name__ == "__main__":
    runpy.run_module("routellm.openai_server", run_name="__main__", alter_sys=True)
