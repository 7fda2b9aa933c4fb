"""The endpoints answer as the scorer does, refuse with a reason, and tell of this very model."""

import base64
import io
import json
import time
from functools import cache

import jsonschema
import numpy as np
import pytest
from PIL import Image

from pipeline.serving.app import Endpoints
from pipeline.serving.bodies import NO_IMAGE, Item, pixels_of, weighed
from pipeline.serving.guard import Limits, Tokens
from pipeline.serving.model_folder import Named
from pipeline.serving.scorer import Scorer
from pipeline.serving.served import Followed, Served
from tests.helpers.served_data import WRITTEN, png, served_model
from tests.helpers.served_models import DIGITS, Client, write_model

LIMITS = Limits(body_bytes=100_000, records=20)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return a function that gives a model by the name of its data."""
    return cache(lambda name: served_model(name, tmp_path_factory.mktemp(name)))


@pytest.fixture
def ask(served):
    """Return a function that gives a client of a server of one model."""
    return lambda name, limits=LIMITS, tokens=None, **more: Client(
        Endpoints(served(name), limits, **more).application(tokens)
    )


NAMES = ["digits", *WRITTEN]


def binary(tensors):
    """Return a body of the protocol's binary extension and its headers, as Triton's own client writes it."""
    told, behind = [], b""
    for name, datatype, shape, values in tensors:
        if datatype == "BYTES":
            raw = [value if isinstance(value, bytes) else value.encode() for value in values]
            content = b"".join(len(value).to_bytes(4, "little") + value for value in raw)
        else:
            content = np.asarray(values, {"FP64": "<f8", "FP32": "<f4", "BOOL": "?"}[datatype]).tobytes()
        told.append(
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(content)},
            }
        )
        behind += content
    head = json.dumps({"inputs": told}).encode()
    return head + behind, {"inference-header-content-length": str(len(head))}


def test_tensors_may_come_as_bytes(served, ask):
    """An image as the bytes of its file, or base64 text; texts with numbers beside; steps: as in JSON."""
    client, model = ask("digits"), served("digits")
    (expected,) = model.scorer.answers([{"image": png(200)}])
    for value in (png(200), base64.b64encode(png(200))):
        body, headers = binary([("image", "BYTES", [1], [value])])
        reply = client.post("/v2/models/digits/infer", content=body, headers=headers)
        assert 200 == reply.status_code
        assert [expected["class"]] == reply.json()["outputs"][0]["data"]
    client, model = ask("towns"), served("towns")
    record = {"text": "win frëe", "side": {"age": 3.0, "town": "Ulm"}}
    (expected,) = model.scorer.answers([record])
    tensors = [
        ("text", "BYTES", [1], ["win frëe"]),
        ("side.age", "FP32", [1], [3.0]),
        ("side.town", "BYTES", [1], ["Ulm"]),
    ]
    body, headers = binary(tensors)
    outputs = client.post("/v2/models/towns/infer", content=body, headers=headers).json()["outputs"]
    assert [expected["probability"]] == next(one["data"] for one in outputs if one["name"] == "probability")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body, size: (body, "x"), "Inference-Header-Content-Length"),
        (lambda body, size: (body, str(len(body) + 1)), "Inference-Header-Content-Length"),
        (lambda body, size: (body, "9" * 5000), "Inference-Header-Content-Length"),
        (lambda body, size: (body[:-1], size), "binary_data_size"),
        (lambda body, size: (body + b"0", size), "no bytes behind"),
        (lambda body, size: (body.replace(b'_size": ', b'_size": -'), str(int(size) + 1)), "binary_data_size"),
        (lambda body, size: (body.replace(b'"BYTES"', b'"FP64" '), size), "values of 8 bytes"),
        (lambda body, size: (body.replace(b'"BYTES"', b'"GIF89"'), size), "Expected a datatype"),
        (lambda body, size: (body[:-2] + b"\xff\xff", size), "UTF-8"),
        (lambda body, size: (body.replace(b"\x05\x00\x00\x00", b"\xff\x00\x00\x00"), size), "end early"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_tensors_are_refused(ask, change, told):
    """With 400 and what was expected."""
    body, headers = binary([("text", "BYTES", [1], ["hello"])])
    body, size = change(body, headers["inference-header-content-length"])
    reply = ask("spam").post(
        "/v2/models/spam/infer", content=body, headers={"inference-header-content-length": size}
    )
    assert 400 == reply.status_code
    assert told in reply.json()["error"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_record_is_answered_as_the_scorer_does(name, served, ask):
    """Through our form, MLflow's and the Open Inference Protocol: the same numbers; the example is one of them."""
    model, client = served(name), ask(name)
    expected = json.loads(json.dumps(Scorer(model.named.folder).answers([model.example] * 2)))
    reply = client.post("/predict", json={"records": [model.example] * 2})
    assert {"answers": expected, "refused": []} == reply.json()
    assert ("3", model.digest) == (reply.headers["x-model-version"], reply.headers["x-model-digest"])
    flat = {key: value for key, value in model.example.items() if key not in ("side", "known")}
    for key in ("side", "known"):
        flat |= {f"{key}.{column}": value for column, value in model.example.get(key, {}).items()}
    split = {"columns": list(flat), "data": [list(flat.values())] * 2}
    for body in (
        {"dataframe_split": split}, {"dataframe_records": [flat] * 2}, {"instances": [model.example] * 2},
        {"inputs": {column: [value] * 2 for column, value in flat.items()}},
    ):  # fmt: skip
        assert {"predictions": expected} == client.post("/invocations", json=body).json()
    metadata = client.get(f"/v2/models/{name}").json()
    assert {tensor["name"] for tensor in metadata["inputs"]} == set(flat)
    tensors = [
        {"name": column, "datatype": "BYTES", "shape": list(np.array([value] * 2).shape), "data": [value] * 2}
        for column, value in flat.items()
    ]
    inferred = client.post(f"/v2/models/{name}/versions/3/infer", json={"id": "7", "inputs": tensors}).json()
    assert ("7", name, "3") == (inferred["id"], inferred["model_name"], inferred["model_version"])
    assert [one["name"] for one in metadata["outputs"]] == [one["name"] for one in inferred["outputs"]]
    numbers = {
        tensor["name"]: np.array(tensor["data"]).reshape(tensor["shape"]) for tensor in inferred["outputs"]
    }
    for key, value in expected[0].items():
        if key in ("probabilities", "thresholds"):
            assert list(value.values()) == numbers[key][1].tolist()
        elif isinstance(value, dict):
            assert all(values == numbers[f"{key}.{target}"][1].tolist() for target, values in value.items())
        else:
            assert (";".join(value) if key == "labels" else value) == numbers[key][1].item()


