"""Texts as ids: one form of a text, one order of the vocabulary, nothing unknown that breaks."""

import json
import random
from collections import Counter

import numpy as np
import pytest

from pipeline.preprocessing.texts import Tokenizer, fit_tokenizer, normalise, split_tokens, tokenizer_of

TEXTS = ["Free entry! Win a prize", "win WIN win", "don't win a £1000 prize", "a a a a"]
SETTINGS = {
    "unit": "words",
    "lowercase": True,
    "digits_alike": False,
    "vocabulary_size": 6,
    "min_count": 2,
    "max_tokens": 5,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Two\r\n words\t", "two words"),
        ("\ufb01ne \uff37ide", "fine wide"),
        ("e\u0301", "é"),
        ("\x85next line", "next line"),
        ("", ""),
    ],
)
def test_a_text_has_one_form(text, expected):
    """Spaces, compatibility letters and accents come out the same way however they were typed."""
    assert expected == normalise(text, lowercase=True, digits_alike=False)


def test_digits_alike_are_zeros_in_every_script():
    """As many as there were, joined to their letters; compatibility forms become digits first."""
    expected = "call 00000 000000 or £0.00 w0v 00 now"
    text = "Call 07781 482378 or £1.50 w4v ٣\u00b2 NOW"
    assert expected == normalise(text, lowercase=True, digits_alike=True)
    assert "call 07781 482378 or £1.50 w4v ٣2 now" == normalise(text, lowercase=True, digits_alike=False)


def test_digits_alike_give_one_id_to_numbers_of_one_length():
    """1000 and 2000 share an id, also in texts that were not fitted, and 10 is unknown."""
    tokenizer = fit_tokenizer(["win 1000", "win 2000"], **SETTINGS | {"digits_alike": True})
    assert ("0000", "win") == tokenizer.vocabulary
    ids = tokenizer.transform(["win 5555", "win 10"])
    assert [tokenizer.vocabulary.index("0000") + 2, 1] == ids[:, 1].tolist()


def test_words_and_signs_are_tokens():
    """Apostrophes stay inside a word; every other sign stands for itself."""
    assert ["don't", "pay", "£", "1000", "!", "!", "😀"] == split_tokens("don't pay £1000!! 😀", "words")
    assert ["a", " ", "b"] == split_tokens("a b", "characters")


def test_the_vocabulary_is_the_most_frequent_tokens():
    """Counted by hand: a 6, win 5, prize 2; ties would go by the alphabet, and rarer ones are out."""
    tokenizer = fit_tokenizer(TEXTS, **SETTINGS)
    counts = Counter(token for text in TEXTS for token in split_tokens(text.lower(), "words"))
    assert ("a", "win", "prize") == tokenizer.vocabulary
    assert [6, 5, 2] == [counts[token] for token in tokenizer.vocabulary]
    assert 5 == tokenizer.num_ids
    assert ("a", "win") == fit_tokenizer(TEXTS, **SETTINGS | {"vocabulary_size": 4}).vocabulary


def test_ids_are_padded_cut_and_never_all_padding():
    """2 is the first token, 1 unknown, 0 behind the end; a text without tokens is one unknown."""
    ids = fit_tokenizer(TEXTS, **SETTINGS).transform(["Win a car", "", "a a a a a a a win"])
    assert [[3, 2, 1, 0, 0], [1, 0, 0, 0, 0], [2, 2, 2, 2, 2]] == ids.tolist()
    assert np.int32 == ids.dtype


def test_the_order_of_texts_does_not_matter():
    """Shuffled training texts give the same state."""
    shuffled = random.Random(3).sample(TEXTS, len(TEXTS))
    assert fit_tokenizer(TEXTS, **SETTINGS) == fit_tokenizer(shuffled, **SETTINGS)


def test_the_state_survives_json():
    """Read back from JSON it gives the same ids."""
    tokenizer = fit_tokenizer(TEXTS, **SETTINGS | {"unit": "characters", "max_tokens": 9})
    again = tokenizer_of(json.loads(json.dumps(tokenizer.state())))
    assert tokenizer == again
    assert np.array_equal(tokenizer.transform(TEXTS), again.transform(TEXTS))


def test_ids_stand_for_their_tokens():
    """Every known token comes back from its id."""
    tokenizer = Tokenizer("words", True, False, 4, ("x", "y"))
    assert ["y", "x"] == [tokenizer.vocabulary[number - 2] for number in tokenizer.transform(["y x"])[0, :2]]
