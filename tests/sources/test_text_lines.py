"""Plain text files become samples by line or by file; expected values are written by hand."""

import tarfile
import tracemalloc

import pytest

from pipeline.fetching.archives import write_tar
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import text_lines
from tests.helpers.archive_of import archive_of
from tests.helpers.read_source import described, read_source


def rows(files, /, **options):
    """Return id, split, label and text of all samples."""
    samples = read_source(text_lines, files, **options)
    return [(sample.sample_id, sample.split, sample.label, sample.text) for sample in samples]


def refusal(files, error=DataRefused, /, **options):
    """Return the message that refuses these files."""
    with pytest.raises(error) as refused:
        rows(files, **options)
    return str(refused.value)


def test_one_file_per_class():
    """A line is a text, the file's name its class; the README beside them is none."""
    files = {"d/pos.txt": b"good\nfine \r\n\n", "d/neg.txt": b"NA\n", "d/README.txt": b"about\n"}
    assert [
        ("neg/00000000", None, "neg", "NA"),
        ("pos/00000000", None, "pos", "good"),
        ("pos/00000001", None, "pos", "fine "),
    ] == rows(files)


def test_one_file_per_class_below_splits():
    """train/ and test/ hold a file per class each."""
    files = {f"{split}/{label}.txt": b"x\n" for split in ("train", "test") for label in ("pos", "neg")}
    assert [
        ("test/neg/00000000", "test", "neg", "x"),
        ("test/pos/00000000", "test", "pos", "x"),
        ("train/neg/00000000", "train", "neg", "x"),
        ("train/pos/00000000", "train", "pos", "x"),
    ] == rows(files)


def test_names_without_txt_are_classes_as_they_stand():
    """As in the polarity data set of Pang and Lee, which is cp1252 with byte 85."""
    files = {"rt-polarity.pos": b"good\x85\n", "rt-polarity.neg": b"bad\n", "rt.txt": b"x\n"}
    assert [("rt-polarity.neg", "bad"), ("rt-polarity.pos", "good\u2026")] == [
        row[2:] for row in rows(files, files="rt-polarity.*")
    ]


def test_one_file_per_text():
    """The whole file is the text, line breaks and all; the byte order mark goes."""
    files = {
        "imdb/train/pos/0_9.txt": b"\xef\xbb\xbfgood\r\nfine\n",
        "imdb/train/neg/0_1.txt": b"",
        "imdb/test/neg/0_2.txt": b"na\xefve",
    }
    assert [
        ("test/neg/0_2.txt", "test", "neg", "na\u00efve"),
        ("train/neg/0_1.txt", "train", "neg", ""),
        ("train/pos/0_9.txt", "train", "pos", "good\r\nfine\n"),
    ] == rows(files)


def test_folders_named_like_splits_can_be_classes():
    """Vehicles: train and bus; nothing is a split because bus is none."""
    assert [(None, "bus"), (None, "train")] == [
        row[1:3] for row in rows({"train/1.txt": b"x", "bus/1.txt": b"y"})
    ]


@pytest.mark.parametrize(
    ("separator", "line"),
    [("tab", b"a\tx: y"), ("space", b"a x: y"), (":", b"a:x: y"), ("colon", b"a:x: y"), (" | ", b"a | x: y")],
)
def test_label_and_text_in_one_line(separator, line):
    """The first separator divides; later ones belong to the text."""
    samples = rows({"all.txt": line + b"\nb" + line[1:] + b"\n"}, separator=separator)
    assert [("00000000", None, "a", "x: y"), ("00000001", None, "b", "x: y")] == samples


def test_labelled_lines_take_splits_from_file_names():
    """train.txt and test.txt, the shape of many text benchmarks."""
    files = {"train.txt": b"a x\nb y\n", "test.txt": b"a z\n"}
    assert [("test/00000000", "test"), ("train/00000000", "train"), ("train/00000001", "train")] == [
        row[:2] for row in rows(files, separator="space")
    ]


@pytest.mark.parametrize("encoding", ["auto", "latin-1"])
def test_only_lf_ends_a_line(encoding):
    """NEL, form feed and the like are characters of the text."""
    content = b"a b\x85c\x0cd\x1ce\n"
    expected = {"auto": "b\u2026c\x0cd\x1ce", "latin-1": "b\x85c\x0cd\x1ce"}[encoding]
    assert expected == rows({"a.txt": content}, separator="space", encoding=encoding)[0][3]


def test_all_problems_are_named_at_once():
    """No separator, no label, an empty line, NUL and CR, each with its line."""
    message = refusal({"a.txt": b"a\tx\nhello\n\n\ty\nb\t\0\nb\tx\ry\n"}, separator="tab")
    assert [
        "a.txt, line 2",
        "a.txt, line 3",
        "a.txt, line 4",
        "a.txt, line 5, byte 3",
        "a.txt, line 6, column 4",
    ] == [line.split(":")[0].strip() for line in message.split("\n")[1:-1]]


