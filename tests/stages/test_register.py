"""The register stage: complete before it exists, decided before it moves, the same when repeated."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pipeline.evaluation.golden import read_npz, write_npz
from pipeline.reports.console import LAST_RUN
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, ServiceDown, StorageFailed
from pipeline.runtime.files import read_json
from pipeline.tracking import registry, revocations
from pipeline.tracking import registry as tracking_registry
from pipeline.versions.seal import complete_origin
from tests.helpers.registration import (
    CLASSES,
    RULES,
    feature_state,
    images_and_labels,
    make_ready_project,
    model,
    put_best,
    run_register,
    store_of,
)
from tests.helpers.synthetic_project import HERE

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Make the project and an empty store once."""
    return make_ready_project(tmp_path_factory.mktemp("ready") / "project")


@pytest.fixture
def project(ready, tmp_path, monkeypatch):
    """Stand in a copy of it."""
    root = tmp_path / "project"
    shutil.copytree(ready, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@pytest.fixture
def quick_check(monkeypatch):
    """Skip the fresh process, which has tests of its own."""
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)


def versions(store):
    return sorted(int(item.version) for item in store.client.search_model_versions("name = 'digits'"))


def test_first_model_that_beats_the_baselines_becomes_champion(project):
    """The whole way, fresh process included: a version with tags, the alias, the decision file, the links."""
    decision = run_register()
    store = store_of(project)
    version = registry.champion_version(store, "digits")
    assert ("promoted", 1, decision["model_sha256"]) == (
        decision["decision"],
        version.number,
        version.model_sha256,
    )
    assert decision == json.loads((project / "reports/register/decision.json").read_text())
    last = json.loads((project / ".millrace/last_run.json").read_text())
    assert {"name": "digits", "version": 1, "sha256": decision["model_sha256"]} == last["model"]
    assert all(link.startswith("http://127.0.0.1:5000/") for link in last["links"].values())
    page = store.client.get_run(last["run_id"]).data.tags["mlflow.note.content"]
    assert page.startswith("**cnn became champion**: test accuracy 0.9000")


def test_packed_model_holds_no_pickle_and_pins_its_packages(project, quick_check):
    """What is registered is the canonical model file, our papers and pinned packages; no pickle."""
    run_register()
    store = store_of(project)
    folder = registry.fetch_model(store, registry.champion_version(store, "digits"), project / "back")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    papers = {"millrace/golden.npz", "millrace/model.onnx", "millrace/state.json"}
    assert {"MLmodel", "data/model.keras", *papers} <= files
    assert not [name for name in files if "pickle" in name or name.endswith(".pkl")]
    assert (folder / "data/model.keras").read_bytes() == (project / "models/best/model.keras").read_bytes()
    names = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    both = {"h5py", "keras", "mlflow", "msgspec", "numpy", "onnxruntime", "pillow", "pyarrow", "tensorflow"}
    assert both == set(names)


def test_a_version_carries_its_exported_model_and_the_digest_of_it(project, quick_check):
    """What is served is sealed as what is archived; without it nothing is registered."""
    exported = project / "models/best/model.onnx"
    content = exported.read_bytes()
    exported.unlink()
    with pytest.raises(InputMissing, match=r"holds no exported model.*dvc repro evaluate"):
        run_register()
    assert [] == versions(store_of(project))
    exported.write_bytes(content)
    run_register()
    listed = json.loads(registry.champion_version(store_of(project), "digits").tags[registry.FILES])
    assert hashlib.sha256(content).hexdigest() == listed["millrace/model.onnx"]


def test_an_exported_model_that_answers_otherwise_is_not_registered(project):
    """The fresh process that tries what arrived asks onnxruntime, too."""
    from pipeline.export.onnx_model import onnx_bytes

    (project / "models/best/model.onnx").write_bytes(onnx_bytes(model(1.0)))
    with pytest.raises(StorageFailed, match="Predictions differ"):
        run_register()
    assert [] == versions(store_of(project))


def test_the_champion_answers_image_files_from_the_registry(project, quick_check):
    """`millrace predict FOLDER --out answers.csv` in the project, as a person types it."""
    from PIL import Image

    from pipeline import cli

    run_register()
    shutil.copy(HERE / "params.yaml", project / "params.yaml")
    images, labels = images_and_labels()
    (project / "new").mkdir()
    for number, image in enumerate(images[:6]):
        Image.fromarray(image[..., 0]).save(project / f"new/{number}.png")
    cli.main(["predict", str(project / "new"), "--out", str(project / "answers.csv")])
    answers = pd.read_csv(project / "answers.csv")
    assert [CLASSES[label] for label in labels[:6]] == answers["class"].tolist()
    assert [f"{number}.png" for number in range(6)] == answers["id"].tolist()


