"""Texts that stand in the data more than once: exactly, or nearly the same.

Two texts are near duplicates if the sets of five-character pieces (shingles) of their normalised forms have
a Jaccard similarity of at least a bound. The search is MinHash turned exact: two sets that alike must share
one of their few smallest shingles, in any order that is the same for all texts, so only texts that share one
are compared. Here rare shingles count as small, which keeps the comparisons few; no near duplicate is missed,
and what is near does not depend on the other texts or on the order of rows.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline.duplicates.clusters import Clusters, Duplicates, blocks, equal_key_pairs, group_copies

SHINGLE_CHARACTERS = 5
CHUNK_CHARACTERS = 1 << 20
"""Characters cut into shingles at once; each costs about 60 bytes of memory."""

TABLE_BITS = 22
"""Shingles are counted in a table of 2 ** 22 numbers; two in one place only count as less rare than they are."""

MIN_BINS, MAX_BINS = 64, 1024
HISTOGRAM_BYTES = 1 << 28
"""Each text has a histogram of its shingles: what two texts have in common bin by bin is a bound on what they have
in common, and rules out nearly all unlike pairs for at most 1024 bytes per text, and 256 MiB for four million."""

MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD],
    dtype=np.uint64,
)
"""Odd constants of well-known hashes (golden ratio, xxHash, MurmurHash), one per character of a shingle."""


class _Characters(dict[int, str]):
    """What `str.translate` makes of a character: letters stay, digits are 0, invisible signs go, the rest parts."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        self[code] = (
            chr(code) if kind[0] in "LM" else "0" if kind == "Nd" else "" if kind in ("Cf", "Cs") else " "
        )
        return self[code]


_CHARACTERS = _Characters()


