"""The MLflow pages that people open after a run, in a real browser: they show names, numbers and pictures.

Screenshots go to a temporary folder, or to the one that MILLRACE_SCREENSHOTS names.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from docs import screens
from pipeline.evaluation.measures import Yardstick
from pipeline.gate.question import Rules
from pipeline.metrics.names import primary_called
from tests.e2e.services import MlflowServer
from tests.helpers.registration import make_registration_project
from tests.helpers.synthetic_project import write_live_log

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(600)]
NAMES = ["cnn", "linear", "majority"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record a pipeline in an sqlite store and serve it as `make ui` does; give the links it printed."""
    from pipeline.inference import backend
    from pipeline.stages import register

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path_factory.mktemp("pages") / "project")
    write_live_log(root, "linear", "live-1")
    table = root / "reports/evaluate/tables/candidates.json"
    rows = json.loads(table.read_text())
    for row, accuracy in zip(rows, (0.9, 0.4, 0.6), strict=True):
        row["test"]["accuracy"] = {"value": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05}
    table.write_text(json.dumps(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(register.console, "print_report", lambda *_a, **_k: None)
        register.register(
            candidates=NAMES,
            baselines=NAMES[1:],
            model_name="digits",
            experiment="digits",
            rules=Rules(
                primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=200, seed=7
            ),
            yardstick=Yardstick(),
            uncommitted="these tests have no git",
        )
    links = json.loads((root / ".millrace/last_run.json").read_text())["links"]
    with MlflowServer(f"sqlite:///{root}/mlflow.db", root / "mlartifacts") as server:
        yield {name: link.replace("http://127.0.0.1:5000", server.uri) for name, link in links.items()}


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium with an empty profile."""
    if screens.programs() is None:
        pytest.skip("no chromium and chromedriver on PATH")
    with screens.chromium(1500, 1100) as driver:
        yield driver


@pytest.fixture
def show(browser, request, tmp_path):
    """Open a page, wait until it shows some texts, keep a screenshot, and give all its text."""

    def open_page(link, *texts, click=""):
        missing = screens.shown(browser, link, texts, click)
        time.sleep(1.5)  # charts draw themselves after their titles
        folder = Path(os.environ.get("MILLRACE_SCREENSHOTS", tmp_path))
        folder.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(folder / f"{request.node.name}.png"))
        body = browser.find_element("tag name", "body").text
        assert not missing, f"{link} does not show {missing}: {body[:2000]}"
        return body

    return open_page


def test_runs_table_shows_the_pipeline_and_its_candidates(recorded, show):
    """The runs table lists the parent and, below it, the candidates, in the view for models; names tell the scores."""
    text = show(
        recorded["runs"],
        "digits: cnn, accuracy 0.9000",
        "cnn (chosen), accuracy 0.9000",
        "linear, accuracy",
        "majority, accuracy",
        click="(//a[starts-with(., 'digits: cnn')]/ancestor::*[@role='gridcell']//button)[1]",
    )
    assert "Sessions" not in text  # of the view for prompts and traces


def test_candidates_are_listed_by_the_score_that_counts(recorded, show, browser):
    """One link orders the runs of this pipeline, best first: the worst stands lowest; the score has a column."""
    text = show(
        recorded["candidates, best first"],
        "Sort: test/accuracy",
        "cnn (chosen), accuracy",
        "majority, accuracy",
    )
    headings = [cell.text for cell in browser.find_elements("xpath", "//*[@role='columnheader']")]
    assert "test/accuracy" in headings
    assert "Dataset" not in headings
    links = [browser.find_element("xpath", f"//a[starts-with(., '{name}')]") for name in NAMES]
    shown = sorted(links, key=lambda link: link.location["y"])
    scores = [float(link.text.rpartition(" ")[2]) for link in shown]
    assert [0.9, 0.6, 0.4] == scores
    assert "digits: cnn" not in text


def test_parent_run_shows_the_verdict_first(recorded, show):
    """The parent's page begins with what became of the model, and has metrics, data sets and tags."""
    show(recorded["this run"], "became champion", "test/accuracy", "digits-train", "dvc.stages.sha256")


def test_parent_run_shows_pictures_and_the_report(recorded, show, browser):
    """One link opens the report in the dashboard's frame; pictures stand beside it."""
    show(recorded["report and pictures"], "pictures", "reports", "report.html")
    browser.switch_to.frame(browser.find_element("tag name", "iframe"))
    page = browser.find_element("tag name", "body").text
    browser.switch_to.default_content()
    assert "cnn became champion" in page
    assert "the whole run" not in page, "what lies beside the file does not lie here"


def test_candidate_run_shows_its_curves(recorded, show):
    """A candidate's charts have a section for train and one for val."""
    show(recorded["chosen candidate"], "train", "val", "cnn (chosen), accuracy 0.9000 (train/accuracy)")


def test_candidates_are_compared_in_one_chart(recorded, show, browser):
    """One link lays the curves of all candidates over each other, for somebody who opens nothing else before."""
    browser.execute_script("localStorage.clear()")
    names = ["cnn (chosen), accuracy", *(f"{name}, accuracy" for name in NAMES if name != "cnn")]
    text = show(recorded["candidates compared"], *names, "train", "val")
    assert "digits: cnn" not in text, "folded under the pipeline's run"


def test_registry_shows_the_champion(recorded, show):
    """The registered model has a version with the alias."""
    show(recorded["model"], "digits", "Version 1", "champion")


def test_model_version_shows_its_origin(recorded, show):
    """The version's page says what it is and where it comes from."""
    show(recorded["model version"], "champion", "model_sha256", "millrace.fingerprint")