def test_planted_pickle_is_refused(project, quick_check, monkeypatch):
    """If MLflow writes a pickle beside the model, nothing is registered."""
    import mlflow.keras

    from pipeline.tracking import packing

    original = mlflow.keras.save_model

    def with_pickle(saved, path, **keywords):
        original(saved, path, **keywords)
        (Path(path) / "data/custom_objects.cloudpickle").write_bytes(b"danger")

    monkeypatch.setattr(packing.mlflow.keras, "save_model", with_pickle)
    with pytest.raises(NotPermitted, match="pickle"):
        run_register()
    assert [] == versions(store_of(project))


def test_registering_again_changes_nothing(project, quick_check):
    """The second run finds the version, keeps its decision to the byte, and moves no alias."""
    run_register()
    store = store_of(project)
    before = (project / "reports/register/decision.json").read_bytes(), registry.aliases(store, "digits")
    run_register()
    assert before == (
        (project / "reports/register/decision.json").read_bytes(),
        registry.aliases(store, "digits"),
    )
    assert [1] == versions(store)


CLIENT, REGISTRY = "mlflow.tracking.MlflowClient", "pipeline.tracking.registry"


@pytest.mark.long
@pytest.mark.parametrize(
    "step",
    [
        f"{CLIENT}.log_model_artifacts",
        f"{CLIENT}.finalize_logged_model",
        f"{CLIENT}.create_model_version",
        f"{REGISTRY}.record_decision",
        f"{REGISTRY}.apply_decision",
        "pipeline.tracking.record.set_description",
    ],
)
def test_killed_before_any_step_the_next_run_gives_the_same_decision(project, quick_check, monkeypatch, step):
    """A crash at any point, also after the alias has moved, ends in one version and the same decision."""

    class Killed(BaseException):
        """The process dies."""

    def die(*_arguments, **_keywords):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(step, die)
        with pytest.raises(Killed):
            run_register()
    decision = run_register()
    store = store_of(project)
    assert "promoted" == decision["decision"]
    assert ([1], {"champion": 1}) == (versions(store), registry.aliases(store, "digits"))
    assert 1 == len(store.client.search_logged_models([store.experiment_id]))


def test_better_model_replaces_the_champion_and_the_way_back_is_kept(project, quick_check):
    """The challenger wins on the same rows scored now; `previous` points to the old champion."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    decision = run_register()
    assert "promoted" == decision["decision"]
    aliases = registry.aliases(store_of(project), "digits")
    assert {"champion": 2, "previous": 1} == aliases


def test_model_that_is_no_better_is_registered_but_refused(project, quick_check):
    """The version and the reasons are written; the alias stays."""
    run_register()
    put_best(project, model(9.0, confused=12.0))
    decision = run_register()
    store = store_of(project)
    assert ("refused", [1, 2]) == (decision["decision"], versions(store))
    assert 1 == registry.champion_version(store, "digits").number
    refused = store.client.get_model_version("digits", "2")
    assert "refused" == json.loads(refused.tags["millrace.decision"])["decision"]


def test_model_that_knows_nothing_never_becomes_the_first_champion(project, quick_check):
    """Without a champion the baselines are the measure."""
    put_best(project, model(0.0))
    decision = run_register()
    assert "refused" == decision["decision"]
    assert {} == registry.aliases(store_of(project), "digits")


def test_old_model_that_comes_back_is_judged_against_the_present_champion(project, quick_check):
    """A decision recorded when another model was champion does not promote the old one again."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    run_register()
    put_best(project, model(9.0, confused=12.0))
    decision = run_register()
    assert "refused" == decision["decision"]
    assert 2 == registry.champion_version(store_of(project), "digits").number


def test_damaged_champion_is_never_compared(project, quick_check):
    """A champion whose file is not what was registered stops the stage; no alias moves."""
    run_register()
    (stored,) = (project / "mlartifacts").rglob("model.keras")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    put_best(project, model(8.0))
    with pytest.raises(StorageFailed, match="not those that were registered"):
        run_register()
    assert 1 == registry.champion_version(store_of(project), "digits").number


