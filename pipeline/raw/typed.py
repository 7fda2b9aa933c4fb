"""How a list of `--set NAME=VALUE` is typed; `as_typed` in `pipeline/formats/problems.py` writes one.

The elements of a list stand between commas, as fields of a CSV do: one that holds a comma, or blanks at its ends,
stands in double quotes, which are doubled inside it: `side="a,b",c`. Elements that are empty do not count.
"""

import re

from pipeline.runtime.errors import WronglyCalled

ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^",][^,]*)?)(,|\Z)')


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
