"""A server in a process of its own, asked over sockets: limits, slow clients, TLS, the drain, swaps under load."""

import asyncio
import base64
import datetime as dt
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest
from PIL import Image

from pipeline import cli
from pipeline.serving.scorer import Scorer
from tests.helpers.load import seconds
from tests.helpers.served_models import DIGITS, environment, write_model
from tests.helpers.synthetic_project import HERE

COMMAND = ["-m", "pipeline.cli", "serve"]
WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'mlflow', 'sklearn', 'skimage', 'pandas']));"
    "from pipeline.cli import main; main(['serve', *sys.argv[1:]])"
)
SWAPPED = """
import sys
from pathlib import Path
from pipeline.serving.app import Endpoints
from pipeline.serving.follower import Announcements, Follower
from pipeline.serving.guard import Limits
from pipeline.serving.served import Followed, Served
from pipeline.serving.server import listening, serve
announcements = Announcements([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
endpoints = Endpoints(Served(announcements.first(), {}), Limits(), Followed("digits@champion"))
Follower(endpoints).start(announcements)
bound = listening("127.0.0.1", 0)
serve(endpoints.application(None), bound, begun=lambda: print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True))
announcements.close()
endpoints.close()
"""
ANNOUNCER = """
import json, sys, time
for number, folder in enumerate(sys.argv[1:]):
    print(json.dumps({"name": "digits", "version": folder[-1], "folder": folder, "sha256": str(number)}), flush=True)
    time.sleep(2.5 if number == 0 else 0.15)
time.sleep(60)
"""
"""Stands for the process that asks the registry: these folders, one after the other."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that answer differently, `digits-1` and `digits-2`."""
    root = tmp_path_factory.mktemp("models")
    return [write_model(root / f"digits-{number}", DIGITS, seed=number) for number in (1, 2)]


class Running:
    """A server that runs, and where."""

    def __init__(self, arguments, cwd=HERE):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], cwd=cwd, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self.process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:(\d+)", line)
        assert found, self.process.communicate(timeout=10)[1]
        self.uri, self.port = found[0], int(found[1])

    def connect(self):
        """Return a socket."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self):
        """End it and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


@pytest.fixture
def start():
    """Return a function that starts a server; all are ended."""
    running = []

    def begin(*arguments):
        running.append(Running(arguments))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.end()
        one.process.communicate(timeout=30)


def png(value):
    """Return a record: an image of one brightness."""
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "png")
    return {"image": base64.b64encode(file.getvalue()).decode()}


def test_it_answers_where_neither_tensorflow_nor_mlflow_can_be_imported(start, models):
    """As the scorer does; ended by a person it ends with 0, and says nothing on standard error but that."""
    server = start("-c", WITHOUT, models[0], "--port", "0")
    records = [png(value) for value in (0, 100, 250)]
    reply = httpx.post(f"{server.uri}/predict", json={"records": records})
    assert json.loads(json.dumps(Scorer(models[0]).answers(records))) == reply.json()["answers"]
    assert 200 == httpx.get(f"{server.uri}/health/ready").status_code
    assert 0 == server.end()
    assert "Traceback" not in server.process.stderr.read()


def test_slow_clients_are_cut_and_busy_ones_told_to_come_again(start, models):
    """Nothing, half a head, half a body, an endless head; and more at once than are allowed."""
    server = start(*COMMAND, models[0], "--port", "0", "--read-seconds", "1.5", "--max-waiting", "2")
    silent, half, endless = server.connect(), server.connect(), server.connect()
    half.sendall(b"GET /model HTTP/1.1\r\nHost:")
    endless.sendall(b"GET /model HTTP/1.1\r\n")
    for _ in range(30):
        endless.sendall(b"x-more: " + b"m" * 4000 + b"\r\n")
    assert endless.recv(100).startswith(b"HTTP/1.1 431 ")
    trailing = server.connect()
    trailing.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    deadline = time.monotonic() + 1  # sooner than by --read-seconds
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while time.monotonic() < deadline:
            trailing.sendall(b"x-more: " + b"m" * 4000 + b"\r\n")
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    waiting = [server.connect() for _ in range(2)]
    for one in waiting:
        one.sendall(head)
    time.sleep(0.3)
    busy = httpx.post(f"{server.uri}/predict", json={"records": [png(0)]})
    assert (503, "1") == (busy.status_code, busy.headers["retry-after"])
    assert 200 == httpx.get(f"{server.uri}/health/live").status_code
    for one in waiting:
        assert one.recv(100).startswith(b"HTTP/1.1 408 ")
    for one in (silent, half):
        with suppress(ConnectionResetError):
            assert b"" == one.recv(100)
    assert 200 == httpx.post(f"{server.uri}/predict", json={"records": [png(0)]}).status_code


