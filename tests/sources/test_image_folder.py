"""Class folders are recognised, with and without a given split; anything unclear is refused."""

import tarfile
import tracemalloc

import pytest

from pipeline.fetching.archives import list_files, write_tar
from pipeline.runtime.errors import DataRefused, NotPermitted, WronglyCalled
from pipeline.sources import image_folder
from tests.helpers.archive_of import archive_of
from tests.helpers.read_source import described, read_source


def read_places(names, **options):
    """Return given split and class of images, read in the order given."""
    samples = read_source(image_folder, dict.fromkeys(names, b"x"), **options)
    found = {sample.sample_id: (sample.split, sample.label) for sample in samples}
    return [found[name] for name in names]


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
    assert [("val", "hat"), ("test", "hat"), ("train", "hat"), ("train", "shoe")] == read_places(names)


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
    assert [(None, "plane"), (None, "train")] == read_places(names)


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


def refusal(names, **options):
    """Return the message that refuses these names."""
    with pytest.raises(DataRefused) as refused:
        image_folder.select(sorted(names), image_folder.Options(**options))
    return str(refused.value)


def test_training_and_testing_are_splits():
    """As many of Kaggle's sets come; upper and lower case are one."""
    names = ["Training/hat/1.jpg", "Training/shoe/2.jpg", "Testing/hat/3.jpg"]
    assert [("train", "hat"), ("train", "shoe"), ("test", "hat")] == read_places(names)


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ("first", ["hat/red/1.jpg", "shoe/2.jpg", "shoe/a/b/3.jpg"], ["hat", "shoe", "shoe"]),
        ("parent", ["2024/hat/1.jpg", "2024/shoe/2.jpg", "2025/hat/3.jpg"], ["hat", "shoe", "hat"]),
        ("{label}.#.jpg", ["dog.0.jpg", "cat.12.jpg"], ["dog", "cat"]),
        ("{label}_#.*", ["great_dane_12.jpg", "pug_1.png"], ["great_dane", "pug"]),
        ("*/{label}/*", ["a/hat/1.jpg", "b/shoe/1.jpg"], ["hat", "shoe"]),
        (r"(.+)_\d+\.jpg", ["great_dane_12.jpg", "pug_1.jpg"], ["great_dane", "pug"]),
        (r"(?P<group>[a-z]+)\d-(?P<label>x|y).*", ["ann1-x.jpg", "bob2-y.jpg"], ["x", "y"]),
    ],
)
def test_the_class_may_stand_anywhere_in_the_path(label, names, expected):
    """By the first or the last folder, or by a pattern of names; below the folders of a split just the same."""
    assert expected == [found for _, found in read_places(names, label=label)]
    below = [f"train/{name}" for name in names]
    assert [("train", found) for found in expected] == read_places(below, label=label)


def test_a_pattern_may_name_a_group():
    """Pictures of one person or camera are not torn apart by a split."""
    names = {"cat-ann-1.jpg": b"x", "dog-bob-1.jpg": b"y"}
    samples = read_source(image_folder, names, label="{label}-{group}-#.jpg")
    assert [("cat", "ann"), ("dog", "bob")] == [(sample.label, sample.group) for sample in samples]
    (line,) = described(image_folder, names, label="{label}-{group}-#.jpg")
    assert "cat-ann-1.jpg is 'cat', group 'ann'" in line


@pytest.mark.parametrize("label", ["cat", "{group}_*", "(", "(?P<x>.)"])
def test_a_pattern_without_a_place_for_the_label_is_refused(label):
    """Whoever misspells it is told how it goes."""
    with pytest.raises(WronglyCalled, match="Expected folder, first, parent, or a pattern with"):
        image_folder.select(["a.jpg", "b.jpg"], image_folder.Options(label=label))


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["dog.0.jpg", "dog.1.jpg", "cat.0.jpg", "cat.1.jpg"], "{label}.#.*"),
        (["big_dog_0.jpg", "big_dog_1.jpg", "cat_0.jpg", "cat_1.jpg"], "{label}_#.*"),
        (["dog (1).jpg", "dog (2).jpg", "cat (1).jpg", "cat (2).jpg"], "{label} (#).*"),
        (["train/dog1.jpg", "train/dog2.jpg", "train/cat1.jpg", "train/cat2.jpg"], "{label}#.*"),
    ],
)
def test_names_that_begin_like_labels_are_answered_with_the_pattern(names, advice):
    """Followed to the letter, it reads dogs and cats, whatever stands between label and number."""
    assert f"--set label='{advice}'" in refusal(names)
    assert {"dog", "cat"} == {label.removeprefix("big_") for _, label in read_places(names, label=advice)}


