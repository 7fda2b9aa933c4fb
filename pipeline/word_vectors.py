"""Word vectors from a local text file (GloVe, word2vec or fastText as text), laid out by token id.

The features stage writes them as one array; a model copies it into its first layer, trains on, and carries
the result in its own file, so that nobody needs the text file again.
"""

from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.runtime import DataRefused, InputMissing
from pipeline.tokens import FIRST_ID, UNKNOWN_ID, Tokenizer

VECTORS_NPY = paths.FEATURES_DIR / "vectors.npy"
"""float32, (num_ids, dimensions): row = token id; padding is all 0."""


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
