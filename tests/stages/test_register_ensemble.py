"""The register stage with an ensemble as the chosen model: one version, a run of its own, its members named."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline.tracking import registry
from pipeline.versions.lineage import way_back
from tests.helpers.registration import RULES, make_ready_project, model, run_register, store_of
from tests.helpers.synthetic_project import write_json

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose chosen model is the mean of two, in a folder of its own; the working directory is inside it."""
    root = make_ready_project(tmp_path / "project")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    put_ensemble(root)
    return root


def put_ensemble(root) -> None:
    """Make an ensemble of two models the chosen one, as `refit` and `evaluate` leave it."""
    from pipeline.evaluation.golden import write_npz
    from pipeline.export.onnx_model import onnx_bytes
    from pipeline.inference import prediction
    from pipeline.inference.keras_files import load_model, save_model
    from pipeline.selection.ensemble import joined
    from tests.helpers.registration import images_and_labels

    selected, best = root / "models/selected/ensemble", root / "models/best"
    selected.mkdir(parents=True)
    save_model(
        joined({"cnn": model(9.0), "other": model(6.0)}, {"cnn": "image", "other": "image"}),
        selected / "model.keras",
    )
    member = json.loads((best / "settings.json").read_text())
    members = {"cnn": {**member, "model": {"units": 16}}, "other": member}
    metrics = {"best_epoch": 0, "epochs": 0, "parameters": 102, "val_accuracy": 0.9, "val_loss": 0.3}
    write_json(selected / "settings.json", {**member, "family": "ensemble", "members": members})
    write_json(selected / "metrics.json", metrics)
    write_json(selected / "history.json", {"epochs": []})
    write_json(selected / "trials.json", [{"number": 0, "metrics": metrics, "state": "complete"}])
    for name in ("model.keras", "settings.json"):
        shutil.copy(selected / name, best / name)
    card = json.loads((best / "card.json").read_text())
    write_json(best / "card.json", {**card, "candidate": "ensemble", "members": ["cnn", "other"]})
    images = images_and_labels()[0][:16]
    answers = prediction.predict(load_model(best / "model.keras"), images, np.arange(16))
    write_npz(best / "golden.npz", {"inputs": images, "predictions": answers})
    (best / "model.onnx").write_bytes(onnx_bytes(load_model(best / "model.keras")))
    table = root / "reports/evaluate/tables/candidates.json"
    rows = json.loads(table.read_text())
    others = [{**row, "chosen": False} for row in rows]
    write_json(table, [*others, {**rows[0], "candidate": "ensemble", "family": "ensemble"}])
    lock = json.loads((root / "dvc.lock").read_text())
    lock["stages"]["refit"] = {"outs": [{"path": "models/selected", "hash": "md5", "md5": "7" * 32}]}
    (root / "dvc.lock").write_text(json.dumps(lock))


def test_an_ensemble_becomes_champion_with_a_run_and_members_of_its_own(project):
    """The version leads to a run named ensemble below the pipeline's, whose parameters are those of its members."""
    decision = run_register()
    assert ("promoted", "ensemble") == (decision["decision"], decision["candidate"])
    store = store_of(project)
    version = registry.champion_version(store, "digits")
    assert ("ensemble", "cnn, other") == (version.tags["candidate"], version.tags["members"])
    run = store.client.get_run(store.client.get_model_version("digits", "1").run_id)
    assert "ensemble (chosen), accuracy 0.9000" == run.info.run_name
    assert "pipeline" == store.client.get_run(run.data.tags["mlflow.parentRunId"]).data.tags["millrace.kind"]
    assert ("ensemble", "16") == (run.data.params["family"], run.data.params["members.cnn.model.units"])
    assert 0.9 == run.data.metrics["test/accuracy"]
    names = [
        item.info.run_name
        for item in store.client.search_runs(
            [store.experiment_id], f"tags.`mlflow.parentRunId` = '{run.data.tags['mlflow.parentRunId']}'"
        )
    ]
    assert ["cnn", "ensemble (chosen)", "linear", "majority"] == sorted(
        name.partition(",")[0] for name in names
    )
    assert "cnn, other" == way_back(store, "digits", version)["tags"]["members"]
    again = run_register()
    assert decision == again


def test_the_budgets_count_the_joined_file(project):
    """A budget that each member keeps and both together do not is a refusal; a single answer is timed of both."""
    size = (project / "models/best/model.keras").stat().st_size
    of_a_member = (project / "models/tuned/cnn/model.keras").stat().st_size
    assert of_a_member < size
    budget = (of_a_member + size) / 2 / 2**20
    decision = run_register(replace(RULES, max_size_mib=budget, max_latency_ms=1000.0))
    assert "refused" == decision["decision"]
    verdicts = {check["name"]: check["verdict"] for check in decision["checks"]}
    assert ("failed", "met") == (verdicts["size of the model"], verdicts["latency"])