def test_champion_without_files_is_never_compared(project, quick_check):
    """MLflow calls a version without files READY; we do not."""
    run_register()
    shutil.rmtree(project / "mlartifacts")
    put_best(project, model(8.0))
    with pytest.raises(StorageFailed, match="cannot be read"):
        run_register()


def test_files_that_change_on_the_way_make_no_version(project, quick_check, monkeypatch):
    """If the store gives back other bytes than it was sent, no version comes into being."""
    original = registry.download_files

    def damaging(store, model_id, folder):
        arrived = original(store, model_id, folder)
        (arrived / "millrace/state.json").write_text("{}")
        return arrived

    monkeypatch.setattr(registry, "download_files", damaging)
    with pytest.raises(StorageFailed, match=r"millrace/state.json differ.*No model version was made"):
        run_register()
    assert [] == versions(store_of(project))


def test_other_answers_in_a_fresh_process_make_no_version(project):
    """Golden predictions that the loaded model does not give stop the registration."""
    golden = project / "models/best/golden.npz"
    arrays = read_npz(golden)
    write_npz(golden, arrays | {"predictions": np.roll(arrays["predictions"], 1, axis=0)})
    with pytest.raises(StorageFailed, match=r"does not work in a fresh process: .*Predictions differ"):
        run_register()
    assert [] == versions(store_of(project))


def test_missing_alias_is_no_error(project):
    """A model without a champion, and no model at all, both answer "none"."""
    store = store_of(project)
    assert registry.champion_version(store, "digits") is None
    store.client.create_registered_model("digits")
    assert registry.champion_version(store, "digits") is None


@pytest.mark.long
def test_dead_server_stops_the_stage_with_what_to_do(project, monkeypatch):
    """Exit code 69: which server, that nothing is lost, and the command to repeat."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ServiceDown, match=r"http://127.0.0.1:9.*Nothing is lost.*dvc repro"):
        run_register()


def test_champion_is_moved_after_previous(project, quick_check, monkeypatch):
    """A crash between the two aliases leaves the old champion in place, never none."""
    from mlflow.tracking import MlflowClient

    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    moved = []
    original = MlflowClient.set_registered_model_alias

    def spy(self, name, alias, version):
        moved.append((alias, int(version)))
        return original(self, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", spy)
    run_register()
    assert [("previous", 1), ("champion", 2)] == moved


def test_champion_of_another_machine_is_not_overwritten(project, quick_check, monkeypatch):
    """Another machine promotes between comparison and promotion: nothing moves, and the next run compares anew."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    original = registry.record_decision

    def meanwhile(store, name, version, decision):
        original(store, name, version, decision)
        foreign = store.client.create_model_version(
            name,
            source=f"models:/{version.model_id}",
            model_id=version.model_id,
            tags={"model_sha256": "f" * 64},
        )
        store.client.set_registered_model_alias(name, "champion", foreign.version)

    monkeypatch.setattr(registry, "record_decision", meanwhile)
    with pytest.raises(Busy, match=r"moved the alias `champion` of digits.*Received: ffff.*dvc repro"):
        run_register()
    assert {"champion": 3} == registry.aliases(store_of(project), "digits")


@pytest.mark.long
@pytest.mark.parametrize("changed", ["image", "label", "baseline"])
def test_recorded_decision_ends_with_what_it_was_based_on(project, quick_check, changed):
    """Another pixel or label of a test sample, or another baseline, makes another question."""
    before = run_register()
    if changed == "image":
        images = np.load(project / "data/interim/payload.npy")
        images[0, 3, 3, 0] += 1
        np.save(project / "data/interim/payload.npy", images)
    elif changed == "label":
        rows = pq.read_table(project / "data/split/split.parquet").to_pylist()
        rows[0]["label"] = "b"
        pq.write_table(pa.Table.from_pylist(rows), project / "data/split/split.parquet")
    else:
        shutil.copy(project / "models/best/model.keras", project / "models/selected/linear/model.keras")
    after = run_register()
    assert ("promoted", "unchanged") == (before["decision"], after["decision"])
    assert before["key"] != after["key"]


@pytest.mark.long
def test_every_look_at_the_test_set_is_counted_and_shown(project, quick_check):
    """The second model is the 2nd, on page, report and terminal; a fresh clone learns it from the registry."""
    run_register()
    put_best(project, model(9.0, confused=12.0))
    (project / ".millrace/test_ledger.jsonl").unlink()
    run_register()
    last = json.loads((project / ".millrace/last_run.json").read_text())
    expected = "Look 2 at the test set: it had judged 1 model before this one (the 2nd)"
    page = store_of(project).client.get_run(last["run_id"]).data.tags["mlflow.note.content"]
    for text in (last["looks"], page, (project / "reports/register/report.html").read_text()):
        assert expected in text


