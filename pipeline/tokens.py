"""Texts as rows of numbers: one id per word or character, in the order of reading.

How a text is brought to one form, the same everywhere (bags, duplicates by ids, serving):

1. Unicode NFKC: one way of writing a letter with its accent, wide and ligature forms as plain letters;
2. lower case, if so wished;
3. every digit becomes 0, if so wished: `07781 482378` says that here is a number, not which one;
4. every run of white space, line ends included, becomes one space; none at either end.

A word is a run of letters, digits and underscores, apostrophes inside it included (`don't`); every other
sign that is not a space is a token of its own (`!`, `£`, an emoji). Id 0 is padding, 1 any unknown token.
"""

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
