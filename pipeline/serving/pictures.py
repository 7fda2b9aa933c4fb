"""How many pixels the images of a request have, by their heads alone: a kilobyte can hold millions."""

import base64
import io
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

from pipeline.raw import heif
from pipeline.serving.bodies import Item, refuse

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Of the files that sources read, `image_folder.SUFFIXES`."""
NO_IMAGE = -1
TOGETHER = 8
"""Images of the largest size that a request may hold; smaller ones so many more."""


def weighed(items: Sequence[Item], most: int) -> tuple[list[Item], int]:
    """Return the records of a request, those with too many pixels refused, and how many pixels the others have.

    Args:
        items: Of a model of images.
        most: Pixels of an image.

    Raises:
        HTTPException: 413, together they have too many.
    """
    kept, total = [], 0
    for item in items:
        pixels = pixels_of(item.record.get("image"))
        if pixels == NO_IMAGE:
            told = "The record's image is not what the model reads. Expected an intact image file. Received: no known "
            kept.append(item._replace(problems=(*item.problems, f"{told}image format. Mend the record.")))
            continue
        if pixels > most:
            told = f"The image is too large. Expected at most {most:,} pixels. Received: {pixels:,}."
            kept.append(item._replace(problems=(*item.problems, told)))
            continue
        kept.append(item)
        total += pixels
    if total > TOGETHER * most:
        raise refuse(
            413,
            f"The images are too large together. Expected at most {TOGETHER * most:,} pixels in a request. Received: "
            f"{total:,}.",
        )
    return kept, total


def pixels_of(image: Any) -> int:
    """Return how many pixels an image file says it has.

    0 where it does not say, which the scorer refuses; `NO_IMAGE` where it is none that a source would read. Pillow
    knows formats that run an interpreter or are parsed for seconds: a stranger on the network gets none of them.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        content = base64.b64decode(image) if isinstance(image, str) else image
        if not isinstance(content, bytes):
            return 0
        if content.startswith(PNG) and content[12:16] == b"IHDR":
            return int.from_bytes(content[16:20]) * int.from_bytes(content[20:24])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_formats()) as opened:
                return int(opened.width * opened.height)
    except UnidentifiedImageError:
        return NO_IMAGE
    except Exception:  # noqa: BLE001  # as the decoders of Pillow raise; the scorer says what is wrong
        return 0


@cache
def _formats() -> list[str]:
    """Return those that are read here."""
    from PIL import Image

    heif.let_pillow_read()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
