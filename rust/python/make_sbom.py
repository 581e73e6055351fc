"""Writes turnout.cdx.json beside this file: the crates that the extension is compiled from, as CycloneDX, from Cargo.lock alone.

The same on every machine and at any time: it has no time, serial number or folder. Wheels carry it. ``--check`` compares only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
TARGET = HERE / "turnout.cdx.json"


def compiled(metadata: dict[str, Any]) -> dict[str, list[str]]:
    """Packages that the extension needs on any platform, each with those it needs: build scripts and tests do not count."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    needs: dict[str, list[str]] = {}
    waiting = [metadata["resolve"]["root"]]
    while waiting:
        package = waiting.pop()
        if package not in needs:
            found = nodes[package]["deps"]
            needs[package] = [one["pkg"] for one in found if any(kind["kind"] is None for kind in one["dep_kinds"])]
            waiting += needs[package]
    return needs


def sbom(metadata: dict[str, Any], hashes: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The document."""
    needs = compiled(metadata)
    packages = {package["id"]: package for package in metadata["packages"] if package["id"] in needs}
    purls = {key: f"pkg:cargo/{package['name']}@{package['version']}" for key, package in packages.items()}

    def component(key: str) -> dict[str, Any]:
        package = packages[key]
        made = {
            "type": "library",
            "bom-ref": purls[key],
            "name": package["name"],
            "version": package["version"],
            "purl": purls[key],
        }
        if content := hashes.get((package["name"], package["version"])):
            made["hashes"] = [{"alg": "SHA-256", "content": content}]
        return {**made, "licenses": [{"expression": package["license"].replace("/", " OR ")}]}

    root = metadata["resolve"]["root"]
    ordered = sorted(packages, key=lambda key: purls[key])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root)},
        "components": [component(key) for key in ordered if key != root],
        "dependencies": [{"ref": purls[key], "dependsOn": sorted(purls[one] for one in needs[key])} for key in ordered],
    }


def main(arguments: list[str]) -> str | None:
    """Writes or compares; what it returns is an error."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--manifest-path={HERE / 'Cargo.toml'}"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    lock = tomllib.loads((HERE.parents[1] / "Cargo.lock").read_text())
    hashes = {(one["name"], one["version"]): one["checksum"] for one in lock["package"] if "checksum" in one}
    text = json.dumps(sbom(metadata, hashes), indent=1) + "\n"
    if arguments == ["--check"]:
        return None if TARGET.read_text() == text else f"{TARGET} is not what Cargo.lock says: run make sbom"
    TARGET.write_text(text)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
