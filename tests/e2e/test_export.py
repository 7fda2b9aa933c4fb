"""From a champion to one file, and from that file to answers where there is no project, no registry, no TensorFlow."""

import base64
import json
import shutil
import subprocess
import sys
import zipfile
from contextlib import chdir

import httpx
import jsonschema
import pytest

import millrace
from pipeline import cli
from pipeline.serving.described import example_record
from pipeline.serving.model_folder import read_bundle
from pipeline.serving.scorer import Scorer
from tests.helpers.registration import make_ready_project, run_register
from tests.helpers.served_models import DIGITS, environment, write_model
from tests.helpers.synthetic_project import HERE
from tests.serving.test_server import WITHOUT, Running

pytestmark = pytest.mark.timeout(240)
PREDICT = WITHOUT.replace("serve", "predict")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose model became champion."""
    root = make_ready_project(tmp_path_factory.mktemp("export") / "project")
    (root / "params.yaml").write_text((HERE / "params.yaml").read_text())
    with chdir(root):
        assert "promoted" == run_register(uncommitted="")["decision"]
    return root


@pytest.fixture(scope="module")
def bundle(project, tmp_path_factory):
    """The champion as ONNX, Keras and SavedModel."""
    path = tmp_path_factory.mktemp("elsewhere") / "champion.zip"
    licence = path.with_name("terms.txt")
    licence.write_text("Ask first.")
    called = ["export", "--format", "saved_model", "--format", "keras", "--out", str(path)]
    with chdir(project):
        cli.main([*called, "--licence", str(licence)])
    return path


def code_of(*called):
    with pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, called)))
    return ended.value.code


def test_a_bundle_holds_the_version_as_it_was_registered(project, bundle):
    """Papers byte by byte, the formats, schemas with an example, a card to read, and no names of samples."""
    manifest, files = read_bundle(bundle)
    assert {"name": "digits", "version": "1"}.items() <= manifest["model"].items()
    assert ["keras", "onnx", "saved_model"] == sorted(manifest["formats"])
    assert 90 == manifest["formats"]["saved_model"]["test"]["rows"]
    best = project / "models/best"
    for name in ("model.onnx", "model.keras", "state.json", "settings.json", "golden.npz"):
        assert (best / name).read_bytes() == files[name]
    schema = json.loads(files["schema.json"])
    (example,) = schema["record"]["examples"]
    jsonschema.validate(example, schema["record"])
    assert "image" == json.loads(schema["mlflow_signature"]["inputs"])[0]["name"]
    assert b"Ask first." == files["LICENSE"]
    card = files["MODEL_CARD.md"].decode()
    assert "# digits version 1" in card
    assert "| accuracy | 0.9000 | 0.8500 to 0.9500 |" in card
    assert "| `inputs` | uint8 | samples, 4, 4, 1 |" in card
    assert "trained_on.parquet" not in files


def test_the_same_version_gives_the_same_bytes(project, tmp_path, capsys):
    """With its name and number as the default name; what answers is said to be what Keras answers."""
    with chdir(project / "data"):
        cli.main(["export"])
    first = (project / "data/digits-1.zip").read_bytes()
    told = capsys.readouterr().out
    assert "16 samples of the test set" in told
    assert "golden 16: " in told
    assert "test 90: " in told
    with chdir(project / "models"):
        cli.main(["export", "digits/1", "--out", str(tmp_path / "again.zip")])
    assert first == (tmp_path / "again.zip").read_bytes()


def test_a_bundle_answers_where_there_is_nothing_else(project, bundle, tmp_path):
    """`predict`, `serve` and `load_model`, in an empty folder, by the version that the registry had."""
    record = example_record(json.loads((project / "models/best/state.json").read_text()))
    (expected,) = Scorer(project / "models/best").answers([record])
    (tmp_path / "records.jsonl").write_text(json.dumps({"path": "one.png"}) + "\n")
    (tmp_path / "one.png").write_bytes(base64.b64decode(record["image"]))
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, bundle, "records.jsonl"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {"id": "00000000", **expected} == json.loads(done.stdout)
    server = Running(["-c", WITHOUT, bundle, "--port", "0"], cwd=tmp_path)
    try:
        reply = httpx.post(f"{server.uri}/predict", json={"records": [record]})
        assert [expected] == reply.json()["answers"]
        assert "1" == reply.headers["x-model-version"]
        assert "digits" == httpx.get(f"{server.uri}/model").json()["name"]
    finally:
        assert 0 == server.end()
    assert [expected] == millrace.load_model(bundle).predict([record])


def test_an_unpacked_bundle_is_a_folder_that_answers(project, bundle, tmp_path):
    """`unzip` is enough, and TensorFlow Serving finds a SavedModel in it."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "digits")
    assert (tmp_path / "digits/saved_model/saved_model.pb").is_file()
    record = example_record(json.loads((project / "models/best/state.json").read_text()))
    assert Scorer(project / "models/best").answers([record]) == Scorer(tmp_path / "digits").answers([record])


def test_what_cannot_be_exported_is_told(project, tmp_path, monkeypatch, capsys):
    """Another suffix, no folder, no licence, no such format, no whole model, a champion's name outside of a project."""
    monkeypatch.chdir(project)
    assert 64 == code_of("export", "--out", tmp_path / "a.tar")
    assert 66 == code_of("export", "--out", tmp_path / "nowhere/a.zip")
    assert 66 == code_of("export", "--licence", tmp_path / "nowhere")
    assert 64 == code_of("export", "--format", "pickle")
    write_model(tmp_path / "answers", DIGITS)
    assert 66 == code_of("export", tmp_path / "answers")
    assert "no whole model" in capsys.readouterr().err
    assert 66 == code_of("export", tmp_path / "some.zip")
    shutil.copytree(project / "models/best", tmp_path / "best")
    (tmp_path / "photos.zip").write_text("photos")
    assert 64 == code_of("export", tmp_path / "best", "--out", tmp_path / "photos.zip")
    assert "photos" == (tmp_path / "photos.zip").read_text()
    monkeypatch.chdir(tmp_path)
    assert 66 == code_of("predict", "digits/1", "records.jsonl")
    assert "No dvc.yaml" in capsys.readouterr().err
