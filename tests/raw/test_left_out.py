"""What lies beside the data is said, and refused where it looks like data."""

import numpy as np
import pytest
from PIL import Image

from pipeline.fetching.archives import list_files
from pipeline.fetching.snapshot import show, take_snapshot
from pipeline.fetching.source import Location
from pipeline.formats.problems import typed_in
from pipeline.raw import heif
from pipeline.raw.left_out import MOST_GROUPS, by_folder_and_suffix, not_ignored
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.processes import terminal

GIB = 2**30


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two classes with two images each; the working directory is a project beside them."""
    folder = tmp_path / "data"
    for label in ("ball", "box"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((4, 4), 40 * number + len(label), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return folder


def snapshot(data, **options):
    """Read the data as `millrace init` does."""
    return take_snapshot("image_folder", Location(path=str(data)), max_bytes=GIB, options=options)


def test_files_beside_the_images_are_said_by_folder_and_suffix(data, capsys):
    """With their number and one of them; data/source.json keeps the numbers, so that a refresh notices."""
    for name in ("ball/a.txt", "ball/b.txt", "notes.md"):
        (data / name).write_text("x")
    taken = snapshot(data)
    assert {"ball/*.txt": 2, "*.md": 1} == taken.source.left_out
    show(taken, terminal())
    assert "Left out: 2 x ball/*.txt, such as ball/a.txt" in capsys.readouterr().out


@pytest.fixture
def _without_heic(monkeypatch):
    """An environment without the extra that reads it; with it see tests/raw/test_heif.py."""
    monkeypatch.setattr(heif, "readable", lambda: False)


@pytest.mark.usefixtures("_without_heic")
@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".dcm", ".psd", ".nef"])
def test_a_class_whose_pictures_cannot_be_read_does_not_vanish(data, suffix):
    """The command that converts is said, and what passes over the originals; taken literally it leads on."""
    (data / "cone").mkdir()
    (data / "cone" / f"1{suffix}").write_bytes(b"no image that is read")
    with pytest.raises(DataRefused) as error:
        snapshot(data)
    message = str(error.value)
    assert f"1 x cone/*{suffix}" in message
    assert f"-iname '*{suffix.lower()}'" in message
    assert "magick mogrify -format png" in message
    ((*_, (_, advice)),) = typed_in(message)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(data / "cone" / "1.png")
    assert 5 == snapshot(data, ignore=[advice]).source.count


@pytest.mark.usefixtures("_without_heic")
def test_single_pictures_that_cannot_be_read_are_refused_too(data):
    """The class is there, but half of it would be missing."""
    (data / "box" / "3.heif").write_bytes(b"x")
    with pytest.raises(DataRefused, match=r"1 x box/\*\.heif"):
        snapshot(data)


@pytest.mark.parametrize("content", [None, "labels.xml"])
def test_a_folder_beside_the_classes_that_gives_nothing_is_refused(data, content):
    """An empty one as well; whoever knows that it is no class passes it over."""
    (data / "cone").mkdir()
    if content:
        (data / "cone" / content).write_text("x")
    with pytest.raises(
        DataRefused, match=r"Folders beside those of the classes give nothing.*cone.*--set ignore=cone"
    ):
        snapshot(data)
    assert {} == snapshot(data, ignore=["cone"]).source.left_out


@pytest.mark.usefixtures("_without_heic")
def test_no_image_at_all_says_what_was_there(data):
    """Not only how much."""
    for path in data.rglob("*.png"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataRefused, match=r"2 x ball/\*\.heic, 2 x box/\*\.heic.*ImageMagick converts them"):
        snapshot(data)


@pytest.mark.parametrize(
    "name", ["@eaDir/0.png/THUMB.jpg", "Thumbs.db", "__MACOSX/x.png", "ball/desktop.ini"]
)
def test_what_file_managers_and_drives_write_is_passed_over(data, name):
    """As hidden files are."""
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).write_bytes(b"x")
    assert 4 == len(list_files(data))
    assert {} == snapshot(data).source.left_out


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".mpo"])
def test_more_formats_of_pillow_are_read(data, suffix):
    """What phones and museums write."""
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(data / "box" / f"x{suffix}")
    assert 5 == snapshot(data).source.count


def test_globs_pass_over_files_and_folders_in_any_case():
    """As a whole, by the last part, or by a folder above."""
    names = ["a/b.XML", "docs/x/y.png", "a/docs.png", "c.png"]
    assert ["a/docs.png", "c.png"] == not_ignored(names, ["*.xml", "docs"])
    assert ["a/b.XML", "docs/x/y.png"] == not_ignored(names, ["a/docs*", "c.png"])


def test_many_folders_are_counted_by_suffix_alone():
    """data/source.json is for people to read."""
    names = [f"{number}/x.txt" for number in range(MOST_GROUPS + 1)]
    assert {"*.txt": MOST_GROUPS + 1} == {
        glob: len(found) for glob, found in by_folder_and_suffix(names).items()
    }


def test_folders_beside_tables_are_no_classes(tmp_path, monkeypatch):
    """Nobody says that documents between folders of tables are one; they are told as left out."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/train/a.csv", "data/test/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("text,label\nx,a\ny,b\n")
    (tmp_path / "data/docs").mkdir()
    (tmp_path / "data/docs/about.md").write_text("x")
    taken = take_snapshot("text_table", Location(path="data"), max_bytes=GIB, options={"label": "label"})
    assert {"docs/*.md": 1} == taken.source.left_out


def test_of_a_single_file_nothing_beside_it_is_looked_at(tmp_path, monkeypatch):
    """It may lie in somebody's home."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label\nx,a\ny,b\n")
    monkeypatch.setattr("pipeline.fetching.snapshot.list_folders", None)
    taken = take_snapshot("text_table", Location(path="a.csv"), max_bytes=GIB, options={"label": "label"})
    assert {} == taken.source.left_out


@pytest.mark.usefixtures("_without_heic")
def test_one_class_whose_neighbour_cannot_be_read_is_told_by_the_neighbour(data):
    """Not as a data set of a single class."""
    for path in (data / "box").glob("*.png"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataRefused, match=r"2 x box/\*\.heic"):
        snapshot(data)
