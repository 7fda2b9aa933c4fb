"""What a job costs beside its work, here and on a Ray cluster of two machines of two cores each, in one.

`python benchmarks/scale.py [--seconds 1]`. Stand-ins sleep, so that only handing over, starting and bringing back are
measured: 50 trials, 12 candidates, and jobs with files. A model with three numbers, all measured in the same run
(start, overhead per job, seconds per MB), is printed beside what was measured.

    wall = start + files there * per_mb + ceil(jobs / cores) * (seconds + overhead)
"""

import argparse
import math
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.engine.local import Local
from pipeline.engine.ray import Ray
from pipeline.engine.work import Engine, Job
from tests.helpers.ray_cluster import cluster, open_sleeper

MB = 1 << 20
CORES = 4
FILES_MB = 64


def walls(engine: Engine, counts: list[int], seconds: float) -> tuple[float, list[float]]:
    """Return how long the first job took, and then so many jobs of so many seconds, each count on open workers."""
    with engine.workers(open_sleeper, num_workers=CORES) as workers:

        def wall(jobs: list[Job]) -> float:
            begun = time.perf_counter()
            assert len(jobs) == len(list(workers.run(jobs)))
            return time.perf_counter() - begun

        start = wall([Job(str(place), 0.0) for place in range(CORES)])
        return start, [wall([Job(str(place), seconds) for place in range(count)]) for count in counts]


def with_files(engine: Engine) -> float:
    """Return how long a job that does nothing takes with files that go there and come back."""
    with (
        tempfile.TemporaryDirectory() as folder,
        engine.workers(open_sleeper, num_workers=1) as workers,
    ):
        list(workers.run([Job("", 0.0)]))
        (Path(folder) / "file").write_bytes(bytes(FILES_MB * MB))
        begun = time.perf_counter()
        list(workers.run([Job("", 0.0, Path(folder))]))
        return time.perf_counter() - begun


def report(name: str, engine: Engine, seconds: float) -> None:
    """Print a line for each number of jobs."""
    counts = [12, 50]
    start, (*_, nothing) = walls(engine, [50], 0.0)
    _, measured = walls(engine, counts, seconds)
    rounds = math.ceil(50 / CORES)
    overhead = nothing / rounds
    print(f"| {name} | start {start:.1f} s | {1000 * nothing / 50:.1f} ms per empty job |")
    for count, wall in zip(counts, measured, strict=True):
        rounds = math.ceil(count / CORES)
        modelled = rounds * (seconds + overhead)
        extra = 1000 * (wall - rounds * seconds) / count
        print(
            f"| {name} | {count} jobs of {seconds:g} s | {wall:.1f} s | {extra:.0f} ms a job | model {modelled:.1f} s |"
        )
    print(
        f"| {name} | {FILES_MB} MB there and back | {1000 * (with_files(engine)) / FILES_MB:.1f} ms per MB |"
    )


def main() -> None:
    """Measure here, then on a cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    seconds = parser.parse_args().seconds
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    report("processes here", Local(), seconds)
    with cluster() as found:
        report("Ray, 2 x 2 cores", Ray(found.address), seconds)


if __name__ == "__main__":
    main()
