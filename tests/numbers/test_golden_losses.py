"""The loss curve of each family on digits, to four digits, as it was when it was last changed on purpose.

After a change that means to move numbers: `python -m tests.numbers.test_golden_losses` writes the files anew;
the commit then shows before and after.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.params.families import UNTRAINED_FAMILIES
from pipeline.runtime.files import write_json
from tests.helpers.train_project import MODELS, TRAINING

GOLDEN_DIR = Path(__file__).parent / "golden"
TOLERANCE = 1e-3
"""Relative. Threads and processor move the last bits, and some hundred steps carry them up to here."""
FAMILIES = [family for family in MODELS if family not in UNTRAINED_FAMILIES]
SETTINGS = TRAINING | {"epochs": 3, "batch_size": 32, "label_smoothing": 0.1, "ema_momentum": 0.9}


def loss_curve(family: str) -> dict[str, list[float]]:
    """Return the losses per epoch of a family on 480 digits, validated on 120."""
    from pipeline.training.candidate import train_candidate

    digits = load_digits()
    images = (digits.images[:600, :, :, None] * 15.9375).astype(np.uint8)
    inputs = images.reshape(600, -1).astype(np.float32) / 255 if family == "dense" else images
    shape = inputs.shape[1:]
    spec = InputSpec(
        "vector" if family == "dense" else "image", shape, (0.3,) * shape[-1], (0.4,) * shape[-1]
    )
    counts = tuple(np.bincount(digits.target[:480]).tolist())
    data = TrainData(
        inputs, digits.target[:600].astype(np.int32), np.arange(480), np.arange(480, 600), spec,
        OutputSpec(tuple("0123456789"), counts),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trained = train_candidate(family, data, MODELS[family], SETTINGS, seed=1, checkpoint_dir=Path(folder))
    curves = {name: [logs[name] for logs in trained.result.history] for name in ("loss", "val_loss")}
    if trained.pretraining:
        curves["pretrain_loss"] = [logs["loss"] for logs in trained.pretraining.history]
    return curves


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_curve_is_the_stored_one(family):
    """Seed 1 gives the losses in golden/<family>.json."""
    expected = json.loads((GOLDEN_DIR / f"{family}.json").read_text())
    received = loss_curve(family)
    assert sorted(expected) == sorted(received)
    for name, values in expected.items():
        assert values == pytest.approx(received[name], rel=TOLERANCE), name


if __name__ == "__main__":
    for family in FAMILIES:
        write_json(GOLDEN_DIR / f"{family}.json", loss_curve(family))