def test_folders_in_classes_are_answered_with_both_readings():
    """The message says which classes each would give, so that nobody takes dates for classes unawares."""
    message = refusal(["hat/2024/1.jpg", "shoe/2024/1.jpg", "shoe/2025/1.jpg"])
    assert "--set label=first (classes hat, shoe) or --set label=parent (classes 2024, 2025)" in message
    assert "label=first" not in refusal(["train/hat/1.jpg", "extra/shoe/1.jpg"])


def test_a_test_folder_without_labels_is_answered_with_how_to_pass_it_over():
    """Kaggle's unlabelled test/."""
    assert "--set ignore=test;" in refusal(["train/hat/1.jpg", "train/shoe/1.jpg", "test/1.jpg"])


def test_a_table_beside_the_images_is_named():
    """Whoever has one needs another kind."""
    assert "If labels.csv says what is on them: --kind image_table" in refusal(["labels.csv", "images/1.jpg"])


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


def test_folders_that_repeat_their_name_and_splits_with_another_word_are_read():
    """As archives unpack to seg_train/seg_train; pictures of no split are named with the option that passes them over."""
    names = [
        f"seg_{part}/seg_{part}/{label}/{n}.jpg"
        for part in ("train", "test")
        for label in ("sea", "sky")
        for n in "12"
    ]
    chosen = image_folder.select(names)
    assert set(chosen) == {name.split("/", 1)[1] for name in names}
    samples = read_source(image_folder, dict.fromkeys(names, b""))
    assert {("train", "sea"), ("test", "sky")} <= {(sample.split, sample.label) for sample in samples}
    with pytest.raises(DataRefused, match="ignore=seg_pred"):
        image_folder.select([*names, "seg_pred/seg_pred/1.jpg"])


@pytest.mark.parametrize("label", ["folder", "first", "parent", "{label}/*"])
@pytest.mark.parametrize(
    "names",
    [
        ["positive_test/1.jpg", "negative_test/1.jpg"],
        ["steam-train/1.jpg", "freight-train/1.jpg"],
        ["steam-train/1.jpg", "stress-test/1.jpg"],
    ],
)
def test_classes_may_be_called_like_a_split_and_another_word(names, label):
    """Where none of them is for training, two are, or pictures lie in them, they are no splits."""
    classes = [(None, name.split("/")[0]) for name in names]
    assert classes == read_places(names, label=label)
    below = [name.replace("/", "/2024/") for name in names]
    if label == "first" and names[1] != "stress-test/1.jpg":
        assert classes == read_places(below, label=label)


def test_a_file_beside_the_splits_is_passed_over_by_its_name():
    """Followed to the letter, the rest reads; not where the name would take a picture of a class along."""
    names = ["test/hat/1.jpg", "test/shoe/2.jpg", "train/hat/3.jpg", "train/shoe/4.jpg"]
    assert "--set ignore=preview.jpg;" in refusal([*names, "preview.jpg"])
    assert "--set ignore=more,preview.jpg;" in refusal([*names, "more/5.jpg", "preview.jpg"])
    for loose in (["3.jpg"], ["[3].jpg"], [f"{number}.png" for number in range(9)]):
        assert "ignore=" not in refusal([*names, *loose])


def test_only_splits_lose_a_folder_of_their_name():
    """A species called like its family keeps both; so does everything where a pattern says what each folder is."""
    species = ["eel/eel/1.jpg", "ray/ray/2.jpg", "shark/hammer/3.jpg"]
    for label, classes in {"first": ["eel", "ray", "shark"], "parent": ["eel", "ray", "hammer"]}.items():
        assert species == list(image_folder.select(species, image_folder.Options(label=label)))
        assert classes == [found for _, found in read_places(species, label=label)]
    splits = ["train/train/cat/1.jpg", "train/train/dog/2.jpg"]
    assert ["cat", "dog"] == [found for _, found in read_places(splits, label="train/{label}/*")]


def test_names_that_nobody_can_guess_are_answered_with_the_option():
    """And no longer with the advice to move the files."""
    with pytest.raises(DataRefused, match=r"--set label=PATTERN, such as '\{label\}_#\.\*'"):
        image_folder.select([f"{n}x{n % 3}.jpg" for n in range(9)])
