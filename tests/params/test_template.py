"""A params.yaml is changed line by line."""

from pathlib import Path

import pytest

from pipeline.params.template import Template, as_yaml
from pipeline.runtime.strict_yaml import value_at, yaml_content

TEXT = """# head
# more

a: 1       # one
block:
  inner: [1, 2]  # two
  deeper:        # three
    x: {k: 1}
  last: null     # four # still

other: "a # b"   # five
"""


def test_values_change_and_comments_stay_where_they_are():
    """Also behind a block that becomes one line, and at a text with a number sign."""
    template = Template(TEXT)
    template.set("a", 25)
    template.set("block.deeper", None)
    template.set("other", "no # comment")
    template.set("block.new", [True, "x y"])
    expected = """# head
# more

a: 25      # one
block:
  inner: [1, 2]  # two
  deeper: null   # three
  last: null     # four # still
  new: [true, "x y"]

other: "no # comment" # five
"""
    assert expected == template.text


def test_blocks_are_taken_out_whole():
    """And what is not there is left out twice."""
    template = Template(TEXT)
    template.remove("block.deeper")
    template.remove("block.deeper")
    template.head(["new", ""])
    assert "three" not in template.text
    assert "x:" not in template.text
    assert template.text.startswith("# new\n#\n\na: 1")


@pytest.mark.parametrize("value", ["yes", "null", "01", "1.0", "ham", "a: b", "# x", "ä", "😀", "", " x", "it's", 'q"q', 1.5, None, True, {"a": [1]}])  # fmt: skip
def test_what_is_written_is_read_again_as_it_was(value):
    """Names of classes are texts, whatever they look like."""
    assert value == yaml_content(f"k: {as_yaml(value)}\n", "test")["k"]


@pytest.mark.parametrize(
    "path", sorted([*Path("examples").glob("*.yaml"), *Path("examples/quick").glob("*.yaml")]), ids=str
)
def test_every_value_of_every_example_can_be_set(path):
    """A value set to itself changes no other, whatever stands around it."""
    text = path.read_text()
    content = yaml_content(text, str(path))
    template = Template(text)
    for section, block in content.items():
        for key, value in block.items() if isinstance(block, dict) and section != "candidates" else ():
            template.set(f"{section}.{key}", value)
    assert content == yaml_content(template.text, str(path))
    template.set("register.model_name", "another")
    assert "another" == value_at(yaml_content(template.text, str(path)), "register.model_name")
