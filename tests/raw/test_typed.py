"""Lists of options are typed by one rule, and every name of a column can be in one."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetching.source import KINDS
from pipeline.formats.problems import as_typed, in_a_shell
from pipeline.raw.typed import listed
from pipeline.runtime.errors import WronglyCalled
from pipeline.sources.kinds import source_of, stated_options
from pipeline.sources.meanings import meanings
from tests.helpers.read_source import read_source

LISTS = [(kind, option.name) for kind in KINDS for option in meanings(kind) if '"a,b"' in option.values]


@pytest.mark.parametrize(
    ("typed", "elements"),
    [
        ('"a,b",c', ["a,b", "c"]),
        ("a, b,", ["a", "b"]),
        ('"a ""b""",c', ['a "b"', "c"]),
        ('" a " , b', [" a ", "b"]),
        ('6" pipe,x', ['6" pipe', "x"]),
        ("", []),
        (",,", []),
        ('"a\nb"', ["a\nb"]),
    ],
)
def test_elements_stand_between_commas_or_in_quotes(typed, elements):
    """As fields of a CSV."""
    assert elements == listed(typed)


@pytest.mark.parametrize("typed", ['"a', '"a"b', 'x,"a', '"a""'])
def test_a_quote_that_is_not_closed_is_refused(typed):
    """By every kind, with the rule."""
    with pytest.raises(WronglyCalled, match="double quotes around a whole one"):
        listed(typed)
    with pytest.raises(WronglyCalled, match="double quotes around a whole one"):
        stated_options("text_table", [f"side={typed}"])


@given(st.lists(st.text(min_size=1)))
def test_every_list_can_be_typed(elements):
    """Also in a shell."""
    assert elements == listed(as_typed(elements))
    assert [f"side={as_typed(elements)}"] == shlex.split(f"side={in_a_shell(as_typed(elements))}")


def test_there_are_lists_in_most_kinds():
    """Or the next test would try nothing."""
    assert {"text_table", "image_table", "series_table", "series_rows", "series_files"} <= {
        kind for kind, _ in LISTS
    }
    every = {
        (kind, option.name)
        for kind in KINDS
        for option in meanings(kind)
        if "comma-separated" in option.values
    }
    assert every - set(LISTS) == {("image_arrays", "range")}  # of numbers


@pytest.mark.parametrize(("kind", "name"), LISTS)
def test_every_list_option_of_every_kind_takes_an_element_with_a_comma(kind, name):
    """And its meaning says how."""
    assert {name: ["a,b", "c"]} == stated_options(kind, [f'{name}="a,b",c'])
    (option,) = (option for option in meanings(kind) if option.name == name)
    assert '"a,b"' in option.values


def test_a_column_whose_name_holds_a_comma_is_read():
    """From what is typed to the sample."""
    options = stated_options("text_table", ["label=label", 'side="a,b",c'])
    content = b'text,label,"a,b",c\nx,u,1,2\ny,v,3,4\n'
    first, _ = read_source(source_of("text_table"), {"a.csv": content}, **options)
    assert {"a,b": 1.0, "c": 2.0} == first.side
