"""A training by several processes, as a stage runs it: started by tests in a process of its own, and killed there."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

MODELS = {
    "cnn": {"filters": [4], "units": 8, "batch_normalization": True, "dropout": 0.2},
    "autoencoder": {
        "codes": 4, "units": [8], "pretrain_epochs": 3, "pretrain_learning_rate": 0.01, "encoder": "fine_tuned",
        "classifier_units": [8], "dropout": 0.2,
    },
}  # fmt: skip
CHANGES = {"epochs": 6, "batch_size": 13, "ema_momentum": 0.5, "clip_norm": 1.0}
"""Of `TRAINING`: 60 rows in batches of 13 end with one of 8."""


def run(folder: str, family: str, workers: int) -> None:
    """Train with dropout, augmentation, normalisation, averaged weights and clipping, as a stage does.

    Writes the sha256 of the final weights to `<folder>/digest`, what the ranks said of their weights at the end of each
    epoch to `<folder>/said`, and a line to `<folder>/epochs` before each checkpoint.
    """
    from pipeline.inference.backend import prepare_tensorflow
    from pipeline.runtime.stage import exit_codes

    with exit_codes("train@x"):
        os.chdir(folder)
        prepare_tensorflow(1, 7)
        from pipeline.inputs.train_data import load_train_data
        from pipeline.training.candidate import train_candidate
        from pipeline.training.ranks import Ranks
        from pipeline.training.workers import training_with
        from tests.helpers.train_project import TRAINING

        tell = Ranks.told

        def told(self, word):
            words = tell(self, word)
            if isinstance(word, tuple) and isinstance(word[0], list):
                note("said", *(hashlib.sha256(repr(learned).encode()).hexdigest() for learned, _ in words))
            return words

        Ranks.told = told
        training = TRAINING | CHANGES | {"workers": workers}
        with training_with(train_candidate, training, 1) as train:
            trained = train(
                family, load_train_data(family), MODELS[family], training, seed=4, checkpoint_dir=Path("checkpoints"),
                on_epoch=lambda epoch, logs: note("epochs", epoch, logs["loss" if "loss" in logs else "pretrain_loss"]),
            )  # fmt: skip
        weights = b"".join(array.tobytes() for array in trained.model.get_weights())
        Path("digest").write_text(hashlib.sha256(weights).hexdigest())


def note(file: str, *words: object) -> None:
    """Add a line to a file."""
    with Path(file).open("a") as lines:
        lines.write(" ".join(map(str, words)) + "\n")


def start(folder: Path, family: str, workers: int = 2) -> subprocess.Popen:
    """Start that training in a process of its own."""
    code = f"from tests.helpers.together import run; run({str(folder)!r}, {family!r}, {workers})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def children(process: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def wait_for(what, seconds: float = 200.0):
    """Return what a function returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
    return found
