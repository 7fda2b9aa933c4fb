"""One page tells the whole run, offline, with equal bytes for equal reports."""

import re

import pytest

from pipeline.reports.run import run_report
from pipeline.runtime import paths
from tests.helpers.synthetic_project import make_project

DECISION = {"candidate": "cnn", "decision": "promoted", "reasons": ["cnn beats <linear>."]}


@pytest.fixture(autouse=True)
def finished(tmp_path, monkeypatch):
    """Stand in a finished project."""
    monkeypatch.chdir(make_project(tmp_path / "project", ("cnn", "linear")))


def test_the_page_holds_verdict_candidates_data_and_pictures():
    """What a reader looks for is there, and text is escaped."""
    page = run_report(DECISION)
    for part in (
        "cnn became champion",
        "cnn beats &lt;linear&gt;.",
        "0.9000",
        "0.850 to 0.950",
        "32 of 32",
        "image/png",
    ):
        assert part in page


def test_several_labels_have_a_table():
    """A row per label, the lowest F1 first, with its threshold; an empty cell where nothing was said."""
    assert "Label by label" not in run_report(DECISION)
    numbers = ",".join(
        f"{name},{name}_low,{name}_high" for name in ("precision", "recall", "f1", "average_precision")
    )
    (paths.EVALUATE_TABLES_DIR / "per_label.csv").write_text(
        f"label,train_samples,test_examples,threshold,{numbers}\n"
        "billing,1200,40,0.4321,0.9,0.8,0.95,0.9,0.8,0.95,0.912,0.8,0.95,0.9,0.8,0.95\n"
        "log<in>,30,4,0.5,,,,0.5,0.1,0.9,0.456,0.1,0.9,0.5,0.1,0.9\n"
    )
    page = run_report(DECISION)
    assert page.index("log&lt;in&gt;") < page.index("billing")
    for part in ("Label by label", "1,200", "0.43", "0.912", "0.456"):
        assert part in page


def test_the_page_needs_no_network():
    """No address of a host is in it."""
    assert re.findall(r"https?://", run_report(DECISION)) == []


def test_the_page_is_the_same_every_time():
    """No date and no random id."""
    assert run_report(DECISION) == run_report(DECISION)


def test_the_page_says_how_used_up_the_test_set_is():
    """One sentence beside the one on how the choice was made."""
    assert "It had judged 4 models." in run_report(DECISION, "It had judged 4 models.")


def test_a_refusal_looks_like_one():
    """The head of the page is marked and says it."""
    page = run_report(DECISION | {"decision": "refused"})
    assert "cnn was not promoted" in page
    assert '<header class="refused">' in page
