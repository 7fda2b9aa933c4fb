"""Peak memory of every stage over one series of ten million steps.

Writes a Parquet file of 10,000,000 steps (a day's and a week's rhythm, a slow drift and noise), describes it with
`millrace init`, and runs the stages one after the other in a copy of the project: windows of 48 steps, one step
ahead, one epoch of a small dense network over all of them. Prints peak resident memory and seconds of each.

Run: .venv/bin/python benchmarks/long_series.py [STEPS]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
STEPS = 10_000_000
CHUNK_STEPS = 1_000_000
BOUND_MIB = 1536
STAGES = (
    "ingest",
    "validate",
    "split",
    "leaks",
    "features",
    "train dense",
    "train linear",
    "train naive",
    "tune dense",
    "tune linear",
    "tune naive",
    "evaluate",
)


def write_series(path, steps):
    """Write the series as Parquet, a step every minute."""
    generator = np.random.default_rng(0)
    schema = pa.schema([("time", pa.timestamp("s")), ("value", pa.float32())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, steps, CHUNK_STEPS):
            step = np.arange(first, min(first + CHUNK_STEPS, steps), dtype=np.int64)
            value = np.sin(step * 2 * np.pi / 1440) + 0.5 * np.sin(step * 2 * np.pi / 10080) + step / steps
            value = value + generator.normal(0, 0.1, len(step))
            seconds = (step * 60).astype("datetime64[s]")
            columns = [pa.array(seconds), pa.array(value.astype(np.float32))]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def write_params(path):
    """Write the parameters: those of the ETTh1 example, with one target, short windows, and one epoch."""
    yaml = YAML()
    params = yaml.load((ROOT / "examples/etth1.yaml").read_text())
    params["data"]["windows"] |= {"length": 48, "horizon": 1, "stride": 1, "targets": ["value"]}
    for name in ("val_start", "test_start", "test_end"):
        params["split"].pop(name, None)
    params["training"] |= {"epochs": 1, "batch_size": 4096, "early_stopping_patience": 0}
    candidates = params["candidates"]
    params["candidates"] = {name: candidates[name] for name in ("dense", "linear", "naive")}
    params["candidates"]["naive"]["model"]["season"] = 24
    for candidate in params["candidates"].values():
        candidate["tune"] = {}
        candidate["training"] = {"epochs": 0} if candidate["family"] == "naive" else {}
    params["evaluate"] |= {"bootstrap_resamples": 100, "season": 1440}
    with path.open("w") as file:
        yaml.dump(params, file)


def measured(command, project):
    """Run a command and return its peak resident memory (MiB) and seconds."""
    start = time.monotonic()
    log = (project / ".log").open("a+")
    process = subprocess.Popen(command, cwd=project, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        log.seek(0)
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
    return usage.ru_maxrss / 1024, time.monotonic() - start


def main():
    """Print one line per stage and the verdict."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        project, series = Path(name) / "project", Path(name) / "series.parquet"
        write_series(series, steps)
        left_out = shutil.ignore_patterns(".venv", ".git", ".millrace", "mlartifacts", "cache", "dvc.lock")
        shutil.copytree(ROOT, project, ignore=left_out)
        python = [sys.executable, "-m"]
        options = ("--kind", "series_table", "--path", str(series), "--set", "time=time")
        peaks["init"] = measured([*python, "pipeline.cli", "init", *options], project)
        write_params(project / "params.yaml")
        for stage in ("check", "fetch", *STAGES):
            command, *arguments = stage.split()
            peaks[stage] = measured([*python, f"pipeline.stages.{command}", *arguments], project)
            print(f"{stage:<14} {peaks[stage][0]:7.0f} MiB {peaks[stage][1]:7.0f} s", flush=True)
    highest = max(peaks, key=lambda stage: peaks[stage][0])
    print(f"init           {peaks['init'][0]:7.0f} MiB {peaks['init'][1]:7.0f} s")
    verdict = "below" if peaks[highest][0] < BOUND_MIB else "ABOVE"
    print(f"{steps:,} steps: highest peak {peaks[highest][0]:.0f} MiB ({highest}), {verdict} {BOUND_MIB} MiB")


if __name__ == "__main__":
    main()
