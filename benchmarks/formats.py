"""What every row of docs/combinations.md is in each format that `millrace export` writes; writes docs/formats.md.

Of each format: the largest difference from Keras (a share of the largest answer, or of 1), its size, how long it takes
to open, milliseconds for one record, and records per second for 1,000 together. Models are small (the settings of
tests/models/combination_cases.py), so that what a runtime costs beside its arithmetic shows. Formats are asked in turn,
medians count. What a process needs before it can open one is measured by itself.

Run: .venv/bin/python benchmarks/formats.py   (8 minutes)
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from pipeline.inference import backend

backend.prepare_tensorflow(1, 7)

from pipeline.export.onnx_model import onnx_bytes  # noqa: E402
from pipeline.export.onnx_session import OnnxModel  # noqa: E402
from pipeline.export.tensorflow_formats import LiteRt, SavedModel, write_litert, write_saved_model  # noqa: E402
from pipeline.inference.keras_files import load_model, save_model  # noqa: E402
from pipeline.params.families import COMBINATIONS, READS  # noqa: E402
from pipeline.runtime.files import folder_bytes  # noqa: E402
from tests.models.combination_cases import as_fed, built, input_spec, samples  # noqa: E402

TOLERANCE = 1e-5
PAGE = Path(__file__).resolve().parents[1] / "docs/formats.md"
STARTS = {
    "onnx": "import numpy, onnxruntime",
    "saved_model": "import numpy, tensorflow",
    "keras": "from pipeline.inference.backend import prepare_tensorflow; prepare_tensorflow(1, 0)",
}
INTRODUCTION = """# Every combination in every format

What `millrace export` can make of a model of each row of [what works with what](combinations.md). Made by
`benchmarks/formats.py`, which measures; a test compares the rows with the table of families.

A cell: largest difference from Keras · KB · ms to open · ms for one record · records per second, 1,000 together, each
on one thread, in turn, medians. Models are small, so that a runtime's own cost shows: `millrace predict` and `serve`
run `onnx`. LiteRT is refused where a layer steps through a sequence, and where its answers differ by more than 1e-5
(**wrong** below: trees that meet the mark of padding); `millrace export` proves each file before it writes a bundle.
"""


def writers(model):
    """Return per format what writes it and what opens it."""

    def as_onnx(place):
        place.write_bytes(onnx_bytes(model))

    return {
        "onnx": (as_onnx, lambda place: OnnxModel(place)),
        "keras": (lambda place: save_model(model, place), load_model),
        "saved_model": (lambda place: write_saved_model(model, place), lambda place: SavedModel(place, 1)),
        "litert": (lambda place: write_litert(model, place), lambda place: LiteRt(place, 1)),
    }


SUFFIXES = {"onnx": ".onnx", "keras": ".keras", "saved_model": "", "litert": ".tflite"}


def seconds(call, rounds):
    """Return how long a call takes, the median."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def measured(row, rounds):
    """Return format to a cell of the table."""
    model, made = built(row), samples(input_spec(row))
    fed, one = as_fed(made), as_fed({name: array[:1] for name, array in made.items()})
    many = as_fed({name: np.resize(array, (1000, *array.shape[1:])) for name, array in made.items()})
    expected = np.asarray(model(fed, training=False))
    cells, opened, opening = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (write, read) in writers(model).items():
            place = Path(folder, f"model{SUFFIXES[name]}")
            try:
                with backend.quiet_stderr():
                    write(place)
                    opening[name] = seconds(lambda place=place, read=read: read(place), 3)
                    opened[name] = read(place)
            except NotImplementedError:
                cells[name] = "refused"
                continue
            difference = np.abs(opened[name].predict_on_batch(fed) - expected).max() / max(
                1, np.abs(expected).max()
            )
            size = folder_bytes(place) if place.is_dir() else place.stat().st_size
            cells[name] = [difference, size]
        times = {name: ([], []) for name in opened}
        for running in opened.values():
            running.predict_on_batch(one)
            running.predict_on_batch(many)
        for _ in range(rounds):
            for name, running in opened.items():
                times[name][0].append(seconds(lambda running=running: running.predict_on_batch(one), 5))
                times[name][1].append(seconds(lambda running=running: running.predict_on_batch(many), 1))
    for name, (alone, together) in times.items():
        difference, size = cells[name]
        told = f"**wrong** {difference:.1g}" if difference > TOLERANCE else f"{difference:.1g}"
        cells[name] = (
            f"{told} · {size / 1024:.0f} · {1000 * opening[name]:.1f} · {1000 * statistics.median(alone):.3f} · "
            f"{1000 / statistics.median(together):,.0f}"
        )
    return cells


def start(code):
    """Return CPU seconds and peak MB of a process that can open a format."""
    # VmHWM: ru_maxrss would be that of this process, from which it was forked.
    told = (
        "; import resource as r; u = r.getrusage(r.RUSAGE_SELF); peak = [line for line in open('/proc/self/status') if "
        "line.startswith('VmHWM')][0].split()[1]; print(u.ru_utime + u.ru_stime, int(peak) / 1024)"
    )
    found = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code + told],
            capture_output=True,
            text=True,
            check=True,
            cwd=PAGE.parents[1],
        )
        found.append([float(part) for part in done.stdout.split()])
    return [statistics.median(column) for column in zip(*found, strict=True)]


def main():
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    formats = list(SUFFIXES)
    lines = [INTRODUCTION]
    lines.append("| a process that can open | CPU-seconds | peak MB |\n|---|---|---|")
    for name, code in STARTS.items():
        cpu, megabytes = start(code)
        lines.append(f"| {name} | {cpu:.2f} | {megabytes:.0f} |")
    lines.append("")
    lines.append(f"| {' | '.join(['data', 'task', 'family', 'reads', *formats])} |")
    lines.append("|---" * (4 + len(formats)) + "|")
    for row in COMBINATIONS:
        cells = measured(row, rounds)
        payload = f"{row.payload}, windows" if row.windowed else row.payload
        told = [payload, row.task, row.family, READS[row.reads], *(cells[name] for name in formats)]
        lines.append(f"| {' | '.join(told)} |")
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
