"""Texts as token ids and as bags of weighted n-grams: fitted on train only, written for all.

Beside them word vectors from a local text file (GloVe, word2vec or fastText as text), laid out by token id, where
params.yaml names one. They are written as one array; a model copies it into its first layer, trains on, and carries
the result in its own file, so that nobody needs the text file again.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.samples import texts
from pipeline.preprocessing.texts import FIRST_ID, UNKNOWN_ID, Tokenizer, Unit, fit_bag, fit_tokenizer
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import atomic_path, reserve

CHUNK_TEXTS = 2048
VECTORS_NPY = paths.FEATURES_DIR / "vectors.npy"
"""float32, (num_ids, dimensions): row = token id; padding is all 0."""


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
        unit: See `preprocessing.texts.fit_tokenizer`, as the next five.
        lowercase: Also of the bag.
        digits_alike: Also of the bag.
        vocabulary_size: Ids at most.
        min_count: Of a token over all training texts; of a term, training texts that hold it.
        max_tokens: Ids per text.
        vectors: A text file of word vectors; None for none.
        word_ngrams: See `preprocessing.texts.fit_bag`, as the next three.
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
        texts(payload, starts[train_rows], lengths[train_rows]),
        unit=unit,
        lowercase=lowercase,
        digits_alike=digits_alike,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        max_tokens=max_tokens,
    )
    bag = fit_bag(
        texts(payload, starts[train_rows], lengths[train_rows]),
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
            chunk = list(texts(payload, starts[part], lengths[part]))
            tokens[part] = tokenizer.transform(chunk)
            ids[part], weights[part] = bag.transform(chunk)
        for array in (tokens, ids, weights):
            array.flush()
    return state


def _new_array(files: ExitStack, path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    temporary = files.enter_context(atomic_path(path))
    array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
    reserve(temporary)
    return array


def read_vectors(path: Path, tokenizer: Tokenizer) -> tuple[np.ndarray, int]:
    """Return one vector per token id, and how many of the vocabulary the file knows.

    Args:
        path: UTF-8 text; each line a word and its numbers, separated by single spaces. A first line of two
            whole numbers (count and dimensions, as word2vec writes it) is passed over.
        tokenizer: Whose vocabulary is looked up; other words cost no memory.

    Returns:
        float32, shape (num_ids, dimensions): words that the file does not know, and the unknown token, get
        the mean of those found. And the number found.

    Raises:
        InputMissing: There is no such file.
        DataRefused: A line has another number of values than the first, or none of the words is known.
    """
    if not path.is_file():
        raise InputMissing(
            f"{path} does not exist. Expected a text file of word vectors. Received: features.text.vectors={path}. "
            "Put the file there, or set features.text.vectors to null."
        )
    wanted = {word: number for number, word in enumerate(tokenizer.vocabulary, start=FIRST_ID)}
    found: dict[int, np.ndarray] = {}
    dimensions = 0
    # A word in another encoding is one that the texts do not have.
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                continue
            dimensions = dimensions or len(values)
            if len(values) != dimensions or not dimensions:
                raise _refused(path, number, dimensions, f"{len(values)} values")
            if word in wanted and wanted[word] not in found:
                found[wanted[word]] = _numbers(path, number, values)
    return _laid_out(path, found, dimensions, tokenizer.num_ids), len(found)


def _numbers(path: Path, line: int, values: list[str]) -> np.ndarray:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError:
        vector = np.array([np.nan], np.float32)
    if not np.isfinite(vector).all():
        raise _refused(path, line, len(values), "something that is no finite number")
    return vector


def _refused(path: Path, line: int, dimensions: int, received: str) -> DataRefused:
    return DataRefused(
        f"{path}, line {line}, is no word vector. Expected a word and {dimensions} numbers with single spaces "
        f"between. Received: {received}. Mend the line, or set features.text.vectors to null."
    )


def _laid_out(path: Path, found: dict[int, np.ndarray], dimensions: int, num_ids: int) -> np.ndarray:
    if not found:
        raise DataRefused(
            f"{path} knows no word of the training texts. Expected vectors of the same language and spelling. "
            f"Received: features.text.vectors={path}. Check features.text.lowercase, or set vectors to null."
        )
    vectors = np.zeros((num_ids, dimensions), np.float32)
    # In order of id, so that the mean does not depend on the order of lines in the file.
    vectors[UNKNOWN_ID:] = np.mean([found[number] for number in sorted(found)], axis=0, dtype=np.float64)
    for number, vector in found.items():
        vectors[number] = vector
    return vectors
