"""A prompt that a network cannot run fails alone, however many share its run."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import turnout
from turnout.routers.bert.import_ import import_bert

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BERT = Path(__file__).parent.parent / "fixtures" / "networks" / "bert"
GOOD, BAD = "what is the sum of 7 and two", "<user> hi"


def replace(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "router.json").read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "router.json").write_text(json.dumps(manifest))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact whose tokenizer knows a token that its table does not."""
    folder = import_bert(BERT, tmp_path / "router")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    rows = json.loads((BERT / "config.json").read_text())["vocab_size"]
    added = {**tokenizer["added_tokens"][0], "id": rows, "content": "<user>", "special": False}
    tokenizer["added_tokens"].append(added)
    replace(folder, "tokenizer.json", json.dumps(tokenizer).encode())
    return folder


def hide_the_lookup(folder: Path) -> None:
    """Loading compares the tokenizer with the table in which a graph looks ids up: here it cannot see which that is."""
    model: Any = onnx.load(folder / "model.onnx", load_external_data=False)
    for node in model.graph.node:
        node.input[:] = ["ids" if name == "input_ids" else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["input_ids"], ["ids"]))
    replace(folder, "model.onnx", model.SerializeToString())


def test_loading_refuses_a_token_without_an_embedding(folder: Path) -> None:
    with pytest.raises(turnout.ArtifactError, match=r"tokenizer\.json: .*<user>|tokenizer\.json: .*id"):
        turnout.load(folder)


def test_one_bad_prompt_fails_no_other_of_its_run(folder: Path) -> None:
    hide_the_lookup(folder)
    router = turnout.load(folder, sessions=1)
    right = router.win_rate(GOOD)

    async def all_at_once() -> list[Any]:
        calls = (router.aroute(BAD if place % 50 == 25 else GOOD) for place in range(400))
        return await asyncio.gather(*calls, return_exceptions=True)

    for place, answer in enumerate(asyncio.run(all_at_once())):
        if place % 50 == 25:
            assert isinstance(answer, turnout.InferenceError), place
        else:
            assert answer.win_rate == pytest.approx(right, abs=1e-6), place


def test_a_batch_with_a_bad_prompt_is_an_error_that_names_its_row(folder: Path) -> None:
    hide_the_lookup(folder)
    router = turnout.load(folder)
    # Of other lengths, so that runs do not hold the prompts in their order.
    prompts = [f"{GOOD} {'and two ' * (place % 5)}" for place in range(100)]
    assert len(router.route_batch(prompts)) == 100
    for call in (router.route_batch, router.win_rates):
        with pytest.raises(turnout.InferenceError, match=r"^row 41 of the batch: "):
            call([*prompts[:41], BAD, *prompts[42:]])
    with pytest.raises(turnout.InvalidInputError, match=r"^prompts\[41\] has no UTF-8 form"):
        router.route_batch([*prompts[:41], "\ud800", *prompts[42:]])
