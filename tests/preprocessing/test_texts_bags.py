"""Bags of n-grams against scikit-learn's TfidfVectorizer."""

import json
import random
import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.preprocessing.texts import CHARACTERS, WORDS, bag_of, fit_bag, normalise, split_tokens

TEXTS = [
    "Free entry! Win a prize now",
    "win WIN win a",
    "don't win a £1000 prize",
    "I am at home, are you?",
    "see you at home now now now",
    "ok",
]
SETTINGS = {"lowercase": True, "digits_alike": False, "bag_size": 5000, "max_bag": 400, "min_count": 1}


def dense(bag, texts):
    """Return one row per text and one column per term."""
    ids, weights = bag.transform(texts)
    table = np.zeros((len(texts), bag.num_ids))
    for row in range(len(texts)):
        np.add.at(table[row], ids[row], weights[row])
    return table[:, 1:]


def words(text):
    return split_tokens(normalise(text, lowercase=True, digits_alike=False), "words")


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2), (2, 3)])
def test_word_ngrams_weigh_what_scikit_learn_says(ngrams):
    """Same terms, same weights, on the training texts and on others."""
    others = [*TEXTS, "home prize prize unheard", ""]
    bag = fit_bag(TEXTS, word_ngrams=ngrams, char_ngrams=None, **SETTINGS)
    judge = TfidfVectorizer(
        analyzer="word",
        tokenizer=words,
        token_pattern=None,
        lowercase=True,
        ngram_range=ngrams,
        sublinear_tf=True,
    )
    expected = judge.fit(TEXTS).transform(others).toarray()
    assert sorted(WORDS + term for term in judge.vocabulary_) == sorted(bag.terms)
    order = [judge.vocabulary_[term.removeprefix(WORDS)] for term in bag.terms]
    np.testing.assert_allclose(expected[:, order], dense(bag, others), atol=1e-6)


def test_character_ngrams_weigh_what_scikit_learn_says():
    """`char_wb` has the same terms; its share of the bag has the same proportions."""
    bag = fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=(2, 4), **SETTINGS)
    judge = TfidfVectorizer(analyzer="char_wb", lowercase=True, ngram_range=(2, 4), sublinear_tf=True)
    expected = judge.fit(TEXTS).transform(TEXTS).toarray()
    places = [number for number, term in enumerate(bag.terms) if term.startswith(CHARACTERS)]
    assert sorted(judge.vocabulary_) == sorted(bag.terms[place].removeprefix(CHARACTERS) for place in places)
    own = dense(bag, TEXTS)[:, places]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    order = [judge.vocabulary_[bag.terms[place].removeprefix(CHARACTERS)] for place in places]
    np.testing.assert_allclose(expected[:, order], own, atol=1e-6)


def test_digits_alike_weigh_what_zeros_weigh():
    """As if every digit of every text had been a 0, in words and in characters."""
    texts, others = [*TEXTS, "won £2500 on 08"], ["call 07781", "£9999", "2 prizes"]
    bag = fit_bag(texts, word_ngrams=(1, 2), char_ngrams=(3, 4), **SETTINGS | {"digits_alike": True})
    zeros = fit_bag(
        [re.sub("[0-9]", "0", text) for text in texts], word_ngrams=(1, 2), char_ngrams=(3, 4), **SETTINGS
    )
    assert zeros.terms == bag.terms
    assert WORDS + "£ 0000" in bag.terms
    expected = dense(zeros, [re.sub("[0-9]", "0", text) for text in others])
    assert np.array_equal(expected, dense(bag, others))


def test_rows_have_length_one_and_the_heaviest_terms_only():
    """Cut to three terms, the three heaviest of the full bag are left, in proportion, and padding is 0."""
    full = fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=None, **SETTINGS)
    cut = fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=None, **SETTINGS | {"max_bag": 3})
    ids, weights = cut.transform(TEXTS)
    all_ids, all_weights = full.transform(TEXTS)
    assert np.array_equal(all_ids[:, :3], ids)
    np.testing.assert_allclose(1, np.linalg.norm(weights, axis=1), rtol=1e-6)
    np.testing.assert_allclose(
        all_weights[0, 0] / all_weights[0, 2], weights[0, 0] / weights[0, 2], rtol=1e-6
    )
    assert [0, 0] == ids[5, 1:].tolist() == weights[5, 1:].tolist()


def test_the_vocabulary_is_chosen_by_texts_not_by_occurrences():
    """`now` occurs four times in two texts; `win` in three texts stands before it, ties by the alphabet."""
    bag = fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=None, **SETTINGS | {"bag_size": 4})
    assert (WORDS + "a", WORDS + "win", WORDS + "at") == bag.terms
    assert all(
        term != WORDS + "ok"
        for term in fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=None, **SETTINGS | {"min_count": 2}).terms
    )


def test_unknown_terms_give_an_empty_row():
    """A text of unheard words weighs nothing, and nothing is divided by 0."""
    bag = fit_bag(TEXTS, word_ngrams=(1, 1), char_ngrams=None, **SETTINGS)
    ids, weights = bag.transform(["zzz", ""])
    assert 0 == ids.any() == weights.any()


def test_order_of_texts_and_json_change_nothing():
    """Shuffled texts fit the same bag, and it survives its JSON."""
    bag = fit_bag(TEXTS, word_ngrams=(1, 2), char_ngrams=(3, 5), **SETTINGS)
    shuffled = random.Random(5).sample(TEXTS, len(TEXTS))
    assert bag == fit_bag(shuffled, word_ngrams=(1, 2), char_ngrams=(3, 5), **SETTINGS)
    assert bag == bag_of(json.loads(json.dumps(bag.state())))
