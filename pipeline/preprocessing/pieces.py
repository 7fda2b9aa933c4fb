"""Texts as ids of the vocabulary that pretrained vectors came with: whole words, or pieces of words.

Three ways to cut a text, by the name in the file of vectors:

* `words`: as everything else here (`texts.split_tokens`), in lower case;
* `bpe`: byte pairs as SentencePiece joins them: a text becomes characters with `\u2581` for a space before each word, and
  the two neighbours whose joint piece comes first in the vocabulary become one, until no joint piece is known. What is
  no piece becomes its bytes (Sennrich et al., 2016; Kudo and Richardson, 2018);
* `wordpiece`: of each word the longest known beginning, then the longest known rest with `##` before it (Wu et al., 2016).

Ids are those of the vocabulary plus one, because 0 is padding.
"""

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.preprocessing.texts import normalise, split_tokens

PADDING_ID = 0
FIRST_ID = 1
SPACE = "\u2581"
LONGEST_WORD = 100
"""Characters of a word that is cut into pieces; what is longer is read as no piece at all."""

Cut = Literal["words", "bpe", "wordpiece"]
CUTS: tuple[Cut, ...] = ("words", "bpe", "wordpiece")


@dataclass(frozen=True)
class Pieces:
    """From text to ids of pretrained vectors.

    Attributes:
        cut: How a text is cut, see the head of this file.
        lowercase: Whether upper and lower case are one.
        max_pieces: Ids per text; the rest of a longer one is not read.
        vocabulary: Pieces in the order of the vectors.
        before: Pieces put before every text (`[CLS]`), where the vectors want it.
        after: Pieces put behind it (`[SEP]`).
    """

    cut: Cut
    lowercase: bool
    max_pieces: int
    vocabulary: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    _ids: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _known: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ids.update({piece: number for number, piece in enumerate(self.vocabulary, start=FIRST_ID)})

    @property
    def num_ids(self) -> int:
        """Return the number that all ids are below."""
        return FIRST_ID + len(self.vocabulary)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return the ids of texts, int32, shape (len(texts), max_pieces), 0 behind the end; a text may have none."""
        ids = np.full((len(texts), self.max_pieces), PADDING_ID, np.int32)
        before, after = ([self._ids[piece] for piece in pieces] for pieces in (self.before, self.after))
        room = self.max_pieces - len(before) - len(after)
        for row, text in enumerate(texts):
            found = [*before, *self._cut(text)[:room], *after]
            ids[row, : len(found)] = found
        return ids

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `pieces_of` reads them."""
        return {
            "cut": self.cut,
            "lowercase": self.lowercase,
            "max_pieces": self.max_pieces,
            "vocabulary": list(self.vocabulary),
            "before": list(self.before),
            "after": list(self.after),
        }

    def _cut(self, text: str) -> list[int]:
        normalised = normalise(text, lowercase=self.lowercase, digits_alike=False)
        if self.cut == "words":
            words = split_tokens(normalised, "words")
            return [self._ids[word] for word in words if word in self._ids]
        if self.cut == "wordpiece":
            words = split_tokens(_without_accents(normalised), "words")
            words = [part for word in words for part in _without_apostrophes(word)]
            make = self._word_pieces
        else:
            words = [SPACE + word for word in normalised.split(" ")] if normalised else []
            make = self._joined_pairs
        found: list[int] = []
        for word in words:
            if word not in self._known:
                self._known[word] = make(word)
            found += self._known[word]
        return found

    def _joined_pairs(self, word: str) -> tuple[int, ...]:
        parts = list(word)
        while len(parts) > 1:
            ranks = [self._ids.get(left + right) for left, right in itertools.pairwise(parts)]
            known = [rank for rank in ranks if rank is not None]
            if not known:
                break
            at = ranks.index(min(known))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        found: list[int] = []
        for part in parts:
            pieces = [part] if part in self._ids else [f"<0x{byte:02X}>" for byte in part.encode()]
            found += [self._ids[piece] for piece in pieces if piece in self._ids]
        return tuple(found)

    def _word_pieces(self, word: str) -> tuple[int, ...]:
        found, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            for stop in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:stop]
                if piece in self._ids:
                    found.append(self._ids[piece])
                    start = stop
                    break
            else:
                break
        if start == len(word):
            return tuple(found)
        return (self._ids["[UNK]"],) if "[UNK]" in self._ids else ()


def pieces_of(state: dict[str, Any]) -> Pieces:
    """Return what a `Pieces.state` describes."""
    return Pieces(
        state["cut"],
        state["lowercase"],
        state["max_pieces"],
        tuple(state["vocabulary"]),
        tuple(state["before"]),
        tuple(state["after"]),
    )


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(sign for sign in decomposed if unicodedata.category(sign) != "Mn")


def _without_apostrophes(word: str) -> list[str]:
    """Return the parts of a word and the signs between them, each alone: `don't` is three."""
    parts: list[str] = [""]
    for sign in word:
        if sign.isalnum():
            parts[-1] += sign
        else:
            parts += [sign, ""]
    return [part for part in parts if part]
