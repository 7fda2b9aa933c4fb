"""What the readers say of files that nobody has said anything about, and where their advice leads."""

import numpy as np
import pytest

from pipeline.fetching.look import advised, in_words, look_at
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import KINDS, Location
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import UserError
from pipeline.sources.kinds import stated_options
from pipeline.sources.proposal import Proposal
from tests.helpers.picture_folders import fill, picture


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Return what becomes of files: {kind and options: refusal}."""
    monkeypatch.chdir(tmp_path)

    def look(files, **stated):
        fill(tmp_path / "given", files)
        trials, _ = look_at(Location(path=str(tmp_path / "given")), KINDS, stated=stated, max_bytes=1 << 30)
        return [trial for trial in trials if trial.proposal.likely]

    return look


def taken(trials):
    """Return the options of what a reader takes."""
    return [dict(trial.proposal.options) for trial in trials if not trial.refused]


def test_labels_in_names_of_files_are_proposed_as_the_refusal_says(tried):
    """`cat.3.jpg`: the pattern that the reader names is tried, shown with samples, and never sure."""
    files = {f"train/{label}.{n}.png": picture(n) for label in ("cat", "dog") for n in range(4)}
    trials = tried(files)
    (way,) = [trial for trial in trials if not trial.refused]
    assert {"label": "{label}.#.*"} == dict(way.proposal.options)
    assert not way.proposal.sure
    assert "'cat'" in way.samples[0]
    assert "whether label={label}.#.* is right" in way.proposal.open[0]


def test_each_of_two_ways_out_is_tried(tried):
    """Folders in folders: which of them are the classes, only the owner knows."""
    files = {
        f"{label}/{day}/{n}.png": picture(n + ord(label[0]) + ord(day[-1]))
        for label in ("ball", "box")
        for day in ("05-01", "05-02")
        for n in range(3)
    }
    assert [{"label": "first"}, {"label": "parent"}] == taken(tried(files))


def test_a_folder_without_labels_may_be_passed_over(tried):
    """As the test set of a competition."""
    files = {f"train/{label}/{n}.png": picture(n) for label in ("ball", "box") for n in range(3)}
    assert [{"ignore": "test"}] == taken(tried(files | {"test/1.png": picture(1), "test/2.png": picture(2)}))


def test_numbers_in_quotes_with_the_sign_between_fields_are_read_as_proposed(tried):
    """`"23,443.65"` in a table with commas: the way that init itself proposed was refused."""
    words = ["the parcel never came", "please refund my money", "how do I log in again"]
    rows = "".join(f'{words[n % 3]} {n},"{n + 1},443.65"\n' for n in range(30))
    (way,) = tried({"mail.csv": f"text,amount\n{rows}".encode()})
    assert ({"text": "text", "target": "amount", "thousands": "comma"}, "") == (
        dict(way.proposal.options),
        way.refused,
    )


def test_events_are_proposed_with_all_that_their_step_needs(tried):
    """Options that a refusal names side by side belong together."""
    seconds = np.cumsum(np.random.default_rng(0).integers(400, 90_000, 60))
    stamps = np.datetime64("2026-01-01T00:00:00") + seconds.astype("timedelta64[s]")
    rows = "".join(f"{str(stamp).replace('T', ' ')},{n % 5}\n" for n, stamp in enumerate(stamps))
    (way,) = taken(tried({"door.csv": f"time,open\n{rows}".encode()}))
    assert {"step", "off_grid", "duplicates"} <= set(way)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("either --set label=first (a) or --set label=parent (b)", [{"label": "first"}, {"label": "parent"}]),
        ("give --set label='{label}.#.*' to", [{"label": "{label}.#.*"}]),
        ("give --set 'label={label} #.*' to", [{"label": "{label} #.*"}]),
        ("say --set label=first.", [{"label": "first"}]),
        ("such as --set label=first --set ignore=*.txt; or", [{"label": "first", "ignore": "*.txt"}]),
        ("name it: --set 'label=it'\"'\"'s #.*', or", [{"label": "it's #.*"}]),
        ("two folders: --set ignore='a (b),c d': one", [{"ignore": "a (b),c d"}]),
        ("as --set label=COLUMN, or --set nonsense=1, or --set label=, ...", []),
        ("--set join_labels=true was given", []),
    ],
)
def test_advice_is_options_of_the_kind_with_values(message, found):
    """Words in capitals stand for what only the owner knows, and what was given already is no advice."""
    assert found == advised(message, Proposal("image_folder", "", {"join_labels": "true"}))


def test_all_labels_of_a_sample_are_shown():
    """Also that there is none."""
    assert "a, labels 'rude', 'toxic', 'x'" == in_words(RawSample("a", text="x", labels=("rude", "toxic")))
    assert "a, labels none, 'x'" == in_words(RawSample("a", text="x", labels=()))


GENRES = ["comedy", "drama", "horror", "war", "music"]
SETS = ["|".join(genre for bit, genre in enumerate(GENRES) if n >> bit & 1) for n in range(1, 32)]
FILMS = "".join(f"a film of {n} long scenes,{genres},{n % 7}\n" for n, genres in enumerate(SETS))
STATED = {"text": "plot", "label": "genres", "labels_separator": "pipe"}


def test_lists_of_labels_are_counted_by_their_labels(tried):
    """31 sets of five genres were called 31 classes that look like names of samples."""
    way, *_ = tried(
        {"movies.csv": f"plot,genres,score\n{FILMS}".encode()}, label="genres", labels_separator="pipe"
    )
    assert ("", STATED) == (way.refused, dict(way.proposal.options))
    assert "labels 'comedy', 'drama'" in way.samples[2]


def test_what_is_stated_is_tried_where_nothing_proposes_itself(tried):
    """`No kind fits without being told more` was the answer to somebody who had told all of it."""
    lines = "".join(f"film {n},{genres}\n" for n, genres in enumerate(SETS))
    rows = {"movies.csv": f"plot,genres\n{lines}".encode()}
    assert [] == tried(rows)
    (way,) = [trial for trial in tried(rows, **STATED) if not trial.refused]
    assert ("text_table", "as stated") == (way.proposal.kind, way.proposal.reason)


def test_a_mistake_in_what_is_stated_is_told_by_the_reader(tried):
    """It vanished where no kind had proposed itself."""
    rows = {"a.csv": b"first,second\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(30))}
    refused = {trial.proposal.kind: trial.refused for trial in tried(rows, text="first", label="nocolumn")}
    assert "nocolumn" in refused["text_table"]
    refused = {trial.proposal.kind: trial.refused for trial in tried(rows, time="first", timezone="Mars")}
    assert "Mars" in refused["series_table"]


def test_what_every_kind_is_told_alone_proposes_none(tried):
    """`ignore` says nothing of how files are read."""
    assert [] == tried({"a.bin": b"\0\1"}, ignore=["*.txt"])


def test_the_way_out_of_classes_that_look_like_names_is_one(tried):
    """Nine letters written once and three written twice: without the rare ones; where all are rare there is none."""
    once = {f"{letter}/1.png": picture(ord(letter)) for letter in "abcdefghijkl"}
    assert [] == taken(tried(once))
    twice = {f"{letter}/2.png": picture(ord(letter) + 20) for letter in "abc"}
    assert [{"least_per_class": "2"}] == taken(tried(once | twice))


PHOTOS = {f"img/{n}.png": picture(n) for n in range(30)}
ROWS = "".join(f"{n},{'ball' if n % 2 else 'box'},{n / 10},{'AB'[n % 3 % 2]}\n" for n in range(30))
LISTED = {**PHOTOS, "labels.csv": f"id,label,weight,site\n{ROWS}".encode()}


def test_a_stated_answer_stands_for_all_that_were_guessed(tried):
    """Who says `target=weight` wants the weight: a class beside it, which nobody named, made it a classification."""
    ways = [trial for trial in tried(LISTED, target="weight") if not trial.refused]
    assert [{"path": "id", "target": "weight"}] == [dict(trial.proposal.options) for trial in ways]


def test_a_reason_names_no_column_that_was_guessed_where_another_was_stated(tried):
    """`'label' says what is on them` stood over the classes of `site`; nor is a stated column one that nobody reads."""
    (way,) = [trial.proposal for trial in tried(LISTED, label="site", side=["weight"]) if not trial.refused]
    assert "as stated: label=site, side=weight" == way.reason
    assert [line for line in way.open if "nobody reads: label (" in line]
    (plain, *_) = tried(LISTED)
    assert "'label' says what is on them" in plain.proposal.reason
    assert [line for line in plain.proposal.open if "nobody reads: weight, site (" in line]


def as_init(folder, trial):
    """Return why `millrace init` refuses what was proposed, "" where it does not."""
    options = stated_options(trial.proposal.kind, [f"{k}={v}" for k, v in trial.proposal.options.items()])
    try:
        take_snapshot(
            trial.proposal.kind, Location(path=str(folder)), max_bytes=1 << 30, options=options, keep=False
        )
    except UserError as error:
        return str(error)
    return ""


MAIL = [("a b c", "x"), ("d e f", "y|x"), ("g h i", "y")] * 4
KINDS_OF_FILES = {
    "a class without a picture": ({f"{c}/{n}.png": picture(n + ord(c)) for c in "ab" for n in range(4)} | {"c/note.txt": b"-"}),
    "no picture that a program opens": {f"{c}/{n}.png": b"no" for c in "ab" for n in range(4)},
    "a class whose pictures no program opens": (
        {f"{c}/{n}.png": picture(n + ord(c)) for c in "ab" for n in range(4)} | {f"c/{n}.png": b"no" for n in range(4)}),
    "lists beside pictures": {f"{n}.png": picture(n) for n in range(12)} | {
        "t.csv": ("path,label\n" + "".join(f"{n},{label}\n" for n, (_, label) in enumerate(MAIL))).encode()},
    "empty cells": {"t.csv": ("text,label\n" + "".join(f"{text} {n},{'' if n == 5 else label[:1]}\n" for n, (text, label) in enumerate(MAIL))).encode()},
    "photographs with a table": LISTED,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS_OF_FILES)
def test_a_trial_says_what_init_says(name, tried, tmp_path):
    """What it takes is taken, and what it refuses is refused, in the same words: the trial read less than `init`."""
    trials = tried(KINDS_OF_FILES[name])
    assert trials
    for trial in trials:
        assert trial.refused == as_init(tmp_path / "given", trial)


def test_two_ways_that_are_one_are_shown_once(tried):
    """Two refusals were followed in either order."""
    rows = "".join(f'parcel {n} never came,{"ab"[n % 2]},"{n + 1},443.65",{n} %\n' for n in range(30))
    files = {"mail.csv": f"text,label,amount,share\n{rows}".encode()}
    ways = taken(tried(files, side=["amount", "share"]))
    assert len(ways) == len({tuple(sorted(way.items())) for way in ways})
    assert {
        "text": "text",
        "label": "label",
        "side": "amount,share",
        "thousands": "comma",
        "units": "%",
    } in ways


def test_of_two_readings_the_one_that_needs_no_advice_comes_first(tried):
    """03/04/2024: read month first, half of the hours are missing."""
    rows = "".join(f"{day:02d}/{month:02d}/2024 {hour:02d}:00,{hour}\n"
                   for month in (1,) for day in range(1, 13) for hour in range(24))  # fmt: skip
    first, *_ = tried({"load.csv": f"time,load\n{rows}".encode()})
    assert "%d/%m/%Y %H:%M" == first.proposal.options["time_format"]
