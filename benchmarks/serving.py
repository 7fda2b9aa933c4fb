"""A server beside `mlflow models serve` on one model: requests per second, times, memory at 1, 8 and 32 clients.

`python benchmarks/serving.py models/best [--mlflow] [--seconds 4]`. Clients are threads of this process with a plain
socket each and one request in flight, so that they cost little; they and the server share the cores, so only ratios
between lines of one run count. CPU is that of the server's process.

`--log` instead compares a server that writes a prediction log with one that does not, turn by turn, and `--beside` one
with a shadow, and one with a canary for half of the requests, with one without.

`--mlflow` makes a version of `model.keras` in a folder of its own and starts MLflow's server on it, which wants arrays.

`--litserve PYTHON` asks LitServe's server turn by turn with ours, the same scorer on the same records in batches of up
to 32. PYTHON is that of an environment of its own: `uv pip install -r requirements-serve.lock litserve`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.runtime.processes import cpu_seconds

CLIENTS = (1, 8, 32)
ROOT = Path(__file__).resolve().parent.parent
LITSERVE = ROOT / "benchmarks/serving_litserve.py"


def reply_of(connection: socket.socket) -> bytes:
    """Read one reply with a content-length."""
    held = b""
    while b"\r\n\r\n" not in held:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError(held)
        held += part
    head, _, body = held.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        body += connection.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(held[:500])
    return body


def load(port: int, request: bytes, clients: int, seconds: float) -> list[float]:
    """Ask with so many clients for so long; return the seconds of each request."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def one() -> None:
        own = []
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (begun := time.perf_counter()) < until:
                connection.sendall(request)
                reply_of(connection)
                own.append(time.perf_counter() - begun)
        taken.extend(own)

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def family_of(pid: int) -> list[int]:
    """Return a process and all below it."""
    below = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            below += family_of(int(path.parent.name))
    return [pid, *below]


