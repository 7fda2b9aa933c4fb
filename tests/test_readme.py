"""What README.md says exists."""

import re

from tests.readme_tree import ROOT, tree


def test_the_file_tree_is_the_projects():
    """Every file stands in README.md with its first docstring line (`python -m tests.readme_tree` renews it)."""
    assert "\n".join(tree()) in (ROOT / "README.md").read_text()


def test_every_file_that_readme_names_exists():
    """Paths in backquotes and links lead somewhere."""
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:pipeline|docs|examples|tests|benchmarks)/[^`<>* ]+)`", text) + re.findall(
        r"\]\((docs/[^)]+|[A-Z]+\.md)\)", text
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_readme_commands_are_those_of_the_makefile():
    """Each `make` target that README.md names exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|  )make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named - targets == set()
