"""The leaks stage: writes both reports, names findings and samples, and lets a person sign off."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.leaks.findings import Finding, SignOff, leak_refusal
from pipeline.params.load import params_of
from pipeline.params.sections import AcceptedFinding
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from tests.helpers.leak_gate import run_gate, run_split, two_classes, write_texts

PERSONS = "every person is known before the model is used"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def torn_groups():
    """Write and split data whose persons stand in several splits."""
    write_texts(groups=[f"person {number // 10}" for number in range(400)])
    run_split()


def test_a_clean_split_passes_and_says_so():
    """passed is true, nothing is found, and the checks are named."""
    write_texts()
    run_split()
    summary = run_gate()
    assert summary == json.loads(paths.LEAKS_SUMMARY.read_text())
    assert summary["passed"] is True
    assert [] == summary["findings"]
    assert "exact copies" in summary["checks"]
    assert "finding,leak,sample_id,like,accepted,problem\n" == paths.LEAKS_FINDINGS.read_text()


def test_reports_are_written_where_the_split_is_refused():
    """The summary says passed=false, and every sample has a line in the table."""
    torn_groups()
    with pytest.raises(DataRefused, match=r"findings\.csv"):
        run_gate()
    summary = json.loads(paths.LEAKS_SUMMARY.read_text())
    assert summary["passed"] is False
    with paths.LEAKS_FINDINGS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert summary["findings"][0]["samples"] == len(rows)
    assert {"group-overlap"} == {row["finding"] for row in rows}


def test_a_finding_that_is_signed_off_passes_and_its_reason_is_recorded():
    """The text of the refusal is the key: its id with a bound and a reason lets the split through."""
    torn_groups()
    summary = run_gate(accepted={"group-overlap": SignOff(PERSONS, 400)})
    assert summary["passed"] is True
    assert [(True, PERSONS, 400)] == [
        (entry["accepted"], entry["reason"], entry["up_to"]) for entry in summary["findings"]
    ]


def test_the_refusal_prints_the_line_that_signs_off():
    """The line under `accepted:` is YAML of the section; with it, as it stands, the same data passes."""
    torn_groups()
    with pytest.raises(DataRefused) as error:
        run_gate()
    printed = str(error.value).split("it is recorded:\n", 1)[1].replace("reason: ...", f"reason: {PERSONS}")
    (entry,) = msgspec.yaml.decode(printed, type=dict[str, tuple[AcceptedFinding, ...]])["accepted"]
    assert entry.up_to == len(list(csv.DictReader(paths.LEAKS_FINDINGS.read_text().splitlines())))
    assert run_gate(accepted={entry.finding: SignOff(entry.reason, entry.up_to)})["passed"] is True


def test_a_finding_that_outgrew_its_signature_is_refused():
    """Signed off for 20 samples, found in some hundreds: both numbers are told, and the new line to paste."""
    torn_groups()
    with pytest.raises(DataRefused, match=r"signed off up to 20, and goes as far as \d{3} now") as error:
        run_gate(accepted={"group-overlap": SignOff(PERSONS, 20)})
    count = json.loads(paths.LEAKS_SUMMARY.read_text())["findings"][0]["extent"]
    assert f"- {{finding: 'group-overlap', up_to: {count}, reason: ...}}" in str(error.value)
    assert {"no"} == {
        row["accepted"] for row in csv.DictReader(paths.LEAKS_FINDINGS.read_text().splitlines())
    }


def test_a_score_is_signed_off_up_to_a_score():
    """A column with AUC 0.99 or so may not come to know the class altogether."""
    labels = two_classes(400)
    rng = np.random.default_rng(0)
    price = [rng.normal(4.0 if label == "hat" else 0.0) for label in labels]
    write_texts(labels=labels, side={"price": price})
    run_split()
    with pytest.raises(DataRefused, match=r"'column:price', up_to: 0\.9\d+, reason"):
        run_gate()
    signed = {"column:price": SignOff("known at the counter", 0.9999)}
    (entry,) = run_gate(accepted=signed)["findings"]
    assert 0.98 < entry["extent"] < 0.9999
    write_texts(labels=labels, side={"price": [1.0 if label == "hat" else 0.0 for label in labels]})
    with pytest.raises(DataRefused, match=r"signed off up to 0.9999, and goes as far as 1 now"):
        run_gate(accepted=signed)


def test_only_what_is_signed_off_passes():
    """Another finding in the same data is still refused, and what is signed off is not told again."""
    labels = ["hat", "shoe"] * 200
    write_texts(
        labels=labels,
        groups=[f"person {number // 10}" for number in range(400)],
        side={"label": labels},
    )
    run_split()
    with pytest.raises(DataRefused, match="1 findings") as error:
        run_gate(accepted={"group-overlap": SignOff(PERSONS, 400)})
    assert "column:label" in str(error.value)
    assert "group-overlap" not in str(error.value)


def test_a_signature_without_a_finding_is_told():
    """What is signed off and does not occur is named; of what is fitted later, nothing is known here yet."""
    write_texts()
    run_split()
    gone = SignOff("no longer there", 1)
    assert ["column:gone"] == run_gate(
        accepted={"column:gone": gone, "fitted:series": gone, "selected:text.bag": gone}
    )["accepted_without_finding"]


def test_a_second_run_writes_the_same_bytes():
    """Summary and table follow from the data alone."""
    torn_groups()
    accepted = {"group-overlap": SignOff(PERSONS, 400)}
    run_gate(accepted=accepted)
    first = paths.LEAKS_SUMMARY.read_bytes(), paths.LEAKS_FINDINGS.read_bytes()
    run_gate(accepted=accepted)
    assert first == (paths.LEAKS_SUMMARY.read_bytes(), paths.LEAKS_FINDINGS.read_bytes())


def test_a_message_names_ten_samples_and_counts_the_others():
    """Thirteen samples: ten names and three more."""
    finding = Finding("x", "L2", "wrong.", "Mend it.", tuple(f"s{number}" for number in range(13)))
    assert "Samples: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 3 more." in leak_refusal(
        [finding], {}, "t.csv"
    )


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        (paths.SPLIT_PARQUET, "split"),
        (paths.PAYLOAD_NPY, "ingest"),
        (paths.DUPLICATES_PARQUET, "validate"),
    ],
)
def test_a_missing_file_says_which_stage_makes_it(path, stage):
    """Each message names its stage."""
    write_texts()
    run_split()
    path.unlink()
    with pytest.raises(InputMissing, match=f"dvc repro {stage}"):
        run_gate()


def test_a_split_of_other_data_is_refused():
    """A table of 400 samples beside a split of 300 is not compared in silence."""
    write_texts(300)
    run_split()
    write_texts(400)
    with pytest.raises(InputMissing, match="not of the same data"):
        run_gate()


def test_the_stage_starts_lean():
    """Looking for leaks imports neither TensorFlow nor scikit-learn, matplotlib or Great Expectations."""
    heavy = "{'great_expectations', 'pandas', 'sklearn', 'matplotlib', 'tensorflow', 'mlflow', 'keras'}"
    code = f"import sys, pipeline.stages.leaks; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.__file__.rsplit("/pipeline/")[0],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_what_signs_a_finding_off_can_be_pasted_into_params_yaml():
    """In place of the line that it names; with `leaks:` above it the file had a key twice."""
    finding = Finding("near-neighbours", "L1.4", "Six images lie near others.", "Remove them.", score=0.0504)
    message = leak_refusal([finding], {}, "findings.csv")
    said, _, lines = message.partition(
        "in place of `accepted: []`, in ten characters or more, and it is recorded:\n"
    )
    assert "below `leaks:` in params.yaml" in said
    text = (Path(__file__).parents[2] / "examples/clothing.yaml").read_text(encoding="utf-8")
    pasted = re.sub(r"(?m)^  accepted: \[\].*$", lambda _: lines.replace("...", "all of one shop"), text)
    (signed,) = params_of(pasted).leaks.accepted
    assert ("near-neighbours", 0.0504, "all of one shop") == (signed.finding, signed.up_to, signed.reason)
    assert "behind the others" in leak_refusal(
        [finding], {"group-overlap": SignOff("one", 1.0)}, "findings.csv"
    )
