"""ingest makes one canonical data set of whatever the source has, and counts what was odd."""

import hashlib
import io
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.data.samples import SCHEMA, read_samples
from pipeline.raw.sample import RawSample
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import file_digest
from pipeline.sources import digits, image_folder
from pipeline.stages.ingest import ingest
from tests.helpers.archive_of import archive_of
from tests.helpers.picture_folders import picture

LENIENT = {
    "image_size": None,
    "channels": None,
    "resize": "pad",
    "size_policy": "convert",
    "mode_policy": "convert",
    "exif_rotation_policy": "convert",
    "undecodable_policy": "reject",
    "max_rejected_share": 0.9,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test writes into an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sample(name, image, split=None):
    """Return a sample whose label is its folder."""
    return RawSample(name, name.split("/")[0], split, image)


def run(*samples, **settings):
    """Ingest samples leniently, but for `settings`; return summary, table and images."""
    settings = LENIENT | {"num_samples": len(samples)} | settings
    summary = ingest(samples, **settings)
    return summary, read_samples(), np.load(paths.PAYLOAD_NPY, mmap_mode="r")


def turned_picture(seed):
    """Return a JPEG that the camera stored on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(seed, kind="JPEG", exif=exif)


def test_table_and_payload_belong_together():
    """Every column of every row, against values worked out here."""
    zeros, ones = np.zeros((2, 3, 1), np.uint8), np.ones((2, 3, 1), np.uint8)
    summary, table, images = run(sample("a/1", zeros, "train"), sample("b/1", ones))
    assert {
        "sample_id": ["a/1", "b/1"],
        "label": ["a", "b"],
        "given_split": ["train", ""],
        "group": ["", ""],
        "time": ["", ""],
        "content_sha256": [hashlib.sha256(b"2x3x1:" + bytes([value] * 6)).hexdigest() for value in (0, 1)],
        "height_original": [2, 2],
        "width_original": [3, 3],
        "mode_original": ["L", "L"],
        "oddities": ["", ""],
        "row": [0, 1],
        "start": [0, 1],
        "length": [1, 1],
        "step_seconds": [0.0, 0.0],
    } == table.drop(columns="target").to_dict("list")
    assert table["target"].isna().all()
    np.testing.assert_array_equal(np.stack([zeros, ones]), images)
    assert summary == {
        "read": 2,
        "beyond_limit": 0,
        "kept": 2,
        "num_rejected": 0,
        "rejected": {},
        "rejected_examples": {},
        "converted": {},
        "classes": {"a": 1, "b": 1},
        "given_splits": {"train": 1, "none": 1},
        "image": {"shape": [2, 3, 1]},
    }
    assert summary == json.loads(paths.INGEST_REPORT.read_text())


def test_what_stands_beside_an_image_is_kept():
    """Target, group, time and side columns of a table reach the canonical data set; the report has the range."""
    beside = {"group": "ann", "time": "2026-01-02T00:00:00"}
    first = RawSample("1", image=picture(1), target=2.0, side={"age": 3.0, "town": "Ulm"}, **beside)
    second = RawSample("2", image=picture(2), target=-1.0, side={"age": None, "town": None})
    summary, table, _ = run(first, second, task="regression", limit_per_class=1)
    assert {
        "target": [2.0, -1.0],
        "group": ["ann", ""],
        "time": ["2026-01-02T00:00:00", ""],
    } == table[["target", "group", "time"]].to_dict("list")
    assert table["side.age"].tolist()[0] == 3.0
    assert table["side.town"].tolist()[0] == "Ulm"
    assert table[["side.age", "side.town"]].isna().to_numpy().tolist() == [[False, False], [True, True]]
    assert {"lowest": -1.0, "mean": 0.5, "highest": 2.0} == summary["image"]["target"]


def test_why_files_were_rejected_is_in_the_report_and_the_refusal():
    """By the decoder's words, with counts and an example; and no Python in the message."""
    broken = [
        sample("a/1", picture(1)),
        sample("b/2", b"<html>"),
        sample("b/3", b""),
        sample("b/4", picture(2)),
    ]
    summary, *_ = run(*broken)
    assert {"undecodable": 2} == summary["rejected"]
    assert {
        "no known image format: #": {"count": 2, "example": "b/2: no known image format: b'<html>'"}
    } == summary["rejected_because"]
    with pytest.raises(DataRefused) as refused:
        run(*broken, max_rejected_share=0.1)
    assert "(2 for undecodable), such as undecodable: b/2, b/3 (undecodable: 2 like b/2: no known" in str(
        refused.value
    )


def test_pages_are_counted_or_rejected():
    """An animation gives its first frame, as an oddity; policy `reject` leaves it out."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    samples = [sample("a/1", file.getvalue()), sample("a/2", picture(2)), sample("b/1", picture(3))]
    summary, table, _ = run(*samples)
    assert ({"frames": 1}, ["frames", "", ""]) == (summary["converted"], table["oddities"].tolist())
    summary, *_ = run(*samples, frames_policy="reject")
    assert {"frames": 1} == summary["rejected"]


def test_deep_grey_images_that_arrive_nearly_black_are_refused():
    """12 bits in 16-bit files; with their range stated they keep their contrast."""
    deep = np.array([[0, 4080]], np.uint16)
    samples = []
    for name in ("a/1", "b/1"):
        file = io.BytesIO()
        Image.fromarray(deep).save(file, "PNG")
        samples.append(sample(name, file.getvalue()))
    with pytest.raises(DataRefused, match=r"data.grey_range: \[0, 4095\] in params.yaml"):
        run(*samples)
    summary, _, images = run(*samples, grey_range=(0, 4095))
    assert [0, 254] == images[0].ravel().tolist()
    assert [0.0, 4080.0] == summary["image"]["grey_values"]


def test_regression_on_images_without_targets_is_refused():
    """Labels are no numbers; classes are asked for by classification only."""
    with pytest.raises(DataRefused, match="No sample has a target"):
        run(sample("a/1", picture(1)), sample("b/1", picture(2)), task="regression")
    with pytest.raises(DataRefused, match="at least 2 classes"):
        run(RawSample("1", image=picture(1), target=1.0))


def test_rows_follow_the_kept_samples():
    """A rejected sample leaves no gap: row i of the table is image i."""
    pictures = [picture(seed) for seed in range(3)]
    summary, table, images = run(
        sample("a/1.png", pictures[0]), sample("a/2.png", b"broken"), sample("b/1.png", pictures[2])
    )
    assert list(zip(table["sample_id"], table["row"], strict=True)) == [("a/1.png", 0), ("b/1.png", 1)]
    for expected, row in ((pictures[0], 0), (pictures[2], 1)):
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(expected))), images[row])
    assert (
        summary["rejected"],
        summary["rejected_examples"],
    ) == ({"undecodable": 1}, {"undecodable": ["a/2.png"]})


def odd_samples():
    """Return a good picture per class, then one of another size, one grey, one lying on its side."""
    grey = np.zeros((6, 8, 1), np.uint8)
    return [
        sample("a/1.png", picture(0)),
        sample("b/1.png", picture(1)),
        sample("b/2.png", picture(2, size=(9, 9))),
        sample("b/3.png", grey),
        sample("b/4.png", turned_picture(3)),
    ]


def test_oddities_are_converted_and_counted():
    """Converted samples stay, each with its oddities in the table."""
    summary, table, images = run(*odd_samples(), image_size=(6, 8), channels=3)
    assert summary["converted"] == {"size": 2, "mode": 1, "exif_rotation": 1}
    # A picture of 8 x 6 that lay on its side is 6 wide and 8 high once upright, so its size is odd too.
    assert table["oddities"].tolist() == ["", "", "size", "mode", "size,exif_rotation"]
    assert table["height_original"].tolist() == [6, 6, 9, 6, 8]
    assert table["width_original"].tolist() == [8, 8, 9, 8, 6]
    assert images.shape == (5, 6, 8, 3)


@pytest.mark.parametrize(
    ("policy", "rejected", "left"),
    [
        ("size_policy", {"size": 2}, ["a/1.png", "b/1.png", "b/3.png"]),
        ("mode_policy", {"mode": 1}, ["a/1.png", "b/1.png", "b/2.png", "b/4.png"]),
        ("exif_rotation_policy", {"exif_rotation": 1}, ["a/1.png", "b/1.png", "b/2.png", "b/3.png"]),
    ],
)
def test_each_oddity_can_be_rejected_instead(policy, rejected, left):
    """A policy touches its own oddity and no other."""
    summary, table, _ = run(*odd_samples(), image_size=(6, 8), channels=3, **{policy: "reject"})
    assert rejected == summary["rejected"]
    assert left == table["sample_id"].tolist()


def test_without_a_size_all_images_must_be_equal():
    """Nothing is resized unasked; the message names the key and the sample."""
    with pytest.raises(DataRefused, match=r"(?s)\(9, 9\) in b/2.png.*Set data.image_size"):
        run(*odd_samples()[:3])


def test_without_channels_all_images_must_have_as_many():
    """The same for grey among colour."""
    with pytest.raises(DataRefused, match=r"(?s)1 in b/3.png.*Set data.channels"):
        run(*odd_samples()[:2], odd_samples()[3])


def test_a_truncated_jpeg_is_left_out_and_counted():
    """Pillow's `verify()` lets it pass; decoded here, it cannot stop training in mid-epoch."""
    cut = picture(0, size=(64, 64), kind="JPEG")[:2000]
    summary, *_ = run(sample("a/1", picture(1)), sample("a/2", cut), sample("b/1", picture(2)))
    assert summary["rejected"] == {"undecodable": 1}


def test_undecodable_files_can_stop_the_run():
    """With `fail`, the first broken file is named."""
    with pytest.raises(DataRefused, match="a/2 cannot be decoded"):
        run(sample("a/1", picture(1)), sample("a/2", b"broken"), undecodable_policy="fail")


def test_too_many_rejected_samples_stop_the_run():
    """One in three is more than a tenth; reasons and examples are in the message."""
    samples = [sample("a/1", picture(1)), sample("a/2", b"broken"), sample("b/1", picture(2))]
    with pytest.raises(DataRefused, match=r"1 for undecodable.*undecodable: a/2"):
        run(*samples, max_rejected_share=0.1)


def test_the_share_of_rejected_samples_may_be_reached_but_not_passed():
    """Exactly a quarter is allowed where a quarter is the limit."""
    samples = [sample(f"a/{i}", picture(i)) for i in range(2)] + [
        sample("b/1", picture(2)),
        sample("b/2", b"x"),
    ]
    assert run(*samples, max_rejected_share=0.25)[0]["num_rejected"] == 1


def test_images_without_an_answer_are_rejected_where_that_is_asked_for():
    """Before anybody decodes them; they count against the share like broken ones."""
    samples = [RawSample("a"), *(RawSample(name, name, image=picture(5)) for name in "bc")]
    summary = run(*samples, reject_unlabelled=True, max_rejected_share=0.4)[0]
    assert ({"unlabelled": 1}, ["a"]) == (summary["rejected"], summary["rejected_examples"]["unlabelled"])
    with pytest.raises(DataRefused, match=r"1 for unlabelled.*--set unlabelled=leave_out"):
        run(*samples, reject_unlabelled=True, max_rejected_share=0.3)


def test_a_limit_keeps_the_first_of_each_class_and_split():
    """With limit_per_class=2 two samples per class and given split are kept, the rest is counted."""
    samples = [
        RawSample(f"{split}/{number:02d}", str(number % 2), split, np.full((2, 2, 1), number, np.uint8))
        for split in ("test", "train")
        for number in range(8)
    ]
    summary, table, images = run(*samples, limit_per_class=2)
    assert (summary["kept"], summary["beyond_limit"], summary["read"]) == (8, 8, 16)
    assert summary["classes"] == {"0": 4, "1": 4}
    assert list(table.sample_id[:4]) == [f"test/{number:02d}" for number in range(4)]
    assert len(images) == 8


def test_samples_beyond_the_limit_do_not_excuse_rejected_ones():
    """2 broken files among 4 that were looked at are half, however many lie behind the limit."""
    good = [sample(f"{label}/{number}", picture(number)) for label in "ab" for number in (3, 4, 5, 6)]
    broken = [sample(f"{label}/1", b"broken") for label in "ab"]
    with pytest.raises(DataRefused, match="Too many samples were rejected"):
        run(
            *sorted([*good, *broken], key=lambda item: item.sample_id),
            limit_per_class=1,
            max_rejected_share=0.3,
        )


def test_running_out_of_memory_is_not_a_broken_file(monkeypatch):
    """A machine short of memory stops the run instead of losing samples."""
    monkeypatch.setattr(
        "pipeline.ingest.images.Image.open", lambda _file: (_ for _ in ()).throw(MemoryError())
    )
    with pytest.raises(MemoryError):
        run(sample("a/1", picture(1)), sample("b/1", picture(2)))


def test_one_class_is_not_enough():
    """Also when the second one was rejected."""
    with pytest.raises(DataRefused, match="at least 2 classes"):
        run(sample("a/1", picture(1)), sample("b/1", b"broken"))


def test_the_number_of_samples_must_be_the_announced_one():
    """A source.json of other data is noticed."""
    with pytest.raises(DataRefused, match="disagree on the number of samples"):
        run(sample("a/1", picture(1)), sample("b/1", picture(2)), num_samples=3)


def test_nothing_appears_when_the_data_is_refused(folder):
    """No half table, no half array, no temporary file."""
    with pytest.raises(DataRefused):
        run(sample("a/1", picture(1)), sample("b/1", b"broken"))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_everything_undecodable_is_refused_in_words():
    """No image is left whose size could be taken."""
    with pytest.raises(DataRefused, match="Too many samples"):
        run(sample("a/1", b"x"), sample("b/1", b"y"))


@pytest.mark.parametrize("ids", [["b/1", "a/1"], ["a/1", "a/1"]])
def test_a_source_out_of_order_is_our_bug(ids):
    """The table is sorted and ids are unique because sources must be so."""
    with pytest.raises(ValueError, match="out of order or twice"):
        run(*(sample(name, picture(0)) for name in ids))


def test_the_files_do_not_depend_on_the_run(folder):
    """Twice the same bytes: they are what two clones compare."""
    digests = []
    for _ in range(2):
        run(*odd_samples(), image_size=(6, 8), channels=3)
        digests.append([file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 3


def test_the_table_has_the_schema_of_the_contract(folder):
    """Types on disk, not only after pandas has looked at them."""
    run(sample("a/1", picture(1)), sample("b/1", picture(2)))
    assert pq.read_schema(paths.SAMPLES_PARQUET).equals(SCHEMA)


def test_digits_become_the_array_of_scikit_learn():
    """From the bundled file to the payload: 1,797 images of 8 x 8, labels in place."""
    from sklearn.datasets import load_digits

    with archive_of(digits.bundled_files()) as archive:
        summary, table, images = run(*digits.read(archive), num_samples=1797)
    expected = load_digits()
    np.testing.assert_array_equal(np.floor(expected.images * 255 / 16 + 0.5), images[..., 0])
    assert expected.target.astype(str).tolist() == table["label"].tolist()
    assert summary["classes"] == {str(digit): int((expected.target == digit).sum()) for digit in range(10)}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(folder):
    """Four times as many samples peak at about the same height."""

    def peak(count):
        image = np.zeros((28, 28, 1), np.uint8)
        samples = (RawSample(f"{index:08d}", "ab"[index % 2], None, image) for index in range(count))
        tracemalloc.start()
        ingest(samples, num_samples=count, **LENIENT)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(40_000) < 1.3 * peak(10_000)


def test_clothing_keeps_its_given_split(benchmarks):
    """Fifty real photographs: all decode, labels and splits are those of their folders."""
    root = benchmarks / "clothing-small"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))[::45]
    with archive_of({name: (root / name).read_bytes() for name in names}) as archive:
        summary, table, images = run(*image_folder.read(archive), image_size=(48, 48), channels=3)
    assert summary["kept"] == len(names)
    assert [name.split("/")[1] for name in names] == table["label"].tolist()
    assert [name.split("/")[0].removesuffix("idation") for name in names] == table["given_split"].tolist()
    assert images.shape == (len(names), 48, 48, 3)


def test_the_stage_runs_as_dvc_runs_it(project, stage_environment):
    """In a fresh copy of the project, after fetch: files, report and a line for the reader."""
    from pipeline.fetching.archives import write_tar

    paths.RAW_TAR.parent.mkdir(parents=True)
    write_tar(paths.RAW_TAR, digits.bundled_files())
    command = [sys.executable, "-m", "pipeline.stages.ingest"]
    done = subprocess.run(command, env=stage_environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kept 1,797 of 1,797 samples" in done.stdout
    assert len(read_samples()) == 1797


def test_a_missing_archive_says_which_stage_makes_it(project, stage_environment):
    """Exit code 66 and the command."""
    command = [sys.executable, "-m", "pipeline.stages.ingest"]
    done = subprocess.run(command, env=stage_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 66
    assert "source.tar does not exist" in done.stderr