@pytest.mark.parametrize("name", NAMES)
def test_schema_and_example_are_of_this_model(name, served, ask):
    """/model and /openapi.json: the example obeys the schema and is answered as it stands there."""
    client = ask(name)
    told, document = client.get("/model").json(), client.get("/openapi.json").json()
    (example,) = told["record"]["examples"]
    jsonschema.validate(example, told["record"])
    assert ("3", served(name).digest) == (told["version"], told["digest"])
    schemas = document["components"]["schemas"]
    assert (told["record"], told["answer"]) == (schemas["Record"], schemas["Answer"])
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    (answer,) = client.post("/predict", json=body).json()["answers"]
    jsonschema.validate(answer, told["answer"])
    assert [answer] == told["answer"]["examples"]


def test_refused_records_are_named_and_the_others_answered(served, ask):
    """All problems of each, with its place; where none can be answered, the reply says so by its status."""
    example = served("towns").example
    bad = {"text": 3, "side": {"age": "old"}}
    reply = ask("towns").post("/predict", json={"records": [example, bad, 7]})
    first, second, third = reply.json()["answers"]
    assert (200, None, None) == (reply.status_code, second, third)
    assert [first] == Scorer(served("towns").named.folder).answers([example])
    told = {one["place"]: one["problems"] for one in reply.json()["refused"]}
    assert ["records[1]", "records[2]"] == list(told)
    assert ["a string" in told["records[1]"][0], "age='old'" in told["records[1]"][1]] == [True, True]
    assert 422 == ask("towns").post("/predict", json={"records": [bad]}).status_code
    whole = ask("towns").post("/invocations", json={"instances": [example, bad]})
    assert 400 == whole.status_code
    assert "records[1]: " in whole.json()["message"]


