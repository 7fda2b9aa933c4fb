"""Texts are cut as the vocabulary of pretrained vectors wants it."""

import pytest

from pipeline.preprocessing.pieces import Pieces, pieces_of

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
LETTERS = ("\u2581", "l", "o", "w", "e", "r")
JOINED = ("er", "lo", "\u2581lo", "low", "\u2581low", "\u2581lower")


def bpe(max_pieces=8):
    return Pieces("bpe", False, max_pieces, BYTES + LETTERS + JOINED)


def read(pieces, text):
    return [pieces.vocabulary[number - 1] for number in pieces.transform([text])[0] if number]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("low", ["\u2581low"]),
        ("lower", ["\u2581lower"]),
        ("low er", ["\u2581low", "\u2581", "er"]),
        ("lol", ["\u2581lo", "l"]),
        ("  low\n low ", ["\u2581low", "\u2581low"]),
        ("\u00e9", ["\u2581", "<0xC3>", "<0xA9>"]),
        ("", []),
    ],
)
def test_neighbours_are_joined_in_the_order_of_the_vocabulary(text, expected):
    """`er` comes before `lo`; what is no piece falls into its bytes."""
    assert expected == read(bpe(), text)


def test_long_texts_are_cut_and_short_ones_padded():
    """Id 0 stands behind the end, and the state says all of it."""
    pieces = bpe(3)
    ids = pieces.transform(["low", "low low low low"])
    assert (2, 3) == ids.shape
    assert [0, 0] == ids[0, 1:].tolist()
    assert ids.max() < pieces.num_ids
    again = pieces_of(pieces.state())
    assert pieces == again
    assert (again.transform(["lower l"]) == pieces.transform(["lower l"])).all()


def test_words_are_looked_up_and_unknown_ones_left_out():
    """As the tokens of everything else, in lower case where the vectors want it."""
    pieces = Pieces("words", True, 4, ("the", "cat", "!"))
    assert ["the", "cat", "!"] == read(pieces, "The strange CAT!")
