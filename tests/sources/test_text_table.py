"""Tables become samples row by row; expected values are written by hand or come from pandas and pyarrow."""

import json
import re
import tarfile
import tracemalloc

import msgspec
import pytest

from pipeline.fetching.archives import write_tar
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location
from pipeline.formats.problems import typed_in
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import text_table
from pipeline.sources.kinds import stated_options
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import described, read_source

GOOD = b"text,label\nhello,a\nbye,b\n"
FULL = (
    b"text,label,score,who,when,age,code,zip,kind\n"
    b"one,NA,1.5,ann,2026-01-02,31,007,1,x\n"
    b'"two\nlines",b,-2,bob,2026-01-02T03:04:05,,010,2,\n'
    b",b,3e2,ann,2026-01-03 10:00,NA,123,2,NA\n"
)
ROLES = {
    "label": "label",
    "target": "score",
    "group": "who",
    "time": "when",
    "side": ("age", "zip", "kind"),
    "categorical": ("zip",),
    "id": "code",
}


def read(files, /, **options):
    """Return the samples of tables with a column `label`, unless the options say otherwise."""
    return read_source(text_table, files, **({"label": "label"} | options))


def refusal(files, error=DataRefused, /, **options):
    """Return the message that refuses these files."""
    with pytest.raises(error) as refused:
        read(files, **options)
    return str(refused.value)


def test_every_column_finds_its_place():
    """Text, label, target, group, time, numbers, categories and ids of three rows."""
    first, second, third = read({"a.csv": FULL}, **ROLES)
    assert ("00000000", "NA", "one", 1.5, "ann", "2026-01-02T00:00:00", None) == (
        first.sample_id,
        first.label,
        first.text,
        first.target,
        first.group,
        first.time,
        first.split,
    )
    assert {"age": 31.0, "zip": "1", "kind": "x", "code": "007"} == first.side
    assert ("two\nlines", -2.0, "2026-01-02T03:04:05") == (second.text, second.target, second.time)
    assert {"age": None, "zip": "2", "kind": None, "code": "010"} == second.side
    assert ("", 300.0, "2026-01-03T10:00:00") == (third.text, third.target, third.time)
    # NA among numbers is a missing number; among words it is a word.
    assert {"age": None, "zip": "2", "kind": "NA", "code": "123"} == third.side


def test_all_formats_hold_the_same_samples():
    """CSV, TSV, JSON lines and Parquet of the same rows give the same samples."""
    rows = [
        {"text": 'say "x"', "label": "1", "age": 3.0, "kind": "x"},
        {"text": "\u00e9t\u00e9", "label": "2", "age": None, "kind": None},
    ]
    jsonl = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files = {
        "a.csv": 'text,label,age,kind\n"say ""x""",1,3,x\n\u00e9t\u00e9,2,,\n'.encode(),
        "a.tsv": 'text\tlabel\tage\tkind\nsay "x"\t1\t3\tx\n\u00e9t\u00e9\t2\t\t\n'.encode(),
        "a.jsonl": jsonl,
        "a.parquet": parquet({key: [row[key] for row in rows] for key in rows[0]}),
    }
    samples = [read({name: content}, side=("age", "kind")) for name, content in files.items()]
    assert 2 == len(samples[0])
    assert [samples[0]] * 4 == samples


def test_file_names_give_the_split_and_ids_rise():
    """Ids begin with the file, so that appended rows rename nothing, and come in the order of the ids."""
    files = {f"data/{name}.csv": GOOD for name in ("train", "test", "val")}
    samples = read(files)
    assert ["test", "test", "train", "train", "val", "val"] == [sample.split for sample in samples]
    assert ["test/00000000", "test/00000001", "train/00000000"] == [
        sample.sample_id for sample in samples[:3]
    ]
    assert sorted(sample.sample_id for sample in samples) == [sample.sample_id for sample in samples]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.csv"], {"train": "train"}),
        (["all.csv"], {"": None}),
        (["test.csv"], {"": None}),
        (["a.csv", "a-b.csv"], {"a": None, "a-b": None}),
        (
            ["train/1.csv", "train/2.csv", "dev/1.csv"],
            {"train/1": "train", "train/2": "train", "dev/1": "val"},
        ),
        (
            ["x/sms_train.csv", "x/sms_validation.csv"],
            {"sms_train": "train", "sms_validation": "val"},
        ),
        (
            ["train-00000-of-00002.csv", "train-00001-of-00002.csv"],
            {"train-00000-of-00002": "train", "train-00001-of-00002": "train"},
        ),
    ],
)
def test_usual_names_give_splits(names, expected):
    """One table, parts of one split, Hugging Face's shards; a common folder is taken off."""
    samples = read(dict.fromkeys(names, GOOD))
    assert expected == {sample.sample_id.rpartition("/")[0]: sample.split for sample in samples}
    assert sorted(sample.sample_id for sample in samples) == [sample.sample_id for sample in samples]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train.csv", "more.csv"], "only in part"),
        (["val.csv", "test.csv"], "only in part"),
        (["a.csv", "a.tsv"], "suffix only"),
        (["a.txt", "b.md"], "2 files, none"),
        ([], "0 files, none"),
    ],
)
def test_names_that_fit_nothing_are_refused(names, said):
    """Splits in part, none for training, twins, no table at all."""
    assert said in refusal(dict.fromkeys(names, GOOD))


