"""The gate: sound data passes, each planted defect is refused by name, reports are written either way."""

import io
import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, ParamsError
from pipeline.stages.split import split
from pipeline.stages.validate import validate, warning_lines
from tests.helpers.ingested import pictures, write_ingested

BOUNDS = {
    "min_samples_per_class": 5,
    "max_class_ratio": 3.0,
    "max_label_conflicts": 0,
    "max_duplicate_share": 0.1,
}
NEAR = {"near_hash_distance": 4, "near_pixel_difference": 0.01}
OUTS = (
    paths.STATISTICS_PARQUET,
    paths.DUPLICATES_PARQUET,
    paths.VALIDATE_SUMMARY,
    paths.VALIDATE_FAILING,
    paths.VALIDATE_HTML,
)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ingest(tmp_path, change=None, num_hats=12, num_shoes=10):
    """Write data of two classes, after `change(images, labels)`."""
    images = pictures(num_hats + num_shoes)
    labels = ["hat"] * num_hats + ["shoe"] * num_shoes
    if change:
        change(images, labels)
    write_ingested(tmp_path, images, labels)


def refused():
    """Return the message of the refusal, and the failing samples by column."""
    with pytest.raises(DataRefused) as error:
        validate(BOUNDS, NEAR)
    failing = pd.read_csv(paths.VALIDATE_FAILING, dtype=str, keep_default_na=False)
    return str(error.value), failing[failing["severity"] == "critical"].groupby("column")["sample_id"].apply(
        list
    )


def test_sound_data_passes(tmp_path):
    """Random images of two classes meet every expectation; all files are there."""
    ingest(tmp_path)
    summary = validate(BOUNDS, NEAR)
    assert summary["passed"] is True
    assert summary["expectations"]["failed"] == 0
    assert summary["expectations"]["judged"] == summary["expectations"]["met"]
    assert all(path.is_file() for path in OUTS)
    assert summary == json.loads(paths.VALIDATE_SUMMARY.read_text())


def test_a_second_run_writes_the_same_bytes(tmp_path):
    """Tables, summary, list and report are the same for the same data."""
    ingest(tmp_path)
    validate(BOUNDS, NEAR)
    first = [path.read_bytes() for path in OUTS]
    validate(BOUNDS, NEAR)
    assert first == [path.read_bytes() for path in OUTS]


def test_tables_have_one_row_per_sample(tmp_path):
    """Clusters are named by the smallest content of their copies, statistics belong to their sample."""

    def copy(images, _labels):
        images[3] = images[4]

    ingest(tmp_path, copy)
    validate(BOUNDS, NEAR)
    duplicates = pd.read_parquet(paths.DUPLICATES_PARQUET).set_index("sample_id")
    samples = pd.read_parquet(paths.SAMPLES_PARQUET).set_index("sample_id")
    assert duplicates.index.tolist() == samples.index.tolist()
    assert (
        duplicates.loc["003", "cluster"]
        == duplicates.loc["004", "cluster"]
        == samples.loc["003", "content_sha256"]
    )
    assert duplicates["exact_copies"].sum() == 2
    statistics = pd.read_parquet(paths.STATISTICS_PARQUET).set_index("sample_id")
    assert statistics.loc["007", "mean"] == pytest.approx(
        np.load(paths.PAYLOAD_NPY)[7].mean() / 255, abs=1e-6
    )


def test_what_validate_writes_split_reads(tmp_path):
    """The next stage joins the table of clusters with the samples."""
    ingest(tmp_path, num_hats=60, num_shoes=60)
    validate(BOUNDS, NEAR)
    summary = split("stratified", 0.2, 0.2, "millrace")
    assert sum(summary["samples"].values()) == 120


