"""A server under mixed load while champions change, roll back, break, and the registry goes away.

`MILLRACE_SOAK_SECONDS` says for how long, 240 if it says nothing; docs/log.md has what half an hour gave.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from itertools import count

import httpx
import psutil
import pytest

from pipeline.serving.scorer import Scorer
from tests.e2e.services import MlflowServer
from tests.helpers.registration import make_ready_project, model, put_best, run_register, store_of
from tests.helpers.synthetic_project import HERE
from tests.serving.test_server import Running

SECONDS = float(os.environ.get("MILLRACE_SOAK_SECONDS", "240"))
VALID_CLIENTS = 4
PAUSE = 0.03
"""Seconds between two requests of a client: the machine has other work."""
SWAPS = 20
MODELS = 8
"""Four that take turns, two that are rolled back from, one that is broken, one before all."""
SWAPPED, ROLLED_BACK, BROKEN = (1, 2, 3, 4), (5, 6), 7
pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(int(SECONDS) + 900)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project on an MLflow server with eight versions, of which the last is champion; and the server."""
    root = make_ready_project(tmp_path / "project")
    (root / "params.yaml").write_text((HERE / "params.yaml").read_text())
    monkeypatch.chdir(root)
    with MlflowServer(f"sqlite:///{tmp_path}/runs.db", tmp_path / "artifacts") as registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
        yield root, registry


def register_all(root):
    """Register the models, one after the other, and return version to what it answers each record."""
    from pipeline.stages import register

    images = [record(value) for value in range(0, 250, 10)]
    told = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.tracking.registry.check_in_fresh_process", lambda _folder: None)
        patched.setattr(register.console, "print_report", lambda *_a, **_k: None)
        for number in range(1, MODELS + 1):
            put_best(root, model(3.0 + number))
            run_register()
            answers = Scorer(root / "models/best").answers(images)
            told[str(number)] = [json.loads(json.dumps(answer)) for answer in answers]
    assert len({json.dumps(answers) for answers in told.values()}) == MODELS
    return images, told, store_of(root).client


def record(value):
    """Return an image whose three telling pixels depend on a number."""
    pixels = [[[value], [(value * 7) % 256], [(value * 13) % 256], [9]], *[[[9]] * 4] * 3]
    return {"image": pixels}


