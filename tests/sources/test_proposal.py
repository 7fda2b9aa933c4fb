"""Which kinds propose themselves for files that nobody has said anything about."""

import json

import pytest

from pipeline.fetching.source import KINDS
from pipeline.sources import series_archive
from pipeline.sources.proposal import Proposal, proposals, unread_in_words
from pipeline.sources.table_head import Column, Look, seen
from tests.helpers.picture_folders import class_folders, fill

WORDS = ["the parcel never came", "please refund my money", "how do I log in again"]
TEXTS = "text,label\n" + "".join(f"{WORDS[n % 3]} {n},{'spam' if n % 3 else 'ham'}\n" for n in range(30))
HOURS = [f"2026-01-{1 + n // 24:02d} {n % 24:02d}:00" for n in range(48)]


def found(folder, files=None):
    """Return what is proposed for files, so far as it is likely."""
    if files is not None:
        fill(folder, {name: text.encode() for name, text in files.items()})
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [
        proposal
        for proposal in proposals(Look({name: folder / name for name in names}), KINDS)
        if proposal.likely
    ]


def test_pictures_in_class_folders_are_an_image_folder(tmp_path):
    """Nothing has to be said then."""
    (proposal,) = found(class_folders(tmp_path))
    assert ("image_folder", {}, True) == (proposal.kind, dict(proposal.options), proposal.sure)


def test_a_table_of_texts_names_its_columns(tmp_path):
    """The column of sentences and the column of few words."""
    (proposal,) = found(tmp_path, {"mail.csv": TEXTS})
    assert ("text_table", {"text": "text", "label": "label"}, True) == (
        proposal.kind,
        dict(proposal.options),
        proposal.sure,
    )


def test_a_table_without_header_and_suffix_beside_other_files_is_found(tmp_path):
    """As the SMS Spam Collection comes."""
    rows = "".join(f"{'spam' if n % 3 else 'ham'}\t{WORDS[n % 3]} {n}\n" for n in range(30))
    (proposal,) = found(tmp_path, {"Collection": rows, "README.md": "# Words about it\n"})
    assert {"text": "2", "label": "1", "header": "false", "format": "tsv", "files": "Collection"} == dict(
        proposal.options
    )


def test_columns_of_zeros_and_ones_are_a_label_each(tmp_path):
    """The first proposal, which nobody takes unasked; a column that is called like a class comes before them."""
    rows = "".join(f"{WORDS[n % 3]} {n},{n % 2},{n % 3 // 2},{n % 5 // 4}\n" for n in range(30))
    first, *_ = found(tmp_path, {"mail.csv": f"words,toxic,rude,threat\n{rows}"})
    assert {"text": "words", "label_columns": "toxic,rude,threat"} == dict(first.options)
    assert not first.sure
    every = found(tmp_path, {"mail.csv": f"words,toxic,rude,label\n{rows}"})
    assert not [proposal for proposal in every if "label_columns" in proposal.options]


def test_a_time_beside_the_answer_is_read(tmp_path):
    """So that params.yaml can split by it; of two nobody knows which one is meant."""
    rows = "".join(f"{WORDS[n % 3]} {n},{'ab'[n % 2]},2026-01-{1 + n:02d}\n" for n in range(30))
    (proposal,) = found(tmp_path, {"mail.csv": f"text,label,sent\n{rows}"})
    assert {"text": "text", "label": "label", "time": "sent"} == dict(proposal.options)
    assert () == proposal.open
    twice = "".join(f"{row},2026-02-{1 + n % 28:02d}\n" for n, row in enumerate(rows.splitlines()))
    (proposal,) = found(tmp_path, {"mail.csv": f"text,label,sent,read\n{twice}"})
    assert "time" not in proposal.options


def test_two_columns_that_could_be_the_answer_are_two_proposals_and_none_is_sure(tmp_path):
    """Which one is meant, only the owner knows."""
    rows = "".join(f"{WORDS[n % 3]} {n},{'ab'[n % 2]},{'xyz'[n % 3]}\n" for n in range(30))
    every = found(tmp_path, {"mail.csv": f"words,first,second\n{rows}"})
    assert ["first", "second"] == sorted(proposal.options["label"] for proposal in every)
    assert not any(proposal.sure for proposal in every)


