from __future__ import annotations

import numpy as np
import pytest

import turnout

torch = pytest.importorskip("torch")

from turnout.training.fine_tuning import FineTuningConfig, fine_tune, stored_type, with_master_weights  # noqa: E402


def _tune(loss, report, **config):
    model = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)

    def loss_of(indices):
        return loss(model.weight.sum()) * len(indices), float(len(indices))

    settings = FineTuningConfig(**{"epochs": 2, "batch": 2, "validations": 1, **config})
    return fine_tune(model, [1] * 8, loss_of, [1] * 2, loss_of, settings, report)


def test_losses_that_are_never_finite_are_an_error():
    with pytest.raises(turnout.ConfigError, match="the held-out loss was nan after 8 of 8 steps"):
        _tune(lambda weight: weight * float("nan"), lambda *_: None)


def test_no_epoch_is_an_error():
    with pytest.raises(turnout.ConfigError, match="after 0 of 0 steps"):
        _tune(torch.square, lambda *_: None, epochs=0)


def test_every_step_is_shown_under_one_stage_with_the_loss_of_the_last_validation():
    seen: list[tuple[str, int, int]] = []
    loss = _tune(torch.square, lambda *shown: seen.append(shown), learning_rate=0.1)
    assert [done for _, done, _ in seen] == list(range(9))
    assert {stage.partition(",")[0] for stage, _, _ in seen} == {"fine-tuning"}
    assert seen[3][0] == "fine-tuning"
    assert seen[4][0] == seen[7][0] != seen[8][0]
    assert np.isfinite(loss)


@pytest.mark.parametrize("native", [False, True])
def test_what_is_trained_is_float32(native, monkeypatch):
    monkeypatch.setattr("turnout.training.fine_tuning.native_bfloat16", lambda where: native)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.float16)
    model[0].requires_grad_(False)
    model = with_master_weights(model, "cpu")
    assert model[1].weight.dtype == torch.float32
    assert model[0].weight.dtype == (torch.float16 if native else torch.float32)


def test_the_stored_type_is_what_the_config_says():
    model = torch.nn.Linear(1, 1)
    model.config = type("Config", (), {"torch_dtype": "bfloat16"})()
    assert stored_type(model) == torch.bfloat16
    model.config = object()
    assert stored_type(model) == torch.float32
