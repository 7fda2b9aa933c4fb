"""The validation report: one file, no other host, the same bytes every time."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.validation.facts import failing_csv, summary_of, validation_refusal
from pipeline.validation.images import image_previews, thumbnail
from pipeline.validation.report import validation_report
from pipeline.validation.series import series_previews
from pipeline.validation.suites import ExpectationResult, WrittenExpectation
from pipeline.validation.texts import text_previews
from tests.helpers.ingested import pictures


def outcome(column, *, success, failing=(), severity="critical", notes="A demand."):
    """Return an outcome about a column."""
    written = WrittenExpectation(
        type="expect_column_values_to_be_between",
        kwargs={"column": column, "min_value": 1},
        notes=notes,
        fix="Mend it.",
        severity=severity,
    )
    return ExpectationResult(written, success, 0.5, "50.00% of rows break it", list(failing))


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
        "class_samples": number,
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


def report(table, images, outcomes, **other):
    """Return the page for these pictures."""
    return validation_report(
        table, image_previews(images), outcomes, description=f"{len(images)} images", **other
    )


def test_the_report_is_the_same_twice():
    """No time, no random id, no order of a set: equal data give equal bytes."""
    arguments = (facts(["hat", "shoe"]), pictures(2), [outcome("mean", success=False, failing=["id0"])])
    assert report(*arguments) == report(*arguments)


def test_the_report_needs_no_other_host():
    """No address, no script, no file beside it: everything is in the page."""
    page = report(facts(["hat", "shoe"]), pictures(2), [outcome("mean", success=True)])
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", page)
    assert re.findall(r'src="([^"]{20})', page) == ["data:image/png;base64"[:20]] * 2


@pytest.mark.parametrize(
    ("severity", "verdict"), [("critical", "Data refused"), ("warning", "Data accepted")]
)
def test_the_verdict_follows_critical_failures_only(severity, verdict):
    """A warning is shown, and the data is accepted."""
    page = report(
        facts(["hat"]),
        pictures(1),
        [outcome("mean", success=False, severity=severity, notes="Not too dark.")],
    )
    assert f"<h1>{verdict}</h1>" in page
    assert "Not too dark." in page
    assert "Mend it." in page


def test_labels_are_shown_as_text():
    """A label with markup in it stays text."""
    page = report(facts(["<b>hat</b>"]), pictures(1), [outcome("mean", success=True)])
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
    page = report(table, pictures(5), [outcome("mean", success=False, failing=["id4"])])
    galleries = dict(re.findall(r"<h2>([^<]+)</h2>\s*<p>([^<]+)</p>", page))
    assert galleries["One content, two labels"] == "2 samples in 1 group."
    assert galleries["Exact copies"] == "2 samples in 1 group."
    assert galleries["Not met: A demand."] == "1 samples."
    assert page.count("id4</i>") == 1


def test_texts_are_shown_as_text_and_cut():
    """A text with markup stays text, a long one is cut, an empty one says so, a NUL becomes a sign."""
    texts = ["<i>hello</i>", "word " * 100, "  ", "a\x00b"]
    table = facts(
        ["x", "y", "z", "w"], characters=[12, 500, 2, 3], words=[1, 100, 0, 1], non_letter_share=0.1
    )
    table = table.drop(columns=["entropy_bits", "standard_deviation", "mean"]).assign(empty=[0, 0, 1, 0])
    page = validation_report(table, text_previews(texts), [], description="4 texts")
    assert "&lt;i&gt;hello&lt;/i&gt;" in page
    assert "<i>hello" not in page
    assert "word " * 32 + "\N{HORIZONTAL ELLIPSIS}" in page
    assert "(empty)" in page
    assert "a\N{SYMBOL FOR NULL}b" in page
    assert "<b>1</b><span>empty texts</span>" in page
    assert "original size" not in page


def test_series_without_labels_are_drawn():
    """No classes, but lines of some samples, and a table of their channels with what is odd about them."""
    series = [np.linspace(0, 1, 30)[:, None] * [1, 2] for _ in range(5)]
    table = facts([""] * 5, steps=30.0, missing_share=0.0, constant_share=0.0)
    table = table.drop(columns=["entropy_bits", "standard_deviation", "class_ratio", "class_samples"])
    columns = pd.DataFrame(
        {
            "column": ["load", "side.id"],
            "kind": ["channel", "category"],
            "values": [np.nan, 5],
            "missing_share": [0.25, 0.0],
            "minimum": [0.0, np.nan],
            "mean": [0.5, np.nan],
            "maximum": [1.0, np.nan],
            "constant": [1, 0],
            "looks_like_id": [0, 1],
            "far_out": [0, 0],
        }
    )
    page = validation_report(table, series_previews(series), [], description="5 series", columns=columns)
    assert page.count("<polyline") == 10
    assert "<h2>Classes</h2>" not in page
    assert "30, the same everywhere" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert ["load", "channel", "", "25.00%", "0 \N{HORIZONTAL ELLIPSIS} 1", "0.5", "constant"] == cells[:7]
    assert ["side.id", "category", "5", "0.00%", "", "", "all values different"] == cells[7:14]


def test_failures_of_columns_decide_too():
    """A critical failure of a channel refuses the data in page, summary and message."""
    failed = outcome("constant_target", success=False, failing=["load"], notes="No target is constant.")
    table = facts(["hat"])
    assert "Data refused" in report(table, pictures(1), [], column_outcomes=[failed])
    assert summary_of(table, [], None, [failed])["passed"] is False
    assert "1 columns  No target is constant." in validation_refusal([], [failed])


def test_thousands_of_findings_stay_a_small_page():
    """Galleries are cut, and say so."""
    table = facts(
        ["hat"] * 3000, exact_copies=1, content_sha256=[f"c{place // 2:04d}" for place in range(3000)]
    )
    page = report(table, pictures(3000), [outcome("mean", success=True)])
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
    message = validation_refusal(
        [outcome("mean", success=False, failing=["id7", "id8"]), outcome("mean", success=True)]
    )
    assert "2 samples  A demand." in message
    assert "measured: 50.00% of rows break it, first id7. Mend it." in message
    assert "reports/validate/report.html" in message


def test_the_refusal_names_the_bound_that_was_set():
    """Nobody should have to look up what a measure of a whole column is held against; of rows the demand says it."""
    kwargs = {"column": "has_exact_copy", "max_value": 0.05}
    written = WrittenExpectation(
        type="expect_column_mean_to_be_between", kwargs=kwargs, notes="A demand.", fix="Mend it."
    )
    message = validation_refusal([ExpectationResult(written, False, 0.0587, "0.0587", ["id7"])])
    assert "measured: 0.0587, allowed: at most 0.05, first id7. Mend it." in message
