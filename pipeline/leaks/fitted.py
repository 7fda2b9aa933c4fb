"""Whether what was fitted follows from train alone (leaks L1.2 and L1.3): state.json against a second reckoning.

Every mean, deviation, count, vocabulary and category list of data/features/state.json is reckoned again from
the training rows. A scale that differs has seen other rows (pre-processing on train and test); a selection
that differs (which words, terms and categories were frequent enough) was made on other rows too.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.label_sets import label_counts
from pipeline.leaks.findings import (
    Finding,
    LeakData,
    SignOff,
    WindowColumns,
    leak_refusal,
    read_leak_data,
    signed_in_vain,
)
from pipeline.preprocessing.side import category_of, numbers_of
from pipeline.preprocessing.statistics import SMALLEST_DEVIATION
from pipeline.preprocessing.texts import FIRST_ID, FIRST_TERM_ID, fit_bag, fit_tokenizer, most_frequent
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json

TOLERANCE = 1e-6
"""Of a mean or deviation, relative to the deviation: sums in another order differ by 1e-12, another row by more."""
CHUNK_ROWS = 4096
CHUNK_STEPS = 1 << 18


def refuse_unless_fitted_on_train(
    *,
    method: str,
    task: str,
    windows: WindowColumns | None = None,
    accepted: Mapping[str, SignOff] | None = None,
) -> list[str]:
    """Stop here if data/features/state.json has seen other rows than those that train.

    Args:
        method: As in `split.method`.
        task: As in `data.task`.
        windows: Columns that windows read and predict; None where samples are whole.
        accepted: Id of a finding to what a person said about it, and up to which extent.

    Returns:
        Ids of what is signed off as fitted on other rows, and was not found.

    Raises:
        DataRefused: Names every part of the state that differs.
        InputMissing: A file is not there.
        FileNotFoundError: There is no state.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    handmade = np.load(paths.FEATURES_NPY, mmap_mode="r") if "handmade" in state else None
    frozen = np.load(paths.FROZEN_NPY, mmap_mode="r") if "pretrained" in state else None
    findings = fitted_on_train_problems(state, read_leak_data(method, task, windows), handmade, frozen)
    signed = dict(accepted or {})
    if not all(finding.is_signed(signed) for finding in findings):
        raise DataRefused(leak_refusal(findings, signed, str(paths.FEATURES_STATE)))
    return signed_in_vain(findings, signed, fitted=True)


def fitted_on_train_problems(
    state: Mapping[str, Any],
    data: LeakData,
    handmade: np.ndarray | None = None,
    frozen: np.ndarray | None = None,
) -> list[Finding]:
    """Return a finding per part of the state that does not follow from the training rows alone.

    Args:
        state: The content of data/features/state.json; keys that are not there were not fitted.
        data: Samples, payload and split.
        handmade: Hand-made features of all images, float32 (num_images, num_features).
        frozen: What a pretrained trunk makes of all samples, float32 (num_samples, dimensions).
    """
    checks = (_answers, _pixels, _series, _texts, _side)
    found = [finding for check in checks for finding in check(state, data)]
    if handmade is not None:
        found += _scale("handmade", state["handmade"], _moments(_rows(handmade, data.train_rows)))
    if frozen is not None:
        found += _scale("pretrained", state["pretrained"], _moments(_rows(frozen, data.train_rows)))
    return found


def _answers(state: Mapping[str, Any], data: LeakData) -> Iterator[Finding]:
    train = data.split.splits == "train"
    if "classes" in state:
        count = label_counts if data.task == "multilabel" else Counter[str]
        counts = count(data.split.labels[train].tolist())
        expected = sorted(counts), [counts[name] for name in sorted(counts)]
        if (state["classes"], state["class_counts"]) != expected:
            yield _selected("classes", state["classes"], expected[0])
    elif "target" in state and data.windows is None:
        yield from _scale("target", state["target"], _moments([data.split.targets[train][:, None]]))


def _pixels(state: Mapping[str, Any], data: LeakData) -> Iterator[Finding]:
    if "image" in state:
        parts = (
            images.reshape(-1, images.shape[-1]) / 255 for images in _rows(data.payload, data.train_rows)
        )
        yield from _scale("image", state["image"], _moments(parts))


def _series(state: Mapping[str, Any], data: LeakData) -> Iterator[Finding]:
    if "series" not in state:
        return
    segments = data.split.named_segments(data.samples, "train")
    measured = _moments(_steps(data, segments))
    yield from _scale("series", state["series"], measured)
    for name, own in sorted(state["series"].get("of_series", {}).items()):
        yield from _scale(
            f"series of {name}", own, _moments(_steps(data, [s for s in segments if s[0] == name]))
        )
    place = {name: number for number, name in enumerate(data.samples.channels)}
    if "target" in state and data.windows is not None:
        columns = [place[name] for name in state["target"]["names"]]
        yield from _scale("target", state["target"], (measured[0][columns], measured[1][columns]))
    known = state.get("windows", {}).get("side", {}).get("known", {})
    for column in known.get("categories", ()):
        steps = np.concatenate([part[:, place[column["name"]]] for part in _steps(data, segments)])
        yield from _categories(column, steps[np.isfinite(steps)].tolist())