def test_problems_of_documents_are_named_by_file():
    """NUL, damaged UTF-8 and bytes outside a stated encoding."""
    files = {"a/1.txt": b"x\0", "a/2.txt": "\u00e9\u00e9".encode() + b"\xff", "b/1.txt": b"fine"}
    message = refusal(files)
    assert "a/1.txt, line 1, byte 2: expected text; received a NUL byte" in message
    assert "a/2.txt: expected UTF-8, or clearly cp1252" in message
    assert "b/1.txt" not in message
    assert "a/2.txt, line 1, byte 5" in refusal(files, encoding="utf-8")


REFUSED = {
    "one class": (["pos.txt"], {}, "Fewer than two classes"),
    "one class folder": (["pos/1.txt", "pos/2.txt"], {"layout": "class_folders"}, "do not fit"),
    "mixed depth": (["pos.txt", "neg/1.txt"], {}, "do not fit"),
    "deep folders": (["x/a/1.txt", "y/b/1.txt"], {}, "do not fit"),
    "train is missing": (["val/a/1.txt", "test/b/1.txt"], {}, "only in part"),
    "no text": (["a.csv", "b.csv"], {}, "2 files, none"),
    "same ids": (["pos.txt", "pos", "neg"], {"files": "*"}, "differ by .txt only"),
    "splits in part": (["train.txt", "x.txt"], {"separator": "tab"}, "only in part"),
}


@pytest.mark.parametrize(("names", "options", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_files_that_are_no_data_set_are_refused(names, options, said):
    """With the layout that was expected, and what to do."""
    assert said in refusal(dict.fromkeys(names, b"a\tx\n"), **options)


def test_options_that_contradict_each_other_are_refused():
    """A separator belongs to labelled lines, and they to it; an archive belongs to its options."""
    assert "separator=''" in refusal({"a.txt": b"x"}, WronglyCalled, layout="labelled_lines")
    assert "layout=class_files" in refusal(
        {"a.txt": b"x"}, WronglyCalled, layout="class_files", separator="tab"
    )
    with (
        archive_of({"class_files/a.txt": b"x\n"}) as archive,
        pytest.raises(WronglyCalled, match="class_files"),
    ):
        list(text_lines.read(archive, text_lines.Options(separator="tab")))
    with archive_of({"a.txt": b"x\n"}) as archive, pytest.raises(DataRefused, match="text_lines"):
        list(text_lines.read(archive, text_lines.Options()))


def test_how_files_are_read_is_told():
    """The layout, and the encoding per file."""
    files = {"pos.txt": b"good\x85\n", "neg.txt": b"bad\n"}
    assert [
        "one file per class, one text per line (detected)",
        "neg.txt: UTF-8 (detected)",
        "pos.txt: cp1252 (detected)",
    ] == described(text_lines, files)
    assert ["a label and a text per line", "a.txt: Latin-1"] == described(
        text_lines, {"a.txt": b"a x\n"}, layout="labelled_lines", separator="space", encoding="latin-1"
    )
    assert (
        "one file per text, one folder per class (detected)"
        in described(text_lines, {"a/1.txt": b"", "b/1.txt": b""})[0]
    )


@pytest.mark.long
def test_memory_does_not_grow_with_the_data(tmp_path):
    """Reading four times as many documents, or lines, peaks at about the same height."""

    def peak(files):
        path = tmp_path / "a.tar"
        write_tar(path, files)
        tracemalloc.start()
        with tarfile.open(path) as archive:
            count = sum(1 for _ in text_lines.read(archive, text_lines.Options()))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, highest

    def documents(count):
        return {f"class_folders/{row % 2}/{row:06d}.txt": b"x" * 2000 for row in range(count)}

    def lines(count):
        return {f"class_files/{label}.txt": (b"x" * 2000 + b"\n") * (count // 2) for label in "ab"}

    for make in (documents, lines):
        few, many = peak(make(2000)), peak(make(8000))
        assert (2000, 8000) == (few[0], many[0])
        assert many[1] < 1.2 * few[1]


def test_the_class_of_a_text_may_stand_in_its_name_or_higher():
    """As reviews come with a label in each file's name; lines of files were taken for classes of one text each."""
    names = {
        f"{split}/{label}_{n}.txt": b"x\n"
        for split in ("train", "test")
        for label in ("pos", "neg")
        for n in (1, 2)
    }
    assert [
        (f"{split}/{label}_{n}.txt", split, label, "x\n")
        for split in ("test", "train") for label in ("neg", "pos") for n in (1, 2)
    ] == rows(names, label="{label}_#.txt")  # fmt: skip
    deep = {f"{label}/2024/p{n}.txt": b"x\n" for label in ("pos", "neg") for n in (1, 2)}
    assert {"pos", "neg"} == {label for *_, label, _ in rows(deep, label="first")}
    assert "its class by label=first" in described(text_lines, deep, label="first")[0]
    assert "4 that do not" in refusal(deep, label="{label}_#.txt")
    assert "Expected neither separator" in refusal(deep, WronglyCalled, label="first", separator="tab")
