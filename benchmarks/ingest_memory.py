"""Peak memory of `ingest` at one and at four times Fashion-MNIST.

Writes IDX files of 70,000 and 280,000 random images, runs `init`, `fetch` and `ingest` on each in a copy of
the project, and prints the peak resident memory of the `ingest` process.

Run: .venv/bin/python benchmarks/ingest_memory.py
"""

import gzip
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def write_idx(folder, copies):
    """Write `copies` times 60,000 + 10,000 images and labels as gzipped IDX files."""
    generator = np.random.default_rng(0)
    for name, count in (("train", 60_000 * copies), ("t10k", 10_000 * copies)):
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(struct.pack(">IIII", 0x803, count, 28, 28))
            for start in range(0, count, 10_000):
                size = min(10_000, count - start)
                file.write(generator.integers(0, 256, (size, 28, 28), dtype=np.uint8).tobytes())
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(struct.pack(">II", 0x801, count))
            file.write((np.arange(count) % 10).astype(np.uint8).tobytes())


def ingest_peak(copies):
    """Return peak resident memory (MiB) and CPU seconds of `ingest` at so many times Fashion-MNIST."""
    with tempfile.TemporaryDirectory() as name:
        project, files = Path(name) / "project", Path(name) / "files"
        files.mkdir()
        write_idx(files, copies)
        shutil.copytree(
            ROOT, project, ignore=shutil.ignore_patterns(".venv", ".git", ".millrace", "mlartifacts", "cache")
        )
        shutil.copy(ROOT / "examples/fashion-mnist.yaml", project / "params.yaml")
        python = [sys.executable, "-m"]
        for step in (
            ["pipeline.cli", "init", "--kind", "idx", "--path", str(files)],
            ["pipeline.stages.check"],
            ["pipeline.stages.fetch"],
        ):
            subprocess.run([*python, *step], cwd=project, check=True, capture_output=True)
        process = subprocess.Popen(
            [*python, "pipeline.stages.ingest"], cwd=project, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"ingest failed with status {status}")
        return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main():
    """Print one line per size."""
    for copies in (1, 4):
        peak, cpu = ingest_peak(copies)
        print(
            f"{copies} x Fashion-MNIST ({70_000 * copies:,} images): peak {peak:.0f} MiB, {cpu:.1f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main()
