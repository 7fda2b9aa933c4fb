"""A candidate that was trained for a few epochs, where `tune` would leave it."""

from pathlib import Path

from pipeline.inputs.train_data import load_train_data
from pipeline.runtime import paths
from pipeline.runtime.files import write_json
from pipeline.training import candidate
from tests.helpers.train_project import TRAINING


def write_tuned(name: str, family: str, model: dict, epochs: int) -> None:
    """Train a candidate for a few epochs and leave it where `tune` would."""
    data = load_train_data(family)
    training = TRAINING | {"loss": "auto", "class_weights": "none", "epochs": epochs}
    folder = paths.tuned_dir(name)
    trained = candidate.train_candidate(
        family, data, model, training, seed=4, checkpoint_dir=Path("work") / name
    )
    settings = {"family": family, "model": model, "training": training, "seed": 4, "threads": 1}
    metrics = candidate.write_candidate(folder, trained, data, settings)
    write_json(folder / "trials.json", [{"number": 0, "metrics": metrics, "state": "complete"}])
