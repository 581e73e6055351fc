"""RouteLLM's battles and stored embeddings give RouteLLM's win rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import turnout
from turnout.cli import main
from turnout.reference.sw_ranking import SimilarityRanking, dequantized
from turnout.routers.sw_ranking.import_ import one_vector_a_prompt, read_embeddings
from turnout.routers.sw_ranking.table import BattleTable

FOLDER = Path(__file__).parents[1] / "fixtures" / "routellm" / "sw_ranking"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "router"
    command = ["import", "sw_ranking", str(FOLDER / "battles.parquet"), "--embeddings", str(FOLDER / "embeddings.npy")]
    assert main([*command, "--storage", "f32", "--out", str(out)]) == 0
    return out


def test_the_artifact_gives_routellms_win_rates(imported: Path) -> None:
    manifest: Any = json.loads((imported / "router.json").read_text(encoding="utf-8"))
    assert (manifest["encoder"], manifest["graph"], manifest["tokenizer"]) == (
        {"kind": "external", "dim": 64},
        None,
        None,
    )
    assert manifest["provenance"]["embedding_model"] == "text-embedding-3-small"
    tensors = load_file(imported / "battles.safetensors")
    tiers = np.array(manifest["ranking"]["tiers"])
    ranking = SimilarityRanking(
        dequantized(tensors),
        tensors["battle_prompt"],
        tiers[tensors["battle_model_a"]],
        tiers[tensors["battle_model_b"]],
        tensors["battle_outcome"],
        manifest["ranking"]["tier_count"],
    )
    strong, weak = (int(tiers[manifest["models"].index(name)]) for name in manifest["pair"].values())
    cases = np.load(FOLDER / "cases.npz")
    found = [ranking.win_rate(embedding, strong, weak) for embedding in cases["query_embeddings"]]
    np.testing.assert_allclose(found, cases["exact_same_tier_dropped"], rtol=0, atol=1e-6)


def test_a_prompt_with_two_embeddings_stays_two_prompts() -> None:
    table = BattleTable(
        ["p", "q"], ["x", "y"], np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]), np.array([1, 1, 0, 1]),
        np.array([0, 1, 2, 0], dtype=np.uint8), np.arange(4, dtype=np.uint64), {}, np.array([0, 2, 3, 1]),
    )  # fmt: skip
    rows = np.array([[1, 0], [5, 5], [0, 1], [1, 0]], dtype=np.float32)
    split, vectors = one_vector_a_prompt(table, rows)
    assert split.prompts == ["p", "p", "q"]
    assert split.prompt.tolist() == [0, 0, 1, 2]
    assert split.outcome.tolist() == [0, 2, 1, 0]
    assert vectors.tolist() == [[1, 0], [0, 1], [5, 5]]


def test_embeddings_come_from_npy_and_json(tmp_path: Path) -> None:
    rows = [[1.0, 2.0], [3.0, 4.0]]
    np.save(tmp_path / "a.npy", np.array(rows))
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.json").write_text(json.dumps([{"embedding": row} for row in rows]))
    for name in ("a.npy", "b.json", "c.json"):
        assert read_embeddings(tmp_path / name).tolist() == rows
    (tmp_path / "d.json").write_text("[[1, 2], [3]]")
    (tmp_path / "e.json").write_text('{"embedding": [1]}')
    (tmp_path / "f.json").write_text("[[1, NaN]]")
    (tmp_path / "g.npy").write_bytes(b"nothing")
    (tmp_path / "h.txt").write_text("1 2")
    for name in ("d.json", "e.json", "f.json", "g.npy", "h.txt"):
        with pytest.raises(turnout.InvalidInputError, match=name):
            read_embeddings(tmp_path / name)


def test_embeddings_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "few.npy", np.ones((3, 2)))
    command = ["import", "sw_ranking", str(FOLDER / "battles.parquet"), "--out", str(tmp_path / "out")]
    assert main([*command, "--embeddings", str(tmp_path / "few.npy")]) == 2
    assert "3 embeddings for 5,596 battles" in capsys.readouterr().err
    assert main(command) == 2
    assert "give --embeddings" in capsys.readouterr().err
