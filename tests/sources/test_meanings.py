"""What `millrace init --options KIND` prints."""

import pytest

from pipeline.fetching.source import KINDS
from pipeline.formats.tables import TableOptions
from pipeline.sources.kinds import CommonOptions
from pipeline.sources.meanings import meanings
from pipeline.sources.text_table import Options


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_every_kind_has_a_meaning(kind):
    """A new option without a text below it would be one that nobody finds."""
    found = meanings(kind)
    assert {"ignore", "join_labels"} <= {option.name for option in found}
    assert [] == [option.name for option in found if not option.text or not option.values]


def test_meaning_values_and_default_are_those_of_the_code():
    """Read from the class itself, so that a new kind needs nothing extra."""
    found = {option.name: option for option in meanings("text_table")}
    names = [*Options.__annotations__, *TableOptions.__struct_fields__, *CommonOptions.__struct_fields__]
    assert names == list(found)
    assert ("a text", "text", "Column of texts.") == found["text"][1:]
    assert ("true or false", "true") == found["header"][1:3]
    assert "auto, csv, tsv, jsonl, parquet" in found["format"].values
    assert ('a comma-separated list, what holds a comma in double quotes: "a,b",c', "") == found["side"][1:3]
