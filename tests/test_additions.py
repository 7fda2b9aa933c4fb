"""A source, a family and a metric are added by their own file, their row and their test, and everything knows them.

Each is added to a scratch copy of the project by exactly the edits that CONTRIBUTING.md names.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("pipeline", "tests", "examples", "pyproject.toml", "dvc.yaml", "data/source.json", "retrain.yaml")

SOURCE = '''"""Diaries: one .md file per class, one text per line."""

LAYOUT = "one .md file per class, one text per line"

from pipeline.raw.sample import NO_OPTIONS, NoOptions as Options, RawSample


def select(names, options=NO_OPTIONS):
    return {name: name for name in names if name.endswith(".md")}


def describe(archive, options=NO_OPTIONS):
    return []


def read(archive, options=NO_OPTIONS):
    for member in sorted(archive.getnames()):
        for number, line in enumerate(archive.extractfile(member)):
            yield RawSample(f"{member}/{number:06d}", member.removesuffix(".md"), text=line.decode().strip())
'''
FAMILY = '''"""Family `probe_family`: one hidden layer on everything at once."""

from keras import layers

from pipeline.models.layers.heads import answer
from pipeline.models.layers.inputs import begin, joined


def build(input_spec, output_spec, *, units=5):
    start = begin(input_spec, ("image", "bag"), embedding_units=units)
    flat = layers.Flatten(name="flatten")(start.hidden)
    hidden = layers.Dense(units, activation="tanh", name="hidden")(flat)
    return answer("probe_family", start, joined(hidden, start), output_spec, l2=0.0)
'''
FAMILY_SETTINGS = '''class ProbeFamily(_Settings, frozen=True, kw_only=True):
    """Settings of family `probe_family`."""

    units: Count


'''
METRIC = '''

@metric_of("classification")
def zero_one_loss(y_true, y_pred, sample_weight=None):
    """Return the share of examples whose most probable class is not the true one."""
    return 1 - accuracy_score(y_true, y_pred, sample_weight)
'''
# File to (what stands there, what is put before it); None appends.
EDITS: dict[str, tuple[str, str] | None] = {
    # source: its file, its row; its test is written by whoever writes the file
    "pipeline/sources/probe_source.py": None,
    "pipeline/fetching/source.py": ('    "series_archive": "series",\n', '    "probe_source": "text",\n'),
    # family: its file, its settings and row, a row of the contract test
    "pipeline/models/probe_family.py": None,
    "pipeline/params/families.py": ("class Family(NamedTuple):", FAMILY_SETTINGS),
    "tests/models/test_families.py": (
        '    "linear": ("linear", {}, 64 * 3 + 3),\n',
        '    "probe_family": ("probe_family", {"units": 5}, 64 * 5 + 5 + 5 * 3 + 3),\n',
    ),
    # metric: its function, its second opinion
    "pipeline/metrics/classification.py": None,
    "tests/metrics/test_classification.py": (
        '            "accuracy": reference.accuracy_score,\n',
        '            "zero_one_loss": reference.zero_one_loss,\n',
    ),
}
CREATED = {
    "pipeline/sources/probe_source.py": SOURCE,
    "pipeline/models/probe_family.py": FAMILY,
    "pipeline/metrics/classification.py": METRIC,
}
FAMILY_ROW = (
    '    "linear": Family(',
    '    "probe_family": Family(ProbeFamily, (QUESTIONS[0], ("text", "classification", False)), text="bag"),\n',
)
CANDIDATE = """  small:
    family: probe_family
    model: {units: 8}
    training: {}
    tune: {}
