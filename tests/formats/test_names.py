"""Names that are one to every reader have one key, whoever wrote them; others keep their own."""

import random
import unicodedata
from decimal import Decimal

import pytest

from pipeline.formats.names import class_key, difference, twins

NAMES = (
    "Größe",
    "not ok",
    "Spam",
    "10",
    "-2.5",
    "0",
    "É",
    "İstanbul",
    "ｶﾞ",
    "❤",
    "true",
    "x²",
    "Straße",
    "\uff11\uff12",
    "naïve",
)
HIDDEN = ("\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060")


def respelt(name, draw):
    """Return one of the ways in which people, programs and keyboards write a name."""
    name = unicodedata.normalize(draw.choice(("NFC", "NFD")), name)
    if draw.random() < 0.5 and name.casefold().upper().casefold() == name.casefold():
        name = name.upper()
    if draw.random() < 0.3:
        place = draw.randrange(len(name) + 1)
        name = name[:place] + draw.choice(HIDDEN) + name[place:]
    name = name.replace(" ", draw.choice((" ", "  ", "\u00a0", "\t")))
    return draw.choice(("", " ", "\u3000")) + name + draw.choice(("", " ", "\n"))


def test_ten_thousand_respelt_names_have_the_key_of_their_name():
    """In another Unicode form or case, with blanks, and with signs that nobody sees."""
    draw = random.Random(3)
    for _ in range(10_000):
        name = draw.choice(NAMES)
        written = respelt(name, draw)
        assert class_key(written) == class_key(name), ascii(written)


def test_ten_thousand_ways_to_write_a_number_have_the_key_of_the_number():
    """Zeros in front and behind, a sign, an exponent; the second opinion is the value that Decimal gives them."""
    draw = random.Random(4)
    for _ in range(10_000):
        digits = f"{draw.randrange(10**6)}{draw.choice(('', '.0', '.50', f'.{draw.randrange(100)}'))}"
        exponent = draw.choice(("", "e0", "E+2", "e-3"))
        written = draw.choice(("", "+", "-", "0", "-00")) + digits + exponent
        value = Decimal(written)
        assert Decimal(class_key(written)) == value
        assert class_key(written) == class_key(format(value, "f"))


@pytest.mark.parametrize(
    "names",
    [
        ("ok", "0k"), ("a b", "ab"), ("1", "l"), ("x²", "x2"), ("1.2.3", "1.2.30"),
        ("12345678901234567890123456789012", "12345678901234567890123456789013"), ("NA", "N/A"), ("1,5", "1.5"),
        ("1_000", "1000"), ("\u0435", "e"), ("1e", "1"), ("\u0441\u043e\u043f", "con"), ("\u043d\u0435\u0442", "HeT"),
        ("a-b", "a_b"), ("\u03bbx", "lx"),
    ],
)  # fmt: skip
def test_names_that_a_reader_tells_apart_stay_apart(names):
    """Also long numbers that differ in their last digit, and a Cyrillic letter, which is another one."""
    assert twins(names) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Gr\u00f6\u00dfe", "Gro\u0308\u00dfe"), "Unicode form"),
        (("ok", "OK"), "upper and lower case"),
        (("ok", "ok\u200b"), "signs that nobody sees"),
        (("not ok", "not  ok"), "blanks"),
        (("01", "1.0"), "how a number is written"),
        (("TRUE", "1"), "upper and lower case, how a number is written"),
        (("\uff2f\uff2b", "OK"), "full-width signs"),
        (("OK ", "ok"), "blanks, upper and lower case"),
        (("T-shirt", "T\u2011shirt"), "dashes and quotes"),
        (("can't", "can\u2019t"), "dashes and quotes"),
        (("-1", "\u22121.0"), "dashes and quotes, how a number is written"),
        (("cat", "c\u0430t"), "letters of another script"),
        (("\u043c\u0430\u043c\u0430", "\u043ca\u043ca"), "letters of another script"),
        (("\u039cax 2", "Max 2"), "letters of another script"),
        (("file", "\ufb01le"), "ligatures"),
    ],
)
def test_what_tells_spellings_apart_is_said(names, said):
    """Two that look the same on the screen are not understood otherwise."""
    assert twins(names) == [sorted(names)]
    assert difference(names) == said


def test_a_number_with_a_huge_exponent_takes_no_memory():
    """Decimal keeps the exponent; written out it would have a billion digits."""
    assert class_key("1e999999999") == class_key("10E999999998")
