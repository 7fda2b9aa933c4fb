"""Parameters are read as DVC reads them, and every problem is told at once."""

import re
import shlex
import subprocess

import pytest
from dvc.utils.serialize import load_yaml

from pipeline.params.load import load_params
from pipeline.params.values import Params
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.strict_yaml import convert, read_yaml, value_at
from tests.conftest import ROOT


@pytest.fixture
def project(project_without_code):
    """What is read here is no code."""
    return project_without_code


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["1e-3", "no", "on", "0o17", "1_000", "~", "2026-01-01", "0x10", ".5", "'7'"]
)
def test_a_value_means_the_same_to_us_and_to_dvc(tmp_path, text):
    """Whatever stands in params.yaml, DVC's own reader gives the same value."""
    path = write(tmp_path / "params.yaml", f"key: {text}\n")
    assert load_yaml(str(path)) == read_yaml(path)


def test_an_exponent_is_a_number_and_no_is_a_word(tmp_path):
    """PyYAML reads `1e-3` as text and `no` as False; DVC does not, and neither do we."""
    path = write(tmp_path / "params.yaml", "rate: 1e-3\nanswer: no\n")
    assert read_yaml(path) == {"rate": 0.001, "answer": "no"}


def test_a_duplicate_key_is_refused(tmp_path):
    """The second of two equal keys never wins silently."""
    path = write(tmp_path / "params.yaml", "seed: 1\nseed: 2\n")
    with pytest.raises(ParamsError, match="twice"):
        read_yaml(path)


def test_an_alias_is_refused_with_its_line(tmp_path):
    """Two keys that share one value by alias are refused."""
    path = write(tmp_path / "params.yaml", "a: &x {b: 1}\nc: *x\n")
    with pytest.raises(ParamsError, match=r"\*x at line 2"):
        read_yaml(path)


def test_broken_yaml_is_a_message(tmp_path):
    """A syntax error is a parameter problem that names the file, not a crash."""
    path = write(tmp_path / "params.yaml", "a: [1, 2\n")
    with pytest.raises(ParamsError, match="not valid YAML"):
        read_yaml(path)


def test_all_problems_are_reported_at_once(tmp_path, project):
    """Four mistakes in four places give four messages in one run."""
    text = (project / "params.yaml").read_text()
    text = text.replace("seed: 7 ", "sede: 7 ").replace("val_share: 0.15", "val_share: 1.5")
    text = text.replace("optimizer: adam ", "optimizer: adamm ").replace("family: rnn", "family: rn")
    path = write(project / "params.yaml", text)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    message = str(caught.value)
    assert "sede is not a parameter. Did you mean seed?" in message
    assert "split.val_share is not usable" in message
    assert "training.optimizer is not usable. Expected one of 'adam', 'adamw', 'sgd'." in message
    assert "candidates.rnn.family must be one of" in message
    assert "Did you mean rnn?" in message


def test_an_override_is_named_by_the_key_the_user_typed(project):
    """A wrong key below candidates.cnn.training is reported at that place."""
    path = project / "params.yaml"
    path.write_text(
        path.read_text().replace(
            "    training:\n      augment:", "    training:\n      epoch: 3\n      augment:", 1
        )
    )
    with pytest.raises(ParamsError, match=r"candidates\.cnn\.training\.epoch .*Did you mean"):
        load_params(path)


def test_a_wrong_type_is_never_converted(project):
    """The text "60" is not the number 60."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  epochs: 60 ", "  epochs: '60' ", 1))
    with pytest.raises(ParamsError, match=r"training\.epochs is not usable"):
        load_params(path)


def test_parameters_cannot_be_changed_afterwards(project):
    """The object a stage gets is frozen."""
    params = load_params(project / "params.yaml")
    with pytest.raises(AttributeError):
        params.seed = 3


def test_every_key_of_params_yaml_has_a_comment(project):
    """A reader finds meaning and allowed values on the line of each key that holds a value."""
    silent = []
    lines = (project / "params.yaml").read_text().splitlines()
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and not line.lstrip().startswith("#") and "#" not in line and value.strip(" {}"):
            silent.append(key.strip())
    explained = {key.split("#")[0].partition(":")[0].strip() for key in lines if "#" in key}
    assert [
        key for key in silent if key not in explained and not key.startswith(("training.", "model."))
    ] == []


def test_the_whole_file_is_one_struct(project):
    """params.yaml as shipped converts without a problem."""
    assert convert(read_yaml(project / "params.yaml"), Params, "params.yaml") == load_params()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "image_size: null ",
            "image_size: 32 ",
            "Expected [a whole number >= 1, a whole number >= 1] or null.",
        ),
        ("model_name: digits ", "model_name: my shapes ", "Expected a text of the form"),
        ("bidirectional: true ", "bidirectional: 3 ", "Expected true or false."),
    ],
)
def test_a_message_says_what_may_stand_there_in_words(project, old, new, expected):
    """No type of a library, no bare regular expression."""
    path = project / "params.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert expected in str(caught.value)


def test_a_value_is_found_by_its_dotted_key():
    """As DVC names parameters; a name inside a value that is no block is not there."""
    content = {"training": {"epochs": 3, "stop": None}}
    assert value_at(content, "training.epochs") == 3
    assert value_at(content, "training.stop", "none") is None
    assert value_at(content, "training.epochs.x", "none") == "none"
    with pytest.raises(KeyError, match=r"training\.rate"):
        value_at(content, "training.rate")


def test_a_section_that_a_newer_version_asks_for_is_shown_by_the_command_of_the_message(project):
    """Whoever upgrades a clone lacks it, and where it stands with its comments is no guess."""
    path = project / "params.yaml"
    before, _, after = path.read_text().partition("\nselect:")
    path.write_text(before + "\n" + after[after.index("\nevaluate:") :])
    with pytest.raises(ParamsError) as refused:
        load_params(path)
    (problem,) = refused.value.problems
    assert problem.startswith(
        "params.yaml: select is missing. Expected a block of parameters. Add it; git grep "
    )
    command = shlex.split(re.search(r"git grep .*(?= shows one)", problem)[0])
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "examples/sms-spam.yaml:select:" in shown
    assert re.search(r"folds: \d+ +#", shown)
