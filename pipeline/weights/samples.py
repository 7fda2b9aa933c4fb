"""What pretrained weights need around them: the pinned file, the pieces of texts that they know, and their scale.

The trunk itself is a Keras model, which `pipeline/weights/frozen.py` builds and asks; nothing here starts TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.samples import texts
from pipeline.preprocessing.pieces import CUTS, Pieces
from pipeline.preprocessing.statistics import feature_statistics
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path, reserve
from pipeline.weights.pinned import pinned_file
from pipeline.weights.recipes import KIND, STATIC_VECTORS, VECTORS, content_of, vocabulary_of

CHUNK_TEXTS = 2048
PIECES_PER_TOKEN = 2
"""Of a text as many pieces are read as twice features.text.max_tokens: words that are rare fall into several."""
KERAS = ".keras"


def read_pinned(file: str, sha256: str) -> tuple[Path, dict[str, np.ndarray], dict[str, str]]:
    """Return where a pinned file of weights is, its arrays and its header; of a .keras file no arrays.

    Args:
        file: As in features.pretrained.
        sha256: Of that file.

    Raises:
        InputMissing: The file is not there.
        StorageFailed: It is another file.
        NotPermitted: It is none of weights.
    """
    place = pinned_file(file, sha256)
    if place.suffix == KERAS:
        return place, {}, {KIND: KERAS}
    return place, *content_of(place.read_bytes(), file)


def pieces_for(
    state: Mapping[str, Any], arrays: Mapping[str, np.ndarray], about: Mapping[str, str], file: str
) -> Pieces:
    """Return what cuts texts into the pieces that a file of vectors knows.

    Args:
        state: Of the features stage; says how many tokens of a text are read.
        arrays: Of the file.
        about: Its header.
        file: For messages.

    Raises:
        DataRefused: The file holds no vectors of texts.
    """
    cut = next((known for known in CUTS if known == about.get("cut")), None)
    if about[KIND] != STATIC_VECTORS or cut is None:
        raise DataRefused(
            f"{file} cannot read texts. Expected vectors of words or pieces (kind={STATIC_VECTORS}). Received: "
            f"kind={about[KIND]}. Name another file in features.pretrained (`millrace weights list`)."
        )
    vocabulary, vectors = vocabulary_of(arrays), arrays[VECTORS]
    if vectors.ndim != 2 or len(vocabulary) != len(vectors) or not np.isfinite(vectors).all():
        raise DataRefused(
            f"{file} does not fit together. Expected a finite vector for each of {len(vocabulary):,} pieces. Received: "
            f"shape {vectors.shape}. Make it again with `millrace weights add`."
        )
    max_pieces = PIECES_PER_TOKEN * state["text"]["tokens"]["max_tokens"]
    return Pieces(cut, about.get("lowercase") == "true", max_pieces, vocabulary)


def write_pieces(payload: np.ndarray, starts: np.ndarray, lengths: np.ndarray, pieces: Pieces) -> None:
    """Write the ids of all texts, int32 (num_texts, max_pieces).

    Args:
        payload: uint8, the UTF-8 bytes of all texts.
        starts: First byte per text.
        lengths: Bytes per text.
        pieces: What cuts them.
    """
    shape = (len(starts), pieces.max_pieces)
    with atomic_path(paths.PIECES_NPY) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.int32, shape=shape)
        reserve(temporary)
        for first in range(0, len(starts), CHUNK_TEXTS):
            part = slice(first, first + CHUNK_TEXTS)
            array[part] = pieces.transform(list(texts(payload, starts[part], lengths[part])))
        array.flush()


def frozen_statistics(train_rows: np.ndarray) -> dict[str, list[float]]:
    """Return mean and deviation per feature of what the trunk made of the training rows."""
    measured = feature_statistics(np.load(paths.FROZEN_NPY, mmap_mode="r"), train_rows)
    return {"mean": list(measured.mean), "standard_deviation": list(measured.standard_deviation)}