def test_images_come_as_files_as_a_form_and_as_text(served, ask):
    """One image as the body, several in a form, base64: the answer of the scorer."""
    client = ask("digits")
    expected = Scorer(served("digits").named.folder).answers([{"image": png()}, {"image": png(10)}])
    expected = json.loads(json.dumps(expected))
    assert (
        expected[:1]
        == client.post("/predict", content=png(), headers={"content-type": "image/png"}).json()["answers"]
    )
    form = client.post("/predict", files=[("a", ("a.png", png())), ("b", ("b.png", png(10)))])
    assert {"answers": expected, "refused": []} == form.json()
    text = {"records": [{"image": base64.b64encode(png()).decode()}]}
    assert expected[:1] == client.post("/predict", json=text).json()["answers"]
    broken = client.post("/predict", files=[("a", ("a.png", b"no image")), ("b", ("b.png", png(10)))])
    assert [None, expected[1]] == broken.json()["answers"]
    assert "file 0 ('a')" == broken.json()["refused"][0]["place"]


def test_pixels_are_counted_before_they_are_decoded(served, ask):
    """Ten million in a few kilobytes: the image is refused and the other answered; too many together are no request."""
    client = ask("digits", limits=Limits(body_bytes=1_000_000, pixels=250_000))
    large, jpeg = png(size=(2000, 2000)), io.BytesIO()
    Image.new("L", (600, 600)).save(jpeg, "jpeg")
    asked = [{"image": base64.b64encode(one).decode()} for one in (large, png(), jpeg.getvalue())]
    reply = client.post("/predict", json={"records": asked}).json()
    assert [True, False, True] == [answer is None for answer in reply["answers"]]
    assert "4,000,000" in reply["refused"][0]["problems"][0]
    assert "360,000" in reply["refused"][1]["problems"][0]
    fits = base64.b64encode(png(size=(500, 500))).decode()
    assert 413 == client.post("/predict", json={"records": [{"image": fits}] * 9}).status_code
    assert 200 == client.post("/predict", json={"records": [{"image": fits}] * 8}).status_code


def test_texts_and_tables_are_records(served, ask):
    """A plain text, and rows of a CSV file, read as `millrace predict` reads them."""
    scorer = Scorer(served("towns").named.folder)
    answer = ask("spam").post("/predict", content="win a prize", headers={"content-type": "text/plain"})
    assert "class" in answer.json()["answers"][0]
    table = "text,age,town\nwin,3,Ulm\nsee you,old,Bonn\n"
    reply = ask("towns").post("/predict", content=table, headers={"content-type": "text/csv"}).json()
    assert scorer.answers([{"text": "win", "side": {"age": 3.0, "town": "Ulm"}}]) == reply["answers"][:1]
    assert "records.csv" in reply["refused"][0]["place"]
    same = ask("towns").post(
        "/invocations", content="text,age,town\nwin,3,Ulm\n", headers={"content-type": "text/csv"}
    )
    assert {"predictions": reply["answers"][:1]} == same.json()
    missing = ask("towns").post("/predict", content="age\n3\n", headers={"content-type": "text/csv"})
    assert 400 == missing.status_code
    assert "text" in missing.json()["error"]
    assert "/tmp" not in missing.text


async def in_parts():
    """Yield a body whose length nobody tells beforehand."""
    for _ in range(2):
        yield b"x" * 60_000