@pytest.mark.parametrize(
    ("stamps", "options"),
    [
        (HOURS, {"time": "when"}),
        ([f"{t[8:10]}.{t[5:7]}.{t[:4]} {t[11:]}" for t in HOURS], {"time": "when", "time_format": "%d.%m.%Y %H:%M"}),
        ([str(1_700_000_000 + 60 * n) for n in range(48)], {"time": "when", "time_format": "seconds"}),
    ],
)  # fmt: skip
def test_times_and_numbers_are_a_series_table(tmp_path, stamps, options):
    """The way in which times are written is found where there is one possible reading."""
    rows = "".join(f"{stamp},{n % 7},{n}\n" for n, stamp in enumerate(stamps))
    (proposal,) = found(tmp_path, {"load.csv": f"when,load,sun\n{rows}"})
    assert ("series_table", options, True) == (proposal.kind, dict(proposal.options), proposal.sure)


def test_a_time_with_two_readings_is_left_to_its_owner(tmp_path):
    """03/04/2026 is in March or in April; both are shown, and none is sure. A 13th month decides."""
    rows = "".join(f"03/{1 + n:02d}/2026,{n}\n" for n in range(12))
    both = found(tmp_path / "a", {"load.csv": f"date,load\n{rows}"})
    assert ["%m/%d/%Y", "%d/%m/%Y"] == [proposal.options["time_format"] for proposal in both]
    assert not any(proposal.sure for proposal in both)
    rows = "".join(f"03/{1 + n:02d}/2026,{n}\n" for n in range(20))
    (one,) = found(tmp_path / "b", {"load.csv": f"date,load\n{rows}"})
    assert ("%m/%d/%Y", True) == (one.options["time_format"], one.sure)


MORE_TIMES = [
    ("%m/%d/%Y %I:%M:%S %p", [f"01/{1 + n // 24:02d}/2026 {(n - 1) % 12 + 1:02d}:00:00 {'AP'[n % 24 // 12]}M" for n in range(480)]),
    ("%d.%m.%Y %H:%M:%S,%f", [f"03.05.2026 10:00:{n:02d},{n:03d}" for n in range(50)]),
    ("%Y%m%d%H%M", [f"202601{1 + n // 24:02d}{n % 24:02d}00" for n in range(48)]),
    ("%Y%m%d", [f"202601{1 + n:02d}" for n in range(20)]),
    ("%Y", [str(1950 + n) for n in range(30)]),
    ("seconds", [f"{1_700_000_000 + 60 * n}.0" for n in range(20)]),
    ("microseconds", [str((1_700_000_000 + 60 * n) * 10**6) for n in range(20)]),
    ("nanoseconds", [str((1_700_000_000 + 60 * n) * 10**9) for n in range(20)]),
    (None, [f"{2005 + n // 4}-Q{1 + n % 4}" for n in range(20)]),
    (None, [f"2015-W{1 + n:02d}" for n in range(20)]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "stamps"), MORE_TIMES, ids=[f"{form}" for form, _ in MORE_TIMES])
def test_times_as_loggers_and_exports_write_them_are_known(tmp_path, form, stamps):
    """By one reading each, which is stated."""
    rows = "".join(f"{stamp};{n}\n" for n, stamp in enumerate(stamps))
    (proposal,) = found(tmp_path, {"load.csv": f"ts;load\n{rows}"})
    assert {"time": "ts", **({"time_format": form} if form else {})} == dict(proposal.options)
    assert ("series_table", True) == (proposal.kind, proposal.sure)


def test_a_column_called_id_beside_times_of_its_own_is_shown_both_ways(tmp_path):
    """Two meters that report in turns look like one; only the owner knows."""
    rows = "".join(f"{stamp},{'ab'[n % 2]},{n}\n" for n, stamp in enumerate(HOURS))
    every = found(tmp_path, {"load.csv": f"ts,id,load\n{rows}"})
    assert [{"time": "ts", "id": "id"}, {"time": "ts", "drop": "id"}] == [dict(way.options) for way in every]