class Load:
    """What clients do until they are told to stop, and what became of it."""

    def __init__(self, uri, images, told):
        self.uri, self.images, self.told = uri, images, told
        self.host, self.port = uri.removeprefix("http://").split(":")
        self.ended = threading.Event()
        self.seen = Counter()
        self.wrong = []
        self.threads = [
            *(threading.Thread(target=self.valid, args=(seed,)) for seed in range(VALID_CLIENTS)),
            *(threading.Thread(target=work) for work in (self.malformed, self.huge, self.slow, self.cut_off)),
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)

    def valid(self, seed):
        """Ask for some records; every answer must be that of the version that the reply names."""
        draw = random.Random(seed)
        with httpx.Client(base_url=self.uri, timeout=20) as client:
            while not self.ended.is_set():
                places = draw.sample(range(len(self.images)), draw.randint(1, 8))
                try:
                    reply = client.post(
                        "/predict", json={"records": [self.images[place] for place in places]}
                    )
                    version = reply.headers["x-model-version"]
                    right = [self.told[version][place] for place in places]
                    self.seen[f"valid by {version}"] += 1
                    if reply.status_code != 200 or reply.json()["answers"] != right:
                        self.wrong.append(("valid", version, reply.status_code, reply.text[:300]))
                except (httpx.HTTPError, KeyError) as error:
                    self.wrong.append(("valid", repr(error)))
                time.sleep(PAUSE)

    def malformed(self):
        """Bodies that are no JSON, records that are none, addresses that are not there."""
        bodies = ('{"records": [', "[]", '{"records": [{"image": "?"}]}', '{"records": 7}', '{"other": 1}')
        with httpx.Client(base_url=self.uri, timeout=20) as client:
            for number in count():
                if self.ended.is_set():
                    return
                path = "/predict" if number % 6 else "/nowhere"
                reply = client.post(
                    path, content=bodies[number % len(bodies)], headers={"content-type": "application/json"}
                )
                self.seen[f"malformed: {reply.status_code}"] += 1
                if not 400 <= reply.status_code < 500 or "Traceback" in reply.text:
                    self.wrong.append(("malformed", reply.status_code, reply.text[:300]))
                time.sleep(2 * PAUSE)

    def huge(self):
        """A body that is announced as 200 MB and begun."""
        head = "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 200000000\r\n\r\n"
        while not self.ended.wait(0.5):
            with self.connected() as link:
                link.sendall(head.encode())
                try:
                    for _ in range(20):
                        link.sendall(b"x" * 65536)
                except OSError:
                    pass
                self.seen["huge"] += 1

    def slow(self):
        """A head that never ends."""
        while not self.ended.wait(1):
            with self.connected() as link:
                link.sendall(b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n")
                link.settimeout(60)
                try:
                    while link.recv(4096):
                        pass
                except OSError:
                    pass
                self.seen["slow, and cut"] += 1

    def cut_off(self):
        """Clients that go away in the middle of a body, or before the reply."""
        body = json.dumps({"records": self.images}).encode()
        head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        for number in count():
            if self.ended.wait(0.1):
                return
            with self.connected() as link:
                link.sendall(head.encode() + (body if number % 2 else body[: len(body) // 2]))
            self.seen["cut off"] += 1

    def connected(self):
        """Return a socket."""
        return socket.create_connection((self.host, int(self.port)), timeout=20)


def test_no_valid_request_fails_and_every_reply_is_of_one_version(project, capsys):
    """20 swaps, five of thirty minutes without a registry, a broken version, two rollbacks; memory stays."""
    root, registry = project
    images, told, client = register_all(root)
    spoil(registry.artifacts, client, BROKEN)
    server = Running(["-m", "pipeline.cli", "serve", "--port", "0", "--poll-seconds", "0.5"], cwd=root)
    move = partial(client.set_registered_model_alias, "digits", "champion")
    process = psutil.Process(server.process.pid)
    version = partial(answering, server.uri)
    try:
        with Load(server.uri, images, told) as load:
            started = time.monotonic()
            for number in range(SWAPS):
                until(started + SECONDS * 0.55 * (number + 1) / SWAPS)
                target = SWAPPED[number % len(SWAPPED)]
                move(target)
                wait_for(lambda target=target: version() == str(target))
                if number == SWAPS // 4:
                    early = process.memory_info().rss
            registry.stop()
            until(started + SECONDS * 0.75)
            assert version() == str(SWAPPED[-1])
            registry.start()
            move(BROKEN)
            wait_for(lambda: refused(server.uri) >= 1)
            assert version() == str(SWAPPED[-1])
            until(started + SECONDS * 0.85)
            for target in ROLLED_BACK:
                before = SWAPPED[0]
                move(before)
                wait_for(lambda before=before: version() == str(before))
                move(target)
                wait_for(lambda target=target: version() == str(target))
                rollback()
                wait_for(lambda before=before: version() == str(before))
            until(started + SECONDS)
            late = process.memory_info().rss
    finally:
        code = server.end()
    with capsys.disabled():
        print(
            f"\n{SECONDS:.0f} s; {early / 2**20:.0f} MB early, {late / 2**20:.0f} MB late; {dict(sorted(load.seen.items()))}"
        )
    assert [] == load.wrong[:5]
    assert 0 == code
    assert {f"valid by {number}" for number in (*SWAPPED, *ROLLED_BACK)} <= set(load.seen)
    assert f"valid by {BROKEN}" not in load.seen
    assert load.seen["slow, and cut"] >= SECONDS / 60
    assert late < 1.1 * early + 8 * 2**20


def spoil(artifacts, client, number):
    """Change a byte of a version's exported model in the artifact store."""
    source = client.get_model_version("digits", str(number)).source.rpartition("/")[2]
    (path,) = [path for path in artifacts.rglob("model.onnx") if source in path.as_posix()]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def answering(uri):
    """Return the version that answers."""
    return httpx.get(f"{uri}/model", timeout=20).headers["x-model-version"]


def refused(uri):
    """Return how many versions the server has refused."""
    text = httpx.get(f"{uri}/metrics", timeout=20).text
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("millrace_refused_versions_total")
    )


def rollback():
    """Go back to the champion before, as a person does."""
    command = [sys.executable, "-m", "pipeline.cli", "rollback", "--reason", "a test of rollbacks"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def until(moment):
    """Wait for a moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def wait_for(holds, seconds=90):
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
