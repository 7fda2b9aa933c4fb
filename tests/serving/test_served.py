"""A share of the clients is answered by a second model, each reply whole; whatever goes wrong there, the first one answers."""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import threading
import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from pipeline.monitoring.log import PredictionLog, is_sampled
from pipeline.serving.app import Endpoints
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.scorer import Scorer
from pipeline.serving.served import CLIENT, Canary, Served, is_of_canary, unlike
from tests.helpers.served_data import WRITTEN, png, served_model
from tests.helpers.served_models import DIGITS, Client, environment, state_of, write_model
from tests.monitoring.test_log import rows_in

BODY = {"records": [{"image": base64.b64encode(png(value)).decode()} for value in (9, 120, 240)]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three models that answer differently."""
    root = tmp_path_factory.mktemp("models")
    return [write_model(root / f"digits-{seed}", DIGITS, seed=seed) for seed in range(3)]


@pytest.fixture
def serve(folders):
    """Return a function that makes endpoints with a canary: the first two models, or another as the second one."""
    made = []

    def begin(share=0.5, second=None, alias="", limits=None, load=True):
        first = Served(Named("digits", "1", folders[0], "a"), {})
        endpoints = Endpoints(first, limits or Limits())
        canary = Canary("digits@challenger", first, share, endpoints.measured, alias)
        endpoints.canary = canary
        if load:
            canary.become(second or Named("digits", "2", folders[1], "b"))
        made.append(endpoints)
        client = Client(endpoints.application(None))
        return SimpleNamespace(endpoints=endpoints, canary=canary, client=client, first=first)

    yield begin
    for one in made:
        one.close()


def ask(served, client, **more):
    """Return which version answered somebody, and what."""
    reply = served.client.post("/predict", json=BODY, headers={CLIENT: client} | more)
    assert 200 == reply.status_code, reply.text
    return reply.headers["x-model-version"], reply.json()["answers"]


def versions_of(served, count=40):
    """Return which versions answer some clients."""
    return {ask(served, f"client-{number}")[0] for number in range(count)}


def info(served):
    """Return whether /metrics says that the canary takes part."""
    lines = served.client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith('millrace_beside_info{role="canary"')]
    return line.endswith(" 1")


def test_its_threads_have_ended_when_it_is_closed(serve, monkeypatch):
    """Python aborts the process (SIGABRT) where it ends while a model computes in a thread: none begins, none goes on."""
    canary = serve(load=False).canary
    looks, loading = [], threading.Event()
    monkeypatch.setattr(canary, "look", lambda: looks.append("looked"))
    canary.start(lambda: (loading.set(), time.sleep(0.3)))
    assert loading.wait(10)
    canary.close()
    assert [] == looks
    assert not {"canary", "golden"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_hash_of_the_key_takes_the_share(share):
    """Of ten thousand clients as many as a coin of that share would; a larger share holds everybody of a smaller one."""
    keys = [f"client-{number}" for number in range(10_000)]
    taken = {key for key in keys if is_of_canary(key, share)}
    low, high = stats.binom.interval(1 - 1e-6, len(keys), share)
    assert low <= len(taken) <= high
    assert taken <= {key for key in keys if is_of_canary(key, share + 0.05)}


def test_the_canary_is_independent_of_the_sample_of_the_log():
    """Else a log of every tenth request would hold the canary's alone: both are hashes of the same id."""
    keys = [f"request-{number}" for number in range(10_000)]
    both = sum(is_of_canary(key, 0.1) and is_sampled(key, 0.1) for key in keys)
    low, high = stats.binom.interval(1 - 1e-6, len(keys), 0.01)
    assert low <= both <= high


def test_every_server_says_the_same_of_a_client(serve):
    """Two servers in this process with other second versions, and another process with another hash seed."""
    keys = [f"client-{number}" for number in range(300)]
    code = (
        "import json, sys; from pipeline.serving.served import is_of_canary;"
        "print(json.dumps([is_of_canary(key, 0.3) for key in json.load(sys.stdin)]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(keys), capture_output=True, text=True, check=True,
        env=environment(PYTHONHASHSEED="7"),
    )  # fmt: skip
    servers = [serve(0.3), serve(0.3)]
    servers[1].canary.become(Named("digits", "9", servers[1].endpoints.canary.taking_part.named.folder, "b"))
    answering = [[one.canary.answering({CLIENT: key}, "r") is not None for key in keys] for one in servers]
    assert json.loads(told.stdout) == answering[0] == answering[1]


def test_a_reply_is_of_one_version_whole(serve, folders):
    """The header names it, every answer is what that version says; by client the side stays, whatever the request's id."""
    served = serve()
    told = {str(n + 1): json.loads(json.dumps(Scorer(folders[n]).answers(BODY["records"]))) for n in (0, 1)}
    for number in range(30):
        version, answers = ask(served, f"client-{number}")
        assert told[version] == answers
        assert {version} == {
            ask(served, f"client-{number}", **{"x-request-id": f"r-{n}"})[0] for n in range(4)
        }
    assert {"1", "2"} == versions_of(served)


def test_without_a_client_the_id_of_the_request_counts(serve):
    """An own one is hashed as a client's is; where there is none each request falls by itself."""
    served = serve(0.3)
    for number in range(30):
        version, _ = ask(served, "", **{"x-request-id": f"r-{number}"})
        assert ("2" if is_of_canary(f"r-{number}", 0.3) else "1") == version
    drawn = {served.client.post("/predict", json=BODY).headers["x-model-version"] for _ in range(60)}
    assert {"1", "2"} == drawn


def test_every_endpoint_asks_the_chosen_one(serve):
    """MLflow's and the Open Inference Protocol's; a path that names a version gets that one."""
    served = serve()
    sides = {is_of_canary(name, 0.5): name for name in ("client-0", "client-1", "client-2", "client-3")}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [BODY["records"][0]["image"]]}
    for side, name in sides.items():
        headers, wanted = {CLIENT: name}, "2" if side else "1"
        invoked = served.client.post("/invocations", json={"instances": BODY["records"]}, headers=headers)
        inferred = served.client.post("/v2/models/digits/infer", json={"inputs": [tensor]}, headers=headers)
        assert [wanted] * 3 == [
            invoked.headers["x-model-version"], inferred.headers["x-model-version"], inferred.json()["model_version"],
        ]  # fmt: skip
        for version in ("1", "2"):
            path = f"/v2/models/digits/versions/{version}/infer"
            assert (
                version
                == served.client.post(path, json={"inputs": [tensor]}, headers=headers).json()[
                    "model_version"
                ]
            )
    assert (
        404 == served.client.post("/v2/models/digits/versions/3/infer", json={"inputs": [tensor]}).status_code
    )
    assert ["1", "2"] == [
        served.client.get(path).headers.get("x-model-version")
        or served.client.get(path).json()["versions"][0]
        for path in ("/model", "/v2/models/digits/versions/2")
    ]


