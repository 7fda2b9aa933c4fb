"""Requests that are mutated at random get a right answer or a reason, never an internal error or a path."""

import copy
import json
import math
import random

import msgspec
import pytest

from pipeline.serving.app import Endpoints
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.served import Served
from tests.helpers.served_data import WRITTEN, png
from tests.helpers.served_models import DIGITS, Client, state_of, write_model

MODELS = ["digits", "towns", "hours", "tickets", "anomaly"]
EACH = 120
"""Requests for each model and endpoint."""
ODD = [
    None, True, False, 0, -1, 3.5, 1e38, -1e300, 10**30, "", "x", "é\u0000\u202e", "1e999", "NaN", "9" * 400, [], {}, [[]], [None],
    [[1]], [[1, 2, 3]] * 3, {"a": {}}, "2026-01-05T00:00:00", "0000-99-99", "000", ["000"], {"000": 1}, [1e38] * 8, [[1e38] * 3] * 8,
]  # fmt: skip


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    """Name to a model and a client of it."""
    made = {}
    for name in MODELS:
        folder = tmp_path_factory.mktemp(name)
        state = DIGITS if name == "digits" else state_of(WRITTEN[name], folder / "data")
        served = Served(Named(name, "3", write_model(folder / name, state)), {})
        made[name] = served, Client(Endpoints(served, Limits(body_bytes=50_000, records=8)).application(None))
    return made


def places(value, path=()):
    """Yield the path of everything inside some JSON content."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def mutated(content, draw):
    """Return content with one to three places changed, removed or doubled."""
    content = copy.deepcopy(content)
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(list(places(content))[1:] or [()])
        if not path:
            return draw.choice(ODD)
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        kind = draw.random()
        if kind < 0.7:
            holder[path[-1]] = copy.deepcopy(draw.choice(ODD))
        elif kind < 0.85 and isinstance(holder, dict):
            holder[draw.choice(["x", "", "side", "id", "text", "inputs", "records", "é"])] = holder.pop(
                path[-1]
            )
        elif isinstance(holder, list):
            holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
        else:
            del holder[path[-1]]
    return content


def damaged(body, draw):
    """Return a body with some bytes changed, cut off, or put in."""
    body = bytearray(body)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(body) + 1)
        kind = draw.random()
        if kind < 0.4 and at < len(body):
            body[at] = draw.randrange(256)
        elif kind < 0.6:
            del body[at:]
        else:
            body[at:at] = draw.choice([b"\xff", b"\x00", b'"', b"[" * 3000, b"{}", b",", b"\n", b"e999"])
    return bytes(body)


def requests_of(name, served):
    """Return endpoint to a valid body."""
    example = json.loads(json.dumps(served.example))
    flat = {key: value for key, value in example.items() if not isinstance(value, dict)}
    for key in ("side", "known"):
        flat |= {f"{key}.{column}": value for column, value in example.get(key, {}).items()}
    tensors = [
        {"name": key, "datatype": "BYTES", "shape": [1, *shape_of(value)], "data": [value]}
        for key, value in flat.items()
    ]
    return {
        "/predict": {"records": [example, example]},
        "/invocations": {"dataframe_split": {"columns": list(flat), "data": [list(flat.values())]}},
        f"/v2/models/{name}/infer": {"inputs": tensors},
    }


def shape_of(value):
    """Return the shape of nested lists."""
    return [len(value), *shape_of(value[0])] if isinstance(value, list) else []


def sound(reply, path, folder):
    """Say whether a reply is a right answer, or a refusal with its reason."""
    text = reply.text
    if (
        reply.status_code >= 500
        or "Traceback" in text
        or str(folder) in text
        or "/tmp/" in text
        or " at 0x" in text
    ):
        return False
    content = reply.json()
    if path == "/predict" and reply.status_code in (200, 422):
        answers, refused = content["answers"], content["refused"]
        told = {one["index"] for one in refused}
        whole = all((answer is None) == (index in told) for index, answer in enumerate(answers))
        return whole and all(one["problems"] and one["place"] for one in refused) and finite(answers)
    if reply.status_code == 200:
        return finite(content)
    return 400 <= reply.status_code < 500 and bool(content.get("error") or content.get("message"))


def finite(content):
    """Say whether all numbers are."""
    if isinstance(content, dict | list):
        return all(map(finite, content.values() if isinstance(content, dict) else content))
    return not isinstance(content, float) or math.isfinite(content)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(range(1, 12), marks=pytest.mark.long, id="many"),
        pytest.param(
            range(12, 180), marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="134,400 per endpoint"
        ),
    ],
)
def test_mutated_requests_are_answered_or_refused(name, seed, clients, capsys):
    """JSON with odd values in odd places, and bodies with damaged bytes, at each endpoint that takes records."""
    served, client = clients[name]
    wrong = []
    for one in [seed] if isinstance(seed, int) else seed:
        draw = random.Random(one)
        for path, valid in requests_of(name, served).items():
            assert 200 == client.post(path, json=valid).status_code
            whole = json.dumps(valid).encode()
            bodies = [msgspec.json.encode(mutated(valid, draw)) for _ in range(EACH)]
            bodies += [damaged(whole, draw) for _ in range(EACH // 3)]
            replies = client.post_all(path, bodies, {"content-type": "application/json"})
            wrong += [
                (path, body[:2000], reply.status_code, reply.text[:500])
                for body, reply in zip(bodies, replies, strict=True)
                if not sound(reply, path, served.named.folder)
            ]
    assert [] == wrong[:3], capsys.readouterr().err[-3000:]


def test_mutated_files_are_answered_or_refused(clients, capsys):
    """Images, forms and tables with damaged bytes."""
    draw = random.Random(5)
    form = (
        b'--b\r\ncontent-disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
        + png()
        + b"\r\n--b--\r\n"
    )
    wrong = []
    for name, kind, valid in (
        ("digits", "image/png", png()),
        ("digits", "multipart/form-data; boundary=b", form),
        ("towns", "text/csv", b'text,age,town\n"win, a",3,Ulm\nsee you,,\n'),
        ("towns", "text/plain", b"win a prize"),
    ):
        served, client = clients[name]
        if kind != "text/plain":
            assert 200 == client.post("/predict", content=valid, headers={"content-type": kind}).status_code
        else:
            served.scorer.answers([{"text": "a"}])
        bodies = [damaged(valid, draw) for _ in range(EACH)]
        replies = client.post_all("/predict", bodies, {"content-type": kind})
        wrong += [
            (kind, body[:2000], reply.status_code, reply.text[:500])
            for body, reply in zip(bodies, replies, strict=True)
            if not sound(reply, "/predict", served.named.folder)
        ]
    assert [] == wrong[:3], capsys.readouterr().err[-3000:]
