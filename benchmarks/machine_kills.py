"""What ten lost machines cost: a training, a search and answers on a cluster whose raylets die under kill -9.

The digits' cnn is trained and searched, and 12,000 pictures are answered for: first here, undisturbed, then on a head
without cores and one machine, which is killed and replaced each time that work has come further. A command that ends
with 69 (a machine lost twice) is given again. What is counted is printed; files that differ by a byte end it with 1.

Run: python benchmarks/machine_kills.py [--train 4] [--tune 3] [--predict 3] [--workers 1]

With `--workers 2` two processes of a machine share each training (training.workers), and die with it.
"""

import argparse
import functools
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tests.helpers.digits_project import environment, write_digits
from tests.helpers.ray_cluster import Cluster, cluster
from tests.helpers.served_models import DIGITS, write_model

PICTURES = 12_000
LOST, GONE = "was lost there (", 69


def run(command: list[str], folder: Path, log: Path, **more: str) -> subprocess.Popen[bytes]:
    """Start a command whose words go to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=output, stderr=subprocess.STDOUT
        )


def disturbed(
    found: Cluster, start: Callable[[], subprocess.Popen[bytes]], look: Callable[[], Any], kills: int
) -> tuple[int, int]:
    """Run a command to its end, again after each 69, and kill its machine so many times; return kills and commands.

    Args:
        found: The cluster.
        start: Starts the command.
        look: Returns what has come back; a machine is killed when it differs from what it was at the last kill.
        kills: At most.
    """
    killed, commands, seen = 0, 1, look()
    process = start()
    while True:
        code = process.poll()
        if code == GONE:
            process, commands = start(), commands + 1
        elif code is not None:
            assert code == 0, f"exit code {code}"
            return killed, commands
        elif killed < kills and (now := look()) != seen:
            seen = now
            found.lose_machine()
            killed += 1
        time.sleep(0.05)


def came(folder: Path, pattern: str) -> dict[Path, int]:
    """Return which files have come back, and when they were written (ns)."""
    try:
        return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}
    except FileNotFoundError:  # replaced at this moment
        return came(folder, pattern)


def held(folder: Path) -> dict[str, bytes]:
    """Return the content of the files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}


def main() -> None:
    """Do everything here, then there, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, kills in (("train", 4), ("tune", 3), ("predict", 3)):
        parser.add_argument(f"--{name}", type=int, default=kills, metavar="KILLS")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    asked = vars(parser.parse_args())
    differing = 0
    with tempfile.TemporaryDirectory() as name:
        folder = write_digits(Path(name), epochs=60)
        if asked["workers"] > 1:
            params = YAML().load(folder / "params.yaml")
            params["training"]["workers"] = asked["workers"]
            YAML().dump(params, folder / "params.yaml")
        write_model(folder / "model", DIGITS)
        (folder / "pictures").mkdir()
        for place in range(PICTURES):
            picture = np.full((8, 8), place % 251, np.uint8)
            Image.fromarray(picture).save(folder / f"pictures/{place:05d}.png")
        (folder / "answers").mkdir()
        predict = [
            sys.executable,
            "-m",
            "pipeline.cli",
            "predict",
            "model",
            "pictures",
            "--out",
            "answers/a.csv",
        ]
        work = [
            ("train", ["pipeline/run", "train", "cnn"], "models/baseline/cnn", ".millrace/train/cnn/**/*.checkpoint"),
            ("tune", ["pipeline/run", "tune", "cnn"], "models/tuned/cnn", ".millrace/tune/cnn/**/*.checkpoint"),
            ("predict", predict, "answers", "answers/.a.csv.parts/*"),
        ]  # fmt: skip
        for kind, command, _, _ in work:
            begun = time.monotonic()
            here = run(command, folder, folder / f"{kind}.here.log")
            assert here.wait() == 0, (folder / f"{kind}.here.log").read_text()
            print(f"{kind} here: {time.monotonic() - begun:.0f} s", flush=True)
        expected = {kind: held(folder / out) for kind, _, out, _ in work}
        with cluster(head_cores=0) as found:
            there = {"MILLRACE_ENGINE": found.address, "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]}
            for kind, command, out, pattern in work:
                log = folder / f"{kind}.there.log"
                for name in expected[kind]:
                    (folder / out / name).unlink()
                more = there | {"MILLRACE_ON": found.address} if kind == "train" else there
                begun = time.monotonic()
                killed, commands = disturbed(
                    found,
                    functools.partial(run, command, folder, log, **more),
                    functools.partial(came, folder, pattern),
                    asked[kind],
                )
                said = log.read_text()
                epochs = re.findall(r"cnn epoch \d+/", said)
                equal = held(folder / out) == expected[kind]
                differing += not equal
                print(
                    f"{kind} there: {killed} killed, {said.count(LOST)} jobs begun again, {commands} commands, "
                    f"{time.monotonic() - begun:.0f} s, bytes {'equal' if equal else 'DIFFER'}"
                    + (
                        f"; {len(epochs)} epochs told, {len(set(epochs))} of them different" if epochs else ""
                    ),
                    flush=True,
                )
    sys.exit(int(differing > 0))


if __name__ == "__main__":
    main()
