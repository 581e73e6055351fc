"""For every test of the repository, doc examples included."""

from __future__ import annotations

import pytest

from turnout.router import DEFAULT_ARTIFACT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples that load the default router are skipped, loudly, while the package has none."""
    if (DEFAULT_ARTIFACT / "router.json").is_file():
        return
    for item in items:
        if isinstance(item, pytest.DoctestItem) and (item.path.name == "README.md" or "load" in item.name):
            item.add_marker(pytest.mark.skip(reason=f"no default artifact in {DEFAULT_ARTIFACT}"))
