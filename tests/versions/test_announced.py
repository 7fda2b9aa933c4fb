"""What the registry says reaches a server that knows no MLflow: which version, where its files lie, what went wrong."""

import json
import shutil
import time
from pathlib import Path

import httpx
import pytest

from pipeline.runtime.errors import InputMissing
from pipeline.serving.scorer import Scorer
from pipeline.serving.served import AWAY
from pipeline.tracking import registry
from pipeline.versions.announced import announced
from tests.helpers.empty_store import put_store
from tests.helpers.registered import packed, store_in
from tests.helpers.served_models import DIGITS, write_model
from tests.helpers.synthetic_project import HERE
from tests.serving.test_server import COMMAND, Running, png

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A project with a store of three versions that can answer, none of them champion; the working directory is there."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(HERE / name, root / name)
    put_store(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
        store = store_in(root)
        for seed in (1, 2, 3):
            folder = packed(root / f"packed-{seed}", bytes([seed]), {"train": ["one"], "val": ["two"]})
            write_model(folder / "millrace", DIGITS, seed=seed)
            run = store.client.create_run(store.experiment_id)
            registry.create_version(store, "digits", folder, run_id=run.info.run_id, tags={}, description="")
        yield store, root


@pytest.fixture
def store(ready):
    """Return the store; version 1 is champion, and nothing was fetched."""
    opened, root = ready
    opened.client.set_registered_model_alias("digits", "champion", "1")
    shutil.rmtree(root / ".millrace", ignore_errors=True)
    return opened


def test_a_moved_alias_is_announced_with_its_files(store):
    """Once; until it moves again the registry is only heard."""
    lines = announced("", "digits", 0.01, Path.cwd())
    first = next(lines)
    assert ("digits", "1") == (first["name"], first["version"])
    assert Scorer(Path(first["folder"])).answers([png(1)]) == Scorer(Path("packed-1/millrace")).answers(
        [png(1)]
    )
    assert [{"heard": True}] * 2 == [next(lines), next(lines)]
    store.client.set_registered_model_alias("digits", "champion", "2")
    assert ("2", {"heard": True}) == (next(lines)["version"], next(lines))


def test_damaged_files_and_a_lost_alias_are_told_and_asked_for_again(store):
    """The version is named where it is known; with the files back it is announced."""
    lines = announced("digits@champion", "other", 0.01, Path.cwd())
    next(lines)
    (kept,) = [
        path for path in Path("mlartifacts").rglob("golden.npz") if same(path, "packed-2/millrace/golden.npz")
    ]
    kept.write_bytes(b"damaged")
    store.client.set_registered_model_alias("digits", "champion", "2")
    problem = next(lines)
    assert "2" == problem["version"]
    assert "golden.npz differ" in problem["problem"]
    shutil.copyfile("packed-2/millrace/golden.npz", kept)
    assert "2" == next(lines)["version"]
    store.client.delete_registered_model_alias("digits", "champion")
    assert "no alias champion" in next(lines)["problem"]


def test_an_alias_that_is_gone_is_told_as_such_and_announced_once_it_is_back(store):
    """Also of the version that it had before; a registry that is away is no alias that is gone."""
    store.client.set_registered_model_alias("digits", "challenger", "2")
    lines = announced("digits@challenger", "digits", 0.01, Path.cwd(), patient=True)
    assert "2" == next(lines)["version"]
    store.client.delete_registered_model_alias("digits", "challenger")
    gone = next(lines)
    assert (True, True) == (gone["gone"], "no alias challenger" in gone["problem"])
    assert next(lines)["gone"]
    store.client.set_registered_model_alias("digits", "challenger", "2")
    assert ("2", {"heard": True}) == (next(lines)["version"], next(lines))
    Path("mlflow.db").rename("away.db")
    try:
        away = next(lines)
    finally:
        Path("mlflow.db").unlink(missing_ok=True)
        Path("away.db").rename("mlflow.db")
    assert "gone" not in away


def test_a_version_that_cannot_be_had_is_announced_again_by_the_one_before(store):
    """Else a second model that was left out for it would stay so."""
    store.client.set_registered_model_alias("digits", "challenger", "1")
    lines = announced("digits@challenger", "digits", 0.01, Path.cwd(), patient=True)
    assert "1" == next(lines)["version"]
    (kept,) = [
        path for path in Path("mlartifacts").rglob("golden.npz") if same(path, "packed-3/millrace/golden.npz")
    ]
    kept.write_bytes(b"damaged")
    store.client.set_registered_model_alias("digits", "challenger", "3")
    assert "3" == next(lines)["version"]
    store.client.set_registered_model_alias("digits", "challenger", "1")
    assert ("1", True) == ((line := next(lines))["version"], "folder" in line)
    shutil.copyfile("packed-3/millrace/golden.npz", kept)
    store.client.delete_registered_model_alias("digits", "challenger")


def test_who_is_patient_goes_on_where_nothing_is_there_yet(store, tmp_path):
    """No alias, no version, no registry: told, and found once it is there."""
    lines = announced("digits@challenger", "digits", 0.01, Path.cwd(), patient=True)
    assert [True, True] == [next(lines)["gone"], next(lines)["gone"]]
    store.client.set_registered_model_alias("digits", "challenger", "3")
    assert "3" == next(lines)["version"]
    store.client.delete_registered_model_alias("digits", "challenger")
    told = next(announced("digits@champion", "digits", 0, tmp_path, patient=True))
    assert ("no model registry" in told["problem"], "gone" in told) == (True, False)


def test_who_wants_one_answer_asks_until_there_is_one(store):
    """A number: told once; that there is none, once; where the registry is away at the start, when it is back."""
    once = {"patient": True, "once": True}
    assert ["2"] == [line["version"] for line in announced("digits/2", "digits", 0.01, Path.cwd(), **once)]
    assert [True] == [line["gone"] for line in announced("digits/9", "digits", 0.01, Path.cwd(), **once)]
    lines = announced("digits/2", "digits", 0.01, Path.cwd(), **once)
    Path("mlflow.db").rename("away.db")
    try:
        away = [next(lines), next(lines)]
    finally:
        Path("mlflow.db").unlink(missing_ok=True)
        Path("away.db").rename("mlflow.db")
    assert ["problem"] * 2 == [name for line in away for name in line]
    assert ["2"] == [line["version"] for line in lines if "version" in line]


def same(path, other):
    """Say whether two files hold the same bytes."""
    return path.read_bytes() == Path(other).read_bytes()


def test_what_is_not_there_at_the_start_is_an_error(store, tmp_path):
    """No such version, no store: with the exit code of the cause."""
    with pytest.raises(InputMissing, match="no such model version"):
        next(announced("digits/9", "digits", 0, Path.cwd()))
    with pytest.raises(InputMissing, match="no model registry"):
        next(announced("", "digits", 0, tmp_path))


@pytest.mark.long
def test_a_server_follows_the_champion(store):
    """Started from the registry: another champion answers within seconds, a broken one never, the way back works."""
    project, scorers = Path.cwd(), {n: Scorer(Path(f"packed-{n}/millrace")) for n in "123"}
    server = Running([*COMMAND, "--port", "0", "--poll-seconds", "0.5"], cwd=project)
    try:

        def asked():
            reply = httpx.post(f"{server.uri}/predict", json={"records": [png(70)]})
            assert 200 == reply.status_code
            version = reply.headers["x-model-version"]
            assert json.loads(json.dumps(scorers[version].answers([png(70)]))) == reply.json()["answers"]
            return version

        def becomes(wanted):
            deadline = time.monotonic() + 30
            while (version := asked()) != wanted:
                assert time.monotonic() < deadline, version
                time.sleep(0.05)

        assert "1" == asked()
        store.client.set_registered_model_alias("digits", "champion", "2")
        becomes("2")
        (kept,) = [
            p for p in Path("mlartifacts").rglob("golden.npz") if same(p, "packed-3/millrace/golden.npz")
        ]
        kept.write_bytes(b"damaged")
        store.client.set_registered_model_alias("digits", "champion", "3")
        deadline = time.monotonic() + 30
        while httpx.get(f"{server.uri}/model").json()["following"]["refused"] is None:
            assert time.monotonic() < deadline
            assert "2" == asked()
        told = httpx.get(f"{server.uri}/model")
        assert "3" == told.json()["following"]["refused"]["version"]
        assert str(project) not in told.text
        store.client.set_registered_model_alias("digits", "champion", "1")
        becomes("1")
        assert 0 == server.end()
    finally:
        server.process.kill()
        server.process.communicate(timeout=30)


@pytest.mark.long
def test_a_second_version_by_its_number_takes_part_once_the_registry_is_there(store):
    """Away at the start of the server: told in /model, tried again."""
    Path("mlflow.db").rename("away.db")
    server = None
    try:
        more = ["--port", "0", "--poll-seconds", "0.2", "--canary", "digits/2", "--canary-share", "0.5"]
        server = Running([*COMMAND, "packed-1/millrace", *more], cwd=Path.cwd())

        def left_out(wanted):
            deadline = time.monotonic() + 60
            while (why := httpx.get(f"{server.uri}/model").json()["canary"]["left_out"]) != wanted:
                assert time.monotonic() < deadline, why
                time.sleep(0.05)

        left_out(AWAY)
        Path("mlflow.db").unlink(missing_ok=True)
        Path("away.db").rename("mlflow.db")
        left_out(None)
        assert "2" == httpx.get(f"{server.uri}/model").json()["canary"]["version"]
    finally:
        if Path("away.db").exists():
            Path("away.db").replace("mlflow.db")
        if server is not None:
            server.process.kill()
            server.process.communicate(timeout=30)
