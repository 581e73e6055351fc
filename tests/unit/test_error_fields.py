"""What a caller can act on is an attribute of the exception."""

from __future__ import annotations

import inspect
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout import _core, errors

TINY = Path(__file__).parents[2] / "models" / "tiny"


@pytest.fixture(scope="module")
def router() -> turnout.Router:
    return turnout.load(TINY)


def test_every_exception_of_the_extension_is_one_of_turnout_errors() -> None:
    classes = {name for name, _ in inspect.getmembers(errors, inspect.isclass) if name.endswith("Error")}
    of_python = {"RoutingError", "OutcomesError", "OutcomeConflictError"}
    of_core = {name for name in dir(_core) if name.endswith("Error")}
    assert of_core == classes - of_python
    assert all(getattr(_core, name) is getattr(errors, name) for name in of_core)
    assert all(getattr(turnout, name) is getattr(errors, name) for name in classes)
    documented = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert all(f"::: turnout.errors.{name}\n" in documented for name in classes)


def test_invalid_input_has_the_argument_and_the_row(router: turnout.Router) -> None:
    with pytest.raises(turnout.InvalidInputError) as caught:
        router.route("Hi", threshold=2)
    assert (caught.value.argument, caught.value.row) == ("threshold", None)
    with pytest.raises(turnout.InvalidInputError) as caught:
        router.route_batch(["a", "b", "\ud800"])
    assert (caught.value.argument, caught.value.row) == ("prompts", 2)
    embeddings = np.zeros((3, router.embedding_dim), np.float32)
    embeddings[1, 0] = np.nan
    with pytest.raises(turnout.InvalidInputError) as caught:
        router.win_rates(embeddings=embeddings)
    assert (caught.value.argument, caught.value.row) == ("embeddings", 1)


def test_invalid_type_has_the_argument(router: turnout.Router) -> None:
    with pytest.raises(turnout.InvalidTypeError) as caught:
        router.route("Hi", threshold="0.5")  # type: ignore[arg-type]
    assert caught.value.argument == "threshold"


@pytest.mark.parametrize(
    ("option", "value"), [("threads", -1), ("threads", 5000), ("sessions", -1), ("engine", "fast"), ("strong", "")]
)
def test_config_has_the_option(option: str, value: object) -> None:
    with pytest.raises(turnout.ConfigError) as caught:
        turnout.load(TINY, **{option: value})  # type: ignore[arg-type]
    assert caught.value.option == option


def test_artifact_has_the_file_and_the_field(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    manifest = json.loads((folder / "router.json").read_text())
    (folder / "router.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(turnout.ArtifactError) as caught:
        turnout.load(folder)
    assert (caught.value.path, caught.value.field) == (folder / "router.json", "format_version")


def test_device_and_overload_have_what_was_exceeded() -> None:
    with pytest.raises(turnout.DeviceError) as caught:
        turnout.load(TINY, device="cuda:x")
    assert caught.value.device == "cuda:x"


def test_fields_survive_pickling() -> None:
    error = errors.ArtifactError.at("router.json", "is 7", "format_version")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.field) == (str(error), error.path, error.field)
    assert pickle.loads(pickle.dumps(errors.OverloadedError("full", limit=4))).limit == 4
    assert errors.DeadlineExceededError("late").args == ("late",)
