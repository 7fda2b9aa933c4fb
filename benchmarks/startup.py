"""What each stage costs before it does anything, and what a `dvc repro` without work costs.

A stage's start-up is the CPU time of a process that imports its module and, where the stage trains or
predicts, TensorFlow the lean way. Rounds are interleaved over the stages; medians are printed.

Run: .venv/bin/python benchmarks/startup.py [--rounds R]   (in a project where `dvc repro` has run)
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

STAGES = (
    "check",
    "fetch",
    "ingest",
    "validate",
    "split",
    "features",
    "train",
    "tune",
    "folds",
    "select",
    "refit",
    "evaluate",
    "register",
)
WITH_TENSORFLOW = {"train", "evaluate", "register"}


def cost(command):
    """Return CPU seconds and wall seconds of a command."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - start


def main():
    """Print one line per stage and one for the no-op."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    commands = {"(python)": [sys.executable, "-c", ""]}
    for stage in STAGES:
        code = f"import pipeline.stages.{stage}"
        if stage in WITH_TENSORFLOW:
            code += "; from pipeline.inference.backend import prepare_tensorflow; prepare_tensorflow(2, 0)"
        commands[stage] = [sys.executable, "-c", code]
    commands["tensorflow, as it comes"] = [sys.executable, "-c", "import tensorflow, keras; keras.layers"]
    commands["tensorflow, lean"] = [
        sys.executable,
        "-c",
        "from pipeline.inference.backend import prepare_tensorflow; prepare_tensorflow(2, 0)",
    ]
    commands["dvc repro, nothing to do"] = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro"]
    commands["make run, nothing to do"] = ["make", "run"]
    seconds = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            seconds[name].append(cost(command))
    print(f"{'what':28} {'CPU s':>7} {'wall s':>7}   median of {rounds}")
    for name, values in seconds.items():
        cpu, wall = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:28} {cpu:7.2f} {wall:7.2f}")


if __name__ == "__main__":
    main()
