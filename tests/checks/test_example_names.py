"""`pipeline.checks.example_names`: other data never takes the name of an example's model."""

from pathlib import Path

import msgspec
import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.checks.example_names import OF_MODELS, other_data_than
from pipeline.fetching.source import Source
from pipeline.params.load import load_params

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def source(kind, count, **facts):
    location = "bundled" if kind == "digits" else {"path": "somewhere"}
    content = {
        "kind": kind, "location": location, "sha256": "0" * 64, "bytes": 1, "files": 1, "count": count,
        "facts": facts,
    }  # fmt: skip
    return msgspec.convert(content, Source)


def test_every_example_has_its_entry():
    """Names in the files and in the table are the same."""
    files = [*EXAMPLES.glob("*.yaml"), *(EXAMPLES / "quick").glob("*.yaml")]
    assert {load_params(file).register.model_name for file in files} == set(OF_MODELS)


SPAM = source("text_table", 5574, classes={"ham": 4827, "spam": 747})
OTHERS = {
    "other mails": source("text_table", 33_716, classes={"ham": 16_545, "spam": 17_171}),
    "other classes": source("text_table", 5574, classes={"yes": 4827, "no": 747}),
    "another kind": source("text_lines", 5574, classes={"ham": 4827, "spam": 747}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_data_under_an_examples_name_is_refused(name):
    """With what differs, and the setting to change; the example's own data passes."""
    params = load_params(EXAMPLES / "sms-spam.yaml")
    (problem,) = [text for text in contradictions(params, OTHERS[name]) if "register.model_name" in text]
    assert "register.model_name=sms-spam is the name of an example's model" in problem
    assert "Set register.model_name" in problem
    assert not [text for text in contradictions(params, SPAM) if "register.model_name" in text]


@pytest.mark.parametrize("name", sorted(set(OF_MODELS) - {"ucr-series"}))
def test_no_name_takes_a_series_of_another_kind(name):
    """Two unknown channels, or 77 of them, are nobody's example."""
    assert other_data_than(name, source("series_archive", 77, channels=["a", "b"]))
    assert not other_data_than(f"own-{name}", source("series_archive", 77, channels=["a", "b"]))