@pytest.mark.parametrize(
    ("status", "said", "given"),
    [
        (400, "no JSON", {"content": b"{"}),
        (400, "no JSON", {"content": b"[" * 50_000}),
        (400, "a list", {"json": []}),
        (400, "records", {"json": {"record": []}}),
        (400, "at least one", {"json": {"records": []}}),
        (413, "at most 20", {"json": {"records": [{}] * 21}}),
        (413, "100,000 bytes", {"content": b"x" * 100_001}),
        (413, "100,000 bytes", {"content": in_parts()}),
        (413, "100,000 bytes", {"content": b"", "headers": {"content-length": "9999999999"}}),
        (
            415,
            "application/json",
            {"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        ),
        (415, "text/csv", {"content": png(), "headers": {"content-type": "image/png"}}),
    ],
)
def test_a_body_that_is_none_is_refused_with_the_reason(status, said, given, ask):
    """What was expected stands in the reply, as JSON."""
    reply = ask("towns").post("/predict", **given)
    assert status == reply.status_code
    assert said in reply.json()["error"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "exactly one of"),
        ({"instances": [], "inputs": []}, "exactly one of"),
        ({"dataframe_split": {"columns": ["text"]}}, "columns (names) and data"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}}, "A record is an object"),
        ({"inputs": {"text": ["a"], "age": [1, 2]}}, "lists of one length"),
        ({"instances": 3}, "Expected a list"),
    ],
)
def test_what_is_no_form_of_mlflow_is_refused(content, said, ask):
    """In the words of MLflow's own errors."""
    reply = ask("towns").post("/invocations", json=content)
    assert (400, "INVALID_PARAMETER_VALUE") == (reply.status_code, reply.json()["error_code"])
    assert said in reply.json()["message"]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (None, "a list of tensors"),
        ([{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a"]}], "as many values"),
        ([{"name": "text", "datatype": "BYTES", "shape": [-1], "data": ["a"]}], "Expected a tensor"),
        ([{"name": "txet", "datatype": "BYTES", "shape": [1], "data": ["a"]}], "Unknown inputs txet"),
        ([{"name": "text", "datatype": "BYTES", "shape": [1], "data": [3]}], "records[0]"),
    ],
)
def test_what_is_no_request_of_the_protocol_is_refused(inputs, said, ask):
    """By `error`, which is all that the protocol has."""
    reply = ask("spam").post("/v2/models/spam/infer", json={"inputs": inputs})
    assert 400 == reply.status_code
    assert said in reply.json()["error"]


def test_the_protocol_tells_how_server_and_model_are(ask):
    """Health, metadata, one wanted output; another name or version is not here."""
    client = ask("spam")
    assert [200] * 4 == [
        client.get(f"/v2{path}").status_code
        for path in ("", "/health/live", "/health/ready", "/models/spam/versions/3/ready")
    ]
    assert 404 == client.get("/v2/models/ham").status_code
    assert 404 == client.get("/v2/models/spam/versions/2/ready").status_code
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    only = client.post("/v2/models/spam/infer", json={"inputs": [tensor], "outputs": [{"name": "class"}]})
    assert ["class"] == [one["name"] for one in only.json()["outputs"]]
    none = client.post("/v2/models/spam/infer", json={"inputs": [tensor], "outputs": [{"name": "clas"}]})
    assert 400 == none.status_code


def test_only_who_knows_a_token_may_ask(ask, tmp_path):
    """Probes and the page are open; a new file of tokens counts at once, a broken one not."""
    path = tmp_path / "tokens"
    path.write_text("# of the shop\n" + "a" * 32 + "\n")
    client = ask("spam", tokens=Tokens(path))

    def status(token, where="/model"):
        return client.get(where, headers={"authorization": f"Bearer {token}"} if token else {}).status_code

    assert [401, 401, 401, 200] == [status(token) for token in ("", "b" * 32, "a" * 31, "a" * 32)]
    assert [200, 200, 200, 401] == [
        status("", at) for at in ("/", "/health/live", "/health/ready", "/metrics")
    ]
    assert 401 == client.get("/model", headers={"authorization": f"Basic {'a' * 32}"}).status_code
    path.write_text("short\n")
    assert 200 == status("a" * 32)
    path.write_text("b" * 32 + "\n")
    assert [401, 200] == [status(token) for token in ("a" * 32, "b" * 32)]
    path.write_text("")
    assert 200 == status("b" * 32), "truncated, to be written anew"
    path.unlink()
    assert 200 == status("b" * 32)
    assert 200 == status("", "/docs"), "a browser brings no token, and the page holds nothing"


@pytest.mark.parametrize(
    ("shape", "status"),
    [([9] * 2_000, 400), ([20_000_000, 0], 413), ([10**12], 413), ([0], 400), ([2, 0], 400)],
)
def test_a_shape_is_a_number_that_a_client_wrote(ask, shape, status):
    """Nothing is made of it before it is looked at: a hundred bytes would ask for gigabytes, or for an hour."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": shape, "data": []}
    begun = time.monotonic()
    reply = ask("spam").post("/v2/models/spam/infer", json={"inputs": [tensor]})
    assert status == reply.status_code
    assert time.monotonic() - begun < 2


def test_an_input_of_another_place_is_unknown(ask):
    """Only under the name of its place: a column that nobody reads would be missing without a word."""
    tensors = [
        {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]},
        {"name": "known.text", "datatype": "BYTES", "shape": [1], "data": ["b"]},
    ]
    reply = ask("spam").post("/v2/models/spam/infer", json={"inputs": tensors})
    assert (400, True) == (reply.status_code, "Unknown inputs known.text" in reply.text)


def test_a_page_of_somebody_else_is_kept_out(served):
    """Whose name was made to lead to this machine: it asks by its own name."""
    guard = Endpoints(served("spam"), LIMITS).application(None)
    guard.hosts = frozenset(["localhost", "127.0.0.1", "::1"])
    client = Client(guard)
    for host, status in (
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
    ):
        assert status == client.get("/model", headers={"host": host}).status_code


@pytest.mark.parametrize("content", [
    b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x08prVt" + b"\0\0\0\x08" * 2 + b"\0" * 4, b"%!PS-Adobe-3.0 EPSF-3.0\n" + b"%%Title: x\n" * 9,
])  # fmt: skip
def test_a_picture_is_weighed_by_what_decodes_it_and_no_interpreter_sees_it(content):
    """A head that lies says nothing of pixels; PostScript is no picture that a source reads."""
    assert pixels_of(content) in (0, NO_IMAGE)
    if content.startswith(b"%"):
        kept, _ = weighed([Item("the body", {"image": content})], 1 << 20)
        assert "no known image format" in kept[0].problems[0]


def test_a_bug_tells_a_client_nothing(ask, served, monkeypatch, capsys):
    """Neither traceback nor path: those stand in the log, under the id of the request."""
    monkeypatch.setattr(served("spam").scorer, "answers", lambda _records: 1 / 0)
    reply = ask("spam").post("/predict", json={"records": [{"text": "a"}]}, headers={"x-request-id": "r-1"})
    assert (500, "r-1") == (reply.status_code, reply.headers["x-request-id"])
    assert {"error": "Internal error; the server's log tells more under r-1."} == reply.json()
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_answer_that_takes_too_long_is_given_up(tmp_path):
    """504 after the limit; the next request is answered."""
    slow = Served(Named("digits", "3", write_model(tmp_path, DIGITS)), {})
    answers, slow.seconds_per_record = slow.scorer.answers, 1.0
    slow.scorer.answers = lambda records: time.sleep(0.4) or answers(records)
    client = Client(Endpoints(slow, Limits(seconds=0.1)).application(None))
    assert 504 == client.post("/predict", json={"records": [slow.example]}).status_code
    slow.scorer.answers = answers
    time.sleep(0.5)
    assert 200 == client.post("/predict", json={"records": [slow.example]}).status_code


def test_the_metrics_count_requests_records_and_answers(ask):
    """In the text form of Prometheus, whose every line is a name, labels and a number."""
    client = ask("digits")
    client.post("/predict", json={"records": [{"image": base64.b64encode(png()).decode()}, {}]})
    client.get("/nowhere")
    text = client.get("/metrics").text
    for line in (
        'millrace_requests_total{endpoint="predict",status="200"} 1',
        'millrace_requests_total{endpoint="none",status="404"} 1',
        'millrace_records_total{outcome="answered"} 1',
        'millrace_records_total{outcome="refused"} 1',
        'millrace_batch_records_bucket{le="2.0"} 1',
        "millrace_request_seconds_count 2",
    ):
        assert line in text.splitlines()
    assert all(line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0 for line in text.splitlines())


def test_the_model_tells_what_is_known_of_the_registry(ask):
    """What is followed, whether it answers, and which version was refused."""
    followed = Followed(
        "spam@champion", heard=1.0, problem="down", refused={"version": "4", "why": "damaged"}
    )
    told = ask("spam", followed=followed).get("/model").json()["following"]
    assert ("spam@champion", "down", "4") == (told["alias"], told["problem"], told["refused"]["version"])
    assert ask("spam").get("/model").json()["following"] is None


def test_pages_ask_nobody_else(ask):
    """No address of another server stands in them, and the browser would refuse to ask one."""
    for path in ("/", "/docs"):
        page = ask("spam").get(path)
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
