"""A second model is asked once a reply has left; whatever it does, no reply is later, other or missing."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from pipeline.monitoring.log import PredictionLog
from pipeline.serving import shadow as shadow_module
from pipeline.serving.app import Endpoints
from pipeline.serving.batches import answered_together
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.scorer import Scorer
from pipeline.serving.served import CLIENT, Canary, Served
from pipeline.serving.shadow import OUTCOMES, RECORDS, Apart, NotPassedOnError, Shadow, compared
from tests.helpers.served_data import WRITTEN, png, served_model
from tests.helpers.served_models import DIGITS, Client, state_of, write_model
from tests.monitoring.test_log import rows_in


def image(value):
    return {"image": base64.b64encode(png(value)).decode()}


BODY = {"records": [image(value) for value in (9, 120, 240)]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three models that answer differently."""
    root = tmp_path_factory.mktemp("models")
    return [write_model(root / f"digits-{seed}", DIGITS, seed=seed) for seed in range(3)]


class Here:
    """Stands for a model in a process of its own, whose answers can be held back or spoilt."""

    def __init__(self, named):
        self.served = Served(named, {})
        self.named, self.digest, self.state = named, self.served.digest, self.served.state
        self.logged = self.served.logged
        self.asked, self.closed = [], False
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.work = lambda requests: answered_together(self.served.scorer, requests)

    def answers(self, requests):
        self.begun.set()
        assert self.go_on.wait(60)
        self.asked += requests
        return self.work(requests)

    def close(self):
        self.closed = True
        self.go_on.set()


@pytest.fixture
def serve(folders):
    """Return a function that makes endpoints with a shadow: the first two models, or another as the second one."""
    made = []

    def begin(second=None, opened=Here, load=True, first=None, alias=""):
        first = first or Served(Named("digits", "1", folders[0], "a"), {})
        endpoints = Endpoints(first, Limits())
        shadow = Shadow("digits@challenger", first, endpoints.measured, alias, opened)
        endpoints.shadow = shadow
        if load:
            shadow.become(second or Named("digits", "2", folders[1], "b"))
        made.append(endpoints)
        client = Client(endpoints.application(None))
        return SimpleNamespace(endpoints=endpoints, shadow=shadow, client=client, first=first)

    yield begin
    for one in made:
        if isinstance(one.shadow.taking_part, Here):
            one.shadow.taking_part.go_on.set()
        one.close()


def ask(served, body=BODY, status=200, **headers):
    reply = served.client.post("/predict", json=body, headers=headers)
    assert status == reply.status_code, reply.text
    assert "1" == reply.headers["x-model-version"]
    return reply.json()["answers"]


def counts(served):
    """Return what became of how many records, by /metrics."""
    lines = served.client.get("/metrics").text.splitlines()
    told = [line.removeprefix(f'{RECORDS}{{outcome="') for line in lines if line.startswith(RECORDS)]
    return {line.partition('"')[0]: int(line.rpartition(" ")[2]) for line in told}


