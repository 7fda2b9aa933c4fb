"""Which encoding of Latin letters a text has: the one whose letters beyond ASCII are those of one language.

`úèet` and `účet` are the same bytes, and each is a word to a program. Nobody writes in a language of which `ú`, `è`,
`ø` and `š` are letters together; Czech has `ú`, `č`, `ř` and `š`.
"""

import re
from collections import Counter
from collections.abc import Iterable

ALPHABETS = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿñ", "äöüßéèà", "áéíóúüñçªº", "áâãàçéêíóôõúüªº", "àèéìíîòóùúªº", "áéëïóöüèêàç", "æøåéèêóòôäöüá",
        "åäöéšžüà", "áðéíóúýþæö", "àçéèíïóòúüñ·", "áéíóúàèìòù", "âêîôûáéäëïö", "äöõüšžåé",
    ),
    "cp1250": (
        "áčďéěíňóřšťúůýžöü", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "čšžćđáéíóú", "ăâîşţșț", "äöüßéčšž",
    ),
    "cp1254": ("çğ\u0131öşüâîûi\u0307",),
    "cp1257": ("āčēģīķļņšūžō", "ąčęėįšųūž"),
}  # fmt: skip
"""Letters beyond ASCII of languages, in lower case, by the encoding that Windows has for them.

Western: French, German, Spanish, Portuguese, Italian, Dutch, Danish and Norwegian, Swedish and Finnish, Icelandic,
Catalan, Gaelic, Welsh and Afrikaans, Estonian. Central: Czech, Slovak, Polish, Hungarian, South Slavic, Romanian, and
German beside them. Turkish. Baltic: Latvian, Lithuanian.
"""
OF_CODECS = {
    "cp1252": "cp1252",
    "cp1250": "cp1250",
    "iso8859_2": "cp1250",
    "cp1254": "cp1254",
    "cp1257": "cp1257",
    "mac_roman": "cp1252",
    "cp850": "cp1252",
    "cp852": "cp1250",
}
"""Codecs of Latin letters, the likeliest first, to the encoding of Windows that has the same languages."""
IN_WORDS = frozenset("\u2019\u2018\u2013\u2014\u2026\u00ad\u00b7\u2022\u00a0/")
"""Signs that stand between letters in some languages, and are no letters of others."""
AROUND = re.compile(r"(?<=[^\W\d_])[^\x00-\x7f\w](?=[^\W\d_])|[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*")
FEWEST = 6
"""Letters beyond ASCII; of fewer nobody can tell."""
FITS, DOUBTFUL = 0.98, 0.95


def fit(sample: bytes, codec: str) -> tuple[float, int]:
    """Return which share of what stands in words beyond ASCII is of one language, the best, and how much that is.

    Args:
        sample: Lines of a text.
        codec: One of `OF_CODECS`.
    """
    counts: Counter[str] = Counter()
    for found in AROUND.finditer(sample.decode(codec, errors="replace")):
        word = found[0]
        if not word[0].isalpha():
            counts[word] += word not in IN_WORDS
            continue
        # A capital after a small letter is none of the word: `fŸr` is another encoding's `für`.
        mixed = word.lower() if word.istitle() or word.isupper() or word.islower() else word
        counts.update(letter for letter in mixed[:1].lower() + mixed[1:] if not letter.isascii())
    total = counts.total()
    best = max(
        sum(counts[letter] for letter in alphabet) for alphabet in map(set, ALPHABETS[OF_CODECS[codec]])
    )
    return (best / total if total else 0.0), total


def latin_codec(sample: bytes) -> str:
    """Return the codec in which a text is of one language where it is of none in cp1252; "" where that is in doubt.

    A codec that reads the same letters as cp1252 is no other reading: names of several countries are of no language.
    """
    share, total = fit(sample, "cp1252")
    if total < FEWEST or share >= DOUBTFUL:
        return ""
    western = sample.decode("cp1252", errors="replace")
    others = [codec for codec in OF_CODECS if sample.decode(codec, errors="replace") != western]
    return next((codec for codec in others if fit(sample, codec)[0] >= FITS), "")


def by_fit(sample: bytes, codecs: Iterable[str]) -> list[str]:
    """Return codecs, those first in which a text is of one language."""
    return sorted(codecs, key=lambda codec: codec not in OF_CODECS or fit(sample, codec)[0] < FITS)