def test_a_request_that_it_fails_on_is_answered_by_the_first_one(serve, capsys):
    """Whole, and told; after ten in a row nobody is sent there any more."""
    served = serve(0.999)
    served.canary.taking_part.scorer.answers = lambda _records: 1 / 0
    for number in range(10):
        assert ("1", served.first.scorer.answers(BODY["records"])) == ask(served, f"client-{number}")
    assert served.canary.taking_part is None
    said = capsys.readouterr().err
    assert 10 == said.count("ZeroDivisionError: division by zero")
    assert 1 == said.count("canary digits version 2 is left out: it failed on 10 requests in a row")
    assert "it failed on 10 requests" in served.client.get("/model").json()["canary"]["left_out"]
    assert 'millrace_canary_requests_total{outcome="failed"} 10' in served.client.get("/metrics").text
    assert not info(served)
    served.canary.become(Named("digits", "2", served.canary._named.folder, "b"))
    assert "2" in versions_of(served, 3), "another try begins anew"


TENSOR = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [BODY["records"][0]["image"]]}


def test_who_names_the_version_of_a_canary_that_fails_is_told(serve, capsys):
    """Nobody else answers: 500 with the reason, whatever the client's side; without the version the first one does."""
    served = serve(0.5)
    served.canary.taking_part.scorer.answers = lambda _records: 1 / 0
    path = "/v2/models/digits/versions/2/infer"
    for number in range(4):
        reply = served.client.post(
            path, json={"inputs": [TENSOR]}, headers={CLIENT: f"client-{number}", "x-request-id": "r-1"}
        )
        assert 500 == reply.status_code
        assert "x-model-version" not in reply.headers
        assert "Version 2 of digits failed" in reply.json()["error"]
        assert "r-1" in reply.json()["error"]
        assert "division" not in reply.text
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert 'millrace_canary_requests_total{outcome="failed"} 4' in served.client.get("/metrics").text
    plain = served.client.post("/v2/models/digits/infer", json={"inputs": [TENSOR]})
    assert (200, "1") == (plain.status_code, plain.json()["model_version"])


