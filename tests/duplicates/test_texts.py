"""Exact and near copies among texts."""

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.duplicates import clusters
from pipeline.duplicates import texts as duplicates_texts
from pipeline.duplicates.clusters import Clusters
from pipeline.duplicates.texts import find_text_duplicates, near_text_pairs, normalised_text

WORDS = ["free", "call", "now", "win", "prize", "text", "stop", "claim", "cash", "urgent", "mobile", "award"]


def contents(texts):
    """Return a hash per text."""
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def jaccard(first, second):
    """Return the share of common five-character pieces of the normalised texts, with plain sets."""
    pieces = []
    for text in (first, second):
        form = normalised_text(text)
        pieces.append({form[place : place + 5] for place in range(max(1, len(form) - 4))})
    return len(pieces[0] & pieces[1]) / len(pieces[0] | pieces[1])


def groups_of(number, pairs):
    """Return who stands together, as a set of sets."""
    groups = Clusters(number)
    groups.join(np.array(pairs, dtype=np.int64).reshape(-1, 2))
    return {frozenset(np.flatnonzero(groups.labels == label).tolist()) for label in set(groups.labels)}


def brute_force(texts, similarity):
    """Return who stands together after comparing all with all."""
    pairs = [(i, j) for j in range(len(texts)) for i in range(j) if jaccard(texts[i], texts[j]) >= similarity]
    return groups_of(len(texts), pairs)


def variants(seed, number=60):
    """Return messages of some templates with words replaced, doubled and left out."""
    random = np.random.default_rng(seed)
    templates = [random.choice(WORDS, 12).tolist() for _ in range(6)]
    texts = []
    for _ in range(number):
        words = list(templates[random.integers(6)])
        for _ in range(random.integers(0, 4)):
            words[random.integers(12)] = str(random.choice([*WORDS, "", "x", "0800 123", "winner winner"]))
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FREE entry!!", "free entry"),
        ("Call 0800-123 now", "call 0000 000 now"),
        ("  stra\u00dfe\n\tSTRASSE ", "strasse strasse"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("zero\u200bwidth so\u00adft", "zerowidth soft"),
        ("e\u0301 \u00e9", "\u00e9 \u00e9"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        (":-) 12:30", ":-) 12:30"),
        ("", ""),
    ],
)
def test_normalised_texts_by_hand(text, expected):
    """Case, digits, punctuation, spaces and invisible signs go; vowel signs and letterless texts stay."""
    assert normalised_text(text) == expected


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_clusters_agree_with_comparing_all(seed, similarity):
    """The search over rare shingles finds exactly the clusters of a comparison of all with all by sets."""
    texts = variants(seed)
    expected = brute_force(texts, similarity)
    assert expected == groups_of(len(texts), near_text_pairs(texts, similarity))
    assert len(expected) < len(texts)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.text(alphabet="ab1 !\u00e9", max_size=14), min_size=1, max_size=14),
    st.sampled_from([0.2, 0.5, 0.75, 0.9, 1.0]),
)
def test_short_and_odd_texts_agree_with_comparing_all(texts, similarity):
    """Also texts below five characters, without letters, or empty."""
    assert brute_force(texts, similarity) == groups_of(len(texts), near_text_pairs(texts, similarity))


def test_every_pair_is_as_similar_as_demanded():
    """No pair below the bound is returned, whatever its cluster."""
    texts = variants(7, 200)
    pairs = near_text_pairs(texts, 0.6)
    assert min(jaccard(texts[first], texts[second]) for first, second in pairs) >= 0.6


def test_chunks_change_no_cluster(monkeypatch):
    """Small chunks and blocks give the same clusters."""
    texts = variants(3, 120)
    expected = groups_of(120, near_text_pairs(texts, 0.6))
    monkeypatch.setattr(duplicates_texts, "CHUNK_CHARACTERS", 150)
    monkeypatch.setattr(clusters, "CHUNK_VALUES", 20)
    assert expected == groups_of(120, near_text_pairs(texts, 0.6))


