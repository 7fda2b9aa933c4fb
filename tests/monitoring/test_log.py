"""The log of a server: whole files or none, bounded, sampled by request, and never in a request's way."""

import base64
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.monitoring import log as log_module
from pipeline.monitoring.log import DROPPED_ERROR, DROPPED_QUEUE, WRITTEN, PredictionLog, is_sampled
from pipeline.monitoring.rows import Request
from pipeline.runtime.errors import NotPermitted
from pipeline.serving.app import Endpoints
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.served import Served
from tests.helpers.served_data import png, served_model
from tests.helpers.served_models import Client
from tests.serving.test_server import COMMAND, Running

WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "mlflow", "sklearn", "skimage", "pandas"):
            print("asked for", name, file=sys.stderr)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from pipeline.cli import main
main(["serve", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return a function that gives a model by the name of its data."""
    return cache(lambda name: served_model(name, tmp_path_factory.mktemp(name)))


class Logged:
    """An application with a log, and what was written once it is closed."""

    def __init__(self, served, folder, **settings):
        self.endpoints = Endpoints(served, Limits())
        self.folder, self.counts = folder, {}
        self.endpoints.log = PredictionLog(folder, self.noted, **settings)
        self.client = Client(self.endpoints.application(None))

    def noted(self, outcome, rows):
        self.counts[outcome] = self.counts.get(outcome, 0) + rows

    def rows(self):
        self.endpoints.log.close()
        return rows_in(self.folder)


def parts_in(folder):
    return sorted(folder.glob("*/part-*.parquet"))


def rows_in(folder):
    return [row for path in parts_in(folder) for row in pq.read_table(path).to_pylist()]


def image(value):
    return {"image": base64.b64encode(png(value)).decode()}


def test_a_row_tells_of_an_image_without_holding_it(served, tmp_path):
    """Who, when, what was said, how long it took, and what can be measured of it; pixels are nowhere in the files."""
    model, logged = served("digits"), Logged(served("digits"), tmp_path)
    before = time.time()
    records = [image(51), {"image": base64.b64encode(png(102, (16, 8))).decode(), "id": "b"}, {"image": "x"}]
    reply = logged.client.post("/predict", json={"records": records}, headers={"x-request-id": "r1"}).json()
    first, second, third = logged.rows()
    assert [("r1", 0, "r1/0"), ("r1", 1, "b"), ("r1", 2, "r1/2")] == [
        (row["request"], row["index"], row["id"]) for row in (first, second, third)
    ]
    assert ["answered", "answered", "refused"] == [row["outcome"] for row in (first, second, third)]
    assert {("digits", "3", model.digest)} == {
        (r["model"], r["version"], r["digest"]) for r in (first, third)
    }
    for row, answer in zip((first, second), reply["answers"], strict=False):
        assert (answer["class"], pytest.approx(answer["probability"])) == (row["answer"], row["confidence"])
        assert pytest.approx([*answer["probabilities"].values()]) == row["probabilities"]
    assert (None, None) == (third["answer"], third["probabilities"])
    assert hashlib.sha256(png(51)).hexdigest() == first["sha256"]
    assert (0.2, 0.0, 8, 8) == tuple(
        first[f"stat.{name}"] for name in ("mean", "standard_deviation", "height", "width")
    )
    assert (8, 16) == (second["stat.height"], second["stat.width"])
    assert before <= first["time"].timestamp() <= time.time()
    assert 0 < first["milliseconds"] < 60_000
    assert {WRITTEN: 3, DROPPED_QUEUE: 0, DROPPED_ERROR: 0} == logged.counts
    assert not any("record." in name for name in first)


def test_texts_and_columns_are_kept_only_where_somebody_asked_for_it(served, tmp_path):
    """Without, a category that training did not see is `(other)`: somebody may have typed anything there."""
    record = {"text": "win a prize now", "side": {"age": "34", "town": "Ulm"}}
    odd = {"text": "my number is 0800", "side": {"age": None, "town": "ask for Anna"}}
    wrong = {"text": 7, "side": {"age": "Anna", "town": 3}}
    found = {}
    for keep in (False, True):
        logged = Logged(served("towns"), tmp_path / str(keep), keep_records=keep)
        logged.client.post("/predict", json={"records": [record, odd, wrong]})
        found[keep] = logged.rows()
        content = b"".join(path.read_bytes() for path in (tmp_path / str(keep)).rglob("*") if path.is_file())
        assert keep == (b"Anna" in content) == (b"0800" in content)
    first, second, third = found[False]
    assert (15, 4, 0.0) == tuple(
        first[f"stat.{name}"] for name in ("characters", "words", "non_letter_share")
    )
    assert (34, "Ulm") == (first["side.age"], first["side.town"])
    assert (None, "(other)", None, "(other)") == (
        second["side.age"], second["side.town"], third["side.age"], third["side.town"],
    )  # fmt: skip
    assert hashlib.sha256(b"win a prize now").hexdigest() == first["sha256"]
    kept = found[True]
    assert ["win a prize now", "my number is 0800", None] == [row["record.text"] for row in kept]
    assert ["Ulm", "ask for Anna", "3"] == [row["side.town"] for row in kept]
    assert "a string" in kept[2]["record.problems"]
    assert kept[0]["record.problems"] is None


@pytest.mark.parametrize("name", ["hours", "tickets", "regression", "anomaly", "spam"])
def test_every_task_has_its_columns(name, served, tmp_path):
    """What the answers say stands in the rows, and numbers about series are those of the steps that were read."""
    model, logged = served(name), Logged(served(name), tmp_path)
    example = dict(model.example)
    reply = logged.client.post("/predict", json={"records": [example] * 2}).json()
    rows, answer = logged.rows(), reply["answers"][0]
    assert 2 == len(rows)
    row = rows[0]
    if "values" in answer:
        steps = np.array([*answer["values"].values()], float).T.ravel()
        assert steps.tolist() == row["values"]
    if "error" in answer:
        assert (answer["error"], answer.get("alarm")) == (row["error"], row["alarm"])
    if "labels" in answer:
        assert (json.dumps(answer["labels"]), 2) == (row["answer"], len(row["probabilities"]))
    if name in ("hours", "regression", "anomaly"):
        length = model.scorer.state["windows"]["length"]
        values = np.array(example["series"], np.float32)[-length:].astype(float)
        for place, channel in enumerate(model.scorer.state["series"]["channels"]):
            assert pytest.approx(values[:, place].mean()) == row[f"stat.mean.{channel}"]
            assert pytest.approx(values[:, place].std()) == row[f"stat.standard_deviation.{channel}"]
        assert 0 == row["stat.missing_share"]
        assert row["id"].endswith("/0")  # the id of such a record is that of a series
        content = json.dumps(example, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(content.encode()).hexdigest() == row["sha256"]


def test_what_nobody_got_is_withheld(served, tmp_path):
    """All or none: an answer beside a refused record was not given."""
    logged = Logged(served("digits"), tmp_path)
    body = {"instances": [image(9), {"image": "x"}]}
    assert 400 == logged.client.post("/invocations", json=body).status_code
    assert 200 == logged.client.post("/invocations", json={"instances": [image(9)]}).status_code
    assert ["withheld", "refused", "answered"] == [row["outcome"] for row in logged.rows()]


def test_a_sample_takes_requests_whole(served, tmp_path):
    """About the share that was asked for; the same ones in every process; all records of a request or none."""
    names = [f"request-{number}" for number in range(2000)]
    taken = [name for name in names if is_sampled(name, 0.3)]
    assert 0.27 < len(taken) / 2000 < 0.33
    assert set(taken) <= {name for name in names if is_sampled(name, 0.5)}
    logged = Logged(served("digits"), tmp_path, share=0.3)
    for name in names[:40]:
        logged.client.post("/predict", json={"records": [image(9)] * 3}, headers={"x-request-id": name})
    found = [row["request"] for row in logged.rows()]
    assert [name for name in names[:40] if is_sampled(name, 0.3) for _ in range(3)] == found


def test_endless_ids_and_odd_characters_do_not_stop_it(served, tmp_path):
    """Ids are cut; a text may hold whatever Unicode has, the ends of lines too."""
    logged = Logged(served("spam"), tmp_path, keep_records=True)
    records = [{"text": "win\n\x00\u2028 \U0001f600", "id": "x" * 999}, {"text": "", "id": 7}]
    logged.client.post("/predict", json={"records": records})
    rows = logged.rows()
    assert ["x" * 200, "7"] == [row["id"] for row in rows]
    assert [record["text"] for record in records] == [row["record.text"] for row in rows]


def test_a_model_that_takes_the_place_of_another_has_parts_of_its_own(served, tmp_path):
    """Each row names who answered; the folder has a paper of both."""
    first, second = served("digits"), served("spam")
    logged = Logged(first, tmp_path)
    logged.client.post("/predict", json={"records": [image(9)]})
    logged.endpoints.swap(second)
    logged.client.post("/predict", json={"records": [{"text": "win"}]})
    assert {first.digest, second.digest} == {row["digest"] for row in logged.rows()}
    assert 2 == len(parts_in(tmp_path))
    assert {f"{one.digest}.json" for one in (first, second)} == {
        p.name for p in (tmp_path / "models").iterdir()
    }


def test_a_part_is_of_one_role(served, tmp_path):
    """Its metadata say which, so that a reader knows without a look at the rows."""
    logged = Logged(served("digits"), tmp_path)
    logged.client.post("/predict", json={"records": [image(9)]})
    logged.endpoints.log.take(
        Request(served("digits").logged, time.time(), "r", None, [image(9)], [None], [("no",)], role="shadow")
    )
    logged.endpoints.log.close()
    said = [json.loads(pq.read_schema(path).metadata[b"millrace"])["role"] for path in parts_in(tmp_path)]
    assert {"answers", "shadow"} == set(said)
    assert sorted(said) == sorted(row["role"] for row in rows_in(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 9, "train": 1}', None])
def test_a_reference_that_cannot_be_used_is_none_and_costs_no_request(served, tmp_path, content):
    """A damaged file, another form, a folder in its place: the model answers, and is logged without."""
    folder = shutil.copytree(served("digits").named.folder, tmp_path / "digits")
    if content is None:
        (folder / "reference.json").mkdir()
    else:
        (folder / "reference.json").write_text(content)
    logged = Logged(Served(Named("digits", "3", folder), {}), tmp_path / "log")
    assert 200 == logged.client.post("/predict", json={"records": [image(9)]}).status_code
    assert 1 == len(logged.rows())
    (paper,) = (tmp_path / "log/models").iterdir()
    assert json.loads(paper.read_text())["reference"] == {}


def test_what_the_log_cannot_take_costs_no_request(served, tmp_path, monkeypatch, capsys):
    """A bug of ours there is told once and counted; clients do not notice."""
    logged = Logged(served("digits"), tmp_path)
    monkeypatch.setattr(logged.endpoints.log, "take", lambda _request: 1 / 0)
    for _ in range(3):
        assert 200 == logged.client.post("/predict", json={"records": [image(9)] * 2}).status_code
    monkeypatch.undo()
    monkeypatch.setattr(log_module, "rows_of", lambda *_given, **_settings: 1 / 0)
    assert 200 == logged.client.post("/predict", json={"records": [image(9)] * 2}).status_code
    assert [] == logged.rows()
    assert 8 == logged.counts[DROPPED_ERROR]
    assert 1 == capsys.readouterr().err.count("division by zero")


def test_a_full_disk_costs_rows_and_no_request(served, tmp_path, monkeypatch, capsys):
    """They are counted, one line says so and another that it works again."""
    full, written = [True], log_module.pq.write_table

    def write(table, path, **settings):
        Path(path).write_bytes(b"half of a part")
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(table, path, **settings)

    monkeypatch.setattr(log_module.pq, "write_table", write)
    monkeypatch.setattr(log_module, "PART_ROWS", 2)
    logged = Logged(served("digits"), tmp_path)

    def ask_until(outcome, rows):
        deadline = time.monotonic() + 20
        while logged.counts[outcome] < rows and time.monotonic() < deadline:
            assert 200 == logged.client.post("/predict", json={"records": [image(9)] * 2}).status_code
            time.sleep(0.05)

    ask_until(DROPPED_ERROR, 6)
    assert [] == [path for path in tmp_path.rglob("*part*") if path.is_file()]
    full.clear()
    ask_until(WRITTEN, 2)
    assert len(logged.rows()) == logged.counts[WRITTEN] >= 2
    said = capsys.readouterr().err
    assert 1 == said.count("rows are dropped")
    assert "No space left" in said
    assert 1 == said.count("is written again")


def test_a_slow_disk_fills_a_queue_and_no_more(served, tmp_path, monkeypatch, capsys):
    """While a part is being written, so many rows and bytes wait; what comes then is dropped, and answered at once."""
    slow, held = threading.Event(), threading.Event()
    written = log_module.pq.write_table

    def write(table, path, **settings):
        held.set()
        slow.wait(20)
        written(table, path, **settings)

    monkeypatch.setattr(log_module.pq, "write_table", write)
    monkeypatch.setattr(log_module, "PART_ROWS", 1)
    monkeypatch.setattr(log_module, "WAITING_ROWS", 5)
    logged = Logged(served("digits"), tmp_path)
    logged.client.post("/predict", json={"records": [image(9)]})
    assert held.wait(20)
    begun = time.monotonic()
    for _ in range(10):
        assert 200 == logged.client.post("/predict", json={"records": [image(9)] * 2}).status_code
    assert time.monotonic() - begun < 10
    assert 16 == logged.counts[DROPPED_QUEUE]  # two requests wait: a third would make six rows
    monkeypatch.setattr(log_module, "WAITING_ROWS", 99)
    monkeypatch.setattr(log_module, "WAITING_BYTES", 100)
    logged.client.post("/predict", json={"records": [image(9)]})
    assert 17 == logged.counts[DROPPED_QUEUE]
    slow.set()
    assert 5 == len(logged.rows())
    assert 1 == capsys.readouterr().err.count("slower than the requests")


def test_killed_while_it_writes_it_leaves_whole_parts(served, tmp_path):
    """Two servers on one folder, killed with -9 under load, again and again: every part reads to its end."""
    folder, model = tmp_path / "log", served("digits").named.folder
    run = (
        "from pipeline.monitoring import log; log.PART_ROWS = 40; log.TICK_SECONDS = 0.01\n"
        "import sys; from pipeline.cli import main; main(['serve', *sys.argv[1:]])"
    )
    body = {"records": [image(9)] * 8}
    for number in range(1, 4):
        servers = [Running(["-c", run, model, "--port", "0", "--log", folder]) for _ in range(2)]
        deadline = time.monotonic() + 60
        with httpx.Client() as client:
            while len(parts_in(folder)) < 4 * number and time.monotonic() < deadline:
                for server in servers:
                    assert 200 == client.post(f"{server.uri}/predict", json=body).status_code
        for server in servers:
            server.process.send_signal(signal.SIGKILL)
            server.process.communicate(timeout=20)
    parts = parts_in(folder)
    assert len(parts) >= 12
    assert all(40 <= len(pq.read_table(path)) < 120 for path in parts)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in parts}
    assert 0o700 == folder.stat().st_mode & 0o777


def test_the_drain_writes_what_waits_and_pandas_is_not_needed(served, tmp_path):
    """A server without TensorFlow, MLflow and pandas; its metrics count rows; the folder tells who answered."""
    model, folder = served("digits"), tmp_path / "log"
    server = Running(
        ["-c", WITHOUT, model.named.folder, "--port", "0", "--log", folder, "--log-seconds", "3600"]
    )
    assert 200 == httpx.post(f"{server.uri}/predict", json={"records": [image(9)] * 3}).status_code
    assert 'millrace_log_rows_total{outcome="written"} 0' in httpx.get(f"{server.uri}/metrics").text
    assert 0 == server.end()
    assert not {"Traceback", "asked for"} & set(
        re.findall("Traceback|asked for", server.process.communicate(timeout=20)[1])
    )
    assert 3 == len(rows_in(folder))
    paper = json.loads((folder / "models" / f"{model.digest}.json").read_text())
    assert ("digits", ["dark", "grey", "light"], {}) == (
        paper["name"], paper["state"]["classes"], paper["reference"],
    )  # fmt: skip


def test_parts_are_written_in_time_and_old_drafts_go(served, tmp_path):
    """A row waits no longer than it may; what a killed process left an hour ago is removed, what is new stays."""
    day = tmp_path / "2026-01-01"
    day.mkdir()
    for name, age in ((".part-old", 7200), (".part-new", 60)):
        (day / name).write_bytes(b"")
        stamp = time.time() - age
        os.utime(day / name, (stamp, stamp))
    logged = Logged(served("digits"), tmp_path, seconds=0.2)
    logged.client.post("/predict", json={"records": [image(9)]})
    deadline = time.monotonic() + 10
    while not parts_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 1 == len(parts_in(tmp_path))
    assert [".part-new"] == [path.name for path in day.iterdir()]
    logged.endpoints.log.close()


def test_a_folder_that_cannot_be_written_is_told_before_anybody_asks(tmp_path):
    """As 77, with the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotPermitted, match=r"Expected a folder for --log"):
        PredictionLog(tmp_path / "file")


def test_the_options_are_checked(served):
    """A share is above 0 and at most 1."""
    for share in ("0", "1.5", "many"):
        called = [sys.executable, *COMMAND, str(served("digits").named.folder), "--log-sample", share]
        done = subprocess.run(called, capture_output=True, text=True, timeout=60)
        assert 64 == done.returncode
        assert "--log-sample" in done.stderr
