"""Texts as ids of the vocabulary that pretrained vectors came with: whole words, or pieces of words.

Two ways to cut a text, by the name in the file of vectors:

* `words`: as everything else here (`texts.split_tokens`);
* `bpe`: byte pairs as SentencePiece joins them: a text becomes characters, with `\u2581` for a space before each word,
  and the two neighbours whose joint piece comes first in the vocabulary become one, until no joint piece is known.
  What is no piece becomes its bytes (Sennrich et al., 2016; Kudo and Richardson, 2018).

Ids are those of the vocabulary plus one, because 0 is padding.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.preprocessing.texts import normalise, split_tokens

PADDING_ID = 0
FIRST_ID = 1
SPACE = "\u2581"

Cut = Literal["words", "bpe"]
CUTS: tuple[Cut, ...] = ("words", "bpe")


@dataclass(frozen=True)
class Pieces:
    """From text to ids of pretrained vectors.

    Attributes:
        cut: How a text is cut, see the head of this file.
        lowercase: Whether upper and lower case are one.
        max_pieces: Ids per text; the rest of a longer one is not read.
        vocabulary: Pieces in the order of the vectors.
    """

    cut: Cut
    lowercase: bool
    max_pieces: int
    vocabulary: tuple[str, ...]
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
        for row, text in enumerate(texts):
            found = self._cut(text)[: self.max_pieces]
            ids[row, : len(found)] = found
        return ids

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `pieces_of` reads them."""
        return {
            "cut": self.cut,
            "lowercase": self.lowercase,
            "max_pieces": self.max_pieces,
            "vocabulary": list(self.vocabulary),
        }

    def _cut(self, text: str) -> list[int]:
        normalised = normalise(text, lowercase=self.lowercase, digits_alike=False)
        if self.cut == "words":
            words = split_tokens(normalised, "words")
            return [self._ids[word] for word in words if word in self._ids]
        words = [SPACE + word for word in normalised.split(" ")] if normalised else []
        found: list[int] = []
        for word in words:
            if word not in self._known:
                self._known[word] = self._joined_pairs(word)
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


def pieces_of(state: dict[str, Any]) -> Pieces:
    """Return what a `Pieces.state` describes."""
    return Pieces(
        state["cut"],
        state["lowercase"],
        state["max_pieces"],
        tuple(state["vocabulary"]),
    )