def wait_for(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def with_a_request_that_waits(served):
    """Return the shadow's model, which holds one request while another one waits."""
    model = served.shadow.taking_part
    model.go_on.clear()
    ask(served)
    assert model.begun.wait(20)
    ask(served)
    return model


def seen(served):
    """Return how many records the shadow is done with."""
    return sum(counts(served).values())


def test_replies_do_not_wait_for_a_shadow_that_does_not_answer(serve):
    """A hundred of them, as quick as without it, while it holds the very first; nothing is asked before a reply left."""
    served = serve()
    expected = served.first.scorer.answers(BODY["records"])
    alone = SimpleNamespace(client=Client(Endpoints(served.first, Limits()).application(None)))
    ask(alone)
    begun = time.perf_counter()
    for _ in range(100):
        ask(alone)
    without = time.perf_counter() - begun
    model = served.shadow.taking_part
    model.go_on.clear()
    begun = time.perf_counter()
    for _ in range(100):
        assert expected == ask(served)
    with_it = time.perf_counter() - begun
    assert model.begun.wait(20)
    assert ([], 0) == (model.asked, seen(served))
    assert with_it < 2 * without + 1
    model.go_on.set()
    wait_for(lambda: seen(served) == 300)
    assert 100 == len(model.asked)


def test_it_is_asked_after_the_last_byte(serve):
    """The order of what happens on the wire and behind it."""
    served, order = serve(), []
    offer = served.shadow.offer
    served.shadow.offer = lambda *given: order.append("offered") or offer(*given)
    body = json.dumps(BODY).encode()
    scope = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "http_version": "1.1",
        "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 1), "root_path": "",
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        order.append(message["type"])

    asyncio.run(served.endpoints.application(None)(scope, receive, send))
    assert ["http.response.start", "http.response.body", "offered"] == order


def test_agreement_is_counted_as_the_scorers_say(serve, folders):
    """Records whose classes are equal, and the largest difference of a probability, against both models asked directly."""
    served = serve()
    records = [image(value) for value in range(0, 250, 5)]
    for place in range(0, 50, 10):
        ask(served, {"records": records[place : place + 10]})
    wait_for(lambda: seen(served) == 50)
    first, second = (Scorer(folder).answers(records) for folder in folders[:2])
    same = sum(one["class"] == other["class"] for one, other in zip(first, second, strict=True))
    assert 0 < same < 50, "or the test tells nothing"
    assert (same, 50 - same) == (counts(served)["agreed"], counts(served)["differed"])
    shares = [np.array([[*one["probabilities"].values()] for one in side]) for side in (first, second)]
    apart = np.abs(shares[0] - shares[1]).max(axis=1)
    text = served.client.get("/metrics").text
    (total,) = [line for line in text.splitlines() if line.startswith("millrace_shadow_difference_sum")]
    assert pytest.approx(apart.sum()) == float(total.split()[1])
    assert f'millrace_shadow_difference_bucket{{le="0.1"}} {(apart <= 0.1).sum()}' in text


@pytest.mark.parametrize("name", ["digits", *WRITTEN])
def test_answers_of_every_task_are_compared(name, serve, tmp_path):
    """Two models of each kind of data: as many as were asked; numbers have a distance and no agreement."""
    first = served_model(name, tmp_path / "one")
    state = DIGITS if name == "digits" else state_of(WRITTEN[name], tmp_path / "two/data")
    second = Named(name, "4", write_model(tmp_path / "two/model", state, seed=5))
    served = serve(second, first=first)
    reply = served.client.post("/predict", json={"records": [first.example] * 4})
    assert 200 == reply.status_code
    wait_for(lambda: seen(served) == 4)
    found = counts(served)
    numbers = name in ("hours", "regression", "anomaly")  # such a card says not how errors become alarms
    assert (4, 0) == ((found["answered"], found["agreed"] + found["differed"]) if numbers
                      else (found["agreed"] + found["differed"], found["answered"]))  # fmt: skip


def test_two_answers_are_compared_by_their_task():
    """By hand: classes by name, labels as sets, values in deviations of their target, scores as they are."""
    one = {"class": "a", "probabilities": {"a": 0.7, "b": 0.3}}
    other = {"class": "a", "probabilities": {"b": 0.1, "a": 0.5, "c": 0.4}}
    assert (True, 0.4) == compared(one, other, {})
    assert (False, 0.4) == compared(one, other | {"class": "c"}, {})
    labels = {"labels": ["x", "y"], "probabilities": {"x": 0.9, "y": 0.6}}
    assert (True, 0.0) == compared(labels, labels | {"labels": ["y", "x"]}, {})
    assert not compared(labels, labels | {"labels": ["x"]}, {})[0]
    values = {"values": {"load": [1.0, 2.0], "price": [10.0, 10.0]}}
    moved = {"values": {"load": [1.0, 2.5], "price": [10.0, 13.0]}}
    assert (None, 1.5) == compared(values, moved, {"load": 1.0, "price": 2.0})
    assert (False, 0.5) == compared(
        {"error": 1, "score": 0.8, "alarm": False}, {"error": 2, "score": 1.3, "alarm": True}, {}
    )
    assert (None, None) == compared({"error": 1.0}, {"error": 2.0}, {})


def test_records_that_one_of_both_refuses_are_told_apart(serve):
    """What the first one could not even read is asked of nobody, and stands in the log beside the others."""
    served = serve()
    second = served.shadow.taking_part.served.scorer
    answers = second.answers
    second.answers = lambda records: [
        shadow_module.Refused(("no",)) if one.get("id") == "x" else said
        for one, said in zip(records, answers(records), strict=True)
    ]
    ask(served, {"records": [BODY["records"][0] | {"id": "x"}, BODY["records"][1], {"image": [[1]]}, 7]})
    wait_for(lambda: seen(served) == 3)
    found = counts(served)
    assert (1, 1) == (found["refused by the shadow alone"], found["refused by both"])
    assert 3 == len(served.shadow.taking_part.asked[0])
    assert 1 == found["agreed"] + found["differed"]


def test_a_body_that_is_none_is_not_asked(serve):
    """Nothing was answered, so there is nothing to compare."""
    served = serve()
    assert 400 == served.client.post("/predict", content=b"{").status_code
    assert 415 == served.client.post("/predict", content=b"x", headers={"content-type": "a/b"}).status_code
    ask(served)
    wait_for(lambda: seen(served) == 3)
    assert 1 == len(served.shadow.taking_part.asked)


def test_what_does_not_fit_is_dropped_and_counted(serve, monkeypatch, capsys):
    """By records and by bytes; told once; what fits later is asked again."""
    monkeypatch.setattr(shadow_module, "WAITING_RECORDS", 10)
    served = serve()
    model = served.shadow.taking_part
    model.go_on.clear()
    ask(served)
    assert model.begun.wait(20)
    for _ in range(10):
        ask(served)
    assert 21 == counts(served)["dropped"], "three requests wait, a fourth would make twelve records"
    assert "slower than the requests" in served.client.get("/model").json()["shadow"]["problem"]
    assert 1 == capsys.readouterr().err.count("is slower than the requests: records are dropped")
    monkeypatch.setattr(shadow_module, "WAITING_RECORDS", 1000)
    monkeypatch.setattr(shadow_module, "WAITING_BYTES", 100)
    ask(served)
    assert 24 == counts(served)["dropped"]
    model.go_on.set()
    wait_for(lambda: seen(served) == 36)
    monkeypatch.setattr(shadow_module, "WAITING_BYTES", 1 << 20)
    ask(served)
    wait_for(lambda: seen(served) == 39)
    assert 24 == counts(served)["dropped"]


def test_another_model_is_loaded_although_requests_never_pause(serve, folders):
    """The queue is never empty: what was asked for meanwhile is looked for in between."""
    served = serve()
    first, plain = served.shadow.taking_part, served.shadow.taking_part.work

    def busy(requests):
        if not first.closed:
            ask(served)
        return plain(requests)

    first.work = busy
    ask(served)
    wait_for(lambda: len(first.asked) > 3)
    loading = threading.Thread(
        target=served.shadow.become, args=(Named("digits", "3", folders[2], "c"),), daemon=True
    )
    loading.start()
    loading.join(20)
    assert not loading.is_alive()
    assert "3" == served.shadow.taking_part.named.version


def test_one_that_raises_again_and_again_is_left_out(serve, capsys):
    """Nobody notices but the log, /metrics and /model; a few failures between answers are no reason."""
    served = serve()
    model = served.shadow.taking_part
    expected = served.first.scorer.answers(BODY["records"])
    work = model.work
    for number in range(36):
        model.work = work if number % 3 else lambda _requests: 1 / 0
        assert expected == ask(served)
        wait_for(lambda number=number: seen(served) == 3 * number + 3)
    assert served.shadow.taking_part is model
    model.work = lambda requests: [ZeroDivisionError("of nothing") for _ in requests]
    for _ in range(12):
        assert expected == ask(served)
    wait_for(lambda: served.shadow.taking_part is None)
    assert model.closed
    assert expected == ask(served)
    told = served.client.get("/model").json()["shadow"]
    assert "it failed 10 times in a row" == told["left_out"]
    assert 36 + 30 <= counts(served)["failed"] <= 36 + 36
    assert 'millrace_beside_info{role="shadow",model="digits",version="2",digest=""} 0' in (
        served.client.get("/metrics").text
    )
    said = capsys.readouterr().err
    assert "failed on request" in said
    assert 1 == said.count("is left out")
    served.shadow.become(model.named)
    assert served.shadow.taking_part is not None, "another try begins anew"


def test_an_answer_of_a_form_that_nobody_foresaw_fails_alone(serve):
    """Its thread goes on."""
    served = serve()
    model = served.shadow.taking_part
    work = model.work
    model.work = lambda requests: [one._replace(answers=[{}] * len(one.answers)) for one in work(requests)]
    ask(served)
    wait_for(lambda: counts(served)["failed"] == 3)
    model.work = work
    ask(served)
    wait_for(lambda: seen(served) == 6)


@pytest.mark.parametrize("broken", ["nowhere", "other answers", "other records"])
def test_one_that_does_not_check_is_never_asked(broken, serve, folders, tmp_path, capsys):
    """Told in one line, and in /model without a path; the server goes on."""
    folder = tmp_path / "broken"
    if broken == "other records":
        folder = served_model("spam", tmp_path).named.folder
    elif broken == "other answers":
        shutil.copytree(folders[1], folder)
        shutil.copyfile(folders[2] / "model.onnx", folder / "model.onnx")
    served = serve(Named("digits", "7", folder, "x"), opened=None)
    for _ in range(3):
        ask(served)
    told = served.client.get("/model").json()["shadow"]
    expected = "reads other records: image, text" if broken == "other records" else "golden answers"
    assert expected in told["left_out"]
    assert ("7", False) == (told["version"], str(tmp_path) in json.dumps(told))
    assert 1 == len([line for line in capsys.readouterr().err.splitlines() if "version 7" in line])
    assert 0 == seen(served)


def test_the_alias_moves_it_and_its_end_drops_it(serve, folders):
    """Another version takes its place; without the alias nobody is asked; the one before is let go."""
    served = serve(load=False, alias="digits@challenger")
    ask(served)
    lines = [
        {"name": "digits", "version": str(n + 1), "folder": str(folders[n]), "sha256": str(n)}
        for n in range(3)
    ]
    served.shadow.hear(lines[1])
    second = served.shadow.taking_part
    ask(served)
    wait_for(lambda: seen(served) == 3)
    served.shadow.hear(lines[2])
    third = served.shadow.taking_part
    assert (True, "3") == (second.closed, third.named.version)
    served.shadow.hear(lines[2])
    assert third is served.shadow.taking_part, "the child was started anew, and says it again"
    ask(served)
    wait_for(lambda: seen(served) == 6)
    served.shadow.hear({"problem": "digits has no alias challenger", "gone": True})
    assert (True, None) == (third.closed, served.shadow.taking_part)
    ask(served)
    assert ([1, 1], 6) == ([len(one.asked) for one in (second, third)], seen(served))
    served.shadow.hear(lines[1])
    assert "2" == served.client.get("/model").json()["shadow"]["version"]
    assert served.client.get("/model").json()["shadow"]["left_out"] is None


def test_while_another_version_is_loaded_the_one_before_takes_part(serve, folders):
    """And is the one that /model and /metrics tell of."""
    held, go_on = threading.Event(), threading.Event()

    def opened(named):
        if named.version == "3":
            held.set()
            assert go_on.wait(60)
        return Here(named)

    served = serve(opened=opened)
    served.shadow.start(lambda: served.shadow.become(Named("digits", "3", folders[2], "c")))
    assert held.wait(20)
    told = served.client.get("/model").json()["shadow"]
    assert ("2", None, served.shadow.taking_part.digest) == (
        told["version"],
        told["left_out"],
        told["digest"],
    )
    go_on.set()
    wait_for(lambda: served.client.get("/model").json()["shadow"]["version"] == "3")


def test_once_it_answers_itself_there_is_nothing_to_compare(serve, folders):
    """It becomes champion: left out; another one answers: it takes part again. What waits is of the one before."""
    served = serve()
    model = with_a_request_that_waits(served)
    served.endpoints.swap(Served(Named("digits", "2", folders[1], "b"), {}))
    assert "it is the model that answers" == served.client.get("/model").json()["shadow"]["left_out"]
    model.go_on.set()
    wait_for(lambda: seen(served) == 6)
    assert 3 <= counts(served)["passed over"] <= 6
    served.endpoints.swap(served.first)
    assert served.shadow.taking_part is model
    ask(served)
    wait_for(lambda: seen(served) == 9)


def test_what_waits_of_another_first_model_is_passed_over(serve, folders):
    """Answers of two champions are not mixed: the counts are of the one that answers now."""
    served = serve()
    model = with_a_request_that_waits(served)
    served.endpoints.swap(Served(Named("digits", "3", folders[2], "c"), {}))
    model.go_on.set()
    wait_for(lambda: seen(served) == 6)
    assert 3 <= counts(served)["passed over"] <= 6
    assert served.shadow.taking_part is model


def test_at_the_end_what_waits_is_answered_though_another_model_is_to_be_opened(serve, folders):
    """That one is not opened any more; the request that came before it is asked of the one that is there."""
    served = serve()
    model = with_a_request_that_waits(served)
    served.shadow.start(lambda: served.shadow.become(Named("digits", "3", folders[2], "c")))
    wait_for(lambda: served.shadow._to_open)
    end = threading.Thread(target=served.shadow.close)
    end.start()
    wait_for(served.shadow._ended.is_set)
    model.go_on.set()
    end.join(20)
    assert (6, 2) == (seen(served), len(model.asked))


def test_papers_that_nobody_foresaw_do_not_keep_the_first_one_from_being_followed(serve, folders, capsys):
    """A state that cannot be compared: left out."""
    served = serve()
    served.shadow.taking_part.state = {"task": "regression"}
    served.endpoints.swap(Served(Named("digits", "3", folders[2], "c"), {}))
    assert served.shadow.taking_part is None
    assert "cannot be compared" in capsys.readouterr().err


def test_rows_of_both_share_the_request(serve, folders, tmp_path):
    """Answers of each, place by place, with the same hashes and statistics; a shadow has no client to wait."""
    served = serve()
    served.endpoints.log = PredictionLog(tmp_path)
    body = {"records": [*BODY["records"][:2], {"image": "?"}, {}]}
    for number in range(3):
        ask(served, body, **{"x-request-id": f"r-{number}"})
    wait_for(lambda: seen(served) == 9)
    served.endpoints.close()
    served.endpoints.log.close()
    rows = {(row["role"], row["request"], row["index"]): row for row in rows_in(tmp_path)}
    assert 24 == len(rows)
    told = {
        "answers": Scorer(folders[0]).answers(body["records"]),
        "shadow": Scorer(folders[1]).answers(body["records"]),
    }
    same = ("time", "id", "sha256", "stat.mean", "stat.height", "outcome")
    for (role, request, index), row in rows.items():
        other = rows["answers" if role == "shadow" else "shadow", request, index]
        assert str([row[name] for name in same]) == str([other[name] for name in same])
        assert ("2" if role == "shadow" else "1") == row["version"]
        assert (role == "shadow") == (row["milliseconds"] is None)
        assert row["model_milliseconds"] > 0
        if index < 2:
            assert told[role][index]["class"] == row["answer"]
            assert np.allclose([*told[role][index]["probabilities"].values()], row["probabilities"])
        else:
            assert ("refused", None) == (row["outcome"], row["answer"])


def test_a_sample_of_the_log_holds_both_or_none(serve, tmp_path):
    """And agreement is counted over all."""
    served = serve()
    served.endpoints.log = PredictionLog(tmp_path, share=0.3)
    for number in range(30):
        ask(served, **{"x-request-id": f"r-{number}"})
    wait_for(lambda: seen(served) == 90)
    served.endpoints.log.close()
    rows = rows_in(tmp_path)
    by_role = [sorted(row["id"] for row in rows if row["role"] == role) for role in ("answers", "shadow")]
    assert by_role[0] == by_role[1]
    assert 0 < len(by_role[0]) < 90


def test_what_a_canary_answered_is_not_asked(serve, folders, tmp_path):
    """A shadow is compared with the first model alone; rows of all three say whose they are."""
    served = serve()
    served.endpoints.log = PredictionLog(tmp_path)
    canary = Canary("digits/3", served.first, 0.5, served.endpoints.measured)
    canary.become(Named("digits", "3", folders[2], "c"))
    served.endpoints.canary = canary
    versions = [
        served.client.post("/predict", json=BODY, headers={CLIENT: f"client-{number}"}).headers[
            "x-model-version"
        ]
        for number in range(20)
    ]
    own = 3 * versions.count("1")
    wait_for(lambda: seen(served) == own)
    served.endpoints.close()
    served.endpoints.log.close()
    rows = Counter((row["version"], row["role"]) for row in rows_in(tmp_path))
    assert {("1", "answers"): own, ("2", "shadow"): own, ("3", "canary"): 60 - own} == rows
    assert 0 < own < 60


# --- A process of its own.


@pytest.fixture
def apart(folders):
    """A model in a process of its own."""
    made = Apart(Named("digits", "2", folders[1], "b"))
    yield made
    made.close()


def test_a_process_answers_as_the_scorer_does(apart, folders, tmp_path):
    """Records as JSON has them and bytes; refusals too; what cannot be sent fails alone."""
    scorer = Scorer(folders[1])
    requests = [
        BODY["records"],
        [{"image": png(7)}, {"image": "?"}, {}],
        [{"image": np.full((8, 8, 1), 30, np.uint8)}],
    ]
    told = apart.answers([*requests[:2], [{"image": 10**30}], requests[2]])
    assert isinstance(told[2], NotPassedOnError)
    assert [scorer.answers(records) for records in requests] == [told[place].answers for place in (0, 1, 3)]
    assert all(one.milliseconds > 0 for one in told if not isinstance(one, Exception))
    assert (apart.digest, apart.state) == (Served(apart.named, {}).digest, scorer.state)


def test_a_process_that_dies_is_started_again(apart):
    """Killed while it answers: that chunk is lost; the next is answered by another process."""
    first = apart._child
    assert 19 == psutil.Process(first.pid).nice()
    first.kill()
    with pytest.raises((EOFError, OSError)):
        apart.answers([BODY["records"]])
    assert 3 == len(apart.answers([BODY["records"]])[0].answers)
    assert apart._child.pid != first.pid
    assert first.poll() is not None


def test_a_process_that_comes_back_as_another_model_is_not_asked(folders, tmp_path):
    """Its rows would stand under the digest of the one that died."""
    folder = shutil.copytree(folders[0], tmp_path / "model")
    model = Apart(Named("digits", "2", folder, "b"))
    try:
        shutil.copytree(folders[1], folder, dirs_exist_ok=True)
        os.kill(model._child.pid, signal.SIGKILL)
        for _ in range(2):  # that it died, and that it came back as another one
            with pytest.raises((OSError, EOFError)) as failed:
                model.answers([BODY["records"]])
        assert "its files changed" in str(failed.value)
    finally:
        model.close()


def test_a_process_that_hangs_is_ended(folders, monkeypatch):
    """After the longest time that an answer may take."""
    monkeypatch.setattr(shadow_module, "ANSWER_SECONDS", 0.3)
    apart = Apart(Named("digits", "2", folders[1], "b"))
    first = apart._child
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        apart.answers([BODY["records"]])
    assert -signal.SIGKILL == first.wait(timeout=20)
    assert 3 == len(apart.answers([BODY["records"]])[0].answers)
    apart.close()
    with pytest.raises(EOFError):
        apart.answers([BODY["records"]])


def test_a_process_whose_server_is_gone_ends(folders):
    """Killed with -9, it leaves nobody behind, even one that is busy."""
    code = (
        "import os, sys, time; from pathlib import Path; from pipeline.serving.model_folder import Named;"
        "from pipeline.serving.shadow import Apart; made = Apart(Named('digits', '2', Path(sys.argv[1])));"
        "print(made._child.pid, flush=True); time.sleep(60)"
    )
    from tests.helpers.served_models import environment

    server = subprocess.Popen(
        [sys.executable, "-c", code, str(folders[1])], stdout=subprocess.PIPE, text=True, env=environment()
    )
    child = psutil.Process(int(server.stdout.readline()))
    child.suspend()
    server.kill()
    server.communicate(timeout=20)
    child.wait(timeout=20)


def test_a_real_process_in_the_shadow(serve):
    """Killed again and again under load: no request notices, and in between it answers."""
    served = serve(opened=None)
    expected = served.first.scorer.answers(BODY["records"])
    for number in range(1, 4):
        for _ in range(20):
            assert expected == ask(served)
        wait_for(lambda number=number: seen(served) == 60 * number)
        served.shadow.taking_part._child.kill()
    found = counts(served)
    assert found["agreed"] + found["differed"] > 60
    assert set(OUTCOMES) == set(found)
    process = psutil.Process(served.shadow.taking_part._started() and served.shadow.taking_part._child.pid)
    served.endpoints.close()
    process.wait(timeout=20)
