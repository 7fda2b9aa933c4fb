"""Photographs of telephones: read with the extra `heic`, refused without it, never lost."""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pipeline.fetching.facts import measured
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location
from pipeline.formats.problems import typed_in
from pipeline.ingest.images import UndecodableImage, decode
from pipeline.raw import heif
from pipeline.runtime.errors import DataRefused
from tests.helpers.picture_folders import class_folders, picture

GIB = 2**30


def photograph(colour=(200, 40, 30), size=(48, 32), **settings):
    """Return a real HEIC file of one colour, as libheif encodes it."""
    file = io.BytesIO()
    pixels = np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], 3)).copy()
    made = pillow_heif.from_pillow(Image.fromarray(pixels))
    made.save(file, quality=90, **settings)
    return file.getvalue()


@pytest.fixture
def without(monkeypatch):
    """An environment that has no pillow-heif."""
    monkeypatch.setattr(heif, "readable", lambda: False)
    monkeypatch.setattr(heif, "let_pillow_read", lambda: False)


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Two classes of PNG and one that is HEIC alone."""
    class_folders(tmp_path / "data")
    (tmp_path / "data/cow").mkdir()
    for number, name in enumerate(("1.heic", "2.HEIC", "3.heif")):
        (tmp_path / "data/cow" / name).write_bytes(photograph((60 * number, 40, 30)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snapshot(**options):
    """Read the folder as `millrace init` does."""
    return take_snapshot("image_folder", Location(path="data"), max_bytes=GIB, options=options)


def test_a_class_of_heic_is_read(photographs):
    """Its samples, and their sizes."""
    taken = snapshot()
    assert 3 == taken.counts["", "cow"]
    assert 9 == taken.source.count
    assert (32, 48, 3) == measured(photograph())


def test_pixels_are_those_that_were_encoded():
    """Up to the loss of the encoder; 8 bits and colour."""
    image = decode(photograph())
    assert ((32, 48, 3), np.uint8, "RGB", False) == (
        image.pixels.shape,
        image.pixels.dtype,
        image.mode,
        image.has_frames,
    )
    assert np.abs(image.pixels.astype(int) - (200, 40, 30)).max() <= 6


def test_a_photograph_that_lies_on_its_side_stands_upright():
    """Telephones write it so; the two sizes are those of the upright picture, in the header as well."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = photograph(exif=exif.tobytes())
    assert (48, 32) == decode(content).pixels.shape[:2] == measured(content)[:2]


def test_a_table_may_name_heic_files(photographs):
    """With or without the suffix."""
    (photographs / "data/labels.csv").write_text("path,label\ncow/1,a\ncow/2.HEIC,b\ncow/3,a\n")
    options = {"label": "label", "images": "*.he*"}
    assert (
        3 == take_snapshot("image_table", Location(path="data"), max_bytes=GIB, options=options).source.count
    )


@pytest.mark.parametrize("content", [photograph()[:200], b"no image that is read"])
def test_a_damaged_file_is_rejected_by_ingest(content):
    """As of every format."""
    with pytest.raises(UndecodableImage):
        decode(content)


@pytest.mark.usefixtures("without")
def test_without_the_extra_the_refusal_names_it_and_the_command_that_converts(photographs):
    """And, taken literally, what passes the originals over leads on."""
    with pytest.raises(DataRefused, match=r"1 x cow/\*\.heif") as refused:
        snapshot()
    message = str(refused.value)
    assert "pip install 'millrace[heic]'" in message
    assert "magick mogrify -format png" in message
    assert "-iname '*.heic'" in message
    ((*_, (_, globs)),) = typed_in(message)
    (photographs / "data/cow/1.png").write_bytes(picture(1))
    assert 7 == snapshot(ignore=globs.split(",")).source.count


@pytest.mark.usefixtures("without")
def test_an_archive_made_elsewhere_is_refused_and_not_rejected_file_by_file():
    """A class would be missing, and validation would not know of it."""
    with pytest.raises(DataRefused, match=r"millrace\[heic\]"):
        decode(photograph())
    with pytest.raises(UndecodableImage):
        decode(b"\0\0\0\x18ftypavif" + bytes(50))