def test_a_column_that_tells_series_apart_is_their_id(tmp_path):
    """Where the time alone does not name a row, and both together do."""
    rows = "".join(f"{stamp},{meter},{n}\n" for n, stamp in enumerate(HOURS) for meter in ("north", "south"))
    (proposal,) = found(tmp_path, {"load.csv": f"time,meter,load\n{rows}"})
    assert {"time": "time", "id": "meter"} == dict(proposal.options)


def test_tables_of_numbers_and_one_that_speaks_of_them_are_series_files(tmp_path):
    """The id in their names, where the table has it."""
    runs = {f"data/run_{n}.csv": "a,b\n1,2\n3,4\n" for n in range(1, 9)}
    table = "#run, ok\n" + "".join(f"{n},{'yes' if n % 2 else 'no'}\n" for n in range(1, 9))
    every = found(tmp_path, {**runs, "targets.csv": table})
    (proposal,) = [proposal for proposal in every if proposal.kind == "series_files"]
    assert {"targets": "targets.csv", "id": "run", "label": "ok", "files": "data/run_*.csv"} == dict(
        proposal.options
    )


def test_data_sets_of_the_archives_are_proposed_one_by_one(tmp_path):
    """With the name that is needed where there are several."""
    files = {f"{name}_{part}.ts": "@data\n" for name in ("A", "B") for part in ("TRAIN", "TEST")}
    every = [proposal for proposal in found(tmp_path, files) if proposal.kind == "series_archive"]
    assert [{"name": "A"}, {"name": "B"}] == [dict(proposal.options) for proposal in every]


def test_a_kind_proposes_itself_by_a_function_in_its_own_file(tmp_path, monkeypatch):
    """The whole agreement for a new kind; it comes before the table of the old ones."""

    def propose(look):
        yield Proposal("series_archive", f"{len(look.names)} files", {"name": "own"}, sure=True)

    monkeypatch.setattr(series_archive, "propose", propose, raising=False)
    (proposal,) = [
        proposal for proposal in found(tmp_path, {"a.csv": "x\n"}) if proposal.kind == "series_archive"
    ]
    assert ("1 files", {"name": "own"}) == (proposal.reason, dict(proposal.options))


def test_what_lies_there_is_said_with_the_columns_of_tables(tmp_path):
    """For somebody who must say what it is."""
    fill(tmp_path, {"labels.csv": b"id,weight\na,1\nb,2\n", "images/a.jpg": b"x"})
    lines = seen(Look({name: tmp_path / name for name in ("images/a.jpg", "labels.csv")}))
    assert ["1 x *.csv, 1 x images/*.jpg", "labels.csv: columns id, weight"] == lines


