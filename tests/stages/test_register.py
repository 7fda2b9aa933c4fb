"""The register stage: complete before it exists, decided before it moves, the same when repeated."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.gate import Rules
from pipeline.runtime import NotPermitted, ServiceDown, StorageFailed
from pipeline.tracking import registry
from pipeline.tracking.store import create_sqlite, open_store
from tests.registration import make_registration_project, model, put_best

pytestmark = pytest.mark.timeout(180)
RULES = Rules(margin=0.0, confidence=0.95, resamples=200, seed=7)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Make the project and an empty store once."""
    from pipeline import runtime

    runtime.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path_factory.mktemp("ready") / "project")
    create_sqlite(root / "mlflow.db")
    return root


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


def run_register(rules=RULES):
    from pipeline.stages import register

    names = ["cnn", "linear", "majority"]
    original, register.report.print_report = register.report.print_report, lambda *_a, **_k: None
    try:
        return register.register(
            candidates=names, baselines=names[1:], model_name="digits", experiment="digits", rules=rules
        )
    finally:
        register.report.print_report = original


def store_of(project):
    return open_store(project, "digits")


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
    assert {"MLmodel", "data/model.keras", "millrace/golden.npz", "millrace/state.json"} <= files
    assert not [name for name in files if "pickle" in name or name.endswith(".pkl")]
    assert (folder / "data/model.keras").read_bytes() == (project / "models/best/model.keras").read_bytes()
    names = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert {"keras", "mlflow", "numpy", "tensorflow"} == set(names)


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


@pytest.mark.parametrize(
    "step",
    [
        f"{CLIENT}.log_model_artifacts",
        f"{CLIENT}.finalize_logged_model",
        f"{CLIENT}.create_model_version",
        f"{REGISTRY}.record_decision",
        f"{REGISTRY}.apply_decision",
        "pipeline.tracking.record.describe",
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
    original = registry.download

    def damaging(store, model_id, folder):
        arrived = original(store, model_id, folder)
        (arrived / "millrace/state.json").write_text("{}")
        return arrived

    monkeypatch.setattr(registry, "download", damaging)
    with pytest.raises(StorageFailed, match=r"millrace/state.json differ.*No model version was made"):
        run_register()
    assert [] == versions(store_of(project))


def test_other_answers_in_a_fresh_process_make_no_version(project):
    """Golden predictions that the loaded model does not give stop the registration."""
    import numpy as np

    golden = project / "models/best/golden.npz"
    with np.load(golden) as content:
        inputs, probabilities = content["inputs"], content["probabilities"]
    np.savez(golden, inputs=inputs, probabilities=np.roll(probabilities, 1, axis=0))
    with pytest.raises(StorageFailed, match=r"does not work in a fresh process: .*Predictions differ"):
        run_register()
    assert [] == versions(store_of(project))


def test_missing_alias_is_no_error(project):
    """A model without a champion, and no model at all, both answer "none"."""
    store = store_of(project)
    assert registry.champion_version(store, "digits") is None
    store.client.create_registered_model("digits")
    assert registry.champion_version(store, "digits") is None


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