def test_who_answers_in_its_place_reads_the_records_itself(serve, monkeypatch):
    """Not as the canary would have: both read one form, but what is not in it (a size, say) may be read otherwise."""
    served, read = serve(0.999), []
    served.canary.taking_part.scorer.answers = lambda _records: 1 / 0
    plain = Endpoints._records

    async def noted(self, body, request, model):
        read.append(model.named.version)
        items = await plain(self, body, request, model)
        return items[:1] if model.named.version == "2" else items

    monkeypatch.setattr(Endpoints, "_records", noted)
    assert ("1", served.first.scorer.answers(BODY["records"])) == ask(served, "client-0")
    assert ["2", "1"] == read


def test_a_canary_whose_reading_fails_is_not_asked(serve, monkeypatch):
    """A bug there is its own; what is wrong with a request is the client's."""
    served = serve(0.999)

    async def broken(_self, _body, _request, model):
        if model.named.version == "2":
            raise ZeroDivisionError
        return await plain(_self, _body, _request, model)

    plain = Endpoints._records
    monkeypatch.setattr(Endpoints, "_records", broken)
    assert "1" == ask(served, "client-0")[0]
    assert 'outcome="failed"} 1' in served.client.get("/metrics").text
    monkeypatch.setattr(Endpoints, "_records", plain)
    assert 400 == served.client.post("/predict", json={"records": 3}).status_code
    assert 'outcome="failed"} 1' in served.client.get("/metrics").text


def test_a_body_that_takes_too_long_to_read_is_not_the_canary_s_fault(serve, monkeypatch):
    """The client gets 504; nothing is booked on a model that was not asked yet."""
    served = serve(0.999, limits=Limits(seconds=0.05))

    async def slow(_self, _body, _request, _model):
        await asyncio.sleep(10)

    monkeypatch.setattr(Endpoints, "_records", slow)
    for _ in range(12):
        assert 504 == served.client.post("/predict", json=BODY).status_code
    assert served.canary.taking_part is not None
    assert "millrace_canary_requests_total{" not in served.client.get("/metrics").text


def test_one_failure_between_answers_is_no_reason(serve):
    """Only what fails again and again is left out."""
    served = serve(0.999)
    scorer = served.canary.taking_part.scorer
    answers = scorer.answers
    for number in range(60):
        scorer.answers = answers if number % 4 else lambda _records: 1 / 0
        ask(served, f"client-{number}")
    assert served.canary.taking_part is not None


def test_who_is_too_slow_again_and_again_is_left_out(serve):
    """Each such client gets 504, as from the first model; the first model's clients wait for nothing."""
    served = serve(0.999, limits=Limits(seconds=0.02))
    canary = served.canary.taking_part
    canary.seconds_per_record = 1.0  # to the worker thread
    canary.scorer.answers = lambda _records: time.sleep(0.1)
    statuses = [
        served.client.post("/predict", json=BODY, headers={CLIENT: f"client-{number}"}).status_code
        for number in range(12)
    ]
    assert [504] * 10 + [200] * 2 == statuses
    assert 'outcome="too slow"} 10' in served.client.get("/metrics").text


def test_how_long_a_record_took_is_known_at_once_and_forgotten_by_and_by(serve):
    """Never less than the example takes."""
    model = serve().first
    example = model.seconds_per_record
    model.took(0.1)
    assert 0.1 == model.seconds_per_record
    for _ in range(200):
        model.took(0.0)
    assert max(example, 0.1 * 0.98**200) == pytest.approx(model.seconds_per_record)
    for _ in range(2000):
        model.took(0.0)
    assert example == model.seconds_per_record


