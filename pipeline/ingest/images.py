"""From the bytes of any image file to uint8 pixels of one size and one number of channels.

Colour profiles are not applied. Of an animation, or of a file with pages, the first frame is taken, and the file
counted.
"""

import io
import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from pipeline.raw import heif
from pipeline.runtime.errors import DataRefused

MAX_PIXELS = 64_000_000
"""Largest image that is decoded: 8,000 x 8,000, some 200 MB as RGB. A bomb claims more and weighs little."""
ORIENTATION_TAG = 0x0112
TURNED = range(2, 9)  # 1 is upright; 0 and others occur and mean nothing
BACKGROUND = (255, 255, 255, 255)
"""What shows through transparent pixels: white, as on a page; dark strokes on nothing stay readable."""
GREY_MODES = ("1", "L", "LA", "La")

DEEP_RANGE = (0.0, 65535.0)
"""What grey values of more than 8 bits mean where nobody says it."""
LEAST_USED = 1 / 8
"""Share of a range that the data must use: 12 bits in 16 use a sixteenth, and arrive nearly black."""

Resize = Literal["stretch", "pad", "crop"]


class UndecodableImage(ValueError):
    """The bytes are no usable image; the message says why."""


@dataclass(frozen=True)
class DecodedImage:
    """An image, upright, before it is made to fit.

    Attributes:
        pixels: uint8, shape (height, width, channels), 1 channel for grey files and 3 for all others.
        mode: Pillow's name of what the file held: L, RGB, RGBA, P, CMYK, I;16, ...
        rotated: Whether the file's EXIF orientation was not "upright"; `pixels` were turned accordingly.
        has_frames: Whether the file held more pictures behind the first.
        grey: Smallest and largest value of a grey file of more than 8 bits; else None.
        is_deep_colour: Whether the file held more than 8 bits per colour, of which `pixels` have the highest 8.
    """

    pixels: np.ndarray
    mode: str
    rotated: bool
    has_frames: bool = False
    grey: tuple[float, float] | None = None
    is_deep_colour: bool = False


