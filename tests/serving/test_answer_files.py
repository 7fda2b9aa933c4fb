"""Answers are written whole or not at all, nested ones flat where a table wants it."""

import json

import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import WronglyCalled
from pipeline.serving.answer_files import Parts, answer_file, flat, refusal_file, require_place
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import PAPERS

ANSWER = {
    "id": "x",
    "labels": ["a b", "c"],
    "probabilities": {"a b": 0.1, "c": 0.75},
    "values": {"load": [1.5, 2.5]},
    "alarm": True,
}
FLAT = {
    "id": "x",
    "probabilities.a b": 0.1,
    "probabilities.c": 0.75,
    "values.load.1": 1.5,
    "values.load.2": 2.5,
    "alarm": True,
}
SOME = [Given("0", "line 1", {"text": "a"}), Given("1", "line 2", {}, ("wrong",))]


def test_nested_answers_become_columns():
    """Names joined by dots, steps counted from 1, several labels one cell as the data set writes them."""
    made = flat(ANSWER)
    assert json.loads(made.pop("labels")) == ["a b", "c"]
    assert FLAT == made


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_is_whole_or_the_old_one(tmp_path, name):
    """What fails in the middle leaves what stood there before, and nothing beside it."""
    out = tmp_path / name
    with answer_file(out) as writer:
        writer.write([ANSWER])
        writer.write([ANSWER, ANSWER])
    before = out.read_bytes()
    (tmp_path / f".{name}.999999999.left{out.suffix}").write_text("by a process that was killed")
    with pytest.raises(ZeroDivisionError), answer_file(out) as writer:
        writer.write([ANSWER])
        raise ZeroDivisionError
    assert before == out.read_bytes()
    assert [name] == [path.name for path in tmp_path.iterdir()]


def test_formats_say_the_same(tmp_path):
    """JSON lines nested, Parquet and CSV flat, numbers to the last digit."""
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        with answer_file(tmp_path / name) as writer:
            writer.write([{"id": "x", "values": {"load": 0.1 + 0.2}}])
    assert {"id": "x", "values": {"load": 0.1 + 0.2}} == json.loads((tmp_path / "a.jsonl").read_text())
    assert [{"id": "x", "values.load": 0.1 + 0.2}] == pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert "id,values.load\nx,0.30000000000000004\n" == (tmp_path / "a.csv").read_text()


def test_the_name_of_the_file_says_its_format(tmp_path):
    """Before anything is computed."""
    require_place(tmp_path / "A.CSV", tmp_path)
    with pytest.raises(WronglyCalled, match=r"\.csv, \.jsonl, \.parquet.*a\.xlsx"):
        require_place(tmp_path / "a.xlsx", tmp_path)


def test_answers_without_a_place_are_refused_before_the_work(tmp_path):
    """The folder is not there, or the name is one of a folder: the command that mends it is said."""
    with pytest.raises(WronglyCalled, match=r"folder is not there\. Make the folder: mkdir -p .*/none"):
        require_place(tmp_path / "none/a.csv", tmp_path)
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(WronglyCalled, match=r"a folder\. Name a file in it"):
        require_place(tmp_path / "b.csv", tmp_path)


BESIDE = ("", ".refused.jsonl", ".explained.jsonl", ".explained.html", ".scores.json")


@pytest.mark.parametrize("end", BESIDE)
def test_answers_never_replace_the_records_or_the_labels(tmp_path, end):
    """Neither their own file nor one beside it may be what is answered or scored by."""
    given, other = tmp_path / f"k.csv{end}", tmp_path / "other.csv"
    given.write_text("mine")
    other.write_text("mine")
    with pytest.raises(WronglyCalled, match=rf"would replace the records.*k\.csv{end}"):
        require_place(tmp_path / "k.csv", given)
    with pytest.raises(WronglyCalled, match="would replace the labels"):
        require_place(tmp_path / "k.csv", other, given)
    require_place(tmp_path / "k.csv", other, other)
    assert "mine" == given.read_text()


def test_no_id_becomes_a_formula_in_a_spreadsheet(tmp_path):
    """In CSV, which spreadsheets open; the other two hold it as it is, and a number is one."""
    answer = {"id": "=HYPERLINK(1)", "class": "-1", "probabilities": {"@a": 0.5}}
    for name in ("a.csv", "a.jsonl"):
        with answer_file(tmp_path / name) as writer:
            writer.write([answer])
    assert "id,class,probabilities.@a\n'=HYPERLINK(1),-1,0.5\n" == (tmp_path / "a.csv").read_text()
    assert answer == json.loads((tmp_path / "a.jsonl").read_text())


@pytest.mark.parametrize(("name", "content"), [("a.csv", "id\n"), ("a.jsonl", "")])
def test_no_answers_are_a_table_without_rows(tmp_path, name, content):
    """Whoever reads it finds its first column."""
    with answer_file(tmp_path / name):
        pass
    assert content == (tmp_path / name).read_text()


def test_refusals_stand_beside_and_go_with_the_last_of_them(tmp_path):
    """The first twenty are at hand, all are counted and written; without any an older file goes."""
    rows = [{"id": str(number), "place": "p", "problems": ["x"]} for number in range(30)]
    with refusal_file(tmp_path / "a.csv") as refused:
        refused.write(rows[:25])
        refused.write(rows[25:])
    assert (30, rows[:20]) == (refused.count, refused.first)
    lines = (tmp_path / "a.csv.refused.jsonl").read_text().splitlines()
    assert rows == [json.loads(line) for line in lines]
    with refusal_file(tmp_path / "a.csv"):
        pass
    assert [] == list(tmp_path.iterdir())


@pytest.fixture
def model(tmp_path):
    """A folder with the papers of a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in PAPERS:
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("changed", PAPERS)
def test_another_model_is_asked_anew(tmp_path, model, changed):
    """Whichever of its papers is another; the same one is not asked a second time."""
    asked = []

    def answer(some):
        asked.append(len(some))
        return [{"id": one.sample_id} for one in some]

    out = tmp_path / "a.csv"
    assert Parts(out, model).of(SOME, answer) == Parts(out, model).of(SOME, answer)
    assert [2] == asked
    (model / changed).write_text("another")
    Parts(out, model).of(SOME, answer)
    assert [2, 2] == asked
    Parts(out, model).of(SOME[:1], answer)
    assert [2, 2, 1] == asked


def test_a_terminal_gets_four_digits_and_a_pipe_all_of_them(monkeypatch, capsys):
    """At any depth, and nothing but numbers changes; what a program reads stays exact."""
    row = {
        "id": "8.png",
        "class": "8",
        "probabilities": {"8": 0.9768796563148499, "1": 1.5459323e-05},
        "at": [1234567.0],
    }
    shown = []
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda is_terminal=is_terminal: is_terminal)
        with answer_file(None) as answers:
            answers.write([row])
        shown.append(json.loads(capsys.readouterr().out))
    exact, rounded = shown
    assert exact == row
    assert rounded == {
        "id": "8.png",
        "class": "8",
        "probabilities": {"8": 0.9769, "1": 1.546e-05},
        "at": [1235000.0],
    }
