"""Texts as token ids and as bags of weighted n-grams: fitted on train only, written for all."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import atomic_path, reserve
from pipeline.bags import fit_bag
from pipeline.runtime import DataRefused
from pipeline.tokens import Unit, fit_tokenizer
from pipeline.word_vectors import VECTORS_NPY, read_vectors

CHUNK_TEXTS = 2048


def write_text_features(
    payload: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    train_rows: np.ndarray,
    *,
    unit: Unit,
    lowercase: bool,
    digits_alike: bool,
    vocabulary_size: int,
    min_count: int,
    max_tokens: int,
    vectors: str | None,
    word_ngrams: Sequence[int],
    char_ngrams: Sequence[int] | None,
    bag_size: int,
    max_bag: int,
) -> dict[str, Any]:
    """Fit tokenizer and bag on the training texts, and write the ids and weights of all texts.

    Args:
        payload: uint8, the UTF-8 bytes of all texts.
        starts: First byte per text.
        lengths: Bytes per text.
        train_rows: Texts that train.
        unit: See `tokens.fit_tokenizer`, as the next five.
        lowercase: Also of the bag.
        digits_alike: Also of the bag.
        vocabulary_size: Ids at most.
        min_count: Of a token over all training texts; of a term, training texts that hold it.
        max_tokens: Ids per text.
        vectors: A text file of word vectors; None for none.
        word_ngrams: See `bags.fit_bag`, as the next three.
        char_ngrams: None for none.
        bag_size: Ids at most.
        max_bag: Terms kept per text.

    Returns:
        What of it stands in the state.

    Raises:
        DataRefused: No token is frequent enough, or the word vectors do not fit.
        InputMissing: There is no file of word vectors.
    """
    tokenizer = fit_tokenizer(
        texts_of(payload, starts, lengths, train_rows),
        unit=unit,
        lowercase=lowercase,
        digits_alike=digits_alike,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        max_tokens=max_tokens,
    )
    bag = fit_bag(
        texts_of(payload, starts, lengths, train_rows),
        lowercase=lowercase,
        digits_alike=digits_alike,
        word_ngrams=(word_ngrams[0], word_ngrams[1]),
        char_ngrams=None if char_ngrams is None else (char_ngrams[0], char_ngrams[1]),
        bag_size=bag_size,
        max_bag=max_bag,
        min_count=min_count,
    )
    if not tokenizer.vocabulary or not bag.terms:
        raise DataRefused(
            f"No token occurs {min_count} times in the {len(train_rows)} training texts. Expected some that do. "
            f"Received: features.text.min_count={min_count}. Lower it."
        )
    state = {"tokens": tokenizer.state(), "bag": bag.state(), "vectors": "", "vectors_found": 0}
    if vectors is not None:
        matrix, found = read_vectors(Path(vectors), tokenizer)
        with atomic_path(VECTORS_NPY) as temporary:
            np.save(temporary, matrix)
        state |= {"vectors": VECTORS_NPY.as_posix(), "vectors_found": found}

    rows = np.arange(len(starts))
    with ExitStack() as files:
        tokens = _new_array(files, paths.TOKENS_NPY, (len(rows), max_tokens), np.int32)
        ids = _new_array(files, paths.BAG_IDS_NPY, (len(rows), max_bag), np.int32)
        weights = _new_array(files, paths.BAG_WEIGHTS_NPY, (len(rows), max_bag), np.float32)
        for first in range(0, len(rows), CHUNK_TEXTS):
            part = rows[first : first + CHUNK_TEXTS]
            texts = list(texts_of(payload, starts, lengths, part))
            tokens[part] = tokenizer.transform(texts)
            ids[part], weights[part] = bag.transform(texts)
        for array in (tokens, ids, weights):
            array.flush()
    return state


def texts_of(payload: np.ndarray, starts: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Iterator[str]:
    """Yield the texts of some rows.

    Args:
        payload: uint8, the UTF-8 bytes of all texts.
        starts: First byte per text.
        lengths: Bytes per text.
        rows: Index array.
    """
    for row in rows:
        yield payload[starts[row] : starts[row] + lengths[row]].tobytes().decode()


def _new_array(files: ExitStack, path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    temporary = files.enter_context(atomic_path(path))
    array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
    reserve(temporary)
    return array