def test_pixels_of_training_samples_do_not_reopen_a_decision(project, quick_check):
    """Only the rows that judge count."""
    before = run_register()
    images = np.load(project / "data/interim/payload.npy")
    images[1] += 1
    np.save(project / "data/interim/payload.npy", images)
    assert before == run_register()


def test_champion_for_another_way_of_resizing_is_not_compared(project, quick_check):
    """Images of the same shape that came about in another way are another kind of input."""
    (project / "data/features/state.json").write_text(
        json.dumps(feature_state() | {"data": {"resize": "pad"}})
    )
    put_best(project, model(9.0, confused=12.0))
    shutil.copy(project / "data/features/state.json", project / "models/best/state.json")
    run_register()
    (project / "data/features/state.json").write_text(
        json.dumps(feature_state() | {"data": {"resize": "crop"}})
    )
    put_best(project, model(9.0))
    decision = run_register()
    assert "refused" == decision["decision"]
    assert "champion cannot be asked what today's data asks" in decision["reasons"][0]
    assert "data.resize is pad, today's crop" in decision["reasons"][0]


@pytest.mark.long
@pytest.mark.parametrize(
    "error",
    [requests.ConnectionError("refused"), MlflowException("broken", error_code=TEMPORARILY_UNAVAILABLE)],
    ids=["connection", "5xx"],
)
def test_server_that_goes_away_under_the_champion_is_no_damaged_champion(
    project, quick_check, monkeypatch, error
):
    """An outage while the champion is fetched ends in exit code 69, not in advice to remove it."""
    run_register()
    put_best(project, model(8.0))
    original = registry.download_files

    def failing(store, model_id, folder):
        if model_id == registry.champion_version(store, "digits").model_id:
            raise error
        return original(store, model_id, folder)

    monkeypatch.setattr(registry, "download_files", failing)
    with pytest.raises(ServiceDown, match="does not answer"):
        run_register()


def test_links_hide_the_password_of_the_server(project, quick_check, monkeypatch):
    """What is printed and written down for links has no user and no password."""
    from pipeline.stages import register
    from pipeline.tracking import store as tracking_store

    original = tracking_store.open_store

    def on_a_server(root, experiment):
        opened = original(root, experiment)
        return replace(opened, uri="http://me:secret@mlflow.local:5000")

    monkeypatch.setattr(tracking_store, "open_store", on_a_server)
    monkeypatch.setattr(registry, "download_files", lambda _store, _id, folder: folder)
    monkeypatch.setattr(registry, "require_same_files", lambda _sent, _arrived: None)
    run_register()
    content = register.console.LAST_RUN.read_text()
    assert "http://mlflow.local:5000/#/" in content
    assert "secret" not in content


@pytest.mark.slow
def test_check_in_a_fresh_process_dies_with_the_stage_and_leaves_its_status_alone(project):
    """kill -9 of the stage leaves no TensorFlow process behind, and the status file is the stage's."""
    best = project / "models/best"
    packed = project / "packed"
    (packed / "data").mkdir(parents=True)
    shutil.copy(best / "model.keras", packed / "data/model.keras")
    shutil.copytree(best, packed / "millrace")
    tracking_registry.check_in_fresh_process(packed)
    assert not (project / ".millrace/status.json").exists()
    # The check never ends by itself: it reads golden predictions from a pipe that is open and stays empty.
    pipe = packed / "millrace/golden.npz"
    pipe.unlink()
    os.mkfifo(pipe)
    code = "import sys; from pathlib import Path; from pipeline.tracking import registry; "
    code += "registry.check_in_fresh_process(Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    stage = subprocess.Popen([sys.executable, "-c", code, str(packed)], env=environment)
    writer = []
    wait_until(lambda: writer.extend(opened_for_writing(pipe)) or writer)
    child = Path("/proc", Path(f"/proc/{stage.pid}/task/{stage.pid}/children").read_text().split()[0])
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    wait_until(lambda: not child.exists() or ") Z " in (child / "stat").read_text(), 5)
    os.close(*writer)


def opened_for_writing(pipe):
    """Return the descriptor of a pipe that somebody reads, or nothing."""
    try:
        return [os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)]
    except OSError:
        return []


def wait_until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


