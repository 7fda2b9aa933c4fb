"""How `--set NAME=VALUE` is typed: lists by one rule, and values that a shell takes as they are.

The elements of a list stand between commas, as fields of a CSV do: one that holds a comma, or blanks at its ends,
stands in double quotes, which are doubled inside it: `side="a,b",c`. Elements that are empty do not count.
"""

import re
import shlex
from collections.abc import Iterable

from pipeline.runtime.errors import WronglyCalled

ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^",][^,]*)?)(,|\Z)')
NEEDS_QUOTES = re.compile(r'\A["\s]|[,\n]|\s\Z')
OF_A_SHELL = re.compile(r"""[\s'"\\$`;&|<>()!~]|\A#""")


def listed(typed: str) -> list[str]:
    """Return the elements of a list as it was typed.

    Raises:
        WronglyCalled: A quote is not closed, or stands beside something that it does not enclose.
    """
    found: list[str] = []
    place = 0
    while True:
        match = ELEMENT.match(typed, place)
        if match is None:
            raise WronglyCalled(
                f"the list {typed!r} cannot be read. Expected elements between commas, and double quotes around a "
                f'whole one that holds a comma: "a,b",c. Received: {typed[place : place + 30]!r}. Close the quote, or '
                "double it inside quotes."
            )
        quoted, plain, end = match.groups()
        element = (plain or "").strip() if quoted is None else quoted.replace('""', '"')
        found += [element] if element else []
        place = match.end()
        if not end:
            return found


def as_typed(elements: Iterable[str]) -> str:
    """Return a list as `listed` reads it."""
    return ",".join(
        '"' + element.replace('"', '""') + '"' if NEEDS_QUOTES.search(element) else element
        for element in elements
    )


def in_a_shell(value: str) -> str:
    """Return a value for a command that somebody copies, in quotes only where a shell would read something into it."""
    return shlex.quote(value) if OF_A_SHELL.search(value) else value
