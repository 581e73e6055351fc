"""Pools of 10 and of 100 models with random profiles over the shipped ``mf``, beside the same in plain NumPy."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from plain import ARTIFACT, PROMPTS, PlainNumpy
from timing import medians

import turnout
from turnout.pool.profiles import Landmarks, Profile, Profiles, read_profiles

RANK = 16
LANDMARKS = 256
#: As many as `turnout train pool` fits.
BANDWIDTHS = (4.0, 8.0, 16.0)
TARGET = 0.7


def artifact_with_profiles(folder: Path, models: int, landmarks: int) -> Path:
    """A copy of ``mf`` with random profiles of ``m0``, ``m1``, ..., over the embedding and so many landmarks."""
    shutil.copytree(ARTIFACT, folder)
    manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    covariance = np.eye(RANK + 1) / 50
    rows = [Profile(f"m{at}", rng.normal(size=RANK + 1), covariance) for at in range(models)]
    dim, embedding = manifest["encoder"]["dim"], manifest["files"][manifest["graph"]]["sha256"]
    basis = np.linalg.qr(rng.normal(size=(dim + landmarks * len(BANDWIDTHS), RANK)))[0]
    points = Landmarks(rng.normal(size=(landmarks, dim)).astype(np.float32), BANDWIDTHS) if landmarks else None
    content = Profiles(basis, rows, embedding, landmarks=points).to_bytes()
    (folder / "profiles.safetensors").write_bytes(content)
    manifest["profiles"] = "profiles.safetensors"
    manifest["files"]["profiles.safetensors"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "router.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def prices(model: int) -> tuple[float, float]:
    """Input and output price of a model."""
    return 0.1 + model, 0.4 + 4 * model


class PlainPool(PlainNumpy):
    """The same decision as a careful engineer would write it: one product for all models, vectors for costs and the objective."""

    def __init__(self, profiles: Profiles) -> None:
        super().__init__()
        means = np.stack([profile.mean for profile in profiles.models]).astype(np.float32)
        self.heads = np.ascontiguousarray(profiles.basis.astype(np.float32) @ means[:, :-1].T)
        self.landmarks = profiles.landmarks
        self.model_bias = means[:, -1]
        self.around = len(self.tokenizer.encode("").ids)
        models = len(profiles.models)
        self.input, self.output = (np.array([prices(at)[side] for at in range(models)]) / 1e6 for side in (0, 1))

    def route(self, prompt: str) -> int:
        ids = self.ids(prompt)
        embedding = self.embedding(ids)
        if self.landmarks is not None:
            apart = self.landmarks.points - embedding
            squared = np.einsum("ld,ld->l", apart, apart)
            near = [np.exp(-squared / (2.0 * bandwidth**2)) for bandwidth in self.landmarks.bandwidths]
            embedding = np.concatenate([embedding, *near])
        success = 1.0 / (1.0 + np.exp(-(embedding @ self.heads + self.model_bias)))
        cost = (len(ids) - self.around) * self.input + 300 * self.output
        reached = success >= TARGET
        return int(np.argmin(np.where(reached, cost, np.inf)) if reached.any() else np.argmax(success))


def measure(seconds: float) -> dict[str, Any]:
    """Microseconds of one decision and of batches; answers are compared first."""
    prompt = PROMPTS["ascii-20"]
    many = [f"{prompt} {number}" for number in range(10_000)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for models, landmarks in ((10, 0), (10, LANDMARKS), (100, 0)):
            name = f"{models} models" + (f", {landmarks} landmarks" if landmarks else "")
            folder = artifact_with_profiles(Path(scratch) / name, models, landmarks)
            pool = turnout.Pool(
                [
                    turnout.Model(f"m{at}", input_price=prices(at)[0], output_price=prices(at)[1])
                    for at in range(models)
                ],
                target=TARGET,
            )
            one_thread, two_threads = (turnout.load(folder, pool=pool, threads=threads) for threads in (1, 2))
            plain = PlainPool(read_profiles(folder / "profiles.safetensors"))
            texts = [*PROMPTS.values(), *many[:200]]
            chosen = [decision.model for decision in one_thread.route_batch(texts)]
            assert chosen == [f"m{plain.route(text)}" for text in texts]
            assert len(set(chosen)) > 1
            found[f"route, {name}"] = medians(
                {"turnout": lambda one_thread=one_thread: one_thread.route(prompt), "plain NumPy": lambda plain=plain: plain.route(prompt)},
                seconds=seconds,
            )  # fmt: skip
            found[f"10,000 prompts, {name}"] = medians(
                {
                    "one thread": lambda one_thread=one_thread: one_thread.route_batch(many),
                    "two threads": lambda two_threads=two_threads: two_threads.route_batch(many),
                    "plain NumPy, 1,000": lambda plain=plain: [plain.route(text) for text in many[:1000]],
                },
                group=1,
                seconds=2 * seconds,
            )
    return found


def main() -> None:
    """Prints the table."""
    for name, rows in measure(2.0).items():
        print(name, {kind: [round(float(one), 2) for one in times] for kind, times in rows.items()})


if __name__ == "__main__":
    main()