def test_files_are_chosen_by_suffix_or_by_name():
    """Companions stay out; a single file is taken whatever it is called."""
    files = {"d/README.md": b"", "d/a.csv": GOOD, "d/b.csv": b"\0"}
    assert 2 == len(read(files, files="a.csv"))
    assert 2 == len(read({"SMSSpamCollection": b"text\tlabel\nx\ta\ny\tb\n"}))


def test_a_table_without_header_has_numbered_columns():
    """As in the SMS collection."""
    samples = read({"a.tsv": b"ham\thi\nspam\tbuy\n"}, header=False, label="1", text="2")
    assert [("ham", "hi"), ("spam", "buy")] == [(sample.label, sample.text) for sample in samples]


def test_how_files_are_read_is_told():
    """Per file, with what was detected."""
    expected = (
        "a.csv: comma between fields (detected), fields may stand in double quotes (detected), "
        "UTF-8 (detected), first row names the columns"
    )
    assert [expected] == described(text_table, {"a.csv": GOOD}, label="label")
    assert ["a.tsv: tab between fields, quotes mean nothing, Latin-1, no header"] == described(
        text_table, {"a.tsv": b"x\n"}, label="1", quoting="none", encoding="latin-1", header=False
    )
    assert ["a.jsonl: JSON lines, UTF-8"] == described(text_table, {"a.jsonl": b""}, label="label")


def test_a_missing_column_names_those_that_are_there():
    """With the dialect, because a wrong delimiter looks like missing columns."""
    message = refusal({"a.csv": GOOD}, text="message", side=("age",))
    assert "a.csv has no column message, age. Expected one of its 2 columns: text, label." in message
    assert "comma between fields (detected)" in message


def test_cells_that_do_not_fit_are_named_together():
    """Empty label, no number, no time, a missing target and a short row in one message."""
    rows = b"text,label,score,when\nx,,1,2026-01-01\nx,a,one,2026-01-01\nx,a,1,soon\nx,a,,2026-01-01\nx,a\nx,b,1,2026-01-01\n"
    message = refusal({"a.csv": rows}, target="score", time="when")
    assert [
        "a.csv, line 2, column 'label'",
        "a.csv, line 3, column 'score'",
        "a.csv, line 4, column 'when'",
        "a.csv, line 5, column 'score'",
        "a.csv, line 6",
    ] == [line.split(":")[0].strip() for line in message.split("\n")[1:-1]]
    assert "5 problems." in message


def test_problems_are_named_in_the_order_of_the_file():
    """Those of cells, of lines and of rows, whoever finds them."""
    message = refusal({"a.csv": b"text,label\nx,\n\0,b\nx,\n\nx,\nx\n"})
    places = [line.split(":")[0].strip() for line in message.split("\n")[1:-1]]
    assert [2, 3, 3, 4, 5, 6, 7] == [int(place.split("line ")[1].split(",")[0]) for place in places]


def test_a_column_of_numbers_and_words_is_refused_until_stated():
    """One word among numbers would make categories of all of them in silence."""
    rows = b"text,label,age\nx,a,1\ny,b,old\n"
    message = refusal({"a.csv": rows}, side=("age",))
    assert "'1' at a.csv, line 2, and 'old' at a.csv, line 3" in message
    samples = read({"a.csv": rows}, side=("age",), categorical=("age",))
    assert ["1", "old"] == [sample.side["age"] for sample in samples]


