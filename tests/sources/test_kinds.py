"""Every kind of source keeps the agreement, and its options survive the command line and data/source.json."""

import inspect
import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from pipeline.fetching.source import KINDS, Kind, Payload
from pipeline.runtime.errors import WronglyCalled
from pipeline.sources.kinds import options_of, plain_options, source_of, stated_options

FOLDER = Path(__file__).resolve().parents[2] / "pipeline/sources"


def test_every_kind_of_a_source_file_has_a_reader():
    """And no reader is there that data/source.json could not name."""
    readers = {path.stem for path in FOLDER.glob("*.py") if "\ndef select(" in path.read_text()}
    assert readers == set(KINDS) == set(get_args(Kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_keeps_the_agreement(kind):
    """A layout in words, a payload, frozen options that are all optional, and functions of one signature."""
    module = source_of(kind)
    assert module.__doc__
    assert module.LAYOUT
    assert KINDS[kind] in get_args(Payload)
    assert module.Options() == module.Options()
    assert module.Options.__struct_config__.frozen
    assert module.Options.__struct_config__.forbid_unknown_fields
    for name, parameters in {
        "select": ["names", "options"],
        "describe": ["archive", "options"],
        "read": ["archive", "options"],
    }.items():
        assert list(inspect.signature(getattr(module, name)).parameters) == parameters


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_not_written_down(kind):
    """data/source.json says only what somebody said."""
    assert stated_options(kind, []) == {}
    assert plain_options(kind, msgspec.to_builtins(source_of(kind).Options())) == {}


@pytest.mark.parametrize(
    ("kind", "stated", "options"),
    [
        ("text_table", ["text=message", "label=class"], {"text": "message", "label": "class"}),
        ("text_table", ["label=1", "text=2", "header=false"], {"label": "1", "text": "2", "header": False}),
        ("text_table", ["label=y", "side=a, b,"], {"label": "y", "side": ["a", "b"]}),
        ("text_table", ["label=true"], {"label": "true"}),
        ("text_table", ["label=a=b"], {"label": "a=b"}),
        ("text_table", ["text=text", "label=y"], {"label": "y"}),
        ("series_table", ["time=date", "drop=x"], {"time": "date", "drop": ["x"]}),
    ],
)
def test_what_was_typed_gets_its_type(kind, stated, options):
    """Lists at commas, true and false where a choice is one, and everything else as it stands."""
    assert options == stated_options(kind, stated)
    read_back = json.loads(json.dumps(options))
    assert options_of(kind, read_back) == options_of(kind, options)
    assert plain_options(kind, read_back) == options


def test_all_wrong_options_are_named_at_once():
    """An unknown name, a missing value, a name twice, a wrong choice and a wrong truth, with what is possible."""
    with pytest.raises(WronglyCalled) as error:
        stated_options("text_table", ["colour=red", "text", "label=a", "label=b", "quoting=odd", "header=ja"])
    lines = str(error.value).split("\n")
    assert len(lines) == 5
    assert "--set text has no value" in lines[0]
    assert "--set label is there twice" in lines[1]
    assert "option colour is unknown. Expected one of kind text_table: text, label, target" in lines[2]
    assert "Expected auto, minimal, none. Received: quoting=odd" in lines[3]
    assert "header" in lines[4]


def test_a_kind_without_options_of_its_own_has_those_of_every_kind():
    """Spellings may be joined in any source."""
    assert stated_options("idx", ["join_labels=true"]) == {"join_labels": True}
    with pytest.raises(WronglyCalled, match="Expected one of kind idx: join_labels"):
        stated_options("idx", ["a=b"])


def test_options_of_another_version_are_refused():
    """A name in data/source.json that the kind does not know is not passed over."""
    with pytest.raises(WronglyCalled, match="option colour is unknown"):
        options_of("text_table", {"colour": "red"})
