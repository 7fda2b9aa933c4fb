"""Text in any encoding that leaves ASCII as it is, once somebody says which; what nobody said is shown as it reads."""

import re

import pytest

from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import text_table
from tests.helpers.read_source import described, read_source


@pytest.mark.parametrize(
    ("codec", "text"),
    [("cp1251", "\u041f\u0440\u0438\u0432\u0435\u0442"), ("gb18030", "\u4f60\u597d|\u554a"), ("shift_jis", "\u8868\u30bd"),
     ("cp1250", "\u017elu\u0165"), ("koi8-r", "\u043c\u0438\u0440"), ("big5", "\u529f\u84cb")],
)  # fmt: skip
def test_any_codec_that_leaves_ascii_as_it_is_may_be_stated(codec, text):
    """Also those whose second byte may be a sign of ASCII: lines, fields and quotes are found after decoding."""
    content = f'text,label\n"{text}, x",a\n{text},b\n'.encode(codec)
    samples = read_source(text_table, {"a.csv": content}, label="label", encoding=codec)
    assert [f"{text}, x", text] == [sample.text for sample in samples]


@pytest.mark.parametrize("codec", ["utf-7", "rot13", "nonsense", "zip", "punycode", "unicode_escape"])
def test_what_is_no_encoding_of_lines_is_refused_by_name(codec):
    """With those that are."""
    with pytest.raises(WronglyCalled, match="leaves ASCII as it is"):
        read_source(text_table, {"a.csv": b"text,label\nx,a\n"}, label="label", encoding=codec)


def test_what_cannot_be_told_is_shown_as_it_would_read():
    """Czech text: every reading of a line beside the option that gives it."""
    content = "text,label\n\u017elu\u0165 k\u016f\u0148,a\n".encode("cp1250")
    with pytest.raises(DataRefused, match="--set encoding=cp1250") as refused:
        read_source(text_table, {"a.csv": content}, label="label")
    assert "\u017elu\u0165 k\u016f\u0148" in str(refused.value)


def test_a_guess_is_shown_with_a_line_that_it_reads():
    """cp1252 fits nearly everything: who knows the text sees whether it is right."""
    content = "text,label\nGr\u00f6\u00dfe,a\n".encode("cp1252")
    (told,) = described(text_table, {"a.csv": content}, label="label")
    assert "cp1252 (detected)" in told
    assert "Gr\u00f6\u00dfe,a" in told


OTHER_SCRIPTS = {
    "cp1251": "\u041f\u0440\u0438\u0432\u0435\u0442 \u0432\u0435\u0440\u043d\u0438\u0442\u0435 \u043c\u043e\u0438 \u0434\u0435\u043d\u044c\u0433\u0438",
    "cp1253": "\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03b8\u03ad\u03bb\u03c9 \u03c0\u03af\u03c3\u03c9 \u03c4\u03b1 \u03bb\u03b5\u03c6\u03c4\u03ac",
    "gb18030": "\u5305\u88f9\u4e00\u76f4\u6ca1\u6709\u5230\uff0c\u8bf7\u9000\u6b3e\u7ed9\u6211",
    "big5": "\u5305\u88f9\u4e00\u76f4\u6c92\u6709\u5230\uff0c\u8acb\u9000\u6b3e\u7d66\u6211",
    "euc_kr": "\ud0dd\ubc30\uac00 \uc624\uc9c0 \uc54a\uc558\uc5b4\uc694 \ud658\ubd88\ud574 \uc8fc\uc138\uc694",
    "shift_jis": "\u8377\u7269\u304c\u5c4a\u304d\u307e\u305b\u3093\u3067\u3057\u305f",
}


