"""How fast does data go in, beside a bare `pandas.read_csv` and a bare Pillow loop, and is memory flat?

Writes a CSV of meters (an id, a local time, eight numbers) and a folder of JPEGs in ten classes, runs `init`, `fetch`
and `ingest` on each in a copy of the project, and what anybody would write by hand on the same files, in turns. Prints
seconds of wall clock and of CPU, their ratios, and the peak of resident memory of each process, at a quarter of the
size and at the whole. CPU seconds are those of all processes of a step: they say the same beside other work.

Run: .venv/bin/python benchmarks/ingest_throughput.py [--gib 2] [--images 100000]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CLASSES, SIDE = 10, 96
STEPS = 100_000
"""Of one meter: its series are as long in a small file as in a large one."""
READ_CSV = "import sys, pandas; print(len(pandas.read_csv(sys.argv[1], parse_dates=['time'])))"
PILLOW_LOOP = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
pixels = np.empty((len(paths), 64, 64, 3), np.uint8)
for row, path in enumerate(paths):
    with Image.open(path) as image:
        pixels[row] = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
np.save(sys.argv[2], pixels)
print(len(paths))
"""


def write_csv(path, num_bytes):
    """Write meters one after the other until the file is so large; return the number of rows."""
    generator = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=STEPS, freq="min").strftime("%Y-%m-%d %H:%M:%S")
    rows = 0
    with path.open("w") as file:
        for meter in range(1_000_000):
            values = generator.normal(100.0, 15.0, (STEPS, 8)).round(2)
            table = pd.DataFrame(values, columns=[f"c{number}" for number in range(8)])
            table.insert(0, "time", times)
            table.insert(0, "id", f"meter{meter:04d}")
            table.to_csv(file, index=False, header=meter == 0)
            rows += STEPS
            if file.tell() >= num_bytes:
                return rows
    raise ValueError(num_bytes)


def write_images(folder, count):
    """Write so many JPEGs of smooth noise, each another, in ten folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % CLASSES}"
        place.mkdir(exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place / f"{number:06d}.jpg", quality=85)


def timed(command, folder):
    """Return seconds, CPU seconds and peak resident memory (MiB) of a process that must succeed."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:4]} failed with status {status}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def project_in(folder, example):
    """Return a copy of the project with the parameters of an example."""
    left_out = shutil.ignore_patterns(".venv", ".git", ".millrace", "mlartifacts", "cache", "mlflow.db")
    shutil.copytree(ROOT, folder, ignore=left_out)
    shutil.copy(ROOT / f"examples/{example}.yaml", folder / "params.yaml")
    return folder


def measured(project, init, by_hand, words):
    """Print what each step and the bare loop cost."""
    python = [sys.executable, "-m"]
    steps = {
        "init": [*python, "pipeline.cli", "init", *init],
        "fetch": [*python, "pipeline.stages.fetch"],
        "ingest": [*python, "pipeline.stages.ingest"],
        "by hand": [sys.executable, "-c", *by_hand],
    }
    found = {name: timed(command, project) for name, command in steps.items()}
    told = ", ".join(
        f"{name} {seconds:.1f} s ({cpu:.1f} CPU-s, {peak:.0f} MiB)"
        for name, (seconds, cpu, peak) in found.items()
    )
    wall, cpu = (found["ingest"][part] / found["by hand"][part] for part in (0, 1))
    print(f"{words}: {told}; ingest / by hand: {wall:.1f} of the time, {cpu:.1f} of the CPU-s", flush=True)


def main():
    """Print one line per kind and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    for part in (0.25, 1.0):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows = write_csv(folder / "meters.csv", int(options.gib * part * 2**30))
            size = (folder / "meters.csv").stat().st_size / 2**30
            init = [
                "--kind",
                "series_table",
                "--path",
                str(folder / "meters.csv"),
                "--set",
                "time=time",
                "--set",
                "id=id",
            ]
            init += ["--set", "time_format=%Y-%m-%d %H:%M:%S"]
            project = project_in(folder / "project", "etth1")
            measured(
                project, init, [READ_CSV, str(folder / "meters.csv")], f"CSV, {size:.2f} GiB, {rows:,} rows"
            )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "photos").mkdir()
            write_images(folder / "photos", int(options.images * part))
            init = ["--kind", "image_folder", "--path", str(folder / "photos")]
            project = project_in(folder / "project", "clothing")
            loop = [PILLOW_LOOP, str(folder / "photos"), str(folder / "pixels.npy")]
            measured(project, init, loop, f"{int(options.images * part):,} JPEG of {SIDE} x {SIDE}")


if __name__ == "__main__":
    main()
