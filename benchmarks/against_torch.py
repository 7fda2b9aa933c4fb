"""Training speed against PyTorch and plain Keras: the same networks, samples per CPU-second, ratios of medians.

Three processes that live as long as the benchmark take turns: PyTorch in eager mode, Keras' own `fit` on arrays in
memory, and Millrace's `train_candidate` with its order by (seed, epoch), guards, determinism and a checkpoint per
epoch. Each trains the same layers with Adam on the same number of samples, validates after every epoch, and leaves
its first epoch (tracing, warming up) out. CPU time of the whole process is counted, on one thread each unless told
otherwise: neighbours on the same machine then slow all three alike, and no thread spins while it waits for another.

PyTorch is no dependency of the project. Give it an environment of its own:

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy
    .venv/bin/python benchmarks/against_torch.py --torch /tmp/torch/bin/python [--rounds R] [--only NAME ...]
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

EPOCHS = 2
VOCABULARY, TOKENS = 5000, 40
CASES = {
    # name: kind of input, samples, batch size
    "dense": ("vector", 25600, 64),
    "gru rows": ("image", 3200, 64),
    "lstm rows": ("image", 3200, 64),
    "cnn": ("image", 1600, 64),
    "autoencoder": ("image", 9600, 64),
    "gru tokens": ("tokens", 1600, 64),
    "lstm tokens": ("tokens", 1600, 64),
    "conv1d": ("series", 800, 32),
}
NUM_VAL_SHARE = 5
"""One validation sample for so many training samples."""
NUM_CLASSES, NUM_FEATURES, SERIES_STEPS = 10, 200, 128


def samples(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return inputs and classes of training and then validation samples, and how many train."""
    kind, count, _ = CASES[name]
    generator = np.random.default_rng(0)
    total = count + count // NUM_VAL_SHARE
    inputs = {
        "image": lambda: generator.integers(0, 256, (total, 28, 28, 1), dtype=np.uint8),
        "series": lambda: generator.normal(size=(total, SERIES_STEPS, 1)).astype(np.float32),
        "vector": lambda: generator.normal(size=(total, NUM_FEATURES)).astype(np.float32),
        "tokens": lambda: generator.integers(1, VOCABULARY, (total, TOKENS), dtype=np.int32),
    }[kind]()
    return inputs, generator.integers(0, NUM_CLASSES, total).astype(np.int32), count


def differences(ends: list[float]) -> list[float]:
    """Return the CPU seconds between consecutive epoch ends."""
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


# --- The three that are compared: each returns the CPU seconds of its epochs but the first.


def of_torch(name: str) -> list[float]:
    """Train in PyTorch, eagerly: tensors in memory, a permutation per epoch, evaluation in batches of 512."""
    import torch
    from torch import nn

    inputs, classes, count = samples(name)
    network, convert = torch_network(name, nn)
    x, y = convert(torch.from_numpy(inputs)), torch.from_numpy(classes.astype(np.int64))
    reconstruct = name == "autoencoder"
    lossed = nn.MSELoss() if reconstruct else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    ends = []
    for _ in range(EPOCHS + 1):
        network.train()
        for rows in torch.randperm(count).split(CASES[name][2]):
            batch = x[rows]
            optimizer.zero_grad(set_to_none=True)
            loss = lossed(network(batch), batch.flatten(1) if reconstruct else y[rows])
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for batch, wanted in zip(x[count:].split(512), y[count:].split(512), strict=True):
                answer = network(batch)
                lossed(answer, batch.flatten(1) if reconstruct else wanted).item()
        ends.append(time.process_time())
    return differences(ends)


def torch_network(name, nn):
    """Return the network in PyTorch, and what makes its input of the stored samples."""

    class LastState(nn.Module):
        def __init__(self, cell, width, before):
            super().__init__()
            self.before, self.cell = before, cell(width, 64, batch_first=True)
            self.after = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, NUM_CLASSES))

        def forward(self, x):
            states, _ = self.cell(self.before(x))
            return self.after(states[:, -1])

    def pixels(x):
        return x.permute(0, 3, 1, 2).float() / 255

    def block(convolution, normalization, channels, filters, size, *more):
        return [
            convolution(channels, filters, size, padding=size // 2, bias=False),
            normalization(filters),
            nn.ReLU(),
            *more,
        ]

    if name == "cnn":
        layers = block(nn.Conv2d, nn.BatchNorm2d, 1, 32, 3, nn.MaxPool2d(2))
        layers += block(nn.Conv2d, nn.BatchNorm2d, 32, 64, 3, nn.MaxPool2d(2))
        layers += [nn.Flatten(), nn.Linear(64 * 49, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
        return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(128, NUM_CLASSES)), pixels
    if name == "conv1d":
        layers = []
        for channels, filters in ((1, 64), (64, 128), (128, 64)):
            layers += block(nn.Conv1d, nn.BatchNorm1d, channels, filters, 7)
        layers += [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, NUM_CLASSES)]
        return nn.Sequential(*layers), lambda x: x.permute(0, 2, 1).contiguous()
    if name == "dense":
        layers = [nn.Linear(NUM_FEATURES, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3)]
        return nn.Sequential(*layers, nn.Linear(128, NUM_CLASSES)), lambda x: x
    if name == "autoencoder":
        layers = [nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 16)]
        layers += [nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 784), nn.Sigmoid()]
        return nn.Sequential(*layers), pixels
    cell, kind = name.split()
    cell = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    if kind == "rows":
        return LastState(cell, 28, nn.Flatten(2)), lambda x: x.squeeze(3).float() / 255
    return LastState(cell, 64, nn.Embedding(VOCABULARY, 64)), lambda x: x


