"""What docs/dependencies.tsv and docs/guides/security.md say of the packages is so; nothing is asked of a network."""

import re

import pytest

from tests.helpers import dependency_table
from tests.helpers.dependency_table import ROOT, licence, locked, rows, stale

TABLE = {row["package"]: row for row in rows()}
PAGE = (ROOT / "docs/guides/security.md").read_text(encoding="utf-8")
ASKS_MORE = re.compile(r"GPL|EPL|SSPL|BUSL|proprietary|commercial", re.IGNORECASE)


def named_under(heading: str) -> set[str]:
    """Return what stands in backquotes in the paragraph and table after a bold heading."""
    part = PAGE.partition(f"**{heading}")[2].partition("\n**")[0]
    return set(re.findall(r"`([a-z0-9-]+)`", part))


def test_every_locked_package_has_its_row():
    """One row each, none too many; the lock is what `make setup` installs."""
    assert len(rows()) == len(TABLE)
    assert set(locked()) == set(TABLE)


def test_licences_are_those_that_the_packages_state():
    """Where a package is installed its own metadata decide; most are. Two locked versions may say it in two ways."""
    found = {name: licence(name) for name in TABLE}
    installed = {name: told for name, told in found.items() if told is not None}
    assert len(installed) > 0.95 * len(TABLE)
    other = {name: told for name, told in installed.items() if told not in TABLE[name]["licence"].split("; ")}
    assert {} == other


def test_licences_that_ask_more_are_told():
    """Whoever hands Millrace on reads of each of them."""
    assert {name for name, row in TABLE.items() if ASKS_MORE.search(row["licence"])} == named_under(
        "Licences"
    )


def test_packages_without_a_release_for_two_years_are_told():
    """Each stands on the page with the reason why that is bearable."""
    left = {name for name, row in TABLE.items() if stale(row["newest_release"])}
    assert left == named_under("No release for two years")


def test_what_parses_strangers_bytes_is_told():
    """With what is looked at before it."""
    assert {name for name, row in TABLE.items() if row["reads"]} == named_under(
        "They parse what strangers wrote"
    )


@pytest.mark.parametrize(("month", "expected"), [("2024-10", True), ("2024-11", False), ("2026-10", False)])
def test_two_years_are_counted_from_when_the_table_was_made(month, expected):
    """A month is in the table or not, whatever day it is today."""
    assert dependency_table.AS_OF == "2026-11"
    assert stale(month) is expected


def test_every_file_that_the_threat_model_names_exists():
    """A check that moved is still found."""
    paths = re.findall(r"`((?:pipeline|tests|docs)/[^`]+)`", PAGE)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
