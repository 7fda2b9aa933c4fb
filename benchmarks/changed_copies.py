"""Which changed copies of images does Millrace find, and which strangers does it take for copies?

Of every image set under MILLRACE_BENCHMARKS (../shared/data) and of scikit-learn's digits, as the examples read them:
`found`, the share of 200 images whose changed copy `find_duplicates` puts into their cluster; `seen`, the share of
these copies that the witness of the leak gate notices, which knows none of the changes; false alarms of both on the
sets as they are, with the seconds that takes. Tables as docs/guides/duplicates.md has them.

Run: .venv/bin/python benchmarks/changed_copies.py [most images of a set]
"""

import gzip
import io
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from pipeline.duplicates.images import find_duplicates  # noqa: E402
from pipeline.ingest.images import resized  # noqa: E402
from pipeline.leaks.neighbours import _marks, stands_out  # noqa: E402

DATA = Path(os.environ.get("MILLRACE_BENCHMARKS", ROOT.parent / "shared/data"))
COPIED = 200
HASH_DISTANCE, PIXEL_DIFFERENCE = 4, 0.01


def jpeg(image):
    """Return an image after JPEG of quality 50."""
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=50)
    return Image.open(stored)


def cropped(share):
    """Return what cuts that share off at each side."""
    return lambda image: image.crop(
        tuple(
            round(edge * size)
            for edge, size in zip((share, share, 1 - share, 1 - share), image.size * 2, strict=True)
        )
    )


def strip(image):
    """Return an image whose lower 8 % are black."""
    pixels = np.asarray(image).copy()
    pixels[int(len(pixels) * 0.92) :] = 0
    return Image.fromarray(pixels)


CHANGES = {
    "JPEG, quality 50": jpeg,
    "half the size": lambda image: image.resize((max(1, image.width // 2), max(1, image.height // 2))),
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda image: image.rotate(90, expand=True),
    "turned by 180 degrees and mirrored": lambda image: ImageOps.mirror(image.rotate(180)),
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "10 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.1),
    "shifted by 1 of 64": lambda image: Image.fromarray(
        np.roll(np.asarray(image), max(1, image.width // 64), 1)
    ),
    "cropped by 2 % at each side": cropped(0.02),
    "cropped by 3 %": cropped(0.03),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.10),
    "mirrored, cropped by 3 %, 10 % brighter": lambda image: ImageEnhance.Brightness(
        cropped(0.03)(ImageOps.mirror(image))
    ).enhance(1.1),
    "turned by 2 degrees": lambda image: image.rotate(2),
    "grey": lambda image: image.convert("L").convert(image.mode),
    "caption: 8 % black": strip,
}


def photographs(most):
    """Return clothing-small as examples/clothing.yaml does (64 x 64, padded), and its pictures."""
    files = sorted((DATA / "clothing-small").rglob("*.jpg"))[:most]
    pictures = []
    for path in files:
        image = ImageOps.exif_transpose(Image.open(path).convert("RGB"))
        image.thumbnail((300, 300))
        pictures.append(image)
    return pictures, (64, 64)


def fashion(most):
    """Return the 70,000 images of Fashion-MNIST."""
    files = sorted((DATA / "fashion-mnist").rglob("*-images-idx3-ubyte.gz"), reverse=True)
    images = [
        np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
        for path in files
    ]
    return [Image.fromarray(image) for image in np.concatenate(images)[:most]], (28, 28)


def digits(most):
    """Return scikit-learn's digits."""
    images = np.rint(load_digits().images * 255 / 16).astype(np.uint8)[:most]
    return [Image.fromarray(image) for image in images], (8, 8)


def as_ingested(pictures, size):
    """Return pictures as `ingest` makes them: uint8, shape (num_pictures, *size, channels)."""
    channels = 1 if pictures[0].mode == "L" else 3
    made = []
    for picture in pictures:
        pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
        made.append(resized(pixels.reshape(*pixels.shape[:2], channels), size, channels, "pad"))
    return np.stack(made)


def clusters(images):
    """Return the cluster of each image, none of them the same to the pixel."""
    content = [f"{number:06d}" for number in range(len(images))]
    return find_duplicates(content, images, HASH_DISTANCE, PIXEL_DIFFERENCE).cluster


def main():
    """Print both tables of every set there is."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10**9
    for name, read in (("clothing-small", photographs), ("fashion-mnist", fashion), ("digits", digits)):
        if name != "digits" and not (DATA / name).is_dir():
            print(f"{name}: not under {DATA}, set MILLRACE_BENCHMARKS")
            continue
        pictures, size = read(most)
        images = as_ingested(pictures, size)
        began = time.process_time()
        names, sizes = np.unique(clusters(images), return_counts=True)
        seconds = time.process_time() - began
        in_clusters = sizes[sizes > 1].sum()
        marks = _marks(images, np.arange(len(images)))
        own = stands_out(marks, marks[:: max(1, len(marks) // 2000)], spare_itself=True)
        print(
            f"\n{name}: {len(images):,} images, {len(names):,} clusters, {in_clusters} images "
            f"({in_clusters / len(images):.2%}) in one with others, largest {sizes.max()}, {seconds:.0f} CPU s; "
            f"the witness notices {own.mean():.2%} as it is\n"
        )
        print("| change | found | seen |\n|---|---|---|")
        rows = np.sort(np.random.default_rng(0).choice(len(images), min(COPIED, len(images)), replace=False))
        for change, make in CHANGES.items():
            if change == "grey" and images.shape[-1] == 1:
                continue
            copies = as_ingested([make(pictures[row]) for row in rows], size)
            cluster = clusters(np.concatenate([images[rows], copies]))
            found = (cluster[: len(rows)] == cluster[len(rows) :]).mean()
            seen = stands_out(marks, _marks(copies, np.arange(len(copies)))).mean()
            print(f"| {change} | {found:.1%} | {seen:.1%} |", flush=True)


if __name__ == "__main__":
    main()