def test_who_sends_too_much_can_read_why(start, models):
    """Three times the limit is read to its end and dropped."""
    server = start(*COMMAND, models[0], "--port", "0", "--max-bytes", "1000000")
    reply = httpx.post(f"{server.uri}/predict", content=b"x" * 3_000_000, timeout=20)
    assert 413 == reply.status_code
    assert "at most 1,000,000 bytes" in reply.json()["error"]


def test_mutated_bytes_of_http_bring_nobody_down(start, models):
    """Heads and bodies with bytes changed, cut or doubled: refused or answered; the server goes on, and logs no bug."""
    server, draw = start(*COMMAND, models[0], "--port", "0", "--read-seconds", "1"), random.Random(3)
    body = json.dumps({"records": [png(9)]}).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nContent-Length: {len(body)}\r\n"
    )
    valid = head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body
    statuses = set()
    for _ in range(200):
        sent = bytearray(valid)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(sent))
            odd = draw.choice(
                [b"", b"\x00", b"\r\n", b"\xff" * 9, b": ", b"9" * 30, b"chunked", b"GET / HTTP/1.1\r\n\r\n"]
            )
            sent[at : at + draw.randrange(3)] = odd
        with server.connect() as one, suppress(OSError):
            one.settimeout(0.1)  # many wait for more, which never comes
            one.sendall(sent)
            statuses.add(one.recv(100)[:12].decode())
    assert {"HTTP/1.1 200", "HTTP/1.1 400"} <= statuses
    assert not {status for status in statuses if status.startswith("HTTP/1.1 5")}
    assert 200 == httpx.post(f"{server.uri}/predict", json={"records": [png(9)]}).status_code
    assert 0 == server.end()
    assert "Traceback" not in server.process.stderr.read()


def test_what_follows_a_refusal_is_not_read_for_ever(start, models):
    """A body without an end on a request that is answered without it: the connection is cut."""
    server = start(*COMMAND, models[0], "--port", "0", "--read-seconds", "1")
    with server.connect() as one, pytest.raises(OSError):
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n")
        for _ in range(400):
            one.sendall(b"x" * 1000)
            time.sleep(0.01)


def test_tls_and_tokens(start, models, tmp_path):
    """A certificate of one's own, and a token that it protects."""
    certify(tmp_path)
    (tmp_path / "tokens").write_text("t" * 20)
    files = ["--certfile", tmp_path / "cert.pem", "--keyfile", tmp_path / "key.pem"]
    server = start(*COMMAND, models[0], "--port", "0", *files, "--tokens", tmp_path / "tokens")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert server.uri.startswith("https://")
    with httpx.Client(verify=trusted, base_url=server.uri) as client:
        assert 401 == client.get("/model").status_code
        assert (
            "digits-1" == client.get("/model", headers={"authorization": f"Bearer {'t' * 20}"}).json()["name"]
        )