def test_a_full_table_of_counts_changes_no_cluster(monkeypatch):
    """Counting all shingles in four places makes the search slower, not wrong."""
    texts = variants(4)
    expected = groups_of(60, near_text_pairs(texts, 0.7))
    monkeypatch.setattr(duplicates_texts, "TABLE_BITS", 2)
    assert expected == groups_of(60, near_text_pairs(texts, 0.7))


def test_overfull_histograms_change_no_cluster(monkeypatch):
    """Texts with more than 255 shingles in one bin are not ruled out by what was counted."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(list("abcdefgh"), 900)) for _ in range(4)]
    texts += [text[:-40] for text in texts]
    for name in ("MIN_BINS", "MAX_BINS"):
        monkeypatch.setattr(duplicates_texts, name, 1)
    expected = brute_force(texts, 0.9)
    assert expected == groups_of(8, near_text_pairs(texts, 0.9))
    assert len(expected) == 4


def test_the_order_of_rows_does_not_matter():
    """Shuffled texts get the same cluster, each."""
    texts = variants(5, 100)
    order = np.random.default_rng(1).permutation(100)
    straight = find_text_duplicates(contents(texts), texts, 0.7)
    shuffled_texts = [texts[place] for place in order]
    shuffled = find_text_duplicates(contents(shuffled_texts), shuffled_texts, 0.7)
    assert straight.cluster[order].tolist() == shuffled.cluster.tolist()
    assert straight.near_copies[order].tolist() == shuffled.near_copies.tolist()


def test_added_texts_separate_nobody():
    """Near duplicates among old texts stay near duplicates when new texts make their shingles common."""
    old = ["You have won a prize, call 0800 111", "You have won a prize! Call 0800-222", "See you at home"]
    before = find_text_duplicates(contents(old), old, 0.9).cluster
    after = find_text_duplicates(contents(old + variants(6)), old + variants(6), 0.9).cluster
    assert before[0] == before[1] != before[2]
    assert after[0] == after[1] != after[2]


def test_copies_are_counted():
    """Two equal texts, a variant with another number, a stranger: 1, 1, 0, 0 exact and 1, 1, 2, 0 near copies."""
    texts = ["Claim code 12 today", "Claim code 12 today", "CLAIM code 34, today!", "Where are you?"]
    found = find_text_duplicates(contents(texts), texts, 1.0)
    assert found.exact_copies.tolist() == [1, 1, 0, 0]
    assert found.near_copies.tolist() == [1, 1, 2, 0]
    assert found.cluster[0] == min(contents(texts)[0], contents(texts)[2])


def test_letterless_texts_are_told_apart():
    """All numbers, or all smileys, are not one text."""
    texts = ["123", "456", ":)", ":(", "\u2764", "!!!"]
    assert len(near_text_pairs(texts, 0.9)) == 0


def test_many_variants_of_one_text_stay_few_pairs():
    """Two thousand near duplicates of one text are connected in seconds, without two million pairs."""
    body = " ".join(WORDS * 8)
    texts = [f"{body} {chr(97 + number // 26 % 26)}{chr(97 + number % 26)}" for number in range(676)] * 3
    start = time.perf_counter()
    pairs = near_text_pairs(texts, 0.9)
    assert groups_of(len(texts), pairs) == {frozenset(range(len(texts)))}
    assert len(pairs) < 100_000
    assert time.perf_counter() - start < 10


def test_no_texts_have_no_duplicates():
    """An empty set is fine."""
    assert len(find_text_duplicates([], [], 0.9).cluster) == 0


def test_real_messages_take_seconds(benchmarks):
    """The 5,574 messages of the SMS collection: 403 superfluous exact copies, as its provenance says."""
    lines = (benchmarks / "sms-spam" / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    texts = [line.split("\t", 1)[1] for line in lines if line]
    start = time.perf_counter()
    found = find_text_duplicates(contents(texts), texts, 0.9)
    assert time.perf_counter() - start < 5
    assert len(set(found.cluster)) < len(set(texts)) == len(texts) - 403