SEALED = (
    "candidate", "data.md5.data/split/split.parquet", "data.md5.test", "data.md5.train", "data.md5.val",
    "data.source.sha256", "dvc.lock.committed", "dvc.stages.sha256", "environment.sha256", "git.commit", "git.dirty",
    "machine.facts", "machine.trained_here", "millrace.files", "millrace.fingerprint", "model_sha256", "params.sha256",
    "requirements.lock.sha256", "seed", "threads", "train_rows.sha256",
)  # fmt: skip


def test_version_carries_what_it_came_from(project, quick_check):
    """Tags for code, data, parameters, environment, seeds and machine; the papers beside the model."""
    pd.DataFrame({"content_sha256": ["f" * 64], "split": ["train"], "start": [0], "stop": [1]}).to_parquet(
        project / "models/best/trained_on.parquet"
    )
    run_register()
    store = store_of(project)
    version = registry.champion_version(store, "digits")
    assert set(SEALED) <= version.tags.keys()
    assert "these tests have no git" == version.tags["millrace.uncommitted"]
    facts = json.loads(version.tags["machine.facts"])
    assert {"cpu", "cpu_flags", "onednn", "os", "python", "tensorflow", "keras", "numpy"} <= facts.keys()
    folder = registry.fetch_model(store, version, project / "back")
    for name, original in {
        "dvc.lock": "dvc.lock",
        "params.yaml": "params.yaml",
        "source.json": "data/source.json",
        "trained_on.parquet": "models/best/trained_on.parquet",
    }.items():
        assert (project / original).read_bytes() == (folder / "millrace" / name).read_bytes()


def commit_all():
    """Commit everything but results, as a user would."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    Path(".gitignore").write_text("/mlflow.db*\n/mlartifacts\n/.millrace\n/models\n/back\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *who, *command], check=True, capture_output=True)


def test_first_champion_need_not_wait_for_a_commit_which_completes_its_record(project, quick_check):
    """It replaces none: promoted at once, and told; once its origin is committed, version and runs lead back to it."""
    promoted = run_register(uncommitted=None)
    store = store_of(project)
    version = registry.champion_version(store, "digits")
    assert "promoted" == promoted["decision"]
    said = read_json(LAST_RUN)["reasons"][-1]
    assert said.startswith("Its origin is not committed yet. There is no git commit")
    assert said.endswith("run `git init` and commit everything; `millrace lineage` then finds the commit.")
    assert not (project / "reports/register/settled").is_symlink()
    assert version == complete_origin(store, "digits", version)
    commit_all()
    completed = complete_origin(store, "digits", version)
    run = store.client.get_run(store.client.get_model_version("digits", "1").run_id)
    parent = store.client.get_run(run.data.tags["mlflow.parentRunId"])
    command = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    now = registry.champion_version(store, "digits")
    for tags in (completed.tags, now.tags, run.data.tags, parent.data.tags):
        assert (commit, "false", "true") == (
            tags["git.commit"],
            tags["git.dirty"],
            tags["dvc.lock.committed"],
        )
    assert promoted == run_register(uncommitted=None)
    assert promoted["reasons"] == read_json(LAST_RUN)["reasons"]
    assert [1] == versions(store)


def test_who_was_champion_before_makes_the_next_one_wait(project, quick_check):
    """The first one was rolled back to nothing: there was a champion, so the next is no first one."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    store = store_of(project)
    store.client.delete_registered_model_alias("digits", "champion")
    put_best(project, model(9.0))
    assert "held" == run_register(uncommitted=None)["decision"]
    assert {} == registry.aliases(store, "digits")


@pytest.fixture
def reigning(project, quick_check):
    """Make a weaker model champion; what is in models/best would replace it."""
    put_best(project, model(9.0, confused=12.0))
    run_register()
    put_best(project, model(9.0))
    return project


def test_model_that_no_commit_leads_back_to_is_held_until_there_is_one(reigning):
    """Held, not promoted, with what to do; after the commit the same command promotes the same version."""
    held = run_register(uncommitted=None)
    store = store_of(reigning)
    assert ("held", {"champion": 1}) == (held["decision"], registry.aliases(store, "digits"))
    assert "then run `dvc repro` again: it will be judged anew in seconds." in held["reasons"][-1]
    assert (reigning / "reports/register/settled").is_symlink()
    assert held == run_register(uncommitted=None)
    commit_all()
    promoted = run_register(uncommitted=None)
    version = registry.champion_version(store, "digits")
    assert ("promoted", [1, 2]) == (promoted["decision"], versions(store))
    assert "uncommitted" not in promoted
    assert ("false", "true") == (version.tags["git.dirty"], version.tags["dvc.lock.committed"])
    assert 40 == len(version.tags["git.commit"])
    assert not (reigning / "reports/register/settled").is_symlink()