def test_an_export_with_answers_inside_is_proposed_by_its_paths(tmp_path):
    """Label Studio's: the surest answer first, and a running number is none."""
    rows = [
        {
            "id": n,
            "data": {"text": f"{WORDS[n % 3]} {n}", "channel": "ab"[n % 2]},
            "result": [{"choices": ["xyz"[n % 3]]}],
        }
        for n in range(30)
    ]
    first, second = found(tmp_path, {"export.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    assert {"text": "data.text", "label": "result.0.choices.0"} == dict(first.options)
    assert {"text": "data.text", "label": "data.channel"} == dict(second.options)


def test_numbers_as_people_write_them_are_proposed_with_their_options(tmp_path):
    """A spreadsheet's export: a row of units, commas for fractions."""
    rows = "".join(f"{n + 1:02d}.01.2026 00:00;{n},5;1.{n:03d},25\n" for n in range(25))
    every = found(tmp_path, {"log.csv": f"time;heat;power\n;C;kW\n{rows}"})
    assert {
        "time": "time", "time_format": "%d.%m.%Y %H:%M", "decimal": "comma", "thousands": "point", "units_row": "true",
    } == dict(every[0].options)  # fmt: skip


def test_lines_above_a_table_are_proposed_to_be_passed_over(tmp_path):
    """As the reader's own refusal says."""
    rows = "".join(f"2026-01-{n + 1:02d},{n},{n}.5\n" for n in range(25))
    every = found(tmp_path, {"log.csv": f"Device 7\nPlace: cellar\ntime,heat,power\n{rows}"})
    assert {"time": "time", "skip": "2"} == dict(every[0].options)


def test_labels_that_look_like_lists_are_proposed_as_several_labels(tmp_path):
    """With the line that keeps each as one class; nobody is sure."""
    tags = ["billing", "login", "billing|login", "delivery", "delivery|login"]
    rows = "".join(f"{WORDS[n % 3]} {n},{tags[n % 5]}\n" for n in range(60))
    (proposal,) = found(tmp_path, {"mail.csv": f"text,tags\n{rows}"})
    assert ("pipe", False) == (proposal.options["labels_separator"], proposal.sure)
    assert any("labels_separator=none" in line for line in proposal.open)


def test_recordings_in_class_folders_are_series_files(tmp_path):
    """As audio features come; nobody is sure, for folders of persons look alike."""
    files = {f"{name}/rec_{n}.csv": "a,b\n1,2\n3,4\n" for name in ("dog", "horn") for n in range(4)}
    assert [("series_files", {}, False)] == [
        (proposal.kind, dict(proposal.options), proposal.sure) for proposal in found(tmp_path, files)
    ]


def test_a_table_beside_images_is_an_image_table(tmp_path):
    """Its column of paths, with or without suffix, and its column of classes."""
    class_folders(tmp_path / "images")
    images = [
        path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.*")) if path.is_file()
    ]
    rows = "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(images))
    proposed = {
        proposal.kind: proposal for proposal in found(tmp_path, {"labels.csv": f"file,label\n{rows}"})
    }
    assert {"path": "file", "label": "label"} == dict(proposed["image_table"].options)


def test_a_file_that_is_no_table_says_why(tmp_path):
    """Beside what lies there: the owner sees what to mend."""
    fill(tmp_path, {"a.csv": b"a,,5\n1,2,3\n1\n"})
    look = Look({"a.csv": tmp_path / "a.csv"})
    assert not [proposal for proposal in proposals(look, KINDS) if proposal.likely]
    assert any("a.csv, line 1 does not name the columns" in line for line in seen(look)[1:])


def test_an_index_that_pandas_wrote_and_a_constant_are_no_answer(tmp_path):
    """One way to read it is left, and it is sure."""
    rows = "".join(f"{n},{WORDS[n % 3]} {n},{'spam' if n % 3 else 'ham'},1\n" for n in range(30))
    (proposal,) = found(tmp_path, {"mail.csv": f",text,label,version\n{rows}"})
    assert ({"text": "text", "label": "label"}, True) == (dict(proposal.options), proposal.sure)


def test_numbered_columns_of_pandas_are_a_header_and_an_id_is_no_value(tmp_path):
    """0, 1, 2, ... above a table of series; ids that rise by one beside them."""
    rows = "".join(
        f"{1000 + n},{','.join(str((n * k) % 17 / 4) for k in range(10))},{'ab'[n % 2]}\n" for n in range(30)
    )
    numbers = ",".join(map(str, range(10)))
    every = {found.kind: found for found in found(tmp_path, {"a.csv": f"id,{numbers},label\n{rows}"})}
    assert {"label": "last", "drop": "id"} == dict(every["series_rows"].options)


def test_a_first_row_of_data_is_no_row_of_units(tmp_path):
    """A word among numbers, beside texts and classes that are there."""
    rows = "".join(f"{WORDS[n % 3]} {n},{n},{'xy'[n % 2]}\n" for n in range(30))
    every = found(tmp_path, {"a.csv": f"text,age,label\nhello you there,tbd,x\n{rows}"})
    assert not [proposal for proposal in every if "units_row" in proposal.options]


def test_a_time_of_day_beside_a_date_is_a_clock_and_no_name_of_series(tmp_path):
    """24 series of a step of a day were a wrong reading that looked sure."""
    rows = "".join(f"{t[8:10]}.{t[5:7]}.{t[:4]};{t[11:]}:00;{n}\n" for n, t in enumerate(HOURS))
    (proposal,) = found(tmp_path, {"meter.csv": f"Datum;Uhrzeit;Wert\n{rows}"})
    assert {"time": "Datum", "clock": "Uhrzeit", "time_format": "%d.%m.%Y"} == dict(proposal.options)
    assert proposal.sure


def test_a_class_that_stays_for_some_steps_is_proposed_as_one_per_step(tmp_path):
    """Before the way that leaves it out; and one that changes with every row is none."""
    rows = "".join(f"{stamp},{n % 7},{'run' if n // 12 % 2 else 'sit'}\n" for n, stamp in enumerate(HOURS))
    first, second = found(tmp_path / "a", {"walk.csv": f"time,x,activity\n{rows}"})
    assert {"time": "time", "step_label": "activity"} == dict(first.options)
    assert {"time": "time", "drop": "activity"} == dict(second.options)
    rows = "".join(f"{stamp},{n % 7},{'run' if n % 2 else 'sit'}\n" for n, stamp in enumerate(HOURS))
    (only,) = found(tmp_path / "b", {"walk.csv": f"time,x,activity\n{rows}"})
    assert "step_label" not in only.options


def test_numbered_steps_are_a_series_without_a_clock(tmp_path):
    """As simulations write them; never sure, since a step may be anything. Numbers with gaps are no steps."""
    rows = "".join(f"{n},{n % 7}\n" for n in range(40))
    (proposal,) = found(tmp_path / "a", {"run.csv": f"step,load\n{rows}"})
    assert {"time": "step", "time_format": "seconds"} == dict(proposal.options)
    assert not proposal.sure
    rows = "".join(f"{n * n},{n % 7}\n" for n in range(40))
    assert [] == found(tmp_path / "b", {"run.csv": f"step,load\n{rows}"})


def test_words_in_names_of_files_are_proposed_as_classes(tmp_path):
    """Of texts and series too, with the persons that are numbered; one text per file is no file of one class."""
    reviews = {f"train/{'pos' if n % 2 else 'neg'}_{n}.txt": "good\n" for n in range(20)}
    first, *others = found(tmp_path / "a", reviews)
    assert ("text_lines", {"label": "{label}_#.*"}) == (first.kind, dict(first.options))
    assert not any(proposal.sure for proposal in others)
    walks = {f"{'walk' if n % 2 else 'run'}_p{n % 3}_{n}.csv": "a,b\n1,2\n3,4\n" for n in range(20)}
    assert {"label": "{label}_p{group}_#.*"} in [dict(one.options) for one in found(tmp_path / "b", walks)]
    persons = {f"p{n % 4}/{'walk' if n % 2 else 'run'}/{n}.csv": "a,b\n1,2\n" for n in range(20)}
    assert {"label": "{group}/{label}/*"} in [dict(one.options) for one in found(tmp_path / "c", persons)]


@pytest.mark.parametrize(
    "stamp",
    ["Jan 02, 2024 03:00", "02/01/24 03:00", "2024-01-02 03:00:00 UTC", "Tue Jan 02 03:00:00 2024", "02-Jan-2024 03:00",
     "2024/01/02 03.00", "02. 01. 2024 03:00"],
)  # fmt: skip
def test_every_form_of_time_that_is_read_is_seen(tmp_path, stamp):
    """They were taken for texts, and that was called sure."""
    hours = "".join(f'"{stamp.replace("03", f"{n:02d}", 1)}",{n}\n' for n in range(24))
    every = found(tmp_path, {"a.csv": f"when,value\n{hours}"})
    assert {"series_table"} == {proposal.kind for proposal in every}


def test_a_line_that_is_no_time_is_left_to_the_reader_to_name(tmp_path):
    """`Total` at the end; a time in another language is said, and is no text."""
    stamps = "".join(f"{hour},{n}\n" for n, hour in enumerate(HOURS))
    (proposal,) = found(tmp_path / "a", {"a.csv": f"time,v\n{stamps}Total,7\n"})
    assert ("series_table", {"time": "time"}) == (proposal.kind, dict(proposal.options))
    days = "".join(f"{n + 1}. März 2024,{n}\n" for n in range(30))
    assert {"series_table"} == {
        proposal.kind for proposal in found(tmp_path / "b", {"a.csv": f"Datum,v\n{days}"})
    }
    assert any("'1. März 2024'" in line for line in seen(Look({"a.csv": tmp_path / "b/a.csv"})))


@pytest.mark.parametrize(
    ("column", "title"),
    [
        ("film", "Toy Story {n} ({year})"),
        ("games", "Olympics Paris {year}"),
        ("title", "Apollo {n} {year}"),
        ("film", "The {n} summits of {year}"),
    ],
)
def test_titles_that_name_a_year_are_texts(tmp_path, column, title):
    """They were taken for times that are not read, and no kind fitted."""
    rows = "".join(f"{title.format(n=n, year=1990 + n)},{'ab'[n % 2]}\n" for n in range(1, 30))
    (proposal,) = found(tmp_path, {"a.csv": f"{column},genre\n{rows}"})
    assert (column, True) == (proposal.options["text"], proposal.sure)


@pytest.mark.parametrize(
    "cell",
    [
        "3. März 2023",
        "Montag, 3. März 2023",
        "März 2023",
        "3 de marzo de 2023",
        "14 stycznia 2024",
        "2024年3月1日",
    ],
)
def test_dates_in_other_languages_are_no_texts(cell):
    """A year, a day or month beside it, and one word more at most."""
    assert Column("x", [cell], 1).looks_dated


def test_a_column_of_classes_may_have_gaps(tmp_path):
    """Its reader says what becomes of rows without one."""
    rows = "".join(f"{WORDS[n % 3]} {n},{'' if n == 7 else 'ab'[n % 2]}\n" for n in range(30))
    (proposal,) = found(tmp_path, {"mail.csv": f"text,label\n{rows}"})
    assert {"text": "text", "label": "label"} == dict(proposal.options)


def test_rows_that_do_not_fit_their_header_are_why_a_file_is_no_table(tmp_path):
    """A comma at the end of every row."""
    rows = "".join(f"{n},{n},\n" for n in range(30))
    assert [] == found(tmp_path, {"a.csv": f"time,v\n{rows}"})
    assert any("sed -i 's/,$//' a.csv" in line for line in seen(Look({"a.csv": tmp_path / "a.csv"})))


def test_a_column_that_says_train_and_test_is_the_split_and_no_class(tmp_path):
    """It was proposed as a class, and lost where another column was taken."""
    rows = "".join(
        f"{WORDS[n % 3]} {n},{'ab'[n % 2]},{'test' if n % 5 == 0 else 'Train'}\n" for n in range(30)
    )
    (proposal,) = found(tmp_path / "a", {"mail.csv": f"text,label,part\n{rows}"})
    assert {"text": "text", "label": "label", "split": "part"} == dict(proposal.options)
    class_folders(tmp_path / "b", 4)
    lines = "".join(f"C:\\x\\cat\\{n}.png,{'ab'[n % 2]},{'test' if n < 2 else 'train'}\n" for n in range(4))
    every = found(tmp_path / "b", {"l.csv": f"file,kind,use\n{lines}"})
    assert {"path": "file", "label": "kind", "split": "use"} in [dict(proposal.options) for proposal in every]


def test_a_list_of_several_words_is_proposed_whole(tmp_path):
    """The first choice alone was called sure, and the others were lost."""
    lines = [
        json.dumps(
            {
                "data": {"text": f"{WORDS[n % 3]} {n}"},
                "result": [{"choices": ["ab"[n % 2]] + ["vip"] * (n % 3 == 0)}],
            }
        )
        for n in range(30)
    ]
    every = found(tmp_path, {"a.jsonl": "\n".join(lines)})
    assert [{"text": "data.text", "label": "result.0.choices", "labels_separator": "list"}] == [
        dict(proposal.options) for proposal in every
    ]


def test_train_and_test_may_be_classes_where_there_is_no_other(tmp_path):
    """Vehicles and lessons: the only column that could be the answer is it, and gives no split."""
    rows = "".join(f"{WORDS[n % 3]} {n},{'train' if n % 3 else 'test'}\n" for n in range(30))
    (proposal,) = found(tmp_path, {"mail.csv": "text,vehicle\n" + rows})
    assert {"text": "text", "label": "vehicle"} == dict(proposal.options)
    names = "".join(f"{n}.png,{'train' if n % 3 else 'test'}\n" for n in range(30))
    pictures = {f"{n}.png": "x" for n in range(30)}
    every = found(tmp_path / "pictures", {"table.csv": "file,vehicle\n" + names, **pictures})
    assert {"path": "file", "label": "vehicle"} in [dict(proposal.options) for proposal in every]


def test_dev_is_a_split_as_val_is(tmp_path):
    """In whatever case; a column of other words is told with the option that would read it."""
    parts = ("Train", "Test", "Dev")
    rows = "".join(f"{WORDS[n % 3]} {n},{'no' if n % 2 else 'yes'},{parts[n % 3]}\n" for n in range(30))
    (proposal,) = found(tmp_path, {"mail.csv": "text,label,part\n" + rows})
    assert {"text": "text", "label": "label", "split": "part"} == dict(proposal.options)
    (proposal, *_) = found(tmp_path, {"mail.csv": "text,label,part\n" + rows.replace("Dev", "held out")})
    assert any("part" in line and "split=" in line for line in unread_in_words(proposal))


def stamped(number, names=("time", "load")):
    """Return a table of ten hours."""
    rows = [
        ",".join([f"2026-01-01 {hour:02d}:00", *[str(number + hour)] * (len(names) - 1)])
        for hour in range(10)
    ]
    return "\n".join([",".join(names), *rows]) + "\n"


@pytest.mark.parametrize("count", [3, 13, 60])
def test_a_folder_of_many_tables_of_one_kind_is_proposed(tmp_path, count):
    """Of more than twelve nothing was, though a reader takes any number."""
    tables = {f"person_{n:03d}.csv": stamped(n) for n in range(count)}
    assert ("series_table", {"time": "time"}) in [
        (proposal.kind, dict(proposal.options)) for proposal in found(tmp_path, tables)
    ]


def test_tables_of_several_kinds_are_told_apart_in_words(tmp_path):
    """`24 x *.csv` was all that was said of a folder in which every table is readable by itself."""
    tables = {"a.csv": stamped(1), "b.csv": stamped(2, ("time", "x", "y")), "c.csv": stamped(3)}
    fill(tmp_path, {name: text.encode() for name, text in tables.items()})
    lines = seen(Look({name: tmp_path / name for name in sorted(tables)}))
    assert any(
        "a.csv has time, load; b.csv has time, x, y; point --path at one of them" in line for line in lines
    )


def test_a_time_that_all_samples_share_is_that_of_their_export(tmp_path):
    """Nothing is later than anything else: a split by time has nothing to go by."""
    days = [f"2026-01-{day:02d}" for day in range(1, 10)]
    for times, wanted in ((["2026-01-01T10:00:00Z"], None), (days, "created")):
        rows = "".join(
            f"{WORDS[n % 3]} {n},{'no' if n % 2 else 'yes'},{times[n % len(times)]}\n" for n in range(30)
        )
        (proposal, *_) = found(tmp_path, {"mail.csv": "text,label,created\n" + rows})
        assert wanted == proposal.options.get("time")


def test_two_rows_of_two_shops_are_not_two_classes(tmp_path):
    """Days in columns, a row per shop: called sure, a series per class."""
    days = ",".join(f"2026-01-{day:02d}" for day in range(1, 21))
    numbers = ",".join(str(n) for n in range(20))
    assert [] == found(tmp_path, {"sales.csv": f"shop,{days}\na,{numbers}\nb,{numbers}\n"})