def test_without_its_golden_answers_it_is_left_out(serve, capsys):
    """It gives them again from time to time, and at once after it failed; one that cannot be checked is not fine."""
    served = serve(0.999)
    served.canary.look()
    assert served.canary.taking_part is not None
    model = served.canary.taking_part.scorer._model
    plain = model.predict_on_batch
    model.predict_on_batch = lambda batch: plain(batch) * np.float32(1 + 1e-3)
    served.canary.look()
    assert {"1"} == versions_of(served, 5)
    assert "left out: it no longer gives its golden answers" in capsys.readouterr().err
    assert not info(served)
    served.canary.become(Named("digits", "2", served.canary._named.folder, "b"))
    served.canary.taking_part.scorer._model.predict_on_batch = lambda _batch: 1 / 0
    served.canary.look()
    assert {"1"} == versions_of(served, 5)


@pytest.mark.parametrize("name", ["digits", *WRITTEN])
def test_a_model_of_every_task_gives_its_golden_answers_again(name, tmp_path):
    """Until what it computes changes, or is no number any more."""
    scorer = served_model(name, tmp_path).scorer
    assert scorer.gives_golden_answers()
    plain = scorer._model.predict_on_batch
    for other in (
        lambda batch: plain(batch) * np.float32(1.5),
        lambda batch: plain(batch) * np.float32(np.nan),
    ):
        scorer._model.predict_on_batch = other
        assert not scorer.gives_golden_answers()


def test_its_thread_looks_by_itself(serve, monkeypatch):
    """After every so many seconds, and once it has failed."""
    monkeypatch.setattr("pipeline.serving.served.GOLDEN_SECONDS", 0.01)
    served, waited = serve(0.999), threading.Event()
    served.canary.taking_part.scorer.gives_golden_answers = lambda: waited.set() or False
    assert waited.wait(20)


def test_one_that_does_not_check_never_answers(serve, folders, tmp_path, capsys):
    """Damaged, missing, or of other answers: all clients get the first one; why stands in /model without a path."""
    broken = shutil.copytree(folders[1], tmp_path / "broken")
    shutil.copyfile(folders[2] / "model.onnx", broken / "model.onnx")
    for folder in (broken, tmp_path / "nowhere"):
        served = serve(0.999, Named("digits", "7", folder, "x"))
        assert {"1"} == versions_of(served, 5)
        told = served.client.get("/model").json()["canary"]
        assert ("7", True) == (told["version"], "does not give its golden answers" in told["left_out"])
        assert str(tmp_path) not in json.dumps(told)
        (line,) = [one for one in capsys.readouterr().err.splitlines() if "version 7" in one]
        assert ("Predictions differ" if folder is broken else str(folder)) in line
        assert not info(served)


def test_the_alias_moves_it_and_its_end_drops_it(serve, folders, capsys):
    """Another version takes its place once it has checked; one that cannot be had, or no alias: all get the first one."""
    served = serve(0.999, load=False, alias="digits@challenger")
    hear = served.canary.hear
    assert {"1"} == versions_of(served, 3), "nothing is loaded yet"
    lines = [
        {"name": "digits", "version": str(n + 1), "folder": str(folders[n]), "sha256": str(n)}
        for n in range(3)
    ]
    hear(lines[1])
    assert {"2"} == versions_of(served, 3)
    hear(lines[2])
    assert {"3"} == versions_of(served, 3)
    hear({"problem": "no route"})
    assert {"3"} == versions_of(served, 3), "a registry that is away changes nothing"
    assert "cannot be asked" in served.client.get("/model").json()["canary"]["following"]["problem"]
    hear({"heard": True})
    assert served.client.get("/model").json()["canary"]["following"]["problem"] is None
    hear({"problem": "digits has no alias challenger", "gone": True})
    assert {"1"} == versions_of(served, 3)
    assert "there is no digits@challenger" == served.client.get("/model").json()["canary"]["left_out"]
    hear(lines[1])
    assert {"2"} == versions_of(served, 3)
    hear({"problem": "golden.npz differs", "version": "3"})
    assert {"1"} == versions_of(served, 3), "the alias has left version 2"
    assert "3" == served.client.get("/model").json()["canary"]["following"]["refused"]["version"]
    hear(lines[1])
    assert {"2"} == versions_of(served, 3)
    said = capsys.readouterr().err
    assert 3 == said.count("digits version 2 answers a share of 0.999 of the clients")
    assert 1 == said.count("is left out: there is no digits@challenger")