"""
REPORT = """
import json, numpy as np
from pipeline.evaluation.measures import ClassMeasures
from pipeline.metrics.intervals import metric_intervals
from pipeline.metrics.names import primary_called
y_true = np.arange(40) % 2
y_pred = np.where((np.arange(40) % 10 == 0)[:, None], 0.5 + np.eye(2)[1 - y_true] / 4, 0.5 + np.eye(2)[y_true] / 4)
y_pred /= y_pred.sum(axis=1, keepdims=True)
metrics = ClassMeasures(y_true, ("a", "b"), 1, 15).metrics({})
found = metric_intervals(metrics, y_true, y_pred, resamples=200, confidence=0.95, seed=0)
print(json.dumps(found["zero_one_loss"].rounded() | {"higher": primary_called("zero_one_loss").higher_is_better}))
"""


def before(path: Path, place: str, text: str) -> None:
    """Put a text before a place that is there once."""
    content = path.read_text()
    assert content.count(place) == 1, place
    path.write_text(content.replace(place, text + place))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the project that knows one more source, family and metric, with notes beside it."""
    root = tmp_path_factory.mktemp("scratch")
    for part in PARTS:
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, root / part)
    for name, edit in EDITS.items():
        if edit is None:
            with (root / name).open("a") as file:
                file.write(CREATED[name])
        else:
            before(root / name, *edit)
    before(root / "pipeline/params/families.py", *FAMILY_ROW)
    (root / "params.yaml").write_text(params_with(""))
    (root / "notes").mkdir()
    for label in ("bad", "good"):
        lines = (f"a {label} day, number {number}\n" for number in range(150))
        (root / "notes" / f"{label}.md").write_text("".join(lines))
    return root


def params_with(floors: str) -> str:
    """Return parameters for texts with the new family and metric."""
    text = (ROOT / "examples/sms-spam.yaml").read_text()
    for old, new in {
        "\ncandidates:": "\ncandidates:\n" + CANDIDATE + "#",
        "select_by: positive_f1": "select_by: zero_one_loss",
        "positive_class: spam": "positive_class: bad",
        "model_name: sms-spam ": "model_name: days ",
        "floors: null": f"floors: {floors or '{zero_one_loss: 0.2}'}",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def run(root: Path, *command: str, code: int = 0) -> str:
    """Return what a Python program of the scratch copy says."""
    import os

    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_new_source_is_read_and_a_new_family_and_metric_pass_the_check(scratch):
    """From `millrace init` over check and fetch to ingest, without another file knowing the kind."""
    said = run(scratch, "-m", "pipeline.cli", "init", "--kind", "probe_source", "--path", "notes")
    assert "probe_source: 300 samples (text) of 2 classes" in said
    assert "no problem found" in run(scratch, "-m", "pipeline.stages.check")
    run(scratch, "-m", "pipeline.stages.fetch")
    assert "kept 300 of 300 samples" in run(scratch, "-m", "pipeline.stages.ingest")
    (scratch / "params.yaml").write_text(params_with("{zero_one_loss: -1.0}"))
    refused = run(scratch, "-m", "pipeline.stages.check", code=78)
    assert "register.floors.zero_one_loss=-1.0 can never" in refused


def test_a_new_metric_is_reported_with_its_interval(scratch):
    """Four of forty answers are wrong."""
    found = json.loads(run(scratch, "-c", REPORT))
    assert (0.1, False) == (found["value"], found["higher"])
    assert found["low"] < 0.1 < found["high"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("tests", "chosen", "passed"),
    [
        ("tests/sources/test_kinds.py", "probe_source", "2 passed"),
        ("tests/metrics/test_classification.py", "zero_one_loss", "22 passed"),
        ("tests/models/test_families.py", "probe_family", "6 passed"),
    ],
)
def test_the_contract_tests_walk_over_what_is_new(scratch, tests, chosen, passed):
    """A row more, and no new test function."""
    command = (
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        tests,
        "-k",
        chosen,
    )
    assert passed in run(scratch, *command)


def test_these_are_the_files_that_contributing_names():
    """What is touched here is what the table there says."""
    table = (ROOT / "CONTRIBUTING.md").read_text()
    for name in EDITS:
        general = name.replace("probe_source", "<kind>").replace("probe_family", "<family>")
        assert f"`{general}`" in table, general
