"""Text in any encoding that leaves ASCII as it is, once somebody says which; what nobody said is shown as it reads."""

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
