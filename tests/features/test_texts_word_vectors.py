"""Word vectors from a text file, laid out by token id."""

import numpy as np
import pytest

from pipeline.features.texts import read_vectors
from pipeline.preprocessing.texts import Tokenizer
from pipeline.runtime.errors import DataRefused, InputMissing

TOKENIZER = Tokenizer("words", True, False, 4, ("cat", "dog", "emu"))


def test_vectors_stand_in_the_row_of_their_token(tmp_path):
    """Padding 0; known words as in the file; unknown ones the mean of those known, here (2, 3)."""
    path = tmp_path / "vectors.txt"
    path.write_text("emu 1 2\nwhale 9 9\ncat 3 4\n")
    vectors, found = read_vectors(path, TOKENIZER)
    assert [[0, 0], [2, 3], [3, 4], [2, 3], [1, 2]] == vectors.tolist()
    assert (np.float32, 2) == (vectors.dtype, found)


def test_the_first_line_of_word2vec_is_passed_over(tmp_path):
    """`3 2` is no word with one number."""
    path = tmp_path / "vectors.txt"
    path.write_text("3 2\nemu 1 2\ncat 3 4 \n")
    assert [3, 4] == read_vectors(path, TOKENIZER)[0][2].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat 1 2\ndog 1\n", "line 2, is no word vector. Expected a word and 2 numbers"),
        ("cat 1 x\n", "line 1, is no word vector"),
        ("cat 1 nan\n", "no finite number"),
        ("whale 1 2\n", "knows no word"),
    ],
)
def test_a_broken_file_is_refused(content, message, tmp_path):
    """The line is named."""
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(DataRefused, match=message):
        read_vectors(path, TOKENIZER)


def test_a_missing_file_is_named(tmp_path):
    """The message says which setting points there."""
    with pytest.raises(InputMissing, match=r"features\.text\.vectors"):
        read_vectors(tmp_path / "no.txt", TOKENIZER)
