"""The bundled digits are scikit-learn's, scaled by the rule the docstring states."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline.runtime.errors import DataRefused
from pipeline.sources import digits
from tests.helpers.archive_of import archive_of


def test_digits_are_those_of_scikit_learn():
    """Pixels and labels equal `sklearn.datasets.load_digits`, scaled from 0..16 to 0..255."""
    from sklearn.datasets import load_digits

    expected = load_digits()
    with archive_of(digits.bundled_files()) as archive:
        samples = list(digits.read(archive))
    images = np.stack([sample.image for sample in samples])
    # Exact halves (value 8 gives 127.5) go upwards.
    np.testing.assert_array_equal(np.floor(expected.images * 255 / 16 + 0.5), images[..., 0])
    assert [str(label) for label in expected.target] == [sample.label for sample in samples]
    assert images.dtype == np.uint8
    assert sorted({sample.sample_id for sample in samples}) == [sample.sample_id for sample in samples]


def test_reading_digits_does_not_import_scikit_learn():
    """The table is read as a file; importing scikit-learn would cost the stage a second."""
    code = "import sys; from pipeline.sources import digits; digits.bundled_files(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "line", [b"1,2,3\n", b"17," + b"0," * 63 + b"1\n", b"-1," + b"0," * 63 + b"1\n", b"\n"]
)
def test_a_line_that_is_no_digit_is_refused(line):
    """A short line, a value above 16, a negative one and an empty line are named with their number."""
    good = b"0," * 64 + b"7\n"
    with (
        archive_of({"digits.csv": good + line}) as archive,
        pytest.raises(DataRefused, match="line 2 is not"),
    ):
        list(digits.read(archive))


def test_digits_take_no_files():
    """Somebody who points `--kind digits` at files is told what to do."""
    with pytest.raises(DataRefused, match="millrace init --kind digits"):
        digits.select(["a.csv"])
