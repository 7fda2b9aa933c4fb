"""Does a table of gigabytes go from its file to answers in memory that stays small, here and on a cluster?

Writes a CSV as a shop exports its messages: a number, a text that a model reads, a class, and the page it was on, which
nobody reads and which is most of the file. It goes in by `init`, `fetch` and `ingest` in a copy of the project; then
`millrace predict` answers every row of the same file here, and on a Ray cluster of two raylets of one core on this
machine. Prints wall clock, CPU seconds and the peak of resident memory of every process (on the cluster: of each of
Ray's workers), and whether texts and classes that went in are those of Python's own `csv`, row by row, and the two
files of answers the same bytes.

Run: .venv/bin/python benchmarks/large_table.py MODEL FILE.tsv [--gib 5] [--folder FOLDER]

MODEL is a model of texts whose column is called `text`, or has no name; FILE.tsv has a label and a text a line, as the
SMS Spam Collection does. FOLDER needs three times the size.
"""

import argparse
import csv
import filecmp
import hashlib
import itertools
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.ray_cluster import cluster  # noqa: E402

PAGE = 5000
"""Characters of the column that nobody reads."""
LOOK = 0.2
"""Seconds between two looks at the memory of the cluster's workers; each tells its own peak since it began."""


def write_table(path, source, num_bytes):
    """Write rows until the file is so large; return their number."""
    with source.open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    draw = random.Random(0)
    pages = ["".join(draw.choices("abcdefgh <>/=,\n", k=PAGE)) for _ in range(100)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "text", "label", "page"])
        for number, (label, text) in enumerate(itertools.cycle(rows)):
            writer.writerow([number, f"{text} {number}", label, pages[number % 100]])
            if number % 1000 == 0 and file.tell() >= num_bytes:
                return number + 1
    raise ValueError(num_bytes)


def run(name, command, **settings):
    """Run a command, print what it cost, and stop where it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} ended with {status}")
    print(
        f"{name}: {time.perf_counter() - begun:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} CPU s, peak "
        f"{usage.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )


def digest(rows):
    """Return how many pairs of text and class there are, and one digest of all in order."""
    made, count = hashlib.sha256(), 0
    for text, label in rows:
        made.update(f"{len(text)} {text} {label}\n".encode())
        count += 1
    return count, made.hexdigest()


def ingested(project):
    """Yield what went in."""
    import numpy as np
    import pyarrow.parquet as pq

    from pipeline.data.samples import text_at

    texts = np.load(project / "data/interim/payload.npy", mmap_mode="r")
    with pq.ParquetFile(project / "data/interim/samples.parquet") as file:
        for batch in file.iter_batches(columns=["start", "length", "label"]):
            for start, length, label in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield text_at(texts, start, length), label


class Watch:
    """Watches the processes below some, and keeps the peak of each."""

    def __init__(self, above):
        self._above, self._stop, self.peaks = above, threading.Event(), {}
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _look(self):
        while not self._stop.wait(LOOK):
            for process in [
                below for pid in self._above for below in psutil.Process(pid).children(recursive=True)
            ]:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                    self.peaks[process.pid] = int(peak.split()[1]) / 1024, " ".join(process.cmdline())[:40]
                except (OSError, StopIteration, psutil.Error):
                    continue


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--gib", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    model = options.model.absolute()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        project, table = Path(temporary, "project"), Path(temporary, "messages.csv")
        rows = write_table(table, options.texts, int(options.gib * 2**30))
        print(f"{rows:,} rows, {table.stat().st_size / 2**30:.2f} GiB", flush=True)
        left_out = shutil.ignore_patterns(".venv", ".git", ".millrace", "mlartifacts", "mlflow.db", "cache")
        shutil.copytree(ROOT, project, ignore=left_out)
        python = [sys.executable, "-m"]
        init = [
            "init",
            "--kind",
            "text_table",
            "--path",
            str(table),
            "--set",
            "text=text",
            "--set",
            "label=label",
        ]
        run("init", [*python, "pipeline.cli", *init, "--force"], cwd=project)
        for stage in ("check", "fetch", "ingest"):
            run(stage, [*python, f"pipeline.stages.{stage}"], cwd=project)
        with table.open(newline="", encoding="utf-8") as file:
            given = digest((row["text"], row["label"]) for row in csv.DictReader(file))
        print(
            "rows:",
            "equal" if given == digest(ingested(project)) else "OTHERS",
            f"({given[0]:,})",
            flush=True,
        )
        predict = [*python, "pipeline.cli", "predict", str(model), str(table), "--out"]
        answers = [project / "here.csv", project / "there.csv"]
        run("predict here", [*predict, str(answers[0])], cwd=project)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        with cluster(cores=1) as there, Watch(there.raylets) as watch:
            engine = os.environ | {"MILLRACE_ENGINE": there.address}
            run("predict on two raylets of one core", [*predict, str(answers[1])], cwd=project, env=engine)
        for peak, name in sorted(watch.peaks.values(), reverse=True)[:6]:
            print(f"  {peak:.0f} MiB: {name}")
        print("answers:", "the same bytes" if filecmp.cmp(*answers, shallow=False) else "OTHER BYTES")


if __name__ == "__main__":
    main()
