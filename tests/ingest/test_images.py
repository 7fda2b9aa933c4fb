"""Every way a file can store an image ends in the same kind of pixels, or in one clear refusal."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest import images
from pipeline.ingest.images import GreyValues, UndecodableImage, decode, from_pixels, oddities, resized
from pipeline.runtime.errors import DataRefused

RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


def encoded(image, kind="PNG", **settings):
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def corners(mode="RGB"):
    """Return a 4 x 2 image: red left, green right, blue in the lower right pixel."""
    image = Image.new("RGB", (4, 2), RED)
    image.paste(GREEN, (2, 0, 4, 2))
    image.putpixel((3, 1), BLUE)
    return image.convert(mode)


def test_lossless_pixels_arrive_unchanged():
    """Row, column, channel: as NumPy sees the same image."""
    image = decode(encoded(corners()))
    np.testing.assert_array_equal(np.array(corners()), image.pixels)
    assert (image.mode, image.rotated) == ("RGB", False)


@pytest.mark.parametrize(
    ("image", "mode", "expected"),
    [
        (Image.new("L", (1, 1), 77), "L", [77]),
        (Image.new("1", (1, 1), 1), "1", [255]),
        (Image.new("LA", (1, 1), (100, 255)), "LA", [100]),
        (Image.new("RGBA", (1, 1), (*RED, 255)), "RGBA", list(RED)),
        # Transparent pixels show white: 0.5 of red over white, by hand (200 + 255) / 2 and (10 + 255) / 2.
        (Image.new("RGBA", (1, 1), (*RED, 0)), "RGBA", [255, 255, 255]),
        (Image.new("RGBA", (1, 1), (200, 10, 10, 128)), "RGBA", [227, 132, 132]),
        (Image.new("LA", (1, 1), (0, 0)), "LA", [255]),
        (Image.fromarray(np.array([[65535]], np.uint16)), "I;16", [255]),
        (Image.fromarray(np.array([[32768]], np.uint16)), "I;16", [128]),
        (Image.fromarray(np.array([[128]], np.uint16)), "I;16", [0]),
        (Image.fromarray(np.array([[129]], np.uint16)), "I;16", [1]),
        (Image.new("RGB", (1, 1), BLUE).quantize(2), "P", list(BLUE)),
    ],
)
def test_modes_become_grey_or_colour(image, mode, expected):
    """Grey kinds get one channel, all others three; values by hand."""
    decoded = decode(encoded(image))
    assert decoded.mode == mode
    assert np.allclose(expected, decoded.pixels[0, 0], atol=1)
    assert decoded.pixels.dtype == np.uint8


def test_palette_with_a_transparent_colour_is_white_there():
    """A transparent palette entry is not its hidden colour."""
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    decoded = decode(encoded(image, transparency=0))
    assert [[[255, 255, 255], list(GREEN)]] == decoded.pixels.tolist()


def test_cmyk_jpeg_becomes_colour():
    """Print files: full cyan and magenta, no yellow and black, is blue."""
    decoded = decode(encoded(Image.new("CMYK", (8, 8), (255, 255, 0, 0)), "JPEG", quality=95))
    assert (decoded.mode, decoded.pixels.shape) == ("CMYK", (8, 8, 3))
    assert np.allclose([0, 0, 255], decoded.pixels[4, 4], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_rotation_is_undone(orientation, kind):
    """A camera that stores the picture turned gets it upright; the turns are NumPy's."""
    upright = np.array(corners().resize((32, 16), Image.Resampling.NEAREST))
    stored_by_camera = {
        1: lambda pixels: pixels,
        2: np.fliplr,
        3: lambda pixels: np.rot90(pixels, 2),
        4: np.flipud,
        5: lambda pixels: pixels.transpose(1, 0, 2),
        6: lambda pixels: np.rot90(pixels, 1),
        7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: lambda pixels: np.rot90(pixels, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(stored_by_camera)), kind, exif=exif, **settings)
    decoded = decode(content)
    assert decoded.rotated == (orientation != 1)
    assert decoded.pixels.shape == upright.shape
    assert np.abs(decoded.pixels.astype(int) - upright).mean() < 12


def test_an_orientation_that_means_nothing_is_no_rotation():
    """Value 0 occurs in the wild."""
    exif = Image.Exif()
    exif[0x0112] = 0
    assert not decode(encoded(corners(), "JPEG", exif=exif)).rotated


