"""Texts as rows of numbers: one id per word or character in the order of reading, or a bag of weighted n-grams.

How a text is brought to one form, the same everywhere (bags, duplicates by ids, serving):

1. Unicode NFKC: one way of writing a letter with its accent, wide and ligature forms as plain letters;
2. lower case, if so wished;
3. every digit becomes 0, if so wished: `07781 482378` says that here is a number, not which one;
4. every run of white space, line ends included, becomes one space; none at either end.

A word is a run of letters, digits and underscores, apostrophes inside it included (`don't`); every other
sign that is not a space is a token of its own (`!`, `£`, an emoji). Id 0 is padding, 1 any unknown token.

The terms of a bag are word n-grams and, if so wished, character n-grams inside word boundaries. The weight of a
term in a text is (1 + ln(times in the text)) * (1 + ln((1 + texts) / (1 + texts with the term))), which is what
scikit-learn's `TfidfVectorizer(sublinear_tf=True)` says; the weights of a text have a Euclidean length of 1.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

PADDING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2
"""The id of the first token of a vocabulary."""
FIRST_TERM_ID = 1
"""Id 0 stands for no term."""
WORDS, CHARACTERS = "w ", "c "
"""Put before a term, so that the word `cat` and the characters `cat` are two terms."""

Unit = Literal["words", "characters"]

_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def normalise(text: str, *, lowercase: bool, digits_alike: bool) -> str:
    """Return the one form of a text that all features are made of; see the head of this file."""
    text = unicodedata.normalize("NFKC", text)
    text = _DIGIT.sub("0", text) if digits_alike else text
    return " ".join((text.lower() if lowercase else text).split())


def split_tokens(normalised: str, unit: Unit) -> list[str]:
    """Return the words (and signs) or the characters of a normalised text, in order."""
    return list(normalised) if unit == "characters" else _WORD.findall(normalised)


@dataclass(frozen=True)
class Tokenizer:
    """From text to ids; its fields are all there is to know about it.

    Attributes:
        unit: What one id stands for.
        lowercase: Whether upper and lower case are one.
        digits_alike: Whether every digit is read as 0.
        max_tokens: Ids per text; the rest of a longer one is not read.
        vocabulary: Tokens in the order of their ids, which begin at `FIRST_ID`.
    """

    unit: Unit
    lowercase: bool
    digits_alike: bool
    max_tokens: int
    vocabulary: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ids.update({token: number for number, token in enumerate(self.vocabulary, start=FIRST_ID)})

    @property
    def num_ids(self) -> int:
        """Return the number that all ids are below."""
        return FIRST_ID + len(self.vocabulary)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return the ids of texts.

        Args:
            texts: As they stand in the source.

        Returns:
            int32, shape (len(texts), max_tokens), 0 behind the end. A text without any token is one unknown
            token, so that a mask never hides a whole row.
        """
        ids = np.full((len(texts), self.max_tokens), PADDING_ID, np.int32)
        for row, text in enumerate(texts):
            normalised = normalise(text, lowercase=self.lowercase, digits_alike=self.digits_alike)
            tokens = split_tokens(normalised, self.unit)[: self.max_tokens]
            ids[row, : len(tokens)] = [self._ids.get(token, UNKNOWN_ID) for token in tokens]
            if not tokens:
                ids[row, 0] = UNKNOWN_ID
        return ids

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `tokenizer_of` reads them."""
        return {
            "unit": self.unit,
            "lowercase": self.lowercase,
            "digits_alike": self.digits_alike,
            "max_tokens": self.max_tokens,
            "vocabulary": list(self.vocabulary),
        }


def tokenizer_of(state: dict[str, Any]) -> Tokenizer:
    """Return the tokenizer that a `Tokenizer.state` describes; further keys are not looked at."""
    return Tokenizer(
        state["unit"],
        state["lowercase"],
        state.get("digits_alike", False),  # absent in models from before there was this choice
        state["max_tokens"],
        tuple(state["vocabulary"]),
    )


def fit_tokenizer(
    texts: Iterable[str],
    *,
    unit: Unit,
    lowercase: bool,
    digits_alike: bool,
    vocabulary_size: int,
    min_count: int,
    max_tokens: int,
) -> Tokenizer:
    """Return the tokenizer that knows the most frequent tokens of some texts; their order does not matter.

    Args:
        texts: Of the training split alone.
        unit: What one id stands for.
        lowercase: Whether upper and lower case are one.
        digits_alike: Whether every digit is read as 0.
        vocabulary_size: Ids at most, padding and unknown among them.
        min_count: How often a token must occur to have an id.
        max_tokens: Ids per text.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_tokens(normalise(text, lowercase=lowercase, digits_alike=digits_alike), unit))
    vocabulary = most_frequent(counts, vocabulary_size - FIRST_ID, min_count)
    return Tokenizer(unit, lowercase, digits_alike, max_tokens, vocabulary)


def most_frequent(counts: Counter[str], size: int, min_count: int) -> tuple[str, ...]:
    """Return at most `size` keys that were counted at least `min_count` times; ties in alphabetical order."""
    frequent = sorted(
        (item for item in counts.items() if item[1] >= min_count), key=lambda item: (-item[1], item[0])
    )
    return tuple(key for key, _count in frequent[:size])


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
        alike = {"lowercase": self.lowercase, "digits_alike": self.digits_alike}
        terms = terms_of(text, self.word_ngrams, self.char_ngrams, **alike)
        counts = Counter(term for term in terms if term in self._known)
        weighted = []
        for term, count in counts.items():
            number, inverse_frequency = self._known[term]
            weighted.append((-(1 + math.log(count)) * inverse_frequency, number))
        return sorted(weighted)[: self.max_bag]

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
