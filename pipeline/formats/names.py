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
TYPEWRITER = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"')
)
"""Dashes and quotes that word processors put in place of those on the keyboard."""
ALIKE = (
    ("aceopxyisj", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0455\u0458"),
    (
        "ABCEHIJKMOPSTXY",
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423",
    ),
    (
        "ABEHIKMNOPTXYZov",
        "\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5\u0396\u03bf\u03bd",
    ),
)
"""Letters of the Latin script, and those of Cyrillic or Greek that are drawn alike."""
TO_LATIN = str.maketrans("".join(other for _, other in ALIKE), "".join(latin for latin, _ in ALIKE))
FROM_LATIN = {
    "CYRILLIC": str.maketrans(
        "".join(latin for latin, _ in ALIKE[:2]), "".join(other for _, other in ALIKE[:2])
    ),
    "GREEK": str.maketrans(*ALIKE[2]),
}


def class_key(name: str) -> str:
    """Return what two names have in common that are one to every reader.

    Unicode's composed form (NFC) without full-width signs, ligatures and signs that nobody sees, with the dashes and
    quotes of a keyboard, each word in one script, with single blanks, in lower case; a number in its shortest form:
    `01`, `1.0` and `1` are one.
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


def _spelt_out(name: str) -> str:
    return re.sub("[\ufb00-\ufb06]", lambda sign: unicodedata.normalize("NFKC", sign[0]), name)


def _visible(name: str) -> str:
    if name.isascii() and name.isprintable():
        return name
    return "".join(
        sign
        for sign in name
        if sign.isspace() or (unicodedata.category(sign) not in ("Cf", "Cc") and ord(sign) not in VARIATIONS)
    )


def _one_script(name: str) -> str:
    """Return words that mix Latin letters with those of another script in the one that all their letters can be of.

    A word of one script stays as it is: what it spells there may be another word.
    """
    return name if name.isascii() else re.sub(r"[^\W\d_]+", lambda word: _of_one_script(word[0]), name)


def _of_one_script(word: str) -> str:
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
    for script in scripts & FROM_LATIN.keys() if "LATIN" in scripts else ():
        for table in (TO_LATIN, FROM_LATIN[script]):
            spelt = word.translate(table)
            if len({unicodedata.name(letter, "").partition(" ")[0] for letter in spelt}) == 1:
                return spelt
    return word


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
    ("ligatures", _spelt_out),
    ("signs that nobody sees", _visible),
    ("dashes and quotes", lambda name: name.translate(TYPEWRITER)),
    ("letters of another script", _one_script),
    ("blanks", _single_blanks),
    ("upper and lower case", _folded),
    ("how a number is written", _shortest_number),
)