def test_a_truncated_jpeg_is_found_although_verify_lets_it_pass():
    """Pillow's `verify()` accepts a JPEG cut in half, which would stop training in mid-epoch."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encoded(Image.fromarray(pixels), "JPEG")
    cut = whole[: len(whole) // 2]
    Image.open(io.BytesIO(cut)).verify()
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(cut)


def png_of(width, height):
    """Return a tiny PNG that claims to be of that size."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    """Above our limit, above Pillow's warning and above Pillow's error: all the same refusal."""
    with pytest.raises(UndecodableImage, match="pixels"):
        decode(png_of(side, side))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        png_of(4, 4),
        b"II*\x00" + bytes(20),
    ],
    ids=["empty", "text", "png", "jpeg", "gif", "no pixels", "tiff"],
)
def test_broken_files_are_refused_with_the_same_text_each_time(content):
    """Any exception of any decoder becomes one; no memory address gets into reports."""
    with pytest.raises(UndecodableImage) as first:
        decode(content)
    with pytest.raises(UndecodableImage) as second:
        decode(content)
    assert str(first.value) == str(second.value)
    assert " at 0x" not in str(first.value)


def test_pixels_without_a_known_range_are_refused():
    """Floating-point pixels, and 32-bit ones beyond 16 bits."""
    for array in (np.array([[0.5]], np.float32), np.array([[70_000]], np.int32), np.array([[-1]], np.int32)):
        with pytest.raises(UndecodableImage, match="pixels"):
            decode(encoded(Image.fromarray(array), "TIFF"))


def test_a_stated_range_becomes_black_and_white():
    """12 bits in a 16-bit file, floats from 0 to 1, and what lies outside; values by hand."""
    deep = encoded(Image.fromarray(np.array([[0, 2048, 4095, 5000]], np.uint16)))
    assert [0, 128, 255, 255] == decode(deep, (0, 4095)).pixels.ravel().tolist()
    floats = encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF")
    assert [0, 128, 255] == decode(floats, (0.0, 1.0)).pixels.ravel().tolist()
    assert (0.0, 1.0) == decode(floats, (0.0, 1.0)).grey
    assert [7] == decode(encoded(Image.new("L", (1, 1), 7)), (0, 4095)).pixels.ravel().tolist()


def grey_values(*arrays, stated=None):
    """Return the values of 16-bit files."""
    values = GreyValues(stated)
    for array in arrays:
        values.add(decode(encoded(Image.fromarray(np.array([array], np.uint16))), stated))
    return values


def deep_png(*colours):
    """Return a PNG of one row with 16 bits per colour, which Pillow cannot write."""
    rows = b"\0" + np.array(colours, ">u2").tobytes()
    header = struct.pack(">IIBBBBB", len(colours), 1, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(("brightest", "times"), [(4095, 16), (255, 256), (8191, 8)])
def test_colours_of_twelve_bits_in_sixteen_are_refused_with_the_command_that_mends_it(brightest, times):
    """Pillow keeps the highest 8 bits: they arrived nearly black, unsaid."""
    values = GreyValues(None)
    values.add(decode(deep_png((0, brightest, 7))))
    with pytest.raises(DataRefused, match=f"at most {brightest} in 1 images.*-evaluate multiply {times} "):
        values.check()
    values.add(decode(deep_png((0, 40_000, 7))))
    values.check()
    plain = GreyValues(None)
    plain.add(decode(encoded(Image.new("RGB", (1, 1), (9, 9, 9)))))
    plain.check()


def test_a_range_that_is_hardly_used_is_refused_with_the_one_that_fits():
    """12 bits in 16 would arrive nearly black; over all images together, and never for 8 bits."""
    with pytest.raises(DataRefused, match=r"0 to 4080 in 2 images.*data.grey_range: \[0, 4095\]"):
        grey_values([0, 300], [0, 4080]).check()
    grey_values([0, 300], [0, 4080], stated=(0, 4095)).check()
    grey_values([0, 300], [0, 9000]).check()
    with pytest.raises(DataRefused, match=r"data.grey_range: \[30000.0, 31000.0\]"):
        grey_values([30_000, 31_000]).check()
    grey_values([30_000, 31_000], stated=(30_000, 31_000)).check()
    with pytest.raises(DataRefused, match="little of their range"):
        grey_values([0, 100], stated=(0, 4095)).check()
    eight_bits = GreyValues(None)
    eight_bits.add(decode(encoded(Image.new("L", (1, 1), 1))))
    eight_bits.check()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_more_frames_or_pages_are_an_oddity(kind):
    """The first is taken, and said to be one of several."""
    pages = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    image = decode(encoded(pages[0], kind, save_all=True, append_images=pages[1:]))
    assert (
        "frames" in oddities(image, (4, 4), 3),
        "frames" in oddities(decode(encoded(pages[0], kind)), (4, 4), 3),
    ) == (
        True,
        False,
    )


def test_random_damage_never_escapes_as_another_error():
    """300 files with a few changed bytes: decoded, or refused by name, nothing else."""
    generator = np.random.default_rng(1)
    originals = [
        encoded(corners().resize((24, 24)), kind) for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")
    ]
    outcomes = set()
    for trial in range(300):
        content = bytearray(originals[trial % len(originals)])
        for position in generator.integers(0, len(content), 4):
            content[position] = generator.integers(0, 256)
        try:
            decoded = decode(bytes(content))
            assert decoded.pixels.dtype == np.uint8
            outcomes.add("decoded")
        except UndecodableImage:
            outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}


def test_oddities_name_what_is_not_as_wanted():
    """Size, mode and rotation are told apart."""
    plain = from_pixels(np.zeros((2, 4, 1), np.uint8))
    assert oddities(plain, (2, 4), 1) == ()
    assert oddities(plain, (4, 2), 1) == ("size",)
    assert oddities(plain, (2, 4), 3) == ("mode",)
    turned = images.DecodedImage(np.zeros((3, 3, 3), np.uint8), "CMYK", rotated=True)
    assert oddities(turned, (2, 2), 3) == ("size", "mode", "exif_rotation")


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)]
)
def test_sources_must_give_uint8_images(pixels):
    """A source's mistake is found where it happens."""
    with pytest.raises(ValueError, match="unusable pixels"):
        from_pixels(pixels)


