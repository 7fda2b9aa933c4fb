"""A Ray cluster of two machines in one: two raylets on loopback, with a token, gone with the test that started it.

`python -m tests.helpers.ray_cluster` starts one, prints where it is as JSON, adds a machine for each line of its input,
and ends all of it when that ends.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3
"""Ray gives a raylet fixed 15 to 30 seconds, which a busy machine may not have."""


class Cluster(NamedTuple):
    """Where one is.

    Attributes:
        address: For MILLRACE_ENGINE.
        raylets: Processes, that of the head first.
        head: Process of its control store.
        started: What holds it.
    """

    address: str
    raylets: list[int]
    head: int
    started: "subprocess.Popen[bytes]"

    def lose_machine(self) -> None:
        """Kill the raylet that was added last with -9, and add another machine."""
        os.kill(self.raylets.pop(), signal.SIGKILL)
        self.started.stdin.write(b"\n")
        self.started.stdin.flush()
        self.raylets.append(int(self.started.stdout.readline()))

    def lose_head(self) -> None:
        """Kill the head with -9: a machine whose control store alone is gone works on for a minute."""
        for process in (self.head, self.raylets[0]):
            os.kill(process, signal.SIGKILL)


@contextmanager
def cluster(nodes: int = 2, cores: int = 2, head_cores: int = 2) -> Iterator[Cluster]:
    """Start machines of so many cores each, with the token in our environment (tests/conftest.py)."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed: `make setup`")
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        environment = os.environ | {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": folder,
            "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
            # Without it the address of loopback is replaced by that of the network.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # Workers import what tests open; the code under test comes with the work, before it.
            "PYTHONPATH": str(ROOT),
        }
        numbers = [str(number) for number in (nodes, cores, head_cores)]
        command = [sys.executable, "-m", "tests.helpers.ray_cluster", *numbers]
        for left in reversed(range(ATTEMPTS)):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
            )
            told = process.stdout.readline()
            if told:
                break
            process.wait()
            assert left, "Ray did not start"
        try:
            yield Cluster(**json.loads(told), started=process)
        finally:
            import ray

            ray.shutdown()
            process.stdin.close()
            process.wait()


def open_sleeper() -> Callable[[float, Any], None]:
    """Return a job that takes its time, without working."""
    return lambda seconds, _folder: time.sleep(seconds)


def main(nodes: int, cores: int, head_cores: int) -> None:
    """Start a cluster, say where, and wait."""
    from ray.cluster_utils import Cluster as Machines

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings: dict[str, Any] = {
        "num_cpus": cores,
        "object_store_memory": 100 << 20,
        "include_dashboard": False,
    }
    standard, sys.stdout = sys.stdout, sys.stderr
    machines = Machines(
        initialize_head=True,
        head_node_args={**settings, "num_cpus": head_cores, "ray_client_server_port": port},
    )

    def raylet(node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    try:
        started = [machines.head_node, *(machines.add_node(**settings) for _ in range(nodes - 1))]
        head = machines.head_node.all_processes["gcs_server"][0].process.pid
        told = {"address": f"ray://127.0.0.1:{port}", "raylets": [*map(raylet, started)], "head": head}
        while True:  # what serves clients is a process that nobody waits for
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        print(json.dumps(told), file=standard, flush=True)
        for _ in sys.stdin:
            print(raylet(machines.add_node(**settings)), file=standard, flush=True)
    finally:
        machines.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
