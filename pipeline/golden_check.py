"""Load a packed model as a stranger would and compare its answers: `python -m pipeline.golden_check DIR`.

A process of its own, so that nothing the training process knew (custom objects, cached graphs, a warm
backend) can make a model work that works nowhere else.

Reads `DIR/data/model.keras`, `DIR/millrace/golden.npz` (`inputs`, `probabilities`) and
`DIR/millrace/settings.json`.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline import runtime
from pipeline.artifacts import read_json

TOLERANCE = 1e-6
"""Largest difference of a probability: another batch size may change the last bits of a float32."""


def golden_check(folder: Path) -> None:
    """Check that the model in a packed folder gives the golden predictions.

    Raises:
        StorageFailed: It does not, or the file is damaged.
        NotPermitted: The file carries what a model of ours never has.
    """
    settings = read_json(folder / "millrace/settings.json")
    runtime.prepare_tensorflow(settings["threads"], settings["seed"])
    from pipeline import training
    from pipeline.keras_files import load_model

    golden = np.load(folder / "millrace/golden.npz", allow_pickle=False)
    inputs, expected = golden["inputs"], golden["probabilities"]
    model = load_model(folder / "data/model.keras")
    received = training.answers(model, inputs, np.arange(len(inputs)), settings["training"])
    if received.shape != expected.shape or not len(expected):
        raise runtime.StorageFailed(
            f"Predictions have another shape. Expected {expected.shape}. Received: {received.shape}."
        )
    difference = float(np.abs(received - expected).max())
    # Written so that NaN fails.
    if not difference <= TOLERANCE:
        raise runtime.StorageFailed(
            f"Predictions differ. Expected the golden ones up to {TOLERANCE}. "
            f"Received: largest difference {difference}."
        )


def main() -> None:
    """Check the folder named on the command line; what is wrong goes to standard error.

    Not by `runtime.exit_codes`: the status file belongs to the stage that asks.
    """
    try:
        runtime.die_with_parent()
        golden_check(Path(sys.argv[1]))
    except Exception as error:  # whatever it is, the stage that asks reports it
        raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
