"""An artifact with profiles, and pools over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import turnout
from turnout import Model, Pool, PoolRouter


@pytest.fixture(scope="session")
def profiled(make_pool: Any, artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artifact with profiles of its four models."""
    folder: Path = make_pool.write(tmp_path_factory.mktemp("pools") / "tiny", artifact)
    return folder


@pytest.fixture(scope="session")
def pool() -> Pool:
    """Three models with constant chances and prices: the better, the more expensive."""
    return Pool(
        [
            Model("large", success=0.9, input_price=5.0, output_price=20.0, output_tokens=100),
            Model("middle", success=0.8, input_price=1.0, output_price=4.0, output_tokens=100),
            Model("small", success=0.6, input_price=0.1, output_price=0.4, output_tokens=100),
        ]
    )


@pytest.fixture(scope="session")
def pool_router(artifact: Path, pool: Pool) -> PoolRouter:
    """The router of it."""
    return turnout.load(artifact, pool=pool)


@pytest.fixture(scope="session")
def with_models(artifact: Path) -> Callable[..., PoolRouter]:
    """A router over the tiny artifact from models and the arguments of ``Pool``."""

    def load(*models: Model, **options: Any) -> PoolRouter:
        return turnout.load(artifact, pool=Pool(models, **options))

    return load