@pytest.mark.parametrize("codec", OTHER_SCRIPTS)
@pytest.mark.parametrize("rows", [6, 60])
def test_another_script_is_not_taken_for_western_letters(codec, rows):
    """Every byte of it may be one of cp1252: the doubt is said with a line of each reading, and the right one reads."""
    text = OTHER_SCRIPTS[codec]
    content = ("text,label\n" + "".join(f"{text} {row},{'ab'[row % 2]}\n" for row in range(rows))).encode(
        codec
    )
    with pytest.raises(DataRefused, match="cannot be told") as refused:
        described(text_table, {"a.csv": content}, label="label")
    message = str(refused.value)
    assert text[:6] in message
    (stated, *_) = re.findall(r"--set encoding=(\w+) \('[^']*" + re.escape(text[:6]), message)
    samples = read_source(text_table, {"a.csv": content}, label="label", encoding=stated)
    assert f"{text} 0" == samples[0].text


@pytest.mark.parametrize(
    "text",
    ["die Gr\u00f6\u00dfe stimmt nicht", "d\u00e9j\u00e0 vu \u2013 c'est \u00e9crit", "el ni\u00f1o no lleg\u00f3 ma\u00f1ana",
     "\u00ab\u00a0oui\u00a0\u00bb", "price \u00a3\u00a3\u00a3 \u2026", "h\u00e5ndv\u00e6rk p\u00e5 \u00f8en", "\u00e4\u00e4ni\u00e4 y\u00f6ll\u00e4",
     "\u201c\u2026\u201d", "fianc\u00e9e"],
)  # fmt: skip
@pytest.mark.parametrize("rows", [2, 60])
def test_western_letters_stay_cp1252(text, rows):
    """Also of signs that stand together, and of very little text."""
    content = ("text,label\n" + "".join(f"{text} {row},{'ab'[row % 2]}\n" for row in range(rows))).encode(
        "cp1252"
    )
    assert f"{text} 0" == read_source(text_table, {"a.csv": content}, label="label")[0].text


OTHER_LANGUAGES = {
    "cp1250": "účet nebyl zaplacen včas, kurýr nepřijel žádný den",
    "iso8859_2": "Proszę o zwrot pieniędzy, żądam wyjaśnień: przesyłka nie dotarła",
    "cp1254": "Şifremi unuttum, giriş bekliyorum, ödeme gözükmüyor",
    "cp1257": "Lūdzu atsūtiet rēķinu, parole nestrādā, nav saņemts",
    "mac_roman": "Für die Größe möchte ich die Überweisung ändern können",
    "cp850": "Für die Größe möchte ich die Überweisung ändern",
    "cp852": "Příliš žluťoučký kůň, účet nebyl zaplacen včas",
}


@pytest.mark.parametrize("codec", OTHER_LANGUAGES)
@pytest.mark.parametrize("rows", [1, 60])
def test_letters_of_no_western_language_together_are_not_taken_for_cp1252(codec, rows):
    """Each of them is one: the first reading that is offered is of a language, and reads right."""
    text = OTHER_LANGUAGES[codec]
    lines = [f'"{text} {row}",{"ab"[row % 2]}' for row in range(rows)]
    content = "\n".join(["text,label", *lines, ""]).encode(codec)
    with pytest.raises(DataRefused, match="cannot be told") as refused:
        read_source(text_table, {"a.csv": content}, label="label")
    first = re.search(r"--set encoding=([\w-]+)", str(refused.value).partition("right: ")[2])
    samples = read_source(text_table, {"a.csv": content}, label="label", encoding=first[1])
    assert [f"{text} {row}" for row in range(rows)] == [sample.text for sample in samples]


def test_names_that_read_alike_in_cp1252_and_another_codec_stay_cp1252():
    """Of Spain and Germany together: letters of no one language, and the same ones in cp1250."""
    names = ["Garc\u00eda", "M\u00fcller", "J\u00f6rg", "L\u00f3pez", "K\u00f6hler", "Mart\u00ednez"]
    content = "".join(["text,label\n", *(f"{name},{name[0]}\n" for name in names)]).encode("cp1252")
    assert content.decode("cp1250") == content.decode("cp1252")
    assert names == [sample.text for sample in read_source(text_table, {"a.csv": content}, label="label")]
