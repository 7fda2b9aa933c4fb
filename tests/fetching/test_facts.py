"""What a complete reading finds out beside the samples."""

import numpy as np
import pytest

from pipeline.fetching.facts import FactsSeen
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Facts, Location
from pipeline.raw.sample import RawSample, StepLabels
from pipeline.runtime.errors import DataRefused
from tests.helpers.picture_folders import fill, picture


def facts(*samples, joined=None):
    """Return the facts of samples."""
    seen = FactsSeen()
    for sample in samples:
        seen.see(sample)
    return seen.found(joined or {})


def test_texts_are_counted_by_class_split_and_words():
    """Classes that are read as one are one."""
    found = facts(
        RawSample("0", "ham", "train", text="a b c", group="x", side={"age": 4.0, "site": None}),
        RawSample(
            "1", "Ham", "test", text="a", group="x", side={"age": None, "site": "north"}, time="2026-01-01"
        ),
        RawSample("2", "spam", "train", text="a b"),
        joined={"Ham": "ham"},
    )
    expected = Facts(
        splits={"train": 2, "test": 1},
        classes={"ham": 2, "spam": 1},
        num_classes=2,
        groups=1,
        few_groups={"ham": 1},
        times=1,
        side={"age": "number", "site": "category"},
        length=(1, 2, 3),
    )
    assert expected == found


def test_pictures_are_measured_without_decoding_them():
    """Upright, as they will be; a file that nobody can read is for the ingest stage to name."""
    turned = picture(
        1,
        (8, 6),
        "JPEG",
        exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00",
    )
    grey = np.zeros((4, 5, 1), np.uint8)
    found = facts(
        *(RawSample(str(n), "a", image=image) for n, image in enumerate([picture(0), turned, grey, b"x"]))
    )
    assert ((4, 6, 8), (5, 6, 8), [1, 3]) == (found.height, found.width, found.image_channels)


def test_series_have_channels_lengths_steps_and_labelled_anomalies():
    """And targets where they are to be predicted."""
    odd = np.array([True, False])
    found = facts(
        RawSample(
            "a", series=np.zeros((2, 2), np.float32), channels=("x", "y"), step_seconds=60.0, anomalies=odd
        ),
        RawSample(
            "b", series=np.zeros((5, 2), np.float32), channels=("x", "y"), step_seconds=30.0, target=1.0
        ),
    )
    assert (["x", "y"], (2, 2, 5), 30.0, 1, 1, {}) == (
        found.channels, found.length, found.step_seconds, found.anomalies, found.targets, found.splits
    )  # fmt: skip


def test_groups_are_counted_by_class():
    """Recordings are groups where nobody named one; what has no group stands for itself.

    Too few are classes of samples alone: windows are split, not steps, and of which class they are nobody knows yet.
    """
    steps = StepLabels(np.array([0, 0, 1, -1], np.int32), ("sit", "run"))
    recordings = [RawSample(name, series=np.zeros((4, 1), np.float32), step_labels=steps) for name in "ab"]
    seen = FactsSeen()
    for sample in recordings:
        seen.see(sample)
    assert {"a": {"sit": 2, "run": 1}, "b": {"sit": 2, "run": 1}} == seen.members({}, (), {})
    assert {} == seen.found({}).few_groups
    texts = [RawSample(str(number), "spam", text="x", group=f"{number % 2}") for number in range(9)]
    assert {"spam": 2} == facts(*texts).few_groups
    assert {} == facts(*texts, RawSample("9", "spam", text="x")).few_groups


@pytest.mark.parametrize(
    ("third", "options", "count"),
    [
        ({"odd": [b"no"]}, {"least_per_class": 5}, 12),
        ({"Cat": [b"no"]}, {"join_labels": True}, 13),
        ({"odd": [b"no"]}, {}, "of class 'odd' can be decoded"),
        ({"odd": [b"no"] * 2, "ODD": [b"no"]}, {"join_labels": True}, "of class 'odd' can be decoded"),
        ({"odd": [b"no"] * 5}, {"least_per_class": 5}, "of class 'odd' can be decoded"),
    ],
)
def test_a_class_vanishes_with_its_pictures_where_it_is_one_by_then(
    third, options, count, tmp_path, monkeypatch
):
    """Not one that is read as another, nor one that is left out as too rare."""
    monkeypatch.chdir(tmp_path)
    classes = {"cat": map(picture, range(6)), "dog": map(picture, range(6, 12))} | third
    rows = [(label, image) for label, images in classes.items() for image in images]
    table = "path,label\n" + "".join(f"{n}.png,{label}\n" for n, (label, _) in enumerate(rows))
    fill(
        tmp_path / "given",
        {f"{n}.png": image for n, (_, image) in enumerate(rows)} | {"t.csv": table.encode()},
    )
    options = {"path": "path", "label": "label"} | options

    def read():
        return take_snapshot("image_table", Location(path="given"), max_bytes=1 << 30, options=options).source

    if isinstance(count, int):
        assert count == read().count
    else:
        with pytest.raises(DataRefused, match=count):
            read()


def test_texts_that_stand_there_more_than_once_are_counted_each_time(monkeypatch):
    """As `validate` counts them, whatever stands beside them; of too many texts nobody says."""
    texts = ["a", "b", "a", "c", "b", "a", "", "", " "]  # empty ones are no copies: `ingest` sorts them out
    samples = [RawSample(str(n), "x", None, text=text, side={"n": float(n)}) for n, text in enumerate(texts)]
    assert 5 == facts(*samples).copies
    monkeypatch.setattr("pipeline.fetching.facts.MOST_TEXTS", 2)
    assert 0 == facts(*samples).copies