def certify(folder):
    """Write a certificate for 127.0.0.1 and its key."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(1))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(addresses, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)


async def load(uri, clients, stop, seen, in_time=lambda _begun: True):
    """Ask with some clients at once, each on a connection of its own, until `stop`; note status, headers, answers.

    A request that began when `in_time` says that nobody was promised an answer any more, and got none, is not noted.
    """

    async def one(number):
        record = png(20 * number)
        async with httpx.AsyncClient(base_url=uri, timeout=20) as client:
            while not stop():
                begun = time.monotonic()
                try:
                    reply = await client.post("/predict", json={"records": [record]})
                except httpx.ConnectError:
                    return  # nobody listens any more: not a request that was lost
                except httpx.HTTPError as error:
                    if in_time(begun):
                        seen.append((repr(error), number, "", None))
                else:
                    version = reply.headers.get("x-model-version", "")
                    seen.append((reply.status_code, number, version, reply.json().get("answers")))

    await asyncio.gather(*(one(number) for number in range(clients)))


def test_versions_swap_under_load_without_one_failed_request(start, models, tmp_path):
    """Twenty swaps and one broken version: every reply is 200 and whole of the version that it names."""
    broken = shutil.copytree(models[0], tmp_path / "digits-3")
    shutil.copyfile(models[1] / "model.onnx", broken / "model.onnx")
    order = [models[0], *[models[1], models[0]] * 10, broken]
    server = start("-c", SWAPPED, ANNOUNCER, *order)
    seen, deadline = [], time.monotonic() + 45

    def refused():
        return httpx.get(f"{server.uri}/model").json()["following"]["refused"]

    ended = []

    async def watch():
        while time.monotonic() < deadline and not ended:
            await asyncio.sleep(0.5)
            if await asyncio.to_thread(refused):
                ended.append(True)

    async def both():
        await asyncio.gather(watch(), load(server.uri, 8, lambda: ended or time.monotonic() > deadline, seen))

    asyncio.run(both())
    scorers = {str(number): Scorer(folder) for number, folder in enumerate(models, start=1)}
    expected = {
        (version, number): json.loads(json.dumps(scorer.answers([png(20 * number)])))
        for version, scorer in scorers.items()
        for number in range(8)
    }
    assert ended
    assert {200} == {status for status, *_ in seen}
    assert all(answers == expected[version, number] for _, number, version, answers in seen)
    assert {"1", "2"} == {version for _, _, version, _ in seen}
    assert "3" == refused()["version"]
    assert str(tmp_path) not in json.dumps(refused())
    metrics = httpx.get(f"{server.uri}/metrics").text
    assert "millrace_swaps_total 20" in metrics
    assert "millrace_refused_versions_total 1" in metrics


def test_second_models_by_their_folder_or_bundle(start, models, tmp_path):
    """Without a project and a registry; a bundle that is none is told, and everybody is answered."""
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    more = ["--canary", models[1], "--canary-share", "0.5", "--shadow", tmp_path / "broken.zip"]
    server = start("-c", WITHOUT, models[0], "--port", "0", *more)
    deadline = time.monotonic() + 20
    while (told := httpx.get(f"{server.uri}/model").json())["canary"]["left_out"] is not None:
        assert time.monotonic() < deadline
    assert ("digits-2", 0.5, None) == (
        told["canary"]["name"], told["canary"]["share"], told["canary"]["following"],
    )  # fmt: skip
    assert ("broken.zip", True) == (told["shadow"]["asked"], "damaged" in told["shadow"]["left_out"])
    digests = {
        httpx.post(f"{server.uri}/predict", json={"records": [png(9)]}).headers["x-model-digest"]
        for _ in range(40)
    }
    assert {told["digest"], told["canary"]["digest"]} == digests
    code = server.end()
    said = server.process.stderr.read()
    assert (0, False) == (code, "Traceback" in said), said


def test_sigterm_lets_everybody_have_their_answer(start, models):
    """It says that it will end, answers what comes until then, and ends with 0."""
    drain = seconds(1.5)
    server = start(*COMMAND, models[0], "--port", "0", "--drain-seconds", str(drain))
    seen, states, told = [], [], []

    def end():
        told.append(time.monotonic())
        os.kill(server.process.pid, signal.SIGTERM)

    async def both():
        loop = asyncio.get_running_loop()
        loop.call_later(1, end)
        loop.call_later(
            1 + drain / 2, lambda: states.append(httpx.get(f"{server.uri}/health/ready").status_code)
        )

        # Whoever asks in the last moment may stand in a queue that the kernel closes with the socket.
        def in_time(begun):
            return not told or begun < told[0] + drain - 0.1

        await load(server.uri, 8, lambda: server.process.poll() is not None, seen, in_time)

    asyncio.run(both())
    assert 0 == server.process.wait(timeout=20)
    assert [503] == states
    assert {200} == {status for status, *_ in seen}
    assert len(seen) > 50


@pytest.mark.parametrize(
    ("code", "said", "options"),
    [
        (66, "no card.json", ["EMPTY"]),
        (66, "Check --tokens", ["MODEL", "--tokens", "nowhere"]),
        (64, "one of them", ["MODEL", "--certfile", "cert.pem"]),
        (64, "--host", ["MODEL", "--host", "192.0.2.1"]),
        (75, "--port", ["MODEL", "--port", "TAKEN"]),
        (64, "above 0", ["MODEL", "--seconds", "0"]),
        (64, "Name both", ["MODEL", "--canary", "MODEL"]),
        (64, "Name both", ["MODEL", "--canary-share", "0.1"]),
        (64, "below 1", ["MODEL", "--canary", "MODEL", "--canary-share", "1"]),
        (64, "above 0", ["MODEL", "--canary", "MODEL", "--canary-share", "0"]),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_starts(
    code, said, options, models, tmp_path, monkeypatch, capsys
):
    """With an exit code and the option to mend."""
    monkeypatch.chdir(HERE)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as ended:
        words = {"MODEL": str(models[0]), "EMPTY": str(tmp_path), "TAKEN": str(taken.getsockname()[1])}
        cli.main(["serve", *(words.get(word, word) for word in options)])
    assert code == ended.value.code
    assert said in capsys.readouterr().err