def test_a_small_class_is_refused(tmp_path):
    """Both the size and the ratio of the class are named, with all its samples."""
    ingest(tmp_path, num_shoes=3)
    message, failing = refused()
    assert "No class is smaller than validate.min_samples_per_class." in message
    assert failing["class_samples"] == ["012", "013", "014"]
    assert failing["class_ratio"] == ["012", "013", "014"]


def test_a_single_class_is_refused(tmp_path):
    """One class leaves nothing to tell apart."""
    ingest(tmp_path, num_shoes=0)
    assert "at least two classes" in refused()[0]


def test_one_content_under_two_labels_is_refused(tmp_path):
    """The two samples of the conflict are named."""

    def conflict(images, _labels):
        images[20] = images[2]

    ingest(tmp_path, conflict)
    message, failing = refused()
    assert "contents stand under two labels" in message
    assert failing["opens_conflict"] == ["002", "020"]


def test_too_many_copies_are_refused(tmp_path):
    """Four of 22 samples with a copy are more than a tenth."""

    def copies(images, _labels):
        images[1], images[3] = images[0], images[2]

    ingest(tmp_path, copies)
    message, failing = refused()
    assert "exact content stands elsewhere" in message
    assert failing["has_exact_copy"] == ["000", "001", "002", "003"]


def test_blank_images_are_refused(tmp_path):
    """More than 1 % of blank images is a broken source."""

    def blank(images, _labels):
        images[5] = 17

    ingest(tmp_path, blank)
    assert refused()[1]["standard_deviation"] == ["005"]


def test_an_empty_label_is_refused(tmp_path):
    """A label of spaces names no class."""

    def unnamed(_images, labels):
        labels[:6] = [" "] * 6

    ingest(tmp_path, unnamed)
    assert refused()[1]["label"] == ["000", "001", "002", "003", "004", "005"]


def test_reports_are_written_before_the_refusal(tmp_path):
    """Whoever is refused can look at why; the summary says so too."""
    ingest(tmp_path, num_shoes=3)
    refused()
    assert all(path.is_file() for path in OUTS)
    assert json.loads(paths.VALIDATE_SUMMARY.read_text())["passed"] is False
    assert "Data refused" in paths.VALIDATE_HTML.read_text()


@pytest.mark.parametrize("rows", [[0, 1, 1], [0, 1, 3]])
def test_a_table_that_does_not_fit_the_payload_is_refused(tmp_path, rows):
    """Samples that share an image, or point beyond it, are refused before anything is measured."""
    write_ingested(tmp_path, pictures(4)[[0, 1, 2, 3]], ["a", "b", "c"], rows=rows)
    with pytest.raises(DataRefused, match="disagree"):
        validate(BOUNDS, NEAR)


def test_a_payload_of_floats_is_refused(tmp_path):
    """NaN can only hide in floats, and floats are refused."""
    ingest(tmp_path)
    np.save(paths.PAYLOAD_NPY, np.full((22, 8, 8, 1), np.nan, dtype=np.float32))
    with pytest.raises(DataRefused, match="not a stack of images"):
        validate(BOUNDS, NEAR)


def test_a_missing_payload_says_which_stage_makes_it(tmp_path):
    """The message names ingest."""
    ingest(tmp_path)
    paths.PAYLOAD_NPY.unlink()
    with pytest.raises(InputMissing, match="dvc repro ingest"):
        validate(BOUNDS, NEAR)


def test_a_bound_that_the_suite_does_not_use_is_refused(tmp_path):
    """A limit of params.yaml can not lose its expectation unnoticed."""
    ingest(tmp_path)
    with pytest.raises(ParamsError, match="max_blank"):
        validate({**BOUNDS, "max_blank": 1}, NEAR)


@pytest.mark.long
def test_the_command_ends_with_65_and_a_table(project, stage_environment):
    """From the command line: exit code 65, the failing demand on stderr, the report on disk."""
    ingest(project, num_shoes=3)
    done = subprocess.run(
        ["pipeline/run", "validate"], cwd=project, env=stage_environment, capture_output=True, text=True
    )
    assert done.returncode == 65, done.stderr
    assert "No class is smaller than validate.min_samples_per_class." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Calculating Metrics" not in done.stderr
    assert (project / paths.VALIDATE_HTML).is_file()
    assert not [name for name in os.listdir(project) if name.startswith("gx")]