def normalised_text(text: str) -> str:
    """Return what is compared of a text: its letters, the places of its digits, and where words part.

    Unicode NFKC, casefolded; each digit becomes 0; punctuation, symbols and white space become single spaces.
    A text without any letter keeps its digits and signs, or all numbers and all smileys would be one text.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = " ".join(folded.translate(_CHARACTERS).split())
    return plain if any(map(str.isalpha, plain)) else " ".join(folded.split())


def find_text_duplicates(content: Sequence[str], texts: Sequence[str], similarity: float) -> Duplicates:
    """Return copies and clusters of copies.

    Args:
        content: Hash of each text.
        texts: As they are, in the same order.
        similarity: Jaccard similarity from which two texts are near duplicates, above 0, at most 1.
    """
    return group_copies(content, lambda rows: near_text_pairs([texts[row] for row in rows], similarity))


def near_text_pairs(texts: Sequence[str], similarity: float) -> np.ndarray:
    """Return pairs of near duplicates that connect all near duplicates.

    Near duplicates that are connected by other pairs already may be left out: a thousand variants of one
    text are no half million pairs.

    Args:
        texts: As they are.
        similarity: Jaccard similarity from which two texts are near duplicates, above 0, at most 1.

    Returns:
        Row numbers, int64, shape (num_pairs, 2).
    """
    forms: dict[str, int] = {}
    form_of = np.array([forms.setdefault(normalised_text(text), len(forms)) for text in texts], np.int64)
    _, first = np.unique(form_of, return_index=True)
    rows = np.arange(len(texts))
    repeated = first[form_of] != rows
    same = np.stack([first[form_of][repeated], rows[repeated]], axis=1)
    return np.concatenate([same, first[_near_form_pairs(list(forms), similarity)]])


@dataclass(frozen=True)
class _Sketches:
    """What is kept of the shingles of all texts.

    Attributes:
        sizes: Different shingles per text, int64, shape (num_texts,).
        histograms: The same by bin, uint8, shape (num_texts, bins); 255 stands for more, too.
        texts: Text of each entry below, int64, shape (num_entries,).
        keys: One of the smallest shingles of that text, uint64.
        ranks: How many of its shingles are smaller, int64.
    """

    sizes: np.ndarray
    histograms: np.ndarray
    texts: np.ndarray
    keys: np.ndarray
    ranks: np.ndarray


def _near_form_pairs(forms: list[str], similarity: float) -> np.ndarray:
    """Return pairs, int64, shape (num_pairs, 2), that connect all alike among different normalised texts."""
    sketches = _sketches(forms, similarity)
    groups = Clusters(len(forms))
    found = [np.empty((0, 2), np.int64)]
    for first, second in equal_key_pairs(sketches.keys):
        pairs = groups.apart(_possible(sketches, np.stack([first, second], axis=1), similarity))
        pairs = pairs[_common_in_bins(sketches, pairs) >= _least_common(sketches.sizes[pairs], similarity)]
        lengths = sketches.sizes[pairs].sum(axis=1)
        for start, stop in blocks(lengths, CHUNK_CHARACTERS):
            # What earlier blocks connected needs no look.
            likely = groups.apart(pairs[start:stop])
            if not len(likely):
                continue
            alike = likely[_jaccard(forms, likely) >= similarity]
            groups.join(alike)
            found.append(alike)
    return np.concatenate(found)


def _possible(sketches: _Sketches, entries: np.ndarray, similarity: float) -> np.ndarray:
    """Return the pairs of texts, each once, that can be alike if the shingle of two entries is their first common.

    Args:
        sketches: Of all texts.
        entries: Places of two entries with the same shingle, shape (num_entries, 2).
        similarity: From which on texts are alike.
    """
    pairs = sketches.texts[entries]
    sizes = sketches.sizes[pairs]
    # Everything that two texts have in common stands at or behind their first common shingle.
    left = (sizes - sketches.ranks[entries]).min(axis=1)
    possible: np.ndarray = np.unique(pairs[left >= _least_common(sizes, similarity)], axis=0)
    return possible


def _least_common(sizes: np.ndarray, similarity: float) -> np.ndarray:
    """Return how many shingles texts of two sizes, shape (num_pairs, 2), have in common if they are alike."""
    return _rounded_up(similarity / (1 + similarity) * sizes.sum(axis=1))


def _common_in_bins(sketches: _Sketches, pairs: np.ndarray) -> np.ndarray:
    """Return an upper bound on the number of common shingles of each pair, int64."""
    step = CHUNK_CHARACTERS // MAX_BINS + 1
    common = np.empty(len(pairs), np.int64)
    for start in range(0, len(pairs), step):
        first, second = pairs[start : start + step].T
        smaller = np.minimum(sketches.histograms[first], sketches.histograms[second])
        common[start : start + step] = np.where(
            smaller.max(axis=1) == 255,  # too long to be ruled out by what was counted
            sketches.sizes[first],
            smaller.sum(axis=1, dtype=np.int64),
        )
    return common


def _sketches(forms: list[str], similarity: float) -> _Sketches:
    """Return what is kept of each text.

    Of n shingles, one that is alike has at least `similarity` times n in common, so the smallest common one
    is among the n - that + 1 smallest of each.
    """
    sizes = np.empty(len(forms), np.int64)
    num_bins = min(MAX_BINS, max(MIN_BINS, HISTOGRAM_BYTES // max(1, len(forms))))
    histograms = np.empty((len(forms), num_bins), np.uint8)
    frequency = np.zeros(1 << TABLE_BITS, np.int32)
    for start, stop in _chunks(forms):
        shingles, count = _shingles(forms[start:stop])
        sizes[start:stop] = count
        bins = (shingles % np.uint64(num_bins)).astype(np.int64)
        bins += np.repeat(np.arange(stop - start) * num_bins, count)
        filled = np.bincount(bins, minlength=(stop - start) * num_bins).reshape(-1, num_bins)
        histograms[start:stop] = np.minimum(filled, 255)
        places, times = np.unique(_place(shingles), return_counts=True)
        frequency[places] += times.astype(np.int32)
    kept = [(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64))]
    for start, stop in _chunks(forms):
        shingles, count = _shingles(forms[start:stop])
        text = np.repeat(np.arange(start, stop), count)
        order = np.lexsort((shingles, frequency[_place(shingles)], text))
        rank = np.arange(len(text)) - np.repeat(np.cumsum(count) - count, count)
        small = rank <= (count - _rounded_up(similarity * count))[text - start]
        kept.append((text[small], shingles[order][small], rank[small]))
    texts, keys, ranks = (np.concatenate(part) for part in zip(*kept, strict=True))
    return _Sketches(sizes, histograms, texts, keys, ranks)


def _rounded_up(numbers: np.ndarray) -> np.ndarray:
    """Return numbers rounded up, int64; the subtraction keeps 0.9 * 10 = 9.000000000000002 from becoming 10."""
    return np.ceil(numbers - 1e-9).astype(np.int64)


def _jaccard(forms: list[str], pairs: np.ndarray) -> np.ndarray:
    """Return the similarity of each pair of texts, float64, shape (num_pairs,)."""
    used, place = np.unique(pairs, return_inverse=True)
    shingles, sizes = _shingles([forms[text] for text in used])
    _, column = np.unique(shingles, return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    holds = csr_array((np.ones(len(column), np.int64), column, starts))
    first, second = place.reshape(pairs.shape).T
    common = holds[first].multiply(holds[second]).sum(axis=1)
    similarity: np.ndarray = common / (sizes[first] + sizes[second] - common)
    return similarity


def _shingles(forms: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the different shingles of each text, one text after the other, and how many each has.

    A shingle is a 64-bit hash of five characters: among ten million, two alike by chance are a matter of
    1 in 400,000. A shorter text is one shingle, filled up with zeros.
    """
    if not len(forms):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    padded = [form.ljust(SHINGLE_CHARACTERS, "\0") for form in forms]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    counts = np.array([len(form) - SHINGLE_CHARACTERS + 1 for form in padded])
    text = np.repeat(np.arange(len(forms)), counts)
    start = np.arange(len(text)) + text * (SHINGLE_CHARACTERS - 1)
    hashes = np.zeros(len(text), np.uint64)
    for offset, multiplier in enumerate(MULTIPLIERS):
        hashes = (hashes ^ codes[start + offset]) * multiplier  # wraps around at 64 bits, as a hash may
        hashes ^= hashes >> np.uint64(29)
    order = np.lexsort((hashes, text))
    hashes, text = hashes[order], text[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (text[1:] != text[:-1])
    return hashes[new], np.bincount(text[new], minlength=len(forms))


def _place(shingles: np.ndarray) -> np.ndarray:
    """Return where a shingle is counted, int64."""
    return (shingles >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def _chunks(forms: Sequence[str]) -> Iterator[tuple[int, int]]:
    return blocks(np.array([len(form) for form in forms], np.int64), CHUNK_CHARACTERS)