def test_fitting_pixels_are_not_touched():
    """No copy and no change where nothing has to change."""
    pixels = np.zeros((2, 3, 1), np.uint8)
    assert resized(pixels, (2, 3), 1, "pad") is pixels


def test_pad_keeps_proportions_and_fills_with_black():
    """A white 4 x 2 image in a 4 x 4 frame: one black row above and below."""
    padded = resized(np.full((2, 4, 1), 255, np.uint8), (4, 4), 1, "pad")
    assert padded[:, 2, 0].tolist() == [0, 255, 255, 0]


def test_crop_keeps_proportions_and_cuts_the_sides():
    """Of black | white white | black, the square in the middle is white."""
    strip = np.array([[0, 255, 255, 0]] * 2, np.uint8)[..., np.newaxis]
    assert (resized(strip, (2, 2), 1, "crop") == 255).all()


def test_stretch_takes_everything():
    """Halving the width averages neighbours: a left black and right white half stay so at the ends."""
    strip = np.repeat(np.array([[0] * 8 + [255] * 8], np.uint8), 4, axis=0)[..., np.newaxis]
    stretched = resized(strip, (4, 4), 1, "stretch")
    assert (stretched[:, 0, 0] == 0).all()
    assert (stretched[:, 3, 0] == 255).all()


def test_a_very_thin_image_survives():
    """A line of 1 x 1000 pixels is at least one pixel high after shrinking."""
    assert resized(np.full((1, 1000, 1), 255, np.uint8), (8, 8), 1, "pad").max() == 255


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_by_copies():
    """ITU-R 601: 0.299 red + 0.587 green + 0.114 blue."""
    colour = np.array([[RED]], np.uint8)
    expected = round(0.299 * 200 + 0.587 * 10 + 0.114 * 10)
    assert abs(expected - int(resized(colour, (1, 1), 1, "pad")[0, 0, 0])) <= 1
    assert resized(np.array([[[9]]], np.uint8), (1, 1), 3, "pad").tolist() == [[[9, 9, 9]]]


def test_clothing_photographs_decode(benchmarks):
    """Fifty real JPEG files of many sizes give colour pixels of one size."""
    files = sorted((benchmarks / "clothing-small" / "train").rglob("*.jpg"))[::32][:50]
    shapes = {resized(decode(file.read_bytes()).pixels, (96, 96), 3, "pad").shape for file in files}
    assert {(96, 96, 3)} == shapes
