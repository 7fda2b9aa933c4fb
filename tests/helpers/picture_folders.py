"""Small data sets of image files, for tests of the command line and the stages."""

import io

import numpy as np
from PIL import Image


def picture(seed, size=(8, 6), kind="PNG", **settings):
    """Return the bytes of a random RGB picture of (width, height) pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def fill(folder, files):
    """Write files into a folder by their relative names."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def class_folders(folder, per_class=3):
    """Write two classes of pictures."""
    names = [f"{label}/{index}.png" for label in ("cat", "dog") for index in range(per_class)]
    return fill(folder, {name: picture(seed) for seed, name in enumerate(names)})
