"""The archive's formats say the same; values are compared with `numpy.loadtxt` and with hand-made files."""

import numpy as np
import pytest

from pipeline.runtime.errors import DataRefused
from pipeline.sources import series_archive
from tests.helpers.archive_of import archive_of
from tests.helpers.read_source import described, read_source

TS = "@univariate true\n@equalLength true\n@classLabel true a b\n@data\n"
ARFF = "@relation x\n@attribute t1 numeric\n@attribute t2 real\n@attribute class {a, 'b c'}\n@data\n"
RELATIONAL = (
    "@relation x\n@attribute r relational\n@attribute t1 numeric\n@attribute t2 numeric\n@end r\n"
    "@attribute class {a,b}\n@data\n"
)


def read(content, suffix="ts", **options):
    """Return the samples of one file, alone in its data set."""
    text = content if isinstance(content, bytes) else content.encode()
    return read_source(series_archive, {f"Small_TRAIN.{suffix}": text}, **options)


def archive(benchmarks, folder, **options):
    """Return the samples of a real data set."""
    files = {path.name: path.read_bytes() for path in (benchmarks / folder).iterdir()}
    return read_source(series_archive, files, **options)


def same(first, second):
    """Say whether two lists of samples are equal in all they hold."""
    return len(first) == len(second) and all(
        (one.sample_id, one.label, one.split, one.channels)
        == (two.sample_id, two.label, two.split, two.channels)
        and np.array_equal(one.series, two.series, equal_nan=True)
        for one, two in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("name", ["ECG200", "GunPoint"])
def test_ts_and_txt_hold_the_samples_that_numpy_reads(benchmarks, name):
    """Both parts, value by value, in the order of the file, with labels as whole numbers."""
    rows = {part: np.loadtxt(benchmarks / f"ucr-a/{name}/{name}_{part}.txt") for part in ("TEST", "TRAIN")}
    for suffix in ("ts", "txt"):
        samples = archive(benchmarks, f"ucr-a/{name}", format=suffix)
        series = np.stack([sample.series[:, 0] for sample in samples])
        np.testing.assert_array_equal(np.concatenate([*rows.values()])[:, 1:].astype(np.float32), series)
        labels = [str(int(row[0])) for part in rows.values() for row in part]
        assert labels == [sample.label for sample in samples]
        assert [part.lower() for part in rows for _ in rows[part]] == [sample.split for sample in samples]


def test_four_formats_hold_equal_samples(benchmarks):
    """GunPoint's training set is there in all of them, ECG200 in three."""
    folder = benchmarks / "ucr-a/GunPoint"
    versions = [
        read((folder / f"GunPoint_TRAIN.{suffix}").read_bytes(), suffix)
        for suffix in ("ts", "tsv", "txt", "arff")
    ]
    assert [50] * 4 == [len(version) for version in versions]
    assert all(same(versions[0], version) for version in versions[1:])
    assert same(archive(benchmarks, "ucr-a/ECG200"), archive(benchmarks, "ucr-a/ECG200", format="arff"))


def test_multivariate_arff_and_ts_hold_equal_samples(benchmarks):
    """BasicMotions: six channels of 100 steps from a relational attribute, and from colons."""
    samples = archive(benchmarks, "uea-a/BasicMotions")
    assert same(samples, archive(benchmarks, "uea-a/BasicMotions", format="arff"))
    assert {(100, 6)} == {sample.series.shape for sample in samples}
    assert {"Standing": 20, "Running": 20, "Walking": 20, "Badminton": 20} == {
        label: [sample.label for sample in samples].count(label)
        for label in {sample.label for sample in samples}
    }


def test_japanese_vowels_have_their_published_lengths(benchmarks):
    """270 and 370 utterances of 12 channels, 7 to 29 steps, 9 speakers."""
    samples = archive(benchmarks, "uea-a/JapaneseVowels", name="JapaneseVowels")
    lengths = [len(sample.series) for sample in samples]
    assert (370, 270) == tuple(
        [sample.split for sample in samples].count(split) for split in ("test", "train")
    )
    assert (7, 29, 12, 9) == (
        min(lengths), max(lengths), samples[0].series.shape[1], len({sample.label for sample in samples})
    )  # fmt: skip
    assert sorted(sample.sample_id for sample in samples) == [sample.sample_id for sample in samples]


def test_unequal_lengths_are_kept(benchmarks):
    """PLAID: 100 to 1344 steps as its description says."""
    lengths = [len(sample.series) for sample in archive(benchmarks, "ucr-a/PLAID")]
    assert (1074, 100, 1344) == (len(lengths), min(lengths), max(lengths))


def test_channels_are_columns_and_question_marks_are_missing():
    """A line of two channels becomes an array of steps by channels."""
    (sample,) = read("@univariate false\n@dimensions 2\n@classLabel true a\n@data\n1,2,?:4,5,6:a\n")
    np.testing.assert_array_equal([[1, 4], [2, 5], [np.nan, 6]], sample.series)
    assert ("1", "2") == sample.channels
    assert (None, "00000000", "a") == (sample.split, sample.sample_id, sample.label)


def test_a_target_is_a_number_and_no_label():
    """@targetLabel true: regression, as in the archive of Tan et al. (2021)."""
    (sample,) = read("@univariate true\n@targetLabel true\n@data\n1,2:-0.5\n")
    assert (-0.5, "") == (sample.target, sample.label)


@pytest.mark.parametrize("suffix", ["tsv", "txt"])
def test_nan_at_the_end_of_a_line_is_padding(suffix):
    """Missing values inside stay; those up to the end fill up a shorter series."""
    separator = "\t" if suffix == "tsv" else "  "
    first, second = read(
        "\n".join(separator.join(row) for row in (["a", "1", "NaN", "3"], ["b", "4", "NaN", "NaN"])), suffix
    )
    np.testing.assert_array_equal([[1], [np.nan], [3]], first.series)
    assert [[4.0]] == second.series.tolist()


def test_nominal_names_may_be_quoted_in_arff():
    """Quotes around a class belong to the format, comments and blank lines do not count."""
    first, second = read(ARFF + "% note\n1,2,a\n\n3,?,'b c'\n", "arff")
    assert ["a", "b c"] == [first.label, second.label]
    assert [[3.0]] == second.series.tolist()


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_line_ends_byte_order_marks_and_old_comments_do_not_matter(end):
    """Windows files, and comments in another encoding than the rest."""
    content = ("# \xe9t\xe9" + end).encode("latin-1") + (TS + "1,2:a\n3,4:b").replace("\n", end).encode()
    for mark in (b"", b"\xef\xbb\xbf"):
        assert [[[1.0], [2.0]], [[3.0], [4.0]]] == [sample.series.tolist() for sample in read(mark + content)]


@pytest.mark.parametrize(
    ("suffix", "content", "messages"),
    [
        ("ts", "@seriesLength 2\n" + TS + "1,x:a\n1,2:c\n1,2,3:b\n",
         ["line 6, channel 1, value 2", "'x'", "line 7, class", "'c'", "line 8, steps"]),
        ("ts", "@missing false\n" + TS + "1,?:a\n", ["line 6", "missing"]),
        ("ts", "@dimensions 2\n" + TS + "1,2:a\n", ["header", "@univariate true"]),
        ("ts", TS.replace("univariate true", "dimensions 2") + "1,2:a\n", ["channels", "expected 2", "received 1"]),
        ("ts", TS + "1,2:3:a\n", ["steps per channel", "2, 1"]),
        ("ts", TS + "1,2\n", ["line 5"]),
        ("ts", TS + "1,2:\n", ["line 5, class", "''"]),
        ("ts", "@data\n@univariate true\n", ["line 2", "'@univariate true'"]),
        ("ts", "@univariate true\n@univariate true\n@data\n1\n", ["line 2"]),
        ("ts", "@seriesLength \u00b2\n@data\n1\n", ["line 1", "whole number"]),
        ("ts", "@colour red\n@data\n1\n", ["line 1", "'@colour red'"]),
        ("ts", "@timeStamps true\n@data\n(0,1)\n", ["series_table"]),
        ("ts", "1,2:a\n", ["@data"]),
        ("ts", TS, ["at least one series"]),
        ("tsv", "a\t1\t2\nb\t3\n", ["line 2", "3 values"]),
        ("tsv", "a\t1\t2\n\t3\tx\n", ["line 2, column 1", "line 2, column 3", "'x'"]),
        ("txt", "a NaN NaN\n", ["without a value"]),
        ("txt", "\u2028 1 2\n", ["line 1, class", "UTF-8"]),
        ("tsv", b"\xe9t\xe9\t1\t2\n", ["line 1, class", "UTF-8"]),
        ("arff", ARFF + "1,2,c\n1,2,3,a\n", ["line 6, class", "line 7, channel 1, values"]),
        ("arff", ARFF + "1,oops,a\n", ["value 2", "'oops'"]),
        ("arff", ARFF + "?,?,a\n", ["at least one value"]),
        ("arff", "@attribute t date\n@data\n", ["line 1", "'@attribute t date'"]),
        ("arff", "@attribute t numeric\n@data\n1\n", ["attributes"]),
        ("arff", ARFF.replace("@data\n", ""), ["@data"]),
        ("arff", RELATIONAL + "1,2,a\n", ["line 8", "quoted"]),
        ("arff", RELATIONAL + "'1,2\\n3,4',a\n'1,2',b\n", ["line 9, channels"]),
    ],
)  # fmt: skip
def test_every_problem_is_named_with_its_place(suffix, content, messages):
    """File, line, channel or column, what was expected and what is there; all of them at once."""
    with pytest.raises(DataRefused) as refused:
        read(content, suffix)
    assert [] == [message for message in messages if message not in str(refused.value)]


def test_nothing_is_passed_on_after_a_problem():
    """A file that is refused gives no sample beyond its first mistake."""
    samples = []
    with (
        archive_of({"A_TRAIN.ts": (TS + "1,2:a\n1,x:a\n3,4:b\n").encode()}) as packed,
        pytest.raises(DataRefused),
    ):
        for sample in series_archive.read(packed, series_archive.Options()):
            samples.append(sample.sample_id)
    assert ["00000000"] == samples


def test_missing_values_can_be_refused():
    """Option missing=fail names the line and how many there are."""
    with pytest.raises(DataRefused, match=r"line 5.*2 of them"):
        read(TS + "?,?:a\n", missing="fail")


def test_both_parts_have_the_same_channels():
    """A test set of another recording is found out."""
    header = "@classLabel true a\n@data\n"
    files = {"X_TRAIN.ts": (header + "1:2:a\n").encode(), "X_TEST.ts": (header + "1:a\n").encode()}
    with pytest.raises(DataRefused, match="channels"):
        read_source(series_archive, files)


@pytest.mark.parametrize(
    ("names", "options", "chosen"),
    [
        (["d/A_TRAIN.ts", "d/A_TEST.ts", "d/A.txt", "d/README.md"], {}, ["A_TEST.ts", "A_TRAIN.ts"]),
        (["A_TRAIN.ts", "A_TRAIN.tsv", "A_TEST.tsv"], {}, ["A_TEST.tsv", "A_TRAIN.tsv"]),
        (["A_TRAIN.ts", "A_TRAIN.tsv"], {"format": "tsv"}, ["A_TRAIN.tsv"]),
        (["a/A_TRAIN.ts", "b/B_TRAIN.ts"], {"name": "B"}, ["B_TRAIN.ts"]),
    ],
)
def test_one_data_set_in_one_format_is_selected(names, options, chosen):
    """Descriptions are left out; the more complete format wins, then the one that says more."""
    assert chosen == sorted(series_archive.select(names, series_archive.Options(**options)))


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([], {}),
        (["A.ts"], {}),
        (["A_TRAIN.ts", "B_TRAIN.ts"], {}),
        (["A_TRAIN.ts"], {"name": "B"}),
        (["A_TEST.ts"], {}),
        (["x/A_TRAIN.ts", "y/A_TRAIN.ts"], {}),
    ],
)
def test_an_unclear_data_set_is_refused(names, options):
    """None, several, the wrong name, no training set, or one twice."""
    with pytest.raises(DataRefused, match="Expected"):
        series_archive.select(names, series_archive.Options(**options))


def test_it_says_what_it_reads():
    """One line per file."""
    assert ["A_TRAIN.ts: .ts, one series per line"] == described(series_archive, {"A_TRAIN.ts": b""})
