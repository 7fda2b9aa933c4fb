"""The validation report: one file, no other host, the same bytes every time."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.suite_file import Outcome, WrittenExpectation
from pipeline.validation_report import thumbnail, validation_report
from pipeline.validation_summary import failing_csv, refusal, summary_of
from tests.ingested import pictures


def outcome(column, *, success, failing=(), severity="critical", notes="A demand."):
    """Return an outcome about a column."""
    written = WrittenExpectation(
        type="expect_column_values_to_be_between",
        kwargs={"column": column, "min_value": 1},
        notes=notes,
        fix="Mend it.",
        severity=severity,
    )
    return Outcome(written, success, 0.5, "50.00% of rows break it", list(failing))


def facts(labels, **columns):
    """Return sample facts with nothing to report but these columns."""
    number = len(labels)
    table = {
        "sample_id": [f"id{place}" for place in range(number)],
        "row": range(number),
        "label": labels,
        "content_sha256": [f"c{place}" for place in range(number)],
        "cluster": [f"c{place}" for place in range(number)],
        "height_original": 8,
        "width_original": 9,
        "mode_original": "L",
        "class_ratio": 1.0,
    }
    zeros = (
        "exact_copies",
        "near_copies",
        "has_exact_copy",
        "in_conflict",
        "opens_conflict",
        "near_conflict",
    )
    numbers = dict.fromkeys(zeros, 0) | dict.fromkeys(("mean", "standard_deviation", "entropy_bits"), 0.3)
    return pd.DataFrame(table | numbers | columns)


def test_the_report_is_the_same_twice():
    """No time, no random id, no order of a set: equal data give equal bytes."""
    arguments = (facts(["hat", "shoe"]), pictures(2), [outcome("mean", success=False, failing=["id0"])])
    assert validation_report(*arguments) == validation_report(*arguments)


def test_the_report_needs_no_other_host():
    """No address, no script, no file beside it: everything is in the page."""
    page = validation_report(facts(["hat", "shoe"]), pictures(2), [outcome("mean", success=True)])
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", page)
    assert re.findall(r'src="([^"]{20})', page) == ["data:image/png;base64"[:20]] * 2


@pytest.mark.parametrize(
    ("severity", "verdict"), [("critical", "Data refused"), ("warning", "Data accepted")]
)
def test_the_verdict_follows_critical_failures_only(severity, verdict):
    """A warning is shown, and the data is accepted."""
    page = validation_report(
        facts(["hat"]),
        pictures(1),
        [outcome("mean", success=False, severity=severity, notes="Not too dark.")],
    )
    assert f"<h1>{verdict}</h1>" in page
    assert "Not too dark." in page
    assert "Mend it." in page


def test_labels_are_shown_as_text():
    """A label with markup in it stays text."""
    page = validation_report(facts(["<b>hat</b>"]), pictures(1), [outcome("mean", success=True)])
    assert "&lt;b&gt;hat&lt;/b&gt;" in page
    assert "<b>hat</b>" not in page


def test_conflicts_copies_and_failing_samples_are_pictured():
    """Each kind of finding has its gallery, with the samples under their ids."""
    table = facts(
        ["hat", "shoe", "hat", "hat", "hat"],
        content_sha256=["a", "a", "b", "b", "c"],
        cluster=["a", "a", "b", "b", "c"],
        exact_copies=[1, 1, 1, 1, 0],
        in_conflict=[1, 1, 0, 0, 0],
    )
    page = validation_report(table, pictures(5), [outcome("mean", success=False, failing=["id4"])])
    galleries = dict(re.findall(r"<h2>([^<]+)</h2>\s*<p>([^<]+)</p>", page))
    assert galleries["One content, two labels"] == "2 samples in 1 group."
    assert galleries["Exact copies"] == "2 samples in 1 group."
    assert galleries["Not met: A demand."] == "1 samples."
    assert page.count("id4</i>") == 1


def test_thousands_of_findings_stay_a_small_page():
    """Galleries are cut, and say so."""
    table = facts(
        ["hat"] * 3000, exact_copies=1, content_sha256=[f"c{place // 2:04d}" for place in range(3000)]
    )
    page = validation_report(table, pictures(3000), [outcome("mean", success=True)])
    assert "3,000 samples in 1,500 groups, some of them shown here." in page
    assert len(page) < 100_000


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 9, 3), (300, 200, 3)])
def test_a_thumbnail_is_a_png_of_the_image(shape):
    """Small images keep every pixel, large ones shrink to 96."""
    image = pictures(1, shape=shape)[0]
    content = base64.b64decode(thumbnail(image).removeprefix("data:image/png;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(content)))
    assert max(shown.shape[:2]) == min(96, max(shape))
    if max(shape) < 96:
        np.testing.assert_array_equal(image.squeeze(), shown)


def test_the_summary_counts_outcomes_and_names_failures():
    """`passed` is false with one critical failure; each unmet demand is listed."""
    outcomes = [
        outcome("mean", success=True),
        outcome("mean", success=False, failing=["id0", "id1"]),
        outcome("mean", success=False, severity="warning"),
    ]
    summary = summary_of(facts(["hat", "hat", "shoe"]), outcomes)
    assert summary["passed"] is False
    assert summary["expectations"] == {"judged": 3, "met": 1, "failed": 1, "warnings": 1}
    assert summary["classes"] == {"hat": 2, "shoe": 1}
    assert [entry["failing_samples"] for entry in summary["not_met"]] == [2, 0]


def test_failing_samples_become_lines_of_csv():
    """One line per sample and broken demand; commas in labels are quoted."""
    lines = failing_csv(facts(["hat, red", "shoe"]), [outcome("mean", success=False, failing=["id0"])])
    assert lines.splitlines() == [
        "sample_id,label,severity,column,expectation,demand",
        'id0,"hat, red",critical,mean,expect_column_values_to_be_between,A demand.',
    ]


def test_the_refusal_names_demand_measure_sample_and_fix():
    """The message on the terminal says what failed, what was measured, where, and what to do."""
    message = refusal([outcome("mean", success=False, failing=["id7", "id8"]), outcome("mean", success=True)])
    assert "2 samples  A demand." in message
    assert "measured: 50.00% of rows break it, first id7. Mend it." in message
    assert "reports/validate/report.html" in message