def decode(content: bytes, grey_range: tuple[float, float] | None = None) -> DecodedImage:
    """Decode an image file completely, to the last byte of pixel data.

    Args:
        content: The file.
        grey_range: Values of grey files of more than 8 bits that become 0 and 255; None: 0 and 65535, and no floats.

    Raises:
        UndecodableImage: No known format, truncated, damaged, too many pixels, or no pixel range that
            fits uint8.
        DataRefused: HEIC, without the extra that reads it: an archive made where it is installed.
    """
    if heif.is_heif(content) and not heif.let_pillow_read():
        raise DataRefused(
            "The data holds HEIC pictures. Expected the extra heic, which reads them. Received: an environment without "
            f"it. Install it: {heif.INSTALL}."
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata that does not touch the pixels.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                _refuse_bomb(image)
                # Asked before loading: Pillow turns TIFF files itself while it loads them.
                rotated = image.getexif().get(ORIENTATION_TAG) in TURNED
                # `verify()` lets truncated JPEG files pass; only decoding them finds out.
                image.load()
                upright = ImageOps.exif_transpose(image) if rotated else image
                grey = _grey_values(upright)
                pixels = _pixels(upright) if grey is None else _scaled(grey, grey_range)
                ends = None if grey is None else (float(grey.min()), float(grey.max()))
                # An .mpo holds previews or the other eye's view of one picture.
                has_frames = getattr(image, "n_frames", 1) > 1 and image.format != "MPO"
                deep = grey is None and _has_deep_colour(image, content)
                return DecodedImage(pixels, image.mode, rotated, has_frames, ends, deep)
    except (UndecodableImage, MemoryError):  # a machine short of memory says nothing about the file
        raise
    except UnidentifiedImageError as error:  # its text holds a memory address, new in each run
        raise UndecodableImage(f"no known image format: {content[:8]!r}") from error
    # Pillow's decoders raise whatever their format's code happens to raise: OSError, SyntaxError,
    # struct.error, IndexError, DecompressionBombError. None of them is our bug.
    except Exception as error:
        raise UndecodableImage(f"{type(error).__name__}: {error}") from error


def from_pixels(pixels: np.ndarray) -> DecodedImage:
    """Wrap pixels that were never encoded.

    Args:
        pixels: uint8, shape (height, width, channels) with 1 or 3 channels.

    Raises:
        ValueError: Another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            "A source gave unusable pixels. Expected uint8, shape (height, width, 1 or 3). "
            f"Received: {pixels.dtype}, shape={pixels.shape}. Correct the source's `read`."
        )
    return DecodedImage(pixels, "L" if pixels.shape[-1] == 1 else "RGB", rotated=False)


class CommonShape:
    """Size and channels that all images get: those asked for, or else those of the first image."""

    def __init__(self, size: tuple[int, int] | None, channels: int | None) -> None:
        self._size, self._channels = size, channels
        self._asked = {"image_size": size is not None, "channels": channels is not None}

    def settle(self, pixels: np.ndarray, sample_id: str) -> tuple[tuple[int, int], int]:
        """Return (height, width) and channels for this image.

        Raises:
            DataRefused: It differs from the first image where nothing was asked for: nothing is resized or
                recoloured unasked.
        """
        height, width, channels = pixels.shape
        self._size, self._channels = self._size or (height, width), self._channels or channels
        for key, common, own in (
            ("image_size", self._size, (height, width)),
            ("channels", self._channels, channels),
        ):
            if own != common and not self._asked[key]:
                raise DataRefused(
                    f"The images differ, and params.yaml does not say which {key} to use. Expected {common} as in "
                    f"the first image. Received: {own} in {sample_id}. Set data.{key} in params.yaml."
                )
        return self._size, self._channels


def oddities(image: DecodedImage, size: tuple[int, int], channels: int) -> tuple[str, ...]:
    """Return in which ways an image is not as the data set wants it: `size`, `mode`, `exif_rotation`, `frames`.

    Args:
        image: The decoded image.
        size: Wanted (height, width) in pixels.
        channels: Wanted channels, 1 (mode L) or 3 (mode RGB).
    """
    found = {
        "size": image.pixels.shape[:2] != size,
        "mode": image.mode != ("L" if channels == 1 else "RGB"),
        "exif_rotation": image.rotated,
        "frames": image.has_frames,
    }
    return tuple(name for name, is_odd in found.items() if is_odd)


def resized(pixels: np.ndarray, size: tuple[int, int], channels: int, resize: Resize) -> np.ndarray:
    """Return pixels of exactly that size and number of channels.

    Args:
        pixels: uint8, shape (height, width, 1 or 3).
        size: Wanted (height, width) in pixels.
        channels: 1 (ITU-R 601 luma) or 3.
        resize: `stretch` ignores proportions; `pad` keeps them and fills with black, centred; `crop`
            keeps them and cuts what stands out, centred.

    Returns:
        uint8, shape (height, width, channels); the input itself where nothing had to change.
    """
    if pixels.shape == (*size, channels):
        return pixels
    image = _as_pillow(pixels).convert("L" if channels == 1 else "RGB")
    height, width = size
    if image.size != (width, height):
        # Pillow widens the filter when it shrinks, so that bilinear neither aliases nor rings.
        if resize == "stretch":
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        elif resize == "crop":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        else:
            image = _padded(image, width, height)
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UndecodableImage(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")


def _padded(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(
        image.resize(inner, Image.Resampling.BILINEAR), ((width - inner[0]) // 2, (height - inner[1]) // 2)
    )
    return canvas


def _as_pillow(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _pixels(image: Image.Image) -> np.ndarray:
    """Return natural uint8 pixels: (height, width, 1) for grey modes, (height, width, 3) for the others."""
    grey = image.mode in GREY_MODES
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return np.asarray(image.convert("L" if grey else "RGB"), np.uint8).reshape(image.height, image.width, -1)


def _grey_values(image: Image.Image) -> np.ndarray | None:
    """Return the values of a grey file of more than 8 bits, int64 or float64 (height, width); None for all others."""
    if image.mode.startswith("I"):  # I, I;16, I;16B, I;16L
        return np.asarray(image).astype(np.int64)
    return np.asarray(image).astype(np.float64) if image.mode == "F" else None


def _has_deep_colour(image: Image.Image, content: bytes) -> bool:
    """Tell whether a PNG or TIFF file of colours has 16 bits for each; Pillow keeps the highest 8 of them."""
    if image.format == "PNG":
        return content[24:25] == b"\x10"
    return isinstance(image, TiffImageFile) and max(image.tag_v2.get(BITSPERSAMPLE, (8,))) > 8


def _scaled(values: np.ndarray, grey_range: tuple[float, float] | None) -> np.ndarray:
    """Scale a range to 0..255, rounded; what lies outside a stated one becomes its end.

    Args:
        values: Shape (height, width).
        grey_range: What was stated; None: 0..65535 of whole numbers, which must keep to it.

    Returns:
        uint8, shape (height, width, 1).
    """
    stated = "set data.grey_range: [LOWEST, HIGHEST] in params.yaml"
    if not np.isfinite(values).all():
        raise UndecodableImage("floating-point pixels that are not finite")
    if grey_range is None and values.dtype.kind == "f":
        raise UndecodableImage(f"floating-point pixels, whose range nothing says: {stated}")
    low, high = DEEP_RANGE if grey_range is None else grey_range
    if grey_range is None and (values.min() < low or values.max() > high):
        raise UndecodableImage(
            f"32-bit pixels from {values.min()} to {values.max()}, outside 0..65535: {stated}"
        )
    share = (values.clip(low, high) - low) / (high - low)
    return np.floor(share * 255 + 0.5).astype(np.uint8)[..., np.newaxis]


class GreyValues:
    """The values that files of more than 8 bits use, over the whole data set.

    Args:
        stated: As `data.grey_range`.
    """

    def __init__(self, stated: tuple[float, float] | None) -> None:
        self._stated = stated
        self._lowest, self._highest, self._count = math.inf, -math.inf, 0
        self._colours, self._brightest = 0, 0

    def add(self, image: DecodedImage) -> None:
        """Look at one image."""
        if image.grey is not None:
            self._count += 1
            self._lowest = min(self._lowest, image.grey[0])
            self._highest = max(self._highest, image.grey[1])
        if image.is_deep_colour:
            self._colours += 1
            self._brightest = max(self._brightest, int(image.pixels.max()))

    def check(self) -> None:
        """Refuse a range of which the data uses little: contrast would be lost without a word.

        Raises:
            DataRefused: With the range that was found.
        """
        if self._colours and self._brightest < 256 * LEAST_USED:
            times = 2 ** (8 - self._brightest.bit_length())
            highest = 256 * self._brightest + 255
            raise DataRefused(
                "Colour images of 16 bits use little of their range, and would arrive nearly black. Expected values "
                f"over at least an eighth of 0 to 65535. Received: at most {highest} in {self._colours:,} images. Make "
                f"them 8 bits of what they use, by ImageMagick: `magick mogrify -evaluate multiply {times} -depth 8 "
                "FILES`, and run `millrace init` again."
            )
        if not self._count:
            return
        low, high = self._stated or DEEP_RANGE
        if self._used(low, high) >= LEAST_USED or self._lowest == self._highest:
            return  # of images of one value only, which are another finding, no range is better
        # Mostly whole numbers from 0 to what so many bits can hold.
        full = 2 ** math.ceil(math.log2(max(self._highest, 1) + 1)) - 1
        fits = self._highest > 1 and self._lowest >= 0 and self._used(0, full) >= LEAST_USED
        proposal = f"[0, {full}]" if fits else f"[{self._lowest!r}, {self._highest!r}]"
        raise DataRefused(
            "Grey images use little of their range, and would lose their contrast. Expected values over at least "
            f"an eighth of {low:g} to {high:g}. Received: {self._lowest:g} to {self._highest:g} in {self._count:,} "
            f"images. Say what the files hold: data.grey_range: {proposal} in params.yaml."
        )

    def _used(self, low: float, high: float) -> float:
        return max(0.0, min(self._highest, high) - max(self._lowest, low)) / (high - low)

    def summary(self) -> dict[str, list[float]]:
        """Return what was found, or nothing where no image has more than 8 bits."""
        return {"grey_values": [self._lowest, self._highest]} if self._count else {}