def test_zeros_in_front_make_an_id():
    """`007` stays, and so do the other ids of its column."""
    samples = read({"a.csv": b"text,label,code\nx,a,1\ny,b,007\n"}, side=("code",))
    assert ["1", "007"] == [sample.side["code"] for sample in samples]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": ""}, "nothing to learn"),
        ({"text": ""}, "no text column"),
        ({"categorical": ("x",)}, "categorical names x"),
        ({"side": ("label",)}, "side names label"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said):
    """Before any file is opened."""
    assert said in refusal({"a.csv": GOOD}, WronglyCalled, **options)


@pytest.mark.long
@pytest.mark.parametrize(("suffix", "few"), [("csv", 2500), ("jsonl", 2500), ("parquet", 9000)])
def test_memory_does_not_grow_with_the_data(tmp_path, suffix, few):
    """Reading three times as many rows peaks at about the same height."""
    text = "x" * (20 if suffix == "parquet" else 1000)
    contents = {
        "csv": lambda rows: b"text,label\n" + f"{text},a\n{text},b\n".encode() * (rows // 2),
        "jsonl": lambda rows: (json.dumps({"text": text, "label": "a"}).encode() + b"\n") * rows,
        "parquet": lambda rows: parquet({"text": [text] * rows, "label": ["a", "b"] * (rows // 2)}),
    }

    def peak(num_rows):
        path = tmp_path / f"{num_rows}.tar"
        write_tar(path, {f"a.{suffix}": contents[suffix](num_rows)})
        options = text_table.Options(label="label")
        tracemalloc.start()
        with tarfile.open(path) as archive:
            assert num_rows == sum(1 for _ in text_table.read(archive, options))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1000)  # imports
    assert peak(3 * few) < 1.2 * peak(few)


@pytest.mark.parametrize(
    ("folder", "options", "counts"),
    [
        (
            "sms-spam",
            {"files": "SMSSpamCollection", "header": False, "label": "1", "text": "2"},
            {(None, "ham"): 4827, (None, "spam"): 747},
        ),
        ("banking77", {"label": "category"}, {("train", None): 10003, ("test", None): 3080}),
    ],
)
def test_real_data_has_the_published_counts(folder, options, counts, benchmarks):
    """Rows per class of the SMS collection, rows per split of banking77 and its 77 classes."""
    path = benchmarks / folder
    samples = read({file.name: file.read_bytes() for file in path.iterdir()}, **options)
    for (split, label), count in counts.items():
        found = [s for s in samples if s.split == split and label in (None, s.label)]
        assert count == len(found)
    assert len({sample.label for sample in samples}) == (77 if folder == "banking77" else 2)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_times_are_read_by_their_format(kind):
    """A format of strptime, Unix times, a local clock; of JSON lines numbers too."""

    def times(cells, **options):
        rows = [f"{number},a,{cell}" for number, cell in enumerate(cells)]
        files = {"a.csv": ("text,label,when\n" + "\n".join(rows)).encode()}
        if kind == "jsonl":
            lines = [
                json.dumps({"text": str(number), "label": "a", "when": cell})
                for number, cell in enumerate(cells)
            ]
            files = {"a.jsonl": "\n".join(lines).encode()}
        return [sample.time for sample in read(files, time="when", **options)]

    german = ["31.01.2024 05:00", "01.07.2024 05:00"]
    assert ["2024-01-31T05:00:00", "2024-07-01T05:00:00"] == times(german, time_format="%d.%m.%Y %H:%M")
    assert ["2024-01-31T04:00:00+00:00", "2024-07-01T03:00:00+00:00"] == times(
        german, time_format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"
    )
    assert ["2024-01-01T00:00:00"] == times([1704067200000], time_format="milliseconds")
    assert ["2024-10-27T00:30:00+00:00"] == times(["2024-10-27 02:30"], timezone="Europe/Berlin")


def test_init_says_from_when_to_when_texts_are(tmp_path, monkeypatch):
    """A wrong format is seen there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label,when\nx,a,2.3.2024\ny,b,1.4.2023\n")
    options = {"label": "label", "time": "when", "time_format": "%d.%m.%Y"}
    taken = take_snapshot("text_table", Location(path="a.csv"), max_bytes=2**30, options=options)
    assert "times: 2023-04-01T00:00:00 to 2024-03-02T00:00:00" in taken.described


def test_wrong_times_are_named_and_the_advice_is_one_of_this_kind():
    """Days that do not exist, units, jumped hours; every option that is named is an option here."""
    rows = "text,label,when\nx,a,{}\ny,b,{}\n"
    cases = {
        ("30.02.2024", "29.02.2024"): ({"time_format": "%d.%m.%Y"}, "line 2", "remove these rows"),
        ("1704067200000", "1704067200001"): ({}, "line 2", "--set time_format=milliseconds"),
        ("31.01.2024", "01.02.2024"): ({}, "line 3", "--set time_format=%d.%m.%Y."),
        ("2024-03-31 02:30", "2024-03-31 03:30"): ({"timezone": "Europe/Berlin"}, "line 2", "Etc/GMT-1"),
        ("2024-03-31T02:30Z", "2024-03-31T03:30Z"): (
            {"timezone": "Europe/Berlin"},
            "line 2",
            "timezone= out",
        ),
    }
    known = {field.name for field in msgspec.structs.fields(text_table.Options)}
    for cells, (options, *messages) in cases.items():
        message = refusal({"a.csv": rows.format(*cells).encode()}, time="when", **options)
        assert [] == [part for part in messages if part not in message]
        assert set(re.findall(r"--set (\w+)=", message)) <= known


@pytest.mark.parametrize(
    "options",
    [
        {"time_format": "%d.%m.%Y"},
        {"timezone": "Europe/Berlin"},
        {"time": "when", "time_format": "%W"},
        {"time": "when", "timezone": "Mars"},
        {"time": "when", "time_format": "seconds", "timezone": "Europe/Berlin"},
    ],
)
def test_options_of_times_that_cannot_be_used_are_refused(options):
    """Without a column, unknown, or contradicting each other; before any file is read."""
    assert "Expected" in refusal({"a.csv": FULL}, WronglyCalled, **options)


def test_a_header_in_the_middle_is_no_sample():
    """Files put one after the other: `text` was a text of the class `label`; one equal word is none."""
    content = b"text,label\nfine,a\ntext,label\nbad,b\n"
    with pytest.raises(DataRefused, match=r"line 3.*the header again(?s:.*)remove these lines"):
        read_source(text_table, {"a.csv": content}, label="label")
    other = content.replace(b"text,label\nbad", b"text,b\nbad")
    assert ["fine", "text", "bad"] == [
        sample.text for sample in read_source(text_table, {"a.csv": other}, label="label")
    ]


def test_a_column_may_give_the_split():
    """Of any file; names of files say nothing then, and other words are refused with their line."""
    content = b"text,label,part\nfine,a,train\nbad,b,Test\nso so,b,Dev\n"
    samples = read_source(text_table, {"test.csv": content}, label="label", split="part")
    assert ["train", "test", "val"] == [sample.split for sample in samples]
    with pytest.raises(DataRefused, match=r"line 3, column 'part': expected train, val or test"):
        read_source(text_table, {"a.csv": content.replace(b"Test", b"old")}, label="label", split="part")


def test_columns_that_are_written_in_several_ways_are_read_by_one_line():
    """`%` in one and `$` in another: each column's advice alone was one option typed twice."""
    rows = "".join(f'text {n},{"ab"[n % 2]},"{n},409.93",{n}%,${n}.24\n' for n in range(1, 40))
    files = {"a.csv": f"text,label,amount,share,price\n{rows}".encode()}
    options = {"label": "label", "side": ("amount", "share", "price")}
    with pytest.raises(DataRefused) as refused:
        read_source(text_table, files, **options)
    (*_, together) = typed_in(str(refused.value))
    assert {"thousands": "comma", "units": "%,$"} == dict(together)
    said = stated_options("text_table", [f"{name}={value}" for name, value in together])
    first, *_ = read_source(text_table, files, **options, **said)
    assert {"amount": 1409.93, "share": 1.0, "price": 1.24} == first.side


def test_what_stands_beside_numbers_is_added_to_what_was_stated():
    """The next refusal named the new sign alone, and following it lost the first."""
    rows = "".join(f"text {n},{'ab'[n % 2]},{n}%,${n}.24\n" for n in range(1, 40))
    files = {"a.csv": f"text,label,share,price\n{rows}".encode()}
    with pytest.raises(DataRefused, match=r"--set units='%,\$'"):
        read_source(text_table, files, label="label", side=("share", "price"), units=("%",))
