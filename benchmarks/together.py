"""What one training costs when several processes share it: samples per second, by the clock and of processor time.

Run where `dvc repro features` has been, with as many idle cores as workers. Dropout, augmentation and batch
normalisation are off, so that one and several learn the same but for rounding; the first epoch (tracing) is left out.

Run: .venv/bin/python benchmarks/together.py [CANDIDATE] [--workers N] [--batch-size B] [--epochs E]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from pipeline.inference import backend
from pipeline.params.load import load_params
from pipeline.params.values import model_settings, training_of
from pipeline.runtime.processes import cpu_seconds


def processor_time():
    """Return the CPU seconds of this process and of those it has started."""
    ours = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        parent = status.read_text(errors="replace").rpartition(")")[2].split()[1] if status.exists() else ""
        if int(status.parent.name) == os.getpid() or parent == str(os.getpid()):
            ours.append(cpu_seconds(int(status.parent.name)) or 0.0)
    return sum(ours)


def measured(candidate, data, model, training):
    """Return the result, and per epoch but the first the seconds by the clock and of processor time."""
    from pipeline.training.candidate import train_candidate
    from pipeline.training.workers import training_with

    ends = []
    with tempfile.TemporaryDirectory() as folder, training_with(train_candidate, training, 1) as train:
        trained = train(
            candidate,
            data,
            model,
            training,
            seed=7,
            checkpoint_dir=Path(folder),
            on_epoch=lambda *_: ends.append((time.perf_counter(), processor_time())),
        )
    return trained, np.diff(np.array(ends), axis=0)


def main():
    """Print one line per number of workers, and how far apart what they learned is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidate", nargs="?", default="cnn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    backend.prepare_tensorflow(1, 7)
    from pipeline.inputs.train_data import load_train_data

    params = load_params()
    family = msgspec.to_builtins(params.candidates[arguments.candidate])["family"]
    changes = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "min_steps": 0}
    training = msgspec.to_builtins(training_of(params, arguments.candidate)) | changes | {"augment": None}
    model = model_settings(params, arguments.candidate)
    model |= {name: type(model[name])(0) for name in ("dropout", "batch_normalization") if name in model}
    data = load_train_data(family)
    results = []
    for workers in (1, arguments.workers):
        trained, seconds = measured(family, data, model, training | {"workers": workers})
        clock, processor = (len(data.train_rows) / statistics.median(column) for column in seconds.T)
        print(f"{workers} workers: {clock:,.0f} samples/s by the clock, {processor:,.0f} of processor time")
        results.append(trained)
    one, several = results
    losses = [
        abs(a["loss"] - b["loss"]) for a, b in zip(one.result.history, several.result.history, strict=True)
    ]
    pairs = zip(one.model.get_weights(), several.model.get_weights(), strict=True)
    print(
        f"largest difference of a loss {max(losses):.1e}, of a weight {max(abs(a - b).max() for a, b in pairs):.1e}"
    )


if __name__ == "__main__":
    main()