def memory_mb(pid: int) -> float:
    """Return what the processes hold, shared pages in shares."""
    total = 0
    for one in family_of(pid):
        text = Path(f"/proc/{one}/smaps_rollup").read_text()
        total += int(re.search(r"Pss:\s+(\d+)", text)[1])
    return total / 1024


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and all below it."""
    return sum(cpu_seconds(one) or 0.0 for one in family_of(pid))


def request_of(path: str, content: object) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measured(name: str, process: subprocess.Popen, port: int, request: bytes, seconds: float) -> None:
    """Print a line per number of clients."""
    load(port, request, 1, 0.5)
    for clients in CLIENTS:
        before = cpu(process.pid)
        taken = load(port, request, clients, seconds)
        spent = 1000 * (cpu(process.pid) - before) / len(taken)
        p50, p99 = (1000 * taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99))
        print(
            f"| {name} | {clients} | {len(taken) / seconds:.0f} | {p50:.2f} | {p99:.2f} | {spent:.2f} "
            f"| {memory_mb(process.pid):.0f} |",
            flush=True,
        )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def wait_for(port: int, path: str) -> None:
    """Wait until a server answers."""
    import httpx

    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise TimeoutError(path)


def ours(folder: Path, seconds: float) -> None:
    """Measure `millrace serve`."""
    from pipeline.serving.model_folder import Named
    from pipeline.serving.served import Served

    served, port = Served(Named(folder.name, "", folder), {}), free_port()
    print(f"one record without HTTP: {1000 * served.seconds_per_record:.3f} ms")
    command = [sys.executable, "-m", "pipeline.cli", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, "/health/ready")
        print(f"CPU seconds to start: {cpu(process.pid):.1f}")
        request = request_of("/predict", {"records": [served.example]})
        measured("millrace serve", process, port, request, seconds)
        empty = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        measured("the same, an empty reply", process, port, empty, seconds)
    finally:
        process.kill()
        process.wait()


def side_by_side(
    folder: Path, variants: dict[str, list[str]], seconds: float, rounds: int = 7, others: str = ""
) -> None:
    """Measure what options cost: a server of each kind, asked in turns; medians, of ratios of neighbouring turns too.

    CPU is that of the server and of all it has started, and of the server alone.

    Args:
        folder: The model.
        variants: Name to the options of a server; the others are compared with the first.
        seconds: Of a turn.
        rounds: Turns of each.
        others: Python of an environment with LitServe, which is asked too.
    """
    from statistics import median

    from pipeline.serving.model_folder import Named
    from pipeline.serving.served import Served

    request = request_of("/predict", {"records": [Served(Named(folder.name, "", folder), {}).example]})
    servers = {}
    try:
        for name, more in variants.items():
            port = free_port()
            command = [sys.executable, "-m", "pipeline.cli", "serve", str(folder), "--port", str(port), *more]
            servers[name] = _alone(command), port
        if others:
            port = free_port()
            servers["LitServe"] = _alone([others, str(LITSERVE), str(folder), str(port)]), port
        for _process, port in servers.values():
            wait_for(port, "/health/ready")
            load(port, request, 8, 3)
        for clients in CLIENTS:
            found: dict[str, list[list[float]]] = {name: [] for name in servers}
            for number in range(rounds):
                for name in list(servers)[:: -1 if number % 2 else 1]:
                    process, port = servers[name]
                    before, alone = cpu(process.pid), cpu_seconds(process.pid) or 0.0
                    taken = load(port, request, clients, seconds)
                    p50, p99 = (1000 * taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99))
                    own = (cpu_seconds(process.pid) or 0.0) - alone
                    spent = [1000 * one / len(taken) for one in (cpu(process.pid) - before, own)]
                    found[name].append([len(taken) / seconds, p50, p99, *spent])
                    time.sleep(0.5)  # what still waits is not the next one's
            first = next(iter(servers))
            for name, rows in found.items():
                lines = [[median(column) for column in zip(*rows, strict=True)]]
                if name != first:
                    pairs = zip(rows, found[first], strict=True)
                    ratios = [[one / other for one, other in zip(*pair, strict=True)] for pair in pairs]
                    lines.append([median(column) for column in zip(*ratios, strict=True)])
                for told, values in zip((name, f"{name}, ratio"), lines, strict=False):
                    memory = f"{memory_mb(servers[name][0].pid):.0f}" if told == name else ""
                    numbers = " | ".join(f"{value:.2f}" for value in values)
                    print(f"| {told} | {clients} | {numbers} | {memory} |", flush=True)
        for name, (_process, port) in servers.items():
            tell_outcomes(name, port)
    finally:
        for process, _port in servers.values():
            for one in family_of(process.pid):
                os.kill(one, signal.SIGKILL)
            process.wait()


def _alone(command: list[str]) -> subprocess.Popen:
    """Start a server in a session of its own: Linux shares the processor among sessions."""
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def tell_outcomes(name: str, port: int) -> None:
    """Print what became of the records of a shadow and of the requests of a canary."""
    import httpx

    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    wanted = ("millrace_shadow_records_total{", "millrace_canary_requests_total{")
    told = [line for line in lines if line.startswith(wanted) and not line.endswith(" 0")]
    print("\n".join(f"{name}: {line}" for line in told))


def logged(folder: Path, seconds: float) -> None:
    """Measure what the log costs."""
    with tempfile.TemporaryDirectory() as place:
        side_by_side(folder, {"without": [], "log": ["--log", place, "--log-seconds", "2"]}, seconds)


def beside(folder: Path, seconds: float) -> None:
    """Measure what a shadow and a canary cost: the same model once more, by other papers."""
    with tempfile.TemporaryDirectory() as place:
        other = shutil.copytree(folder, Path(place) / "other")
        settings = json.loads((other / "settings.json").read_text())
        (other / "settings.json").write_text(json.dumps(settings | {"seed": -1}))
        variants = {
            "without": [],
            "shadow": ["--shadow", str(other)],
            "canary": ["--canary", str(other), "--canary-share", "0.5"],
        }
        side_by_side(folder, variants, seconds)


def theirs(folder: Path, seconds: float) -> None:
    """Measure `mlflow models serve` on the keras flavour of the same model."""
    import numpy as np

    from pipeline.evaluation.golden import GOLDEN_ANSWERS, read_npz

    arrays = read_npz(folder / "golden.npz")
    arrays.pop(GOLDEN_ANSWERS)
    first = {name: array[:1] for name, array in arrays.items()}
    port = free_port()
    with tempfile.TemporaryDirectory() as place:
        code = (
            "import sys, keras, mlflow, numpy as np;"
            "from mlflow.models import infer_signature;"
            "model = keras.models.load_model(sys.argv[1]);"
            "given = dict(np.load(sys.argv[3]));"
            "given = next(iter(given.values())) if len(given) == 1 else given;"
            "mlflow.keras.save_model(model, sys.argv[2], signature=infer_signature(given, model.predict(given)))"
        )
        np.savez(Path(place) / "first.npz", **first)
        arguments = [str(folder / "model.keras"), f"{place}/model", f"{place}/first.npz"]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            f"{place}/model",
            "--env-manager",
            "local",
            "--workers",
            "1",
        ]
        process = subprocess.Popen(
            [*command, "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # MLflow starts uvicorn by its name.
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        try:
            wait_for(port, "/ping")
            print(f"CPU seconds to start: {cpu(process.pid):.1f}")
            given = {name: array.tolist() for name, array in first.items()}
            only = next(iter(given.values())) if len(given) == 1 else given
            measured(
                "mlflow models serve", process, port, request_of("/invocations", {"inputs": only}), seconds
            )
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mlflow", action="store_true")
    parser.add_argument("--log", action="store_true")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--litserve", default="", metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, side by side")
    options = parser.parse_args()
    folder = options.folder.absolute()
    turns = options.log or options.beside or options.litserve
    columns = ["server", "clients", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "MB"]
    columns[6:6] = ["of the server alone"] if turns else []
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    if options.litserve:
        side_by_side(folder, {"millrace serve": []}, options.seconds, options.rounds, options.litserve)
        return
    if turns:
        (logged if options.log else beside)(folder, options.seconds)
        return
    ours(folder, options.seconds)
    if options.mlflow:
        theirs(folder, options.seconds)


if __name__ == "__main__":
    main()
