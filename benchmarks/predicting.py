"""What does `millrace predict` cost for a million texts or a hundred thousand images, and does a kill cost a byte?

Records per second beside a bare loop of onnxruntime over inputs that are ready (what reading, transforming and writing
add), peak memory of a tenth and of all, and the bytes of a run that was killed five times beside those of one that was
not.

Run: .venv/bin/python benchmarks/predicting.py MODEL --texts FILE.tsv [--rows N]
     .venv/bin/python benchmarks/predicting.py MODEL --images [--rows N]

MODEL is a folder or bundle; FILE.tsv has a label and a text a line, as the SMS Spam Collection does, and is repeated.
"""

import argparse
import csv
import filecmp
import io
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.export.onnx_session import OnnxModel
from pipeline.inputs.specs import kinds_read
from pipeline.runtime.files import read_json
from pipeline.serving.model_folder import opened, source_of
from pipeline.serving.record import Transform
from pipeline.serving.record_files import read_records

KILLS = 5
BATCH = 512
READY = 4096
"""Records of the bare loop."""


def write_texts(path, source, rows, model):
    """Write a CSV of so many texts, each with its number, as the model's data calls the column."""
    with source.open(encoding="utf-8") as file:
        texts = [line.rstrip("\n").partition("\t")[2] for line in file]
    options = source_of(model).get("options", {})
    column = "text" if options.get("header") is False else options.get("text", "text")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column])
        writer.writerows([f"{text} {number}"] for number, text in zip(range(rows), itertools.cycle(texts)))


def write_images(folder, rows, model):
    """Write so many JPEG files of the model's size, noise around a ramp, a thousand a folder."""
    from PIL import Image

    height, width, channels = read_json(model / "state.json")["image"]["shape"]
    draw = np.random.default_rng(0)
    for number in range(rows):
        place = folder / f"{number // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 255, (height, width, channels), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "jpeg", quality=90)
        (place / f"{number:07d}.jpg").write_bytes(file.getvalue())


def command(model, given, out):
    return [sys.executable, "-m", "pipeline.cli", "predict", str(model), str(given), "--out", str(out)]


def run(model, given, out):
    """Return wall seconds, CPU seconds and peak MB of one run."""
    begun = time.perf_counter()
    pid = subprocess.Popen(
        command(model, given, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).pid
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"predict ended with {status}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def killed(model, given, out, seconds):
    """Run it, killed five times at random moments of its length, to the end."""
    draw = random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(model, given, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds * draw.uniform(0.1, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(model, given, out)


def bare(model, given):
    """Return records per CPU-second of onnxruntime over inputs that are ready, and of transforming them."""
    state, settings = (read_json(model / name) for name in ("state.json", "settings.json"))
    transform, onnx = Transform(state, kinds_read(state, settings)), OnnxModel(model / "model.onnx")
    records = [item.record for item in itertools.islice(read_records(given, state, source_of(model)), READY)]
    begun = time.process_time()
    made = [transform(record) for record in records]
    transforming = len(records) / (time.process_time() - begun)
    inputs = {name: np.concatenate([one[name] for one in made]) for name in made[0]}
    begun, count = time.process_time(), 0
    while time.process_time() - begun < 3:
        for start in range(0, len(records), BATCH):
            onnx.predict_on_batch({name: array[start : start + BATCH] for name, array in inputs.items()})
        count += len(records)
    return count / (time.process_time() - begun), transforming


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args()
    rows = options.rows or (100_000 if options.images else 1_000_000)
    with opened(options.model.absolute()) as model, tempfile.TemporaryDirectory() as temporary:
        given = {}
        for part in (rows // 10, rows):
            given[part] = Path(temporary, str(part) if options.images else f"{part}.csv")
            if options.images:
                write_images(given[part], part, model.folder)
            else:
                write_texts(given[part], options.texts, part, model.folder)
        onnx, transforming = bare(model.folder, given[rows // 10])
        print(f"bare onnxruntime {onnx:,.0f} records per CPU-second, transforming alone {transforming:,.0f}")
        for part, path in given.items():
            wall, cpu, megabytes = run(model.folder, path, Path(temporary, "answers.parquet"))
            print(
                f"{part:,} records: {wall:.0f} s, {part / cpu:,.0f} records per CPU-second ({onnx / (part / cpu):.1f} "
                f"times a bare loop), {megabytes:.0f} MB",
                flush=True,
            )
        killed(model.folder, path, Path(temporary, "killed.parquet"), wall)
        same = filecmp.cmp(
            Path(temporary, "answers.parquet"), Path(temporary, "killed.parquet"), shallow=False
        )
        print(f"killed {KILLS} times and gone on with: {'the same bytes' if same else 'OTHER BYTES'}")


if __name__ == "__main__":
    main()
