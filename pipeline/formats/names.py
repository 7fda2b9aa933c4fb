"""When two names are one to every reader: the rule for classes, groups and categories of every source.

`Größe` from a Mac and `Größe` from Windows, `ok` and `OK`, `01` and `1.0`: models, splits and gates would take each
spelling for a class of its own.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
TRUTHS = {"true": "1", "false": "0"}
"""As spreadsheets write them beside 1 and 0."""
VARIATIONS = range(0xFE00, 0xFE10)
"""Variation selectors: the same heart, drawn in black or in red."""


def class_key(name: str) -> str:
    """Return what two names have in common that are one to every reader.

    Unicode's composed form (NFC) without full-width signs, without signs that nobody sees, with single blanks, in
    lower case; a number in its shortest form: `01`, `1.0` and `1` are one.
    """
    for _, step in STEPS:
        name = step(name)
    return name


def twins(names: Iterable[str]) -> list[list[str]]:
    """Return the names that are one to every reader, sorted, two or more of each."""
    return [group for group in by_key(names).values() if len(group) > 1]


def by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """Return different names by what they have in common, sorted."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        spellings.setdefault(class_key(name), []).append(name)
    return spellings


def difference(names: Iterable[str]) -> str:
    """Return in words how spellings of one name differ: `Unicode form`, `blanks, upper and lower case`."""
    keys = list(names)
    found = []
    for what, step in STEPS:
        after = [step(key) for key in keys]
        changed = {old != new for old, new in zip(keys, after, strict=True)}
        if len(changed) == 2 or len(set(after)) < len(set(keys)):
            found.append(what)
        keys = after
    return ", ".join(found)


def _narrow(name: str) -> str:
    wide = {sign for sign in name if unicodedata.east_asian_width(sign) in "FH"}
    for sign in wide:
        name = name.replace(sign, unicodedata.normalize("NFKC", sign))
    return unicodedata.normalize("NFC", name)


def _visible(name: str) -> str:
    if name.isascii() and name.isprintable():
        return name
    return "".join(
        sign
        for sign in name
        if sign.isspace() or (unicodedata.category(sign) not in ("Cf", "Cc") and ord(sign) not in VARIATIONS)
    )


def _single_blanks(name: str) -> str:
    return " ".join(name.split())


def _folded(name: str) -> str:
    # Folding can take a composed sign apart.
    return unicodedata.normalize("NFC", name.casefold())


def _shortest_number(name: str) -> str:
    if name in TRUTHS:
        return TRUTHS[name]
    if NUMBER.fullmatch(name) is None:
        return name
    context = Context(prec=max(1, len(name)), Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
    number = Decimal(name).normalize(context)
    return str(number.copy_abs() if number.is_zero() else number)


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Unicode form", lambda name: unicodedata.normalize("NFC", name)),
    ("full-width signs", _narrow),
    ("signs that nobody sees", _visible),
    ("blanks", _single_blanks),
    ("upper and lower case", _folded),
    ("how a number is written", _shortest_number),
)