@pytest.mark.parametrize("alias", ["", "digits@challenger"])
def test_a_registry_that_is_away_at_the_start_is_told(alias, serve, folders, capsys):
    """As the reason, also of a number, which follows nothing; another reason that was found before stays."""
    served = serve(0.999, load=False, alias=alias)
    hear = served.canary.hear
    for _ in range(3):
        hear({"problem": "sqlite:///mlflow.db cannot be opened"})
    told = served.client.get("/model").json()["canary"]
    assert "the registry cannot be asked, which is tried again" in told["left_out"]
    assert "sqlite" not in json.dumps(told)
    said = capsys.readouterr().err
    assert (1, 1) == (said.count("sqlite"), said.count("is left out"))
    hear({"name": "digits", "version": "2", "folder": str(folders[1]), "sha256": "b"})
    assert ({"2"}, None) == (
        versions_of(served, 3),
        served.client.get("/model").json()["canary"]["left_out"],
    )
    hear({"problem": "files differ", "version": "3"})
    hear({"problem": "sqlite:///mlflow.db cannot be opened"})
    assert "damaged or cannot be fetched" in served.client.get("/model").json()["canary"]["left_out"]


def test_beside_itself_there_is_nothing_to_compare(serve, folders):
    """Where it becomes champion it is left out, and takes part again when another one answers."""
    served = serve(0.999)
    same = Served(Named("digits", "2", folders[1], "b"), {})
    served.endpoints.swap(same)
    told = served.client.get("/model").json()["canary"]
    assert ("it is the model that answers", False) == (told["left_out"], info(served))
    assert {"2"} == versions_of(served, 3)
    served.endpoints.swap(served.first)
    assert {"2"} == versions_of(served, 3)
    assert info(served)


@cache
def models_of(root):
    """Return models of every kind of data by name."""
    return {name: served_model(name, root / name) for name in ("digits", *WRITTEN)}


def test_only_who_answers_the_same_records_in_the_same_form_may(serve, tmp_path_factory):
    """Every pair of nine models: another task, another record, other targets; what differs is named."""
    models = models_of(tmp_path_factory.getbasetemp())
    words = {}
    for one, first in models.items():
        for other, second in models.items():
            words[one, other] = unlike(first.state, second.state)
            assert (one == other) == (words[one, other] == "")
    assert "its task is multilabel, not classification" == words["spam", "tickets"]
    assert "it reads other records: side" == words["spam", "towns"]
    assert "it reads other records: image, text" == words["digits", "spam"]
    served = serve(0.999, models["spam"].named)
    assert {"1"} == versions_of(served, 3)
    assert "it reads other records: image, text" == served.client.get("/model").json()["canary"]["left_out"]


def test_other_classes_and_another_size_of_images_are_no_hindrance(tmp_path):
    """Files are made to fit, and answers are compared by the names of classes."""
    larger = DIGITS | {
        "classes": ["dark", "light", "pink", "white"], "class_counts": [1] * 4,
        "image": DIGITS["image"] | {"shape": [9, 9, 1]}, "data": DIGITS["data"] | {"image_size": [9, 9]},
    }  # fmt: skip
    assert "" == unlike(DIGITS, larger)


def test_windows_of_another_length_channel_or_clock_are_another_form(tmp_path):
    """A client that sends what the first one needs would be refused, or misread."""
    state = state_of(WRITTEN["hours"], tmp_path)
    longer = state | {"windows": state["windows"] | {"length": state["windows"]["length"] + 1}}
    renamed = state | {"series": state["series"] | {"channels": [*state["series"]["channels"][:-1], "other"]}}
    clock = state | {"windows": state["windows"] | {"utc": True}}
    assert ["it reads other records: series"] * 2 == [unlike(state, longer), unlike(state, renamed)]
    assert "it reads other records: time" == unlike(state, clock)


def test_rows_of_the_log_say_whose_they_are(serve, tmp_path):
    """Each request has rows of one model and role, as the reply said."""
    served = serve()
    served.endpoints.log = PredictionLog(tmp_path)
    told = {f"r-{n}": ask(served, f"client-{n}", **{"x-request-id": f"r-{n}"})[0] for n in range(20)}
    served.endpoints.log.close()
    rows = rows_in(tmp_path)
    assert 60 == len(rows)
    assert all(told[row["request"]] == row["version"] for row in rows)
    assert {("1", "answers"), ("2", "canary")} == {(row["version"], row["role"]) for row in rows}
    assert all(row["milliseconds"] > row["model_milliseconds"] > 0 for row in rows)
