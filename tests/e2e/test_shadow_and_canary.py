"""A real server on a real registry: shadows and canaries come, change, break and go under load, and no request fails."""

import json
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from pipeline.monitoring.watch import Asked, watch
from pipeline.serving.scorer import Scorer
from pipeline.serving.served import is_of_canary
from pipeline.tracking import registry
from pipeline.tracking.store import create_sqlite
from tests.helpers.registered import packed, store_in
from tests.helpers.served_models import DIGITS, write_model
from tests.helpers.synthetic_project import HERE
from tests.monitoring.test_log import rows_in
from tests.serving.test_server import COMMAND, Running, png

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
SHARE = 0.3
CLIENTS = 6
RECORDS = [png(value) for value in range(0, 250, 10)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a store of four versions, the first of them champion; the store's client."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(HERE / name, tmp_path / name)
    create_sqlite(tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    store = store_in(tmp_path)
    for seed in (1, 2, 3, 4):
        folder = packed(tmp_path / f"packed-{seed}", bytes([seed]), {"train": ["one"], "val": ["two"]})
        write_model(folder / "millrace", DIGITS, seed=seed)
        run = store.client.create_run(store.experiment_id)
        registry.create_version(store, "digits", folder, run_id=run.info.run_id, tags={}, description="")
    store.client.set_registered_model_alias("digits", "champion", "1")
    return store.client


class Load:
    """What clients do until they are told to stop: each keeps to its name, and checks every answer."""

    def __init__(self, uri):
        self.uri, self.ended, self.wrong, self.seen = uri, threading.Event(), [], {}
        self.told = {str(n): Scorer(Path(f"packed-{n}/millrace")).answers(RECORDS) for n in (1, 2, 3, 4)}
        self.told = json.loads(json.dumps(self.told))
        names = [f"client-{number}" for number in range(200)]
        sides = [[name for name in names if is_of_canary(name, SHARE) == side] for side in (True, False)]
        self.names = [*sides[0][: CLIENTS // 2], *sides[1][: CLIENTS // 2]]
        self.threads = [threading.Thread(target=self.ask, args=[name]) for name in self.names]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(30)

    def ask(self, name):
        with httpx.Client(base_url=self.uri, timeout=20, headers={"x-client-id": name}) as client:
            for number in range(10**9):
                if self.ended.is_set():
                    return
                place = number % (len(RECORDS) - 3)
                try:
                    reply = client.post("/predict", json={"records": RECORDS[place : place + 3]})
                    version = reply.headers["x-model-version"]
                    self.seen.setdefault(name, set()).add(version)
                    if reply.json()["answers"] != self.told[version][place : place + 3]:
                        self.wrong.append((name, version, reply.status_code, reply.text[:200]))
                except (httpx.HTTPError, KeyError) as error:
                    self.wrong.append((name, repr(error)))
                time.sleep(0.01)


def wait_for(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shadow_process(server):
    """Return the process of the shadow; None while there is none."""
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # killed, and not yet noticed
            if "pipeline.serving.shadow" in child.cmdline():
                return child
    return None


def test_second_models_swap_under_load_without_one_failed_request(project, tmp_path):
    """Every reply is whole of the version that it names, and nobody leaves its side; the log compares both."""
    move = lambda alias, version: project.set_registered_model_alias("digits", alias, str(version))  # noqa: E731
    move("challenger", 2)
    beside = ["--shadow", "digits@challenger", "--canary", "digits@candidate", "--canary-share", str(SHARE)]
    more = ["--poll-seconds", "0.3", "--log", "log", "--log-seconds", "1"]
    server = Running([*COMMAND, "--port", "0", *beside, *more], cwd=tmp_path)

    def told(role):
        return httpx.get(f"{server.uri}/model", timeout=20).json()[role]

    def becomes(role, version):
        wait_for(lambda: told(role)["version"] == version and told(role)["left_out"] is None)

    def left_out(role, why):
        wait_for(lambda: why in (told(role)["left_out"] or ""))

    try:
        with Load(server.uri) as load:
            left_out("canary", "there is no digits@candidate")
            becomes("shadow", "2")
            for version in ("3", "4", "3"):  # the canary comes, changes, and changes back
                move("candidate", version)
                becomes("canary", version)
            for version in ("4", "2"):
                move("challenger", version)
                becomes("shadow", version)
            for _ in range(2):
                first = shadow_process(server)
                first.send_signal(signal.SIGKILL)
                wait_for(lambda first=first: (shadow_process(server) or first).pid != first.pid)
            move("champion", 2)  # what was the shadow answers now
            left_out("shadow", "it is the model that answers")
            move("champion", 1)
            becomes("shadow", "2")
            (kept,) = [
                path
                for path in Path("mlartifacts").rglob("golden.npz")
                if path.read_bytes() == Path("packed-4/millrace/golden.npz").read_bytes()
            ]
            kept.write_bytes(b"damaged")
            shutil.rmtree(".millrace/fetched")
            move("candidate", 4)
            left_out("canary", "damaged or cannot be fetched")
            project.delete_registered_model_alias("digits", "challenger")
            left_out("shadow", "there is no digits@challenger")
            move("candidate", 3)
            becomes("canary", "3")
            time.sleep(1)
        assert "Traceback" not in httpx.get(f"{server.uri}/metrics").text
        process = psutil.Process(server.process.pid)
        children = process.children(recursive=True)
    finally:
        code = server.end()
    assert [] == load.wrong[:5]
    assert 0 == code
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [] == alive
    sides = {name: is_of_canary(name, SHARE) for name in load.names}
    assert all(load.seen[name] <= {"1", "2"} for name, canary in sides.items() if not canary)
    assert all({"1", "3", "4"} <= load.seen[name] for name, canary in sides.items() if canary)
    rows = rows_in(tmp_path / "log")
    assert {
        ("shadow", "2"),
        ("shadow", "4"),
        ("canary", "3"),
        ("canary", "4"),
        ("answers", "1"),
        ("answers", "2"),
    } == {(row["role"], row["version"]) for row in rows}
    content = watch(Asked(tmp_path / "log", "digits/1")).content
    found = {(one["role"], one["model"]["version"]): one for one in content["beside"]}
    assert {("shadow", "2"), ("shadow", "4"), ("canary", "3"), ("canary", "4")} == found.keys()
    agreed = found["shadow", "2"]["agreement"]["value"]
    both = zip(load.told["1"], load.told["2"], strict=True)
    assert pytest.approx(sum(a["class"] == b["class"] for a, b in both) / len(RECORDS), abs=0.1) == agreed
    stderr = server.process.stderr.read()
    assert "Traceback" not in stderr
    assert "digits version 3 answers a share of 0.3 of the clients" in stderr


def test_versions_and_folders_need_no_alias(project, tmp_path):
    """A version by its number, a folder beside it; a second one that is nowhere is told, and the first answers."""
    beside = ["--shadow", "digits/2", "--canary", "packed-3/millrace", "--canary-share", "0.5"]
    server = Running([*COMMAND, "digits/1", "--port", "0", *beside], cwd=tmp_path)
    told = lambda: httpx.get(f"{server.uri}/model", timeout=20).json()  # noqa: E731
    try:
        wait_for(lambda: told()["shadow"]["left_out"] is None and told()["canary"]["left_out"] is None)
        versions = {
            httpx.post(f"{server.uri}/predict", json={"records": RECORDS[:1]}).headers["x-model-version"]
            for _ in range(40)
        }
        assert {"1", "folder"} == versions
        assert ("2", None) == (told()["shadow"]["version"], told()["shadow"]["following"])
        # It ended once it had said which version that is; the shadow's process stays.
        wait_for(lambda: 1 == len(psutil.Process(server.process.pid).children()), 30)
        assert shadow_process(server)
    finally:
        assert 0 == server.end()
    server = Running([*COMMAND, "digits/1", "--port", "0", "--shadow", "digits/9"], cwd=tmp_path)
    try:
        wait_for(lambda: "there is no digits/9" in (told()["shadow"]["left_out"] or ""))
        assert 200 == httpx.post(f"{server.uri}/predict", json={"records": RECORDS[:1]}).status_code
    finally:
        assert 0 == server.end()
    assert os.path.exists(tmp_path / "packed-3")
