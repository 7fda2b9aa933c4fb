"""A log of servers as a reason to retrain: drift and a fallen metric, told with their figures, never in a night's way."""

import time

import msgspec
import pytest

from pipeline.retraining import journal
from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.children import Children
from pipeline.retraining.live import live_triggers
from pipeline.retraining.retrain import Wishes
from pipeline.retraining.triggers import LiveDrift, LiveMetric, LiveTriggers, load_settings
from pipeline.runtime.errors import ParamsError
from tests.helpers.fake_project import HERE, FakeChildren, examined_by_count, make_project, settings
from tests.monitoring.test_watch import Written, write_labels

BOUNDS = settings().drift
DRIFT = LiveTriggers(LiveDrift("log", 7.0), None)
METRIC = LiveTriggers(None, LiveMetric("log", "labels.csv", "id", "label", 7.0))


def now_us():
    return int(time.time() * 1e6)


def write_log(folder, *, shift, days_ago=1.0):
    """Write a log whose records are so old; return it with ids and probabilities."""
    log = Written(folder / "log")
    return log, *log.write(500, shift=shift, start=now_us() - int(days_ago * 86_400e6), hours=1)


@pytest.mark.parametrize(
    ("shift", "days_ago", "new_data", "expected"),
    [(0.1, 1, True, True), (0.0, 1, True, False), (0.1, 8, True, False), (0.1, 1, False, False)],
)
def test_drift_of_the_last_days_is_a_reason_where_there_is_new_data(
    tmp_path, shift, days_ago, new_data, expected
):
    """Of the same data the same model would come out, which is said."""
    write_log(tmp_path, shift=shift, days_ago=days_ago)
    (trigger,) = live_triggers(Children(tmp_path, tmp_path), DRIFT, BOUNDS, new_data=new_data)
    assert ("live_drift", expected) == (trigger.name, trigger.fired)
    if shift and days_ago == 1:
        assert "drift of stat.mean in 500 records of digits/1" in trigger.figures
    assert ("the same model would come out" in trigger.figures) == (not new_data)


@pytest.mark.parametrize(("right", "expected"), [(0.5, True), (0.68, False)])
def test_a_metric_that_fell_is_a_reason(tmp_path, right, expected):
    """Whose interval lies below that on the test set; the figures name both."""
    _, ids, shares = write_log(tmp_path, shift=0)
    said = [("dark", "grey", "light")[row.argmax()] for row in shares]
    rows = [(name, one if place < 500 * right else "dark" if one != "dark" else "grey")
            for place, (name, one) in enumerate(zip(ids, said, strict=True))]  # fmt: skip
    write_labels(tmp_path / "labels.csv", rows)
    (trigger,) = live_triggers(Children(tmp_path, tmp_path), METRIC, BOUNDS, new_data=True)
    assert ("live_metric", expected) == (trigger.name, trigger.fired)
    assert f"accuracy {right}" in trigger.figures.replace("00", "")
    assert "by 500 labels, 0.7" in trigger.figures


@pytest.mark.parametrize("wanted", [DRIFT, METRIC])
def test_a_log_that_cannot_be_read_is_told_and_stops_no_night(tmp_path, wanted):
    """No folder; then no labels."""
    (trigger,) = live_triggers(Children(tmp_path, tmp_path), wanted, BOUNDS, new_data=True)
    assert not trigger.fired
    assert "cannot be looked at" in trigger.figures
    assert [] == live_triggers(Children(tmp_path, tmp_path), None, BOUNDS, new_data=True)


def test_a_night_with_few_new_rows_trains_for_it_and_the_history_says_so(tmp_path, monkeypatch):
    """Fewer rows than are worth it, and a log that drifted: `live drift` is why."""
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setattr("pipeline.retraining.retrain.compare_with_results", examined_by_count)
    monkeypatch.chdir(make_project(tmp_path / "project"))
    children = FakeChildren(tmp_path / "project")
    retraining_retrain.retrain(children, settings(), Wishes())
    write_log(tmp_path, shift=0.1)
    wanted = LiveTriggers(LiveDrift(str(tmp_path / "log"), 7.0), None)
    known = msgspec.structs.replace(settings(), min_new_rows=10, triggers=wanted)
    quiet = retraining_retrain.retrain(children, known, Wishes())
    assert "nothing_to_do" == quiet["outcome"]
    assert "stat.mean" in " ".join(quiet["reasons"])
    children.rows = 105
    entry = retraining_retrain.retrain(children, known, Wishes())
    assert "promoted" == entry["outcome"]
    assert "live drift" == journal.entry_texts(entry)["why"]
    page = journal.HISTORY_HTML.read_text()
    assert "drift of stat.mean in 500 records of digits/1" in page


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("live_drift: {log: log}", "days"),
        ("live_drift: {log: log, days: 0}", "days"),
        ("live_drift: {log: log, days: 7.0, day: 1}", "Did you mean triggers.live_drift.days"),
        ("live_drifts: null", "Did you mean triggers.live_drift"),
        ("live_drift: true", "live_drift"),
    ],
)
def test_the_section_is_read_strictly(tmp_path, new, message):
    """A slip is named."""
    text = (HERE / "retrain.yaml").read_text()
    (tmp_path / "retrain.yaml").write_text(text.replace("live_drift: null", new))
    with pytest.raises(ParamsError, match=message):
        load_settings(tmp_path / "retrain.yaml")


def test_what_the_comment_shows_can_be_used_and_an_older_file_too(tmp_path):
    """The example of the file itself; and a file without the section asks for nothing."""
    text = (HERE / "retrain.yaml").read_text()
    for name in ("live_drift", "live_metric"):
        (line,) = [one for one in text.splitlines() if one.strip().startswith(f"{name}:")]
        example = line.partition("# ")[2].partition(";")[0]
        text = text.replace(f"{name}: null", f"{name}: {example}")
    (tmp_path / "retrain.yaml").write_text(text)
    found = load_settings(tmp_path / "retrain.yaml").triggers
    assert (
        LiveTriggers(LiveDrift("FOLDER", 7.0), LiveMetric("FOLDER", "FILE", "COLUMN", "COLUMN", 7.0)) == found
    )
    older = [
        one
        for one in (HERE / "retrain.yaml").read_text().splitlines()
        if "live_" not in one and "triggers:" not in one
    ]
    (tmp_path / "retrain.yaml").write_text("\n".join(older))
    assert load_settings(tmp_path / "retrain.yaml").triggers is None
