"""The history keeps every end of every retrain once, and can be read by people and programs."""

import io
import json

import pytest
from rich.console import Console

from pipeline.retraining import journal
from pipeline.runtime.files import read_lines

ENTRY = {
    "run": "20260301T023000Z",
    "ended": "2026-03-01T02:34:00+00:00",
    "stops": 0,
    "outcome": "promoted",
    "triggers": [
        {"name": "new_rows", "fired": True, "figures": "60 new rows, 1 are enough"},
        {"name": "age", "fired": False, "figures": "1.0 days since the last retrain, 7 are allowed"},
    ],
    "drift": {"verdict": "none", "findings": [{"what": "mean", "effect": 0.1, "p_value": 0.2}]},
    "rows_before": 240,
    "rows_after": 300,
    "new_rows": 60,
    "seconds": {"train": 90.0, "register": 30.0},
    "reasons": ["accuracy rises by 0.02 <b>."],
    "model": "pictures",
    "version": "4",
}


@pytest.fixture
def places(tmp_path):
    """Where history and page go."""
    return tmp_path / "history.jsonl", tmp_path / "history.html"


def test_an_entry_is_added_once_also_after_a_crash(places):
    """The call that goes on after a crash right behind the entry adds no second one; other ends are other lines."""
    journal.add(ENTRY, *places)
    journal.add(ENTRY | {"ended": "2026-03-01T03:00:00+00:00"}, *places)
    journal.add(ENTRY | {"stops": 1}, *places)
    assert [entry["stops"] for entry in read_lines(places[0])] == [0, 1]


def test_the_table_tells_when_why_what_and_how_long():
    """One row per retrain."""
    file = io.StringIO()
    journal.print_table([ENTRY], Console(file=file, width=200))
    for part in ("2026-03-01 02:34", "new rows", "240 to 300", "60", "became champion", "pictures 4", "2.0"):
        assert part in file.getvalue()
    assert "age" not in file.getvalue()


def test_an_empty_history_says_how_to_begin():
    """Rather than an empty table."""
    file = io.StringIO()
    journal.print_table([], Console(file=file, width=200))
    assert "millrace retrain" in file.getvalue()


def test_the_page_opens_offline_and_escapes(places):
    """No address of another host, no markup out of a reason, the newest entry first."""
    journal.add(ENTRY, *places)
    journal.add(ENTRY | {"run": "b", "outcome": "refused", "ended": "2026-03-02T02:34:00+00:00"}, *places)
    text = places[1].read_text()
    assert "http" not in text
    assert "&lt;b&gt;" in text
    assert text.index("refused by the gate") < text.index("became champion</span></td>")


def test_the_page_tells_how_far_the_data_went_from_what_somebody_accepted(places):
    """The slow drift that no single night shows: rows, and the largest differences, of the second comparison."""
    since = {
        "data": "data accepted on 2026-02-01",
        "new_rows": 90,
        "lost_rows": 7,
        "findings": [{"what": "mean of ink", "effect": 0.456, "p_value": 0.001}],
    }
    journal.add(ENTRY | {"drift": ENTRY["drift"] | {"since": since}}, *places)
    text = places[1].read_text()
    assert "against data accepted on 2026-02-01: 90 new, 0 changed, 7 gone" in text
    assert "mean of ink: 0.456 (p 0.001)" in text


def test_the_newest_entry_of_a_kind(places):
    """The age of the champion is asked of the promoted ones only."""
    for number, outcome in enumerate(("promoted", "refused", "nothing_to_do")):
        journal.add(ENTRY | {"run": str(number), "outcome": outcome}, *places)
    assert journal.last(("promoted",), places[0])["run"] == "0"
    assert journal.last(("promoted", "refused"), places[0])["run"] == "1"
    assert journal.last(("held",), places[0]) is None


def test_every_outcome_has_words():
    """Each that the story can write."""
    for outcome in journal.OUTCOMES:
        described = journal.entry_texts(json.loads(json.dumps(ENTRY | {"outcome": outcome})))
        assert described["outcome"] == journal.OUTCOMES[outcome]