def test_dirty_tree_is_held_or_let_pass_in_words_that_are_recorded(reigning):
    """A change outside of the commit holds the model back; the reason in params.yaml stands in decision and tags."""
    commit_all()
    (reigning / "notes.txt").write_text("not committed")
    held = run_register(uncommitted=None)
    assert "held" == held["decision"]
    assert "notes.txt" in held["reasons"][-1]
    passed = run_register(uncommitted="a demonstration")
    version = registry.champion_version(store_of(reigning), "digits")
    assert ("promoted", "a demonstration") == (passed["decision"], passed["uncommitted"])
    assert "a demonstration" == version.tags["millrace.uncommitted"]


def test_reigning_champion_is_not_held_by_a_dirty_tree(project, quick_check):
    """Promoted from a commit; a later edit neither holds the champion nor touches what was recorded of it."""
    commit_all()
    promoted = run_register(uncommitted=None)
    (project / "notes.txt").write_text("not committed")
    assert promoted == run_register(uncommitted=None) == run_register(uncommitted="a demonstration")
    version = registry.champion_version(store_of(project), "digits")
    assert promoted == registry.recorded_decision(version)
    assert "millrace.uncommitted" not in version.tags
    assert not (project / "reports/register/settled").is_symlink()


def test_record_of_a_promotion_outlives_other_terms(project, quick_check):
    """Under other terms the champion is unchanged; its version still says why it became champion."""
    promoted = run_register()
    unchanged = run_register(replace(RULES, floors={"accuracy": 0.99}))
    version = registry.champion_version(store_of(project), "digits")
    assert promoted["checks"]
    assert promoted == registry.recorded_decision(version)
    assert "true" == version.tags[registry.APPLIED]
    assert "unchanged" == unchanged["decision"]
    assert set(promoted["reasons"]) < set(unchanged["reasons"])


@pytest.mark.parametrize("verdict", ["held", "unchanged"])
def test_applied_promotion_is_not_overwritten(project, quick_check, verdict):
    """Only a verdict of the gate takes the place of a promotion that was carried out; of one that was not, any does."""
    promoted = run_register()
    store = store_of(project)
    version = registry.champion_version(store, "digits")
    registry.record_decision(store, "digits", version, {**promoted, "decision": verdict})
    assert promoted == registry.recorded_decision(registry.champion_version(store, "digits"))
    store.client.set_model_version_tag("digits", "1", registry.APPLIED, "false")
    version = registry.champion_version(store, "digits")
    registry.record_decision(store, "digits", version, {**promoted, "decision": verdict})
    version = registry.champion_version(store, "digits")
    assert verdict == registry.recorded_decision(version)["decision"]


def test_refused_model_is_refused_whether_committed_or_not(project, quick_check):
    """Only a promotion can be held; a refusal needs no commit and settles the question."""
    put_best(project, model(0.0))
    assert "refused" == run_register(uncommitted=None)["decision"]
    assert not (project / "reports/register/settled").is_symlink()


def test_revoked_model_never_becomes_champion_again(project, quick_check):
    """After a rollback the same bytes are refused with the reason, also under a new version number."""
    run_register()
    store = store_of(project)
    bad = registry.champion_version(store, "digits")
    store.client.delete_registered_model_alias("digits", "champion")
    revocations.revoke(
        store,
        "digits",
        bad.number,
        bad.model_sha256,
        reason="wrong on Mondays",
        when="2026-01-02",
        by="me@here",
    )
    store.client.delete_model_version("digits", "1")
    decision = run_register()
    assert ("refused", [2]) == (decision["decision"], versions(store))
    assert "revoked by me@here on 2026-01-02: wrong on Mondays" in decision["reasons"][0]
    assert {} == registry.aliases(store, "digits")


def test_version_whose_files_were_damaged_since_is_never_promoted(reigning):
    """Between being held and being promoted a file of the version changed in the store: the stage stops."""
    before = set((reigning / "mlartifacts").rglob("golden.npz"))
    run_register(uncommitted=None)
    (stored,) = set((reigning / "mlartifacts").rglob("golden.npz")) - before
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageFailed, match=r"millrace/golden.npz differ or are gone"):
        run_register()
    assert {"champion": 1} == registry.aliases(store_of(reigning), "digits")
