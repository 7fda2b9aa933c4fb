"""Texts as bags of weighted n-grams: what a linear model on TF-IDF reads.

Terms are word n-grams and, if so wished, character n-grams inside word boundaries. The weight of a term in
a text is (1 + ln(times in the text)) * (1 + ln((1 + texts) / (1 + texts with the term))), which is what
scikit-learn's `TfidfVectorizer(sublinear_tf=True)` says; the weights of a text have a Euclidean length of 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.tokens import most_frequent, normalise, split_tokens

FIRST_TERM_ID = 1
"""Id 0 stands for no term."""
WORDS, CHARACTERS = "w ", "c "
"""Put before a term, so that the word `cat` and the characters `cat` are two terms."""


@dataclass(frozen=True)
class Bag:
    """From text to ids and weights; its fields are all there is to know about it.

    Attributes:
        lowercase: Whether upper and lower case are one.
        digits_alike: Whether every digit is read as 0.
        word_ngrams: Fewest and most words of a term.
        char_ngrams: Fewest and most characters of a term; None for no such terms.
        max_bag: Terms kept per text, the heaviest.
        terms: In the order of their ids, which begin at `FIRST_TERM_ID`.
        inverse_frequencies: The second factor of the weight, per term.
    """

    lowercase: bool
    digits_alike: bool
    word_ngrams: tuple[int, int]
    char_ngrams: tuple[int, int] | None
    max_bag: int
    terms: tuple[str, ...]
    inverse_frequencies: tuple[float, ...]
    _known: dict[str, tuple[int, float]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        weighted = zip(self.terms, self.inverse_frequencies, strict=True)
        self._known.update(
            {term: (number, weight) for number, (term, weight) in enumerate(weighted, FIRST_TERM_ID)}
        )

    @property
    def num_ids(self) -> int:
        """Return the number that all ids are below."""
        return FIRST_TERM_ID + len(self.terms)

    def transform(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the heaviest terms of texts and their weights.

        Args:
            texts: As they stand in the source.

        Returns:
            Ids int32 and weights float32, both (len(texts), max_bag), in order of weight, ties in order of
            id; 0 behind the end. A text without any known term has no weight at all.
        """
        ids = np.zeros((len(texts), self.max_bag), np.int32)
        weights = np.zeros((len(texts), self.max_bag), np.float32)
        for row, text in enumerate(texts):
            heaviest = self._heaviest(text)
            length = math.sqrt(math.fsum(weight * weight for weight, _id in heaviest)) or 1.0
            ids[row, : len(heaviest)] = [number for _weight, number in heaviest]
            weights[row, : len(heaviest)] = [-weight / length for weight, _id in heaviest]
        return ids, weights

    def _heaviest(self, text: str) -> list[tuple[float, int]]:
        """Return pairs of negative weight and id, heaviest first."""
        counts = Counter(term for term in self._terms_of(text) if term in self._known)
        weighted = []
        for term, count in counts.items():
            number, inverse_frequency = self._known[term]
            weighted.append((-(1 + math.log(count)) * inverse_frequency, number))
        return sorted(weighted)[: self.max_bag]

    def _terms_of(self, text: str) -> list[str]:
        return terms_of(
            text,
            self.word_ngrams,
            self.char_ngrams,
            lowercase=self.lowercase,
            digits_alike=self.digits_alike,
        )

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `bag_of` reads them."""
        return {
            "lowercase": self.lowercase,
            "digits_alike": self.digits_alike,
            "word_ngrams": list(self.word_ngrams),
            "char_ngrams": None if self.char_ngrams is None else list(self.char_ngrams),
            "max_bag": self.max_bag,
            "terms": list(self.terms),
            "inverse_frequencies": list(self.inverse_frequencies),
        }


def bag_of(state: dict[str, Any]) -> Bag:
    """Return the bag that a `Bag.state` describes; further keys are not looked at."""
    low, high = state["word_ngrams"]
    characters = state["char_ngrams"]
    return Bag(
        state["lowercase"],
        state.get("digits_alike", False),  # absent in models from before there was this choice
        (low, high),
        None if characters is None else (characters[0], characters[1]),
        state["max_bag"],
        tuple(state["terms"]),
        tuple(state["inverse_frequencies"]),
    )


def fit_bag(
    texts: Iterable[str],
    *,
    lowercase: bool,
    digits_alike: bool,
    word_ngrams: tuple[int, int],
    char_ngrams: tuple[int, int] | None,
    bag_size: int,
    max_bag: int,
    min_count: int,
) -> Bag:
    """Return the bag that knows the terms found in most texts; the order of the texts does not matter.

    Args:
        texts: Of the training split alone.
        lowercase: Whether upper and lower case are one.
        digits_alike: Whether every digit is read as 0.
        word_ngrams: Fewest and most words of a term.
        char_ngrams: Fewest and most characters of a term; None for no such terms.
        bag_size: Ids at most, 0 among them.
        max_bag: Terms kept per text.
        min_count: In how many texts a term must occur.
    """
    frequencies: Counter[str] = Counter()
    num_texts = 0
    for text in texts:
        num_texts += 1
        terms_here = terms_of(text, word_ngrams, char_ngrams, lowercase=lowercase, digits_alike=digits_alike)
        frequencies.update(set(terms_here))
    terms = most_frequent(frequencies, bag_size - FIRST_TERM_ID, min_count)
    inverse = tuple(1 + math.log((1 + num_texts) / (1 + frequencies[term])) for term in terms)
    return Bag(lowercase, digits_alike, word_ngrams, char_ngrams, max_bag, terms, inverse)


def terms_of(
    text: str,
    word_ngrams: tuple[int, int],
    char_ngrams: tuple[int, int] | None,
    *,
    lowercase: bool,
    digits_alike: bool,
) -> list[str]:
    """Return all terms of a text, as often as they occur.

    Character n-grams stay inside a word with one space on each side; a word that is shorter than n, spaces
    included, gives itself once.
    """
    normalised = normalise(text, lowercase=lowercase, digits_alike=digits_alike)
    terms = [WORDS + term for term in _word_ngrams(split_tokens(normalised, "words"), *word_ngrams)]
    if char_ngrams is not None:
        for word in normalised.split(" "):
            terms += [CHARACTERS + term for term in _char_ngrams(f" {word} ", *char_ngrams)]
    return terms


def _word_ngrams(words: list[str], fewest: int, most: int) -> list[str]:
    return [
        " ".join(words[start : start + size])
        for size in range(fewest, most + 1)
        for start in range(len(words) - size + 1)
    ]


def _char_ngrams(padded: str, fewest: int, most: int) -> list[str]:
    grams: list[str] = []
    for size in range(fewest, most + 1):
        grams += [padded[start : start + size] for start in range(max(1, len(padded) - size + 1))]
        if size >= len(padded):  # the whole word, once
            break
    return grams
