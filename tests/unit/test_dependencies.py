"""What is installed or run from elsewhere is named exactly: lowest versions, commits of actions, crates of the wheel."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_one_floor():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    floors = defaultdict(set)
    for requirement in (one for requirements in lists for one in requirements):
        name, rest = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,-]+\])?(.*)", requirement).groups()
        if name != "turnout":
            floors[name].update(re.findall(r">=([0-9.]+)", rest))
    assert {name: found for name, found in floors.items() if len(found) != 1} == {}


def test_every_action_is_a_commit_with_its_version():
    uses = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
        for line in path.read_text().splitlines()
        if re.search(r"\buses:", line)
    ]
    assert len(uses) > 10
    assert [one for one in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$", one)] == []


def test_the_list_of_crates_agrees_with_the_lock_file():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    locked = {(one["name"], one["version"], one.get("checksum")) for one in lock}
    document = json.loads((ROOT / "rust" / "python" / "turnout.cdx.json").read_text())
    listed = {
        (one["name"], one["version"], one["hashes"][0]["content"] if "hashes" in one else None)
        for one in document["components"]
    }
    assert listed <= locked
    assert {"turnout-core", "pyo3", "tokenizers", "ort"} <= {name for name, *_ in listed}
    assert "timestamp" not in document["metadata"]
    assert "serialNumber" not in document
