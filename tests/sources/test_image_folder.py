"""Class folders are recognised, with and without a given split; anything unclear is refused."""

import tarfile
import tracemalloc

import pytest

from pipeline.fetching.archives import list_files, write_tar
from pipeline.runtime.errors import DataRefused, NotPermitted
from pipeline.sources import image_folder
from tests.helpers.archive_of import archive_of


def test_folders_are_classes():
    """The label is the folder's name, the id the relative path, and files come encoded."""
    files = {"hat/1.jpg": b"first", "shoe/2.PNG": b"second"}
    assert {name: name for name in files} == image_folder.select(sorted(files))
    with archive_of(files) as archive:
        samples = list(image_folder.read(archive))
    assert [(sample.sample_id, sample.label, sample.split, sample.image) for sample in samples] == [
        ("hat/1.jpg", "hat", None, b"first"),
        ("shoe/2.PNG", "shoe", None, b"second"),
    ]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_train_val_test_above_the_classes_are_the_given_split(val):
    """The three usual names of the validation folder mean `val`."""
    names = [f"{val}/hat/1.jpg", "test/hat/2.jpg", "train/hat/3.jpg", "train/shoe/4.jpg"]
    image_folder.select(names)
    assert [image_folder.place(name) for name in names] == [
        ("val", "hat"),
        ("test", "hat"),
        ("train", "hat"),
        ("train", "shoe"),
    ]


def test_a_folder_around_everything_is_taken_off():
    """Archives usually hold one folder with the data set's name; ids do not contain it."""
    names = ["set-v2/train/hat/1.jpg", "set-v2/train/shoe/1.jpg", "set-v2/README.md"]
    assert {"train/hat/1.jpg": names[0], "train/shoe/1.jpg": names[1]} == image_folder.select(names)
    assert image_folder.select(["set/hat/1.jpg", "set/shoe/1.jpg"]) == {
        "hat/1.jpg": "set/hat/1.jpg",
        "shoe/1.jpg": "set/shoe/1.jpg",
    }


def test_train_alone_is_a_split_and_no_wrapper():
    """A data set that comes as train/ only keeps that its samples are for training."""
    assert list(image_folder.select(["train/a/1.jpg", "train/b/1.jpg"])) == ["train/a/1.jpg", "train/b/1.jpg"]


def test_a_class_may_be_called_train():
    """Vehicles: train/ holds pictures itself and stands beside plane/, so it is a class."""
    names = ["plane/1.jpg", "train/1.jpg"]
    image_folder.select(names)
    assert [image_folder.place(name) for name in names] == [(None, "plane"), (None, "train")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["hat/notes.txt"], "No image file found"),
        ([], "No image file found"),
        (["hat/1.jpg"], "Fewer than two classes"),
        (["hat/1.jpg", "shoe/1.jpg", "preview.jpg"], "1 image files do not lie in a class folder"),
        (["hat/red/1.jpg", "shoe/1.jpg"], "nothing deeper"),
        (["train/hat/1.jpg", "train/shoe/1.jpg", "test/1.jpg"], "do not lie in a class folder"),
        (["train/hat/1.jpg", "extra/shoe/1.jpg"], "do not lie in a class folder"),
        (["test/hat/1.jpg", "test/shoe/1.jpg"], "given split is not usable"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"], "given split is not usable"),
    ],
)
def test_unclear_layouts_are_refused(names, message):
    """Nothing is guessed: what lies in the wrong place is named."""
    with pytest.raises(DataRefused, match=message):
        image_folder.select(names)


def test_hidden_files_are_ignored_and_links_refused(tmp_path):
    """`.DS_Store` and `._1.jpg` are no data; a link could show any file of this machine."""
    for name in ("hat/1.jpg", "hat/._1.jpg", ".DS_Store", ".cache/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["hat/1.jpg"]
    (tmp_path / "hat" / "2.jpg").symlink_to("/etc/passwd")
    with pytest.raises(NotPermitted, match="is a symbolic link"):
        list_files(tmp_path)


def test_a_linked_folder_is_refused(tmp_path):
    """Following it could loop for ever."""
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(NotPermitted, match="symbolic link"):
        list_files(tmp_path)


def test_the_archive_is_read_without_a_list_of_all_files(tmp_path):
    """Eight times as many files take about the same memory: tarfile forgets what was read."""

    def peak(count):
        path = tmp_path / f"{count}.tar"
        write_tar(path, {f"class/{index:06d}.jpg": b"x" for index in range(count)})
        tracemalloc.start()
        with tarfile.open(path, "r:") as archive:
            assert sum(1 for _ in image_folder.read(archive)) == count
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(1600) < 1.5 * peak(200)