def warned(summary):
    """Return the columns of the expectations that were not met, all of them warnings."""
    assert {"warning"} == {item["severity"] for item in summary["not_met"]}
    return [item["column"] for item in summary["not_met"]]


@pytest.mark.parametrize("twin", ["Hat", "hat ", "h\u200bat", "\uff48at"])
def test_classes_that_read_alike_are_a_warning(tmp_path, twin):
    """Capitals, a blank, a sign that nobody sees, a wide letter: two classes for Millrace, one for a person."""
    write_ingested(tmp_path, pictures(36), ["hat"] * 12 + ["shoe"] * 12 + [twin] * 12)
    summary = validate(BOUNDS, NEAR)
    assert ["label_twin"] == warned(summary)
    assert 24 == summary["not_met"][0]["failing_samples"]
    assert "Not met: No two classes read alike" in paths.VALIDATE_HTML.read_text()
    (line,) = warning_lines(summary)
    assert line.startswith("Warning, 24 samples: expected: No two classes read alike")


def test_a_warning_names_its_columns():
    """`1 warnings` was all that the terminal said of -9999 among the measurements."""
    demand = "No value far outside all others repeats exactly."
    found = {"demand": demand, "column": "far_out", "severity": "warning", "failing_samples": 2}
    summary = {"not_met": [found], "columns": {"far_out": ["temp", "rh"]}}
    assert [f"Warning, column temp, rh: expected: {demand}"] == warning_lines(summary)
    assert [] == warning_lines({"not_met": []})


def test_one_letter_spelled_two_ways_is_a_warning(tmp_path):
    """As Macs and Linux write the same name of a folder."""
    write_ingested(tmp_path, pictures(24), ["m\u00e4use"] * 12 + ["ma\u0308use"] * 12)
    assert ["label_twin"] == warned(validate(BOUNDS, NEAR))


def deep_pictures(bits):
    """Return images as `ingest` keeps 16-bit PNGs with so many bits of light in them."""
    from PIL import Image

    from pipeline.ingest.images import decode

    made = []
    for number in range(24):
        values = np.random.default_rng(number).integers(0, 2**bits, (8, 8), dtype=np.uint16)
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG")
        decoded = decode(file.getvalue())
        assert decoded.mode.startswith("I")
        made.append(decoded.pixels)
    return np.stack(made)


@pytest.mark.parametrize(("bits", "columns"), [(12, ["narrow_range"]), (14, ["narrow_range"]), (16, [])])
def test_pictures_of_few_bits_in_many_are_a_warning(tmp_path, bits, columns):
    """X-rays: 12 bits in 16-bit files keep 16 of 256 grey levels; the report says so before anything is trained."""
    write_ingested(tmp_path, deep_pictures(bits), ["hat"] * 12 + ["shoe"] * 12, mode="I;16")
    summary = validate(BOUNDS | {"max_duplicate_share": 1.0, "max_label_conflicts": 100}, NEAR)
    assert columns == [item["column"] for item in summary["not_met"] if item["column"] == "narrow_range"]
    assert ("Not met: Images of 16 bits" in paths.VALIDATE_HTML.read_text()) == bool(columns)


def test_a_dark_picture_of_eight_bits_is_no_warning(tmp_path):
    """Nothing was scaled down."""
    write_ingested(tmp_path, pictures(24) // 32, ["hat"] * 12 + ["shoe"] * 12)
    summary = validate(BOUNDS | {"max_duplicate_share": 1.0, "max_label_conflicts": 100}, NEAR)
    assert "narrow_range" not in [item["column"] for item in summary["not_met"]]
