"""From files to a params.yaml that passes `check`, for ways of labelling that need settings of their own."""

from pathlib import Path

import pytest

from pipeline.checks.asked_for import unused_columns
from pipeline.checks.contradictions import contradictions, idle_settings
from pipeline.checks.fitting import base_example, fitted
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location
from pipeline.params.load import params_of
from pipeline.sources.kinds import stated_options
from tests.checks.test_rules import EXAMPLES
from tests.helpers.picture_folders import fill, picture

ROWS = range(90)
FLAGS = [f"{n % 2},{n % 3 // 2}" for n in ROWS]
PICTURES = {f"{n}.png": picture(n) for n in ROWS}
STATES = ["sit"] * 40 + ["run"] * 40 + [""] * 40


def csv(header, rows):
    """Return a file from its first line and the others."""
    return "\n".join([header, *rows, ""]).encode()


CASES = {
    "text_table": ({"a.csv": csv("text,toxic,rude", [f"words {n} of {n * 7 % 11},{FLAGS[n]}" for n in ROWS])},
                   ["label_columns=toxic,rude"]),
    "image_table": ({"a.csv": csv("path,toxic,rude", [f"{n}.png,{FLAGS[n]}" for n in ROWS]), **PICTURES},
                    ["label_columns=toxic,rude"]),
    "image_folder": ({f"{('a', 'b', 'a+b')[n % 3]}/{n}.png": PICTURES[f"{n}.png"] for n in ROWS}, ["labels_separator=plus"]),
    "series_rows": ({"a.csv": csv("toxic,rude,v,w,x", [f"{FLAGS[n]},{n},{n * 5 % 7},{n * 3 % 5}" for n in ROWS])},
                    ["label_columns=toxic,rude"]),
    "series_table": ({"a.csv": csv("time,id,x,toxic,rude", [
        f"2026-01-01T00:00:0{s},{n},{n * s % 7},{FLAGS[n]}" for n in ROWS for s in range(9)])},
        ["id=id", "label_columns=toxic,rude"]),
    "series_files": ({"t.txt": csv("id,toxic,rude", [f"s{n},{FLAGS[n]}" for n in ROWS]), **{
        f"s{n}.csv": csv("x", [str(n * s % 7) for s in range(9)]) for n in ROWS}}, ["targets=t.txt", "label_columns=toxic,rude"]),
    "series_table, steps": ({"a.csv": csv("time,id,x,state", [
        f"2026-01-01T00:0{s // 60}:{s % 60:02d},{n},{n * s % 7},{STATES[s]}" for n in range(9) for s in range(120)])},
        ["id=id", "step_label=state"]),
    "series_files, steps": ({f"p{n % 4}/s{n}.csv": csv("x,state", [f"{n * s % 7},{STATES[s]}" for s in range(120)])
                             for n in range(9)}, ["step_label=state", "folders=group", "unlabelled=leave_out"]),
    "text_table, times": ({"a.csv": csv("text,label,when", [
        f"words {n} of {n * 7 % 11},{'ab'[n % 2]},2026-01-01T0{n // 60}:{n % 60:02d}:00" for n in ROWS])}, ["label=label", "time=when"]),
    "image_table, times": ({"a.csv": csv("path,label,when", [
        f"{n}.png,{'ab'[n % 2]},2026-01-01T0{n // 60}:{n % 60:02d}:00" for n in ROWS]), **PICTURES}, ["label=label", "time=when"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_for_a_source_passes_check(name, tmp_path, monkeypatch):
    """Nothing contradicts the source, nothing is idle, and no column is read in vain."""
    monkeypatch.chdir(tmp_path)
    kind, _, what = name.partition(", ")
    files, stated = CASES[name]
    fill(tmp_path / "set", files)
    source = take_snapshot(
        kind,
        Location(path=str(tmp_path / "set")),
        max_bytes=1 << 24,
        options=stated_options(kind, stated),
        keep=False,
    ).source
    example = base_example(source)
    params = params_of(
        fitted(example, (EXAMPLES / f"{example}.yaml").read_text(), source, Path("/project")).text
    )
    assert [] == contradictions(params, source)
    assert [] == idle_settings(params, source)
    assert [] == unused_columns(params, source)
    expected = {
        "": ("multilabel", "stratified"),
        "steps": ("classification", "group"),
        "times": ("classification", "time"),
    }
    assert expected[what] == (params.data.task, params.split.method)
    assert (what == "steps") == (params.data.labelled_windows is not None)