def built(name):
    """Return family, settings, input and output specs, and the plain Keras model of a case."""
    import importlib

    from pipeline.inputs.specs import InputSpec, OutputSpec

    kind, count, _ = CASES[name]
    spec = {
        "image": lambda: InputSpec("image", (28, 28, 1), (0.5,), (0.3,)),
        "series": lambda: InputSpec("series", (SERIES_STEPS, 1)),
        "vector": lambda: InputSpec("vector", (NUM_FEATURES,), (0.0,) * NUM_FEATURES, (1.0,) * NUM_FEATURES),
        "tokens": lambda: InputSpec("tokens", (TOKENS,), vocabulary_size=VOCABULARY),
    }[kind]()
    classes = OutputSpec(tuple("0123456789"), (count // 10,) * 10)
    family, settings = {
        "cnn": ("cnn", {"filters": [32, 64], "units": 128, "dropout": 0.3}),
        "conv1d": (
            "cnn",
            {"filters": [64, 128, 64], "kernel_size": 7, "pooling": "none", "units": 0, "dropout": 0.2}
            | {"head": "global_average"},
        ),
        "dense": ("dense", {"units": [128], "dropout": 0.3}),
        "autoencoder": ("autoencoder", {"kind": "dense", "codes": 16, "units": [128]}),
    }.get(name) or ("rnn", {"cell": name.split()[0], "units": [64], "dropout": 0.2})  # fmt: skip
    module = importlib.import_module(f"pipeline.models.{family}")
    return family, settings, spec, classes, module


def of_keras(name: str) -> list[float]:
    """Train the same Keras model with its own `fit` on arrays in memory."""
    import keras

    inputs, classes, count = samples(name)
    _, settings, spec, output, module = built(name)
    reconstruct = name == "autoencoder"
    build = module.build_autoencoder if reconstruct else module.build
    network = build(spec, **settings) if reconstruct else build(spec, output, **settings)
    targets = inputs.astype(np.float32) / 255 if reconstruct else classes
    network.compile(
        keras.optimizers.Adam(1e-3),
        "mse" if reconstruct else "sparse_categorical_crossentropy",
        metrics=[] if reconstruct else ["accuracy"],
    )
    ends = []
    network.fit(
        inputs[:count],
        targets[:count],
        batch_size=CASES[name][2],
        epochs=EPOCHS + 1,
        verbose=0,
        validation_data=(inputs[count:], targets[count:]),
        validation_batch_size=512,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.process_time()))],
    )
    return differences(ends)


def of_millrace(name: str) -> list[float]:
    """Train by the recipe of `pipeline/training/candidate.py`."""
    from pipeline.inputs.train_data import TrainData
    from pipeline.training.candidate import train_candidate

    inputs, classes, count = samples(name)
    family, settings, spec, output, _ = built(name)
    if name == "autoencoder":
        settings = settings | {"pretrain_epochs": EPOCHS + 1, "pretrain_learning_rate": 1e-3}
    training = {
        "epochs": 0 if name == "autoencoder" else EPOCHS + 1, "batch_size": CASES[name][2], "optimizer": "adam",
        "learning_rate": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup_share": 0.0,
        "decay_rate": 1.0, "decay_epochs": 1.0, "label_smoothing": 0.0, "ema_momentum": 0.0, "clip_norm": 0.0,
        "early_stopping_patience": 0, "monitor": "val_loss", "loss": "auto", "class_weights": "none",
        "augment": None, "test_time_flip": False,
    }  # fmt: skip
    data = TrainData(inputs, classes, np.arange(count), np.arange(count, len(inputs)), spec, output)
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        train_candidate(
            family,
            data,
            settings,
            training,
            seed=0,
            checkpoint_dir=Path(folder),
            on_epoch=lambda *_: ends.append(time.process_time()),
        )
    return differences(ends)


WORKERS = {"torch": of_torch, "keras": of_keras, "millrace": of_millrace}


def work(who: str, threads: int) -> None:
    """Answer every name on standard input with a line of seconds, until it ends."""
    if who == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
    elif who == "keras":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    else:
        from pipeline.inference import backend

        backend.prepare_tensorflow(threads, 0)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(WORKERS[who](line.strip())), flush=True)


def compare(pythons: dict[str, str], names: list[str], rounds: int, threads: int) -> None:
    """Print a line per case: samples per CPU-second of each, and Millrace's ratio to the others."""
    workers = {
        who: subprocess.Popen(
            [python, __file__, "--work", who, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who, python in pythons.items()
    }

    def ask(who: str, name: str) -> list[float]:
        stdin, stdout = workers[who].stdin, workers[who].stdout
        stdin.write(name + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    for worker in workers.values():
        worker.stdout.readline()
    print(
        f"{'':12} {'PyTorch':>9} {'Keras':>9} {'Millrace':>9}  to PyTorch  to Keras   samples per CPU-second"
    )
    for name in names:
        seconds = {who: [] for who in workers}
        for _ in range(rounds):
            for who in workers:
                seconds[who] += ask(who, name)
        speed = {who: CASES[name][1] / statistics.median(found) for who, found in seconds.items()}
        print(
            f"{name:12} {speed['torch']:9.0f} {speed['keras']:9.0f} {speed['millrace']:9.0f}  "
            f"{speed['millrace'] / speed['torch']:10.2f} {speed['millrace'] / speed['keras']:9.2f}",
            flush=True,
        )
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def main() -> None:
    """Compare, or be one of those compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="Python of an environment with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--work", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.threads)
        return
    if arguments.torch is None:
        parser.error(
            "--torch: name the Python of an environment with PyTorch, see the first lines of this file"
        )
    pythons = {"torch": arguments.torch, "keras": sys.executable, "millrace": sys.executable}
    compare(pythons, arguments.only, arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