def _texts(state: Mapping[str, Any], data: LeakData) -> Iterator[Finding]:
    if "text" not in state:
        return
    tokens, bag = state["text"]["tokens"], state["text"]["bag"]
    texts = [data.text(row) for row in data.train_rows.tolist()]
    # As many as there are: whoever is more frequent comes first, so a higher `min_count` only cuts the end.
    tokenizer = fit_tokenizer(
        texts,
        unit=tokens["unit"],
        lowercase=tokens["lowercase"],
        digits_alike=tokens["digits_alike"],
        vocabulary_size=len(tokens["vocabulary"]) + FIRST_ID,
        min_count=1,
        max_tokens=tokens["max_tokens"],
    )
    if list(tokenizer.vocabulary) != tokens["vocabulary"]:
        yield _selected("text.tokens", tokens["vocabulary"], tokenizer.vocabulary)
    chars = bag["char_ngrams"]
    terms = fit_bag(
        texts,
        lowercase=bag["lowercase"],
        digits_alike=bag["digits_alike"],
        word_ngrams=(bag["word_ngrams"][0], bag["word_ngrams"][1]),
        char_ngrams=None if chars is None else (chars[0], chars[1]),
        bag_size=len(bag["terms"]) + FIRST_TERM_ID,
        max_bag=bag["max_bag"],
        min_count=1,
    )
    if list(terms.terms) != bag["terms"]:
        yield _selected("text.bag", bag["terms"], terms.terms)
    elif not np.allclose(terms.inverse_frequencies, bag["inverse_frequencies"], rtol=TOLERANCE):
        yield _scaled("text.bag", "inverse document frequencies that differ")


def _side(state: Mapping[str, Any], data: LeakData) -> Iterator[Finding]:
    rows = data.train_rows.tolist()
    for column in state.get("side", {}).get("numbers", ()):
        values = [data.samples.side[column["name"]][row] for row in rows]
        own = {name: [column[name]] for name in ("mean", "standard_deviation")}
        yield from _scale(
            f"side.{column['name']}", own, _moments([numbers_of(column["name"], values)[:, None]])
        )
    for column in state.get("side", {}).get("categories", ()):
        yield from _categories(column, [data.samples.side[column["name"]][row] for row in rows])


def _categories(column: Mapping[str, Any], train: Sequence[Any]) -> Iterator[Finding]:
    counts = Counter(name for value in train if (name := category_of(value)))
    expected = most_frequent(counts, len(column["values"]), 1)
    if list(expected) != list(column["values"]):
        yield _selected(f"side.{column['name']}", column["values"], expected)


def _scale(
    what: str, fitted: Mapping[str, Any], measured: tuple[np.ndarray, np.ndarray]
) -> Iterator[Finding]:
    """Yield a finding if means or deviations are not those that were measured."""
    mean, deviation = measured
    wrong = (np.abs(np.asarray(fitted["mean"]) - mean) > TOLERANCE * np.maximum(deviation, np.abs(mean))) | (
        np.abs(np.asarray(fitted["standard_deviation"]) - deviation) > TOLERANCE * deviation
    )
    if wrong.any():
        place = int(np.argmax(wrong))
        off = np.abs(np.asarray([fitted["mean"], fitted["standard_deviation"]]) - measured) / deviation
        yield _scaled(
            what,
            f"mean={fitted['mean'][place]:.9g}, standard_deviation={fitted['standard_deviation'][place]:.9g} where "
            f"train has {mean[place]:.9g} and {deviation[place]:.9g}, in {int(wrong.sum())} of {len(wrong)} columns",
            float(off.max()),
        )


def _scaled(what: str, received: str, deviations: float | None = None) -> Finding:
    problem = (
        f"{what} in {paths.FEATURES_STATE} was not measured on train alone. Expected what its training rows say. "
        f"Received: {received}."
    )
    return Finding(
        f"fitted:{what}",
        "L1.2",
        problem,
        "Fit it on rows of split train only, then `dvc repro features`.",
        score=deviations,
    )


def _selected(what: str, received: Sequence[str], expected: Sequence[str]) -> Finding:
    strangers = [name for name in received if name not in set(expected)]
    told = ", ".join(repr(name) for name in strangers[:5]) or "another order or other counts"
    problem = (
        f"{what} in {paths.FEATURES_STATE} was not selected on train alone. Expected the {len(expected)} most frequent "
        f"of the training rows. Received: {len(strangers)} others: {told}."
    )
    return Finding(
        f"selected:{what}",
        "L1.3",
        problem,
        "Select on rows of split train only, then `dvc repro features`.",
        score=len(strangers),
    )


def _rows(array: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), CHUNK_ROWS):
        yield np.asarray(array[rows[first : first + CHUNK_ROWS]], np.float64)


def _steps(data: LeakData, segments: Sequence[tuple[str, int, int]]) -> Iterator[np.ndarray]:
    width = len(data.samples.channels)
    for _name, start, stop in segments:
        for first in range(start, stop, CHUNK_STEPS):
            yield np.asarray(data.payload[first : min(first + CHUNK_STEPS, stop), :width], np.float64)


def _moments(parts: Iterator[np.ndarray] | Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population deviation per column over parts of shape (rows, columns), NaN left out.

    Merged part by part (Chan, Golub and LeVeque 1979), so that one pass is exact enough. As where it is
    fitted, the deviation of a constant column is 1, and a column without numbers has mean 0.
    """
    count, mean, squares = np.zeros(1), np.zeros(1), np.zeros(1)
    for part in parts:
        there = np.isfinite(part)
        own = there.sum(axis=0)
        own_mean = np.where(there, part, 0).sum(axis=0) / np.maximum(own, 1)
        own_squares = (np.where(there, part - own_mean, 0) ** 2).sum(axis=0)
        both = np.maximum(count + own, 1)
        squares = squares + own_squares + (own_mean - mean) ** 2 * count * own / both
        mean, count = mean + (own_mean - mean) * own / both, count + own
    deviation = np.sqrt(squares / np.maximum(count, 1))
    constant = deviation <= SMALLEST_DEVIATION * np.maximum(1.0, np.abs(mean))
    return mean, np.where(constant, 1.0, deviation)
