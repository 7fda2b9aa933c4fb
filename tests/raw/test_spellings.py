"""Labels, groups and categories that are one to every reader are refused or joined, whatever kind the source is."""

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.refresh import refresh
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import KINDS, Location, read_source, write_source
from pipeline.raw.sample import RawSample, StepLabels
from pipeline.raw.spellings import Spellings, joined_samples
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json
from pipeline.runtime.paths import SOURCE_JSON
from pipeline.runtime.processes import terminal

GIB = 2**30
PAIRS = {
    "Unicode form": ("Gr\u00f6\u00dfe", "Gro\u0308\u00dfe"),
    "case": ("ok", "OK"),
    "number": ("01", "1.0"),
    "hidden": ("ham", "ham\u200b"),
}


def images(folder, names):
    """One image per class folder."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / name / "1.png")
    return {}


def arrays(folder, names):
    """Names in an array, an image each."""
    pixels = np.arange(16 * len(names), dtype=np.uint8).reshape(-1, 4, 4) * 7
    np.savez(folder / "a.npz", x=pixels, y=np.array(names))
    return {}


def table(folder, names):
    """A text per class, with a group and a side column."""
    lines = [f"text {number},{name},p{number},x" for number, name in enumerate(names)]
    (folder / "a.csv").write_text("\n".join(["text,label,person,colour", *lines]), encoding="utf-8")
    return {"label": "label", "group": "person", "side": ["colour"]}


def image_table(folder, names):
    """A row and an image per class, with a group and a side column."""
    lines = [f"{number},{name},p{number},x" for number, name in enumerate(names)]
    (folder / "a.csv").write_text("\n".join(["path,label,person,colour", *lines]), encoding="utf-8")
    for number, _ in enumerate(names):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number}.png")
    return {"label": "label", "group": "person", "side": ["colour"]}


def lines_of(folder, names):
    """A line per class."""
    (folder / "a.txt").write_text("\n".join(f"{name}\ttext" for name in names), encoding="utf-8")
    return {"separator": "tab"}


def series_archive(folder, names):
    """A series per class."""
    rows = [f"1.0,{number}.0,3.0:{name}" for number, name in enumerate(names)]
    classes = " ".join(names)
    head = f"@univariate true\n@equalLength true\n@classLabel true {classes}\n@data\n"
    (folder / "X_TRAIN.ts").write_text(head + "\n".join(rows), encoding="utf-8")
    return {}


def series_files(folder, names):
    """A file per series and a table of classes."""
    for number, _ in enumerate(names):
        (folder / f"S_{number}.csv").write_text(f"a\n1\n{number}\n")
    rows = [f"{number},{name}" for number, name in enumerate(names)]
    (folder / "t.csv").write_text("\n".join(["id,class", *rows]), encoding="utf-8")
    return {"files": "S_*.csv", "targets": "t.csv", "label": "class"}


def series_table(folder, names):
    """Two steps per series, with its class in a column."""
    rows = [
        f"s{number},2026-01-0{day},{number},{name}" for number, name in enumerate(names) for day in (1, 2)
    ]
    (folder / "a.csv").write_text("\n".join(["id,time,value,label", *rows]), encoding="utf-8")
    return {"id": "id", "label": "label"}


def series_rows(folder, names):
    """A row per series, its class first."""
    rows = [f"{name},{number},1" for number, name in enumerate(names)]
    (folder / "a.csv").write_text("\n".join(["class,t0,t1", *rows]), encoding="utf-8")
    return {"label": "first"}


def series_arrays(folder, names):
    """A row of an array per series, and an array of classes."""
    np.save(folder / "X.npy", np.arange(2.0 * len(names)).reshape(len(names), 2))
    np.save(folder / "y.npy", np.array(names))
    return {}


WRITERS = {
    "image_folder": images,
    "image_table": image_table,
    "image_arrays": arrays,
    "text_table": table,
    "text_lines": lines_of,
    "series_archive": series_archive,
    "series_arrays": series_arrays,
    "series_files": series_files,
    "series_rows": series_rows,
    "series_table": series_table,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where data lies; the working directory is a project beside it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "data"


def snapshot(kind, folder, options, **more):
    """Read the data as `millrace init` does."""
    return take_snapshot(kind, Location(path=str(folder)), max_bytes=GIB, options=options, **more)


def test_every_kind_whose_names_people_write_is_tried_here():
    """The labels of IDX files and of the bundled digits are numbers already."""
    assert set(WRITERS) | {"idx", "digits"} == set(KINDS)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kind", WRITERS)
def test_classes_that_are_one_to_every_reader_are_refused_and_joined_on_demand(folder, kind, pair):
    """The message shows both spellings as they are, and its advice is taken literally."""
    first, second = PAIRS[pair]
    options = WRITERS[kind](folder, [first, second, "other"])
    # The archive's own format reads 01 and 1.0 as one class.
    if (kind, pair) != ("series_archive", "number"):
        with pytest.raises(DataRefused) as error:
            snapshot(kind, folder, options)
        message = str(error.value)
        assert all(ascii(name) in message for name in (first, second))
        assert "--set join_labels=true" in message
        apart = snapshot(kind, folder, options | {"join_labels": "false"})
        assert 3 == len({label for _, label in apart.counts})
    joined = snapshot(kind, folder, options | {"join_labels": "true"})
    assert 2 == len({label for _, label in joined.counts})
    assert 3 == joined.source.count


def test_groups_and_categories_are_looked_at_as_well(folder):
    """Every problem at once, each with its column."""
    rows = ["text,label,person,colour", "a,x,Anna,red", "b,y,anna,Red ", "c,x,Ben,blue"]
    (folder / "a.csv").write_text("\n".join(rows))
    options = {"label": "label", "group": "person", "side": ["colour"]}
    with pytest.raises(
        DataRefused, match=r"(?s)group: 'Anna' \(1 samples\), 'anna'.*side colour: 'Red ' .*'red'"
    ):
        snapshot("text_table", folder, options)
    source = snapshot("text_table", folder, options | {"join_labels": "true"}).source
    assert source.joined == {"group": {"anna": "Anna"}, "side colour": {"red": "Red "}}
    assert source.options["join_labels"] is True


def test_the_spelling_that_stands_for_all_is_the_most_frequent_and_stays(folder):
    """Once a class has its name, a night with more of the other spelling does not rename it."""
    rows = ["text,label", "a,ok", "b,ok", "c,OK", "d,no"]
    (folder / "a.csv").write_text("\n".join(rows))
    first = snapshot("text_table", folder, {"label": "label", "join_labels": "true"})
    assert first.source.joined == {"label": {"OK": "ok"}}
    assert {("", "ok"): 3, ("", "no"): 1} == first.counts
    write_source(first.source)
    (folder / "a.csv").write_text("\n".join([*rows[:1], "e,OK", "f,OK", "g,OK", "d,no"]))
    refresh(read_source(), max_bytes=GIB, console=terminal())
    assert read_json(SOURCE_JSON)["joined"] == {"label": {"OK": "ok"}}


def test_samples_pass_with_one_spelling():
    """Label, group and categories; numbers, and what nobody joined, as they are."""
    sample = RawSample(
        "1", label="OK", group="Anna", text="x", side={"colour": "Red", "age": 3.0, "size": "L"}
    )
    joined = {"label": {"OK": "ok"}, "group": {"Anna": "anna"}, "side colour": {"Red": "red"}}
    (passed,) = joined_samples([sample], joined)
    assert (passed.label, passed.group) == ("ok", "anna")
    assert passed.side == {"colour": "red", "age": 3.0, "size": "L"}
    assert list(joined_samples([sample], {})) == [sample]


def test_classes_of_steps_are_spelt_in_one_way_too():
    """Sit and sit are one class, in whatever recording."""
    steps = [
        StepLabels(np.array([0, 0], np.int32), ("Sit", "sit")),
        StepLabels(np.array([1, -1], np.int32), ("Sit", "sit")),
    ]
    samples = [
        RawSample(f"{number}", series=np.zeros((2, 1), np.float32), step_labels=one)
        for number, one in enumerate(steps)
    ]
    spellings = Spellings()
    assert samples == list(spellings.watched(samples))
    with pytest.raises(DataRefused, match="upper and lower case"):
        spellings.check()
    (first, _) = joined_samples(samples, {"label": {"Sit": "sit"}})
    assert ("sit", "sit") == first.step_labels.names
