"""Two models of one log beside each other: a shadow on the very records of the other, a canary on those of its clients.

A shadow's rows and those of the model that answered share request and place, so that answers are compared one by one,
and metrics by labels as pairs. A canary has clients of its own: two samples, drawn by a hash. Nothing here decides who
is champion: that is the gate's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.label_sets import labels_in
from pipeline.evaluation.measures import Yardstick
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.ends import share_ends
from pipeline.metrics.intervals import Interval
from pipeline.metrics.two_samples import chi_square_test
from pipeline.monitoring.labels import Labels
from pipeline.monitoring.reading import (
    LATENCY_BINS,
    Answers,
    Batch,
    answers_of,
    batches_of,
    few,
    floats,
    latency_bins,
    milliseconds_at,
    parts_in,
    role_of,
    width_of,
)
from pipeline.monitoring.rows import ANSWERS, CANARY, SHADOW, Answering
from pipeline.monitoring.worth import Drawn, compared_metrics

MOST_PAIRED = 100_000
"""Records of a shadow that are compared; of more the newest."""
MOST_NUMBERS = 20_000_000
"""Of their answers, that are held at once: 80 MB."""
MOST_LABELLED = 20_000
"""Labelled answers of each that are judged; of more the newest. Pairs take seven times the resamples of one model."""
MOST_TOLD = 10
"""Kinds of disagreement."""
COLUMNS = (
    "time", "request", "index", "id", "sha256", "outcome", "milliseconds", "model_milliseconds", "answer", "confidence",
    "probabilities", "values", "error", "score", "alarm",
)  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """What is looked at.

    Attributes:
        log: The folder.
        first: The model that answered.
        since, until: Microseconds since 1970.
        labels: With their truth; None for none.
        yardstick: How answers are measured.
        drawn: How intervals are made.
    """

    log: Path
    first: Answering
    since: int
    until: int
    labels: Labels | None
    yardstick: Yardstick
    drawn: Drawn

    def batches(
        self, model: Answering, role: str, *, since: int, until: int, newest_first: bool = False
    ) -> Iterator[Batch]:
        """Yield rows of a model in a role, the parts in their order."""
        for path, facts in parts_in(self.log, newest_first=newest_first):
            if facts.get("digest") == model.digest and role_of(facts) == role:
                yield from batches_of(path, COLUMNS, since, until)

    def point(self, model: Answering) -> Mapping[str, Any]:
        """Return the operating point of a model."""
        return {} if model.spec.task == "anomaly" else model.card.get("operating_point") or {}


def beside(looked: Looked, papers: Mapping[str, Answering]) -> list[dict[str, Any]]:
    """Return every comparison of the model with a shadow or a canary of that time, as JSON content.

    Args:
        looked: What is looked at.
        papers: All models of the log by their digests.
    """
    there = dict.fromkeys(
        (facts["digest"], role_of(facts))
        for _path, facts in parts_in(looked.log)
        if facts.get("digest") in papers and role_of(facts) in (SHADOW, CANARY)
    )
    found = []
    for digest, role in there:
        second, spec = papers[digest], looked.first.spec
        asked = [(one.task, one.targets, one.horizon) for one in (spec, second.spec)]
        if digest == looked.first.digest or asked[0] != asked[1]:
            continue
        content = _shadow(looked, second) if role == SHADOW else _canary(looked, second)
        if content:
            model = {"name": second.name, "version": second.version or None, "digest": digest}
            found.append({"role": role, "called": second.called, "model": model, **content})
    return found


# --- A shadow: the same records.


@dataclass
class Pairs:
    """Records that both were asked, oldest first.

    Attributes:
        ids: By which labels are joined.
        first, second: Their answers.
        alone: How many of the second had no row of the first.
        left_out: Whether older ones were left out.
    """

    ids: list[str]
    first: Answers
    second: Answers
    alone: int
    left_out: bool


def _keys(batch: Mapping[str, pa.Array]) -> list[tuple[Any, ...]]:
    """Return by what a record is known again: clients may use the id of a request for several."""
    columns = [batch["request"], batch["index"], batch["sha256"]]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def pairs_of(looked: Looked, second: Answering) -> Pairs | None:
    """Return what the log holds of a shadow and, beside it, of the model that answered; None for nothing."""
    most = max(1, min(MOST_PAIRED, MOST_NUMBERS // width_of(second.spec)))
    keys: list[tuple[Any, ...]] = []
    ids: list[str] = []
    parts, times, left_out = [], [], False
    for batch in looked.batches(second, SHADOW, since=looked.since, until=looked.until, newest_first=True):
        if left_out := len(keys) >= most:
            break
        keys += _keys(batch)
        ids += batch["id"].to_pylist()
        parts.append(answers_of(batch, second.spec))
        times.append(batch["time"].cast(pa.int64()).to_numpy())
    if not keys:
        return None
    when, places = np.concatenate(times), {key: place for place, key in enumerate(keys)}
    found, known = [], []
    # A shadow's row has the time of the request that it is about.
    for batch in looked.batches(looked.first, ANSWERS, since=int(when.min()), until=int(when.max()) + 1):
        # Once each: what clients send twice under one id is paired once.
        matched = [(places.pop(key), row) for row, key in enumerate(_keys(batch)) if key in places]
        if matched:
            known += [place for place, _row in matched]
            found.append(answers_of(batch, looked.first.spec).taken([row for _place, row in matched]))
    if not known:
        return None
    order = np.argsort(when[known], kind="stable")
    kept = np.array(known)[order]
    first, held = Answers.together(found).taken(order), Answers.together(parts).taken(kept)
    return Pairs([ids[row] for row in kept], first, held, len(keys) - len(known), left_out)


def _shadow(looked: Looked, second: Answering) -> dict[str, Any]:
    pairs = pairs_of(looked, second)
    if pairs is None:
        return {}
    spec, confidence = looked.first.spec, looked.drawn.confidence
    one, other = pairs.first, _in_order(pairs.second, spec, second.spec)
    both = one.there & other.there
    content: dict[str, Any] = {
        "records": len(both),
        "without_first": pairs.alone,
        "refused": {
            "both": int((~one.there & ~other.there).sum()),
            "first_alone": int((~one.there & other.there).sum()),
            "second_alone": int((one.there & ~other.there).sum()),
        },
        "agreement": None,
        "disagreements": [],
        "differences": _differences(one.numbers[both], other.numbers[both], spec, second.spec),
        "model_milliseconds": {
            name: _ends_of(side.milliseconds[both]) for name, side in (("first", one), ("second", other))
        },
    }
    told = both & np.array(
        [a is not None and b is not None for a, b in zip(one.said, other.said, strict=True)]
    )
    if told.any():
        content |= _agreement(one.said[told], other.said[told], spec, confidence)
    notes = [f"Older records than the newest {len(both):,} are left out."] if pairs.left_out else []
    if looked.labels is not None:
        joined = [
            _labels(looked.labels, spec),
            _labels(looked.labels, _measured_as(looked.first.spec, second.spec)),
        ]
        for place in np.flatnonzero(both if spec.targets else told).tolist():
            for labels, side in zip(joined, (one, other), strict=True):
                _join(labels, pairs.ids[place], side, place)
        content |= _metrics(looked, second, joined, paired=True)
        notes += _classes_note(spec, second.spec)
    return content | {"notes": notes}


def _agreement(first: np.ndarray, second: np.ndarray, spec: OutputSpec, confidence: float) -> dict[str, Any]:
    """Return on which share both say the same, and what they say where they do not."""
    same = np.array([_same(one, other, spec) for one, other in zip(first, second, strict=True)], bool)
    value = float(same.mean())
    told = Counter(zip(first[~same].tolist(), second[~same].tolist(), strict=True))
    return {
        "agreement": Interval(value, *share_ends(value, len(same), confidence)).rounded(),
        "disagreements": [
            {"first": one, "second": other, "records": records}
            for (one, other), records in sorted(told.items(), key=lambda item: (-item[1], item[0]))[
                :MOST_TOLD
            ]
        ],
    }


def _same(one: str, other: str, spec: OutputSpec) -> bool:
    """Return whether two answers say the same; labels stand in the order of the classes of each."""
    return one == other or (spec.task == "multilabel" and sorted(labels_in(one)) == sorted(labels_in(other)))


def _differences(
    first: np.ndarray, second: np.ndarray, spec: OutputSpec, spec_second: OutputSpec
) -> dict[str, dict[str, float | None]]:
    """Return how far numbers lie apart: by target, by error and score, or the largest of a record's probabilities."""
    if not len(first):
        return {}
    if spec.classes:
        names = list(dict.fromkeys((*spec.classes, *spec_second.classes)))
        sides = [np.zeros((len(first), len(names)), np.float32) for _ in range(2)]
        for side, numbers, classes in zip(
            sides, (first, second), (spec.classes, _measured_as(spec, spec_second).classes), strict=True
        ):
            side[:, [names.index(name) for name in classes]] = numbers
        apart = sides[1] - sides[0]
        largest = np.abs(apart).argmax(axis=1)
        return {"probability": _described(np.abs(apart[np.arange(len(apart)), largest]))}
    if spec.task == "anomaly":
        named = zip(("error", "score"), (second - first).T, strict=True)
    else:
        apart = (second - first).reshape(-1, spec.num_targets)
        named = zip(spec.targets, apart.T, strict=True)
    return {
        name: _described(values[np.isfinite(values)]) for name, values in named if np.isfinite(values).any()
    }


def _described(values: np.ndarray) -> dict[str, float | None]:
    size = np.abs(values)
    return {
        "mean": few(values.mean(dtype=float)),
        "mean_absolute": few(size.mean(dtype=float)),
        "p50": few(np.quantile(size, 0.5)),
        "p99": few(np.quantile(size, 0.99)),
        "largest": few(size.max()),
    }


def _ends_of(milliseconds: np.ndarray) -> dict[str, float | None]:
    known = milliseconds[np.isfinite(milliseconds)]
    return {
        name: few(np.quantile(known, share)) if len(known) else None
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


# --- A canary: other clients.


@dataclass
class Sample:
    """What some clients were told.

    Attributes:
        records, refused, requests: How many.
        said: Answers by class or alarm.
        sums: Of numbers by name, and of how many.
        latency, model_latency: By bin of their milliseconds.
    """

    records: int = 0
    refused: int = 0
    requests: int = 0
    said: Counter[str] = field(default_factory=Counter)
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    latency: np.ndarray = field(default_factory=lambda: np.zeros(LATENCY_BINS, np.int64))
    model_latency: np.ndarray = field(default_factory=lambda: np.zeros(LATENCY_BINS, np.int64))

    def add(self, batch: Batch, answers: Answers, spec: OutputSpec) -> None:
        """Count some rows."""
        begins = floats(batch["index"]) == 0
        self.records += len(answers.there)
        self.refused += int((~answers.there).sum())
        self.requests += int(begins.sum())
        self.said.update(str(one) for one in answers.said[answers.there] if one is not None)
        self._sum("confidence", floats(batch["confidence"]) if "confidence" in batch else np.zeros(0))
        if spec.targets:
            steps = answers.numbers[answers.there].reshape(-1, spec.num_targets)
            for name, values in zip(spec.targets, steps.T, strict=True):
                self._sum(name, values)
        for counts, values in (
            (self.latency, floats(batch["milliseconds"])[begins]),
            (self.model_latency, answers.milliseconds[answers.there]),
        ):
            known = values[np.isfinite(values)]
            np.add.at(counts, latency_bins(known), 1)

    def _sum(self, name: str, values: np.ndarray) -> None:
        known = values[np.isfinite(values)].astype(float)
        total, count = self.sums.get(name, (0.0, 0))
        self.sums[name] = total + float(known.sum()), count + len(known)

    def told(self) -> dict[str, Any]:
        """Return it as JSON content."""
        return {
            "records": self.records,
            "requests": self.requests,
            "refused": self.refused,
            "means": {name: few(total / count) for name, (total, count) in self.sums.items() if count},
            "milliseconds": _ends_in(self.latency),
            "model_milliseconds": _ends_in(self.model_latency),
        }


def _ends_in(latency: np.ndarray) -> dict[str, float | None]:
    return {"p50": few(milliseconds_at(latency, 0.5)), "p99": few(milliseconds_at(latency, 0.99))}


def _canary(looked: Looked, second: Answering) -> dict[str, Any]:
    samples, span = [Sample(), Sample()], (looked.until, looked.since)
    joined = []
    if looked.labels is not None:
        joined = [
            _labels(looked.labels, looked.first.spec),
            _labels(looked.labels, _measured_as(looked.first.spec, second.spec)),
        ]
    for batch in looked.batches(second, CANARY, since=looked.since, until=looked.until):
        times = batch["time"].cast(pa.int64()).to_numpy()
        span = min(span[0], int(times.min())), max(span[1], int(times.max()))
        _count(samples[1], batch, second.spec, joined[1:], looked.first.spec)
    if not samples[1].records:
        return {}
    # Only what was asked while there was a canary: clients of other days are other clients.
    for batch in looked.batches(looked.first, ANSWERS, since=span[0], until=span[1] + 1):
        _count(samples[0], batch, looked.first.spec, joined[:1], looked.first.spec)
    if not samples[0].records:
        return {}
    one, other = samples
    content: dict[str, Any] = {
        "first": one.told(),
        "second": other.told(),
        "share_of_requests": few(other.requests / (one.requests + other.requests)),
        "answers": None,
    }
    if one.said and other.said:
        apart, p_value = chi_square_test(one.said, other.said)
        content["answers"] = {"difference": few(apart), "p_value": few(p_value)}
    notes = []
    if looked.labels is not None:
        content |= _metrics(looked, second, joined, paired=False)
        notes += _classes_note(looked.first.spec, second.spec)
    return content | {"notes": notes}


def _count(
    sample: Sample, batch: Batch, spec: OutputSpec, joined: Sequence[Labels], first: OutputSpec
) -> None:
    answers = answers_of(batch, spec)
    sample.add(batch, answers, spec)
    ordered = _in_order(answers, first, spec)
    for labels in joined:
        for place, name in enumerate(batch["id"].to_pylist()):
            if answers.there[place] and (spec.targets or answers.said[place] is not None):
                _join(labels, name, ordered, place)


# --- Labels.


def _measured_as(first: OutputSpec, second: OutputSpec) -> OutputSpec:
    """Return by which spec answers of the second are measured: by that of the first, if both have the same classes."""
    return first if set(first.classes) == set(second.classes) else second


def _in_order(answers: Answers, first: OutputSpec, second: OutputSpec) -> Answers:
    """Return answers of the second with their columns as in the spec that they are measured by."""
    classes = _measured_as(first, second).classes
    if classes == second.classes:
        return answers
    return replace(answers, numbers=answers.numbers[:, [second.classes.index(name) for name in classes]])


def _classes_note(first: OutputSpec, second: OutputSpec) -> list[str]:
    told = "The two know other classes, so that their metrics have no difference."
    return [told] if _measured_as(first, second) is second else []


def _labels(given: Labels, spec: OutputSpec) -> Labels:
    """Return the same labels, with nothing joined yet; without those that a model does not know."""
    known = set(spec.classes)

    def knows(truth: Any) -> bool:
        if not known:
            return True
        return set(labels_in(truth)) <= known if spec.task == "multilabel" else truth in known

    return Labels(spec, {name: truth for name, truth in given.truth.items() if knows(truth)})


def _join(labels: Labels, name: str, answers: Answers, place: int) -> None:
    """Join an answer to the label of its id; the first one counts."""
    if name not in labels.truth or name in labels.joined:
        return
    answer: Any = answers.numbers[place].tolist()
    if labels.spec.task == "anomaly":
        answer = answers.said[place] == "true"
    labels.joined[name] = labels.truth[name], answer


def _metrics(looked: Looked, second: Answering, joined: Sequence[Labels], *, paired: bool) -> dict[str, Any]:
    points = looked.point(looked.first), looked.point(second)
    joined = [replace(one, joined=dict([*one.joined.items()][-MOST_LABELLED:])) for one in joined]
    found = compared_metrics(joined[0], joined[1], points, looked.yardstick, looked.drawn, paired=paired)
    return {
        "labels": {"first": len(joined[0].joined), "second": len(joined[1].joined)},
        "metrics": {
            name: {
                "first": one.first.rounded(),
                "second": one.second.rounded(),
                "difference": one.difference.rounded() if one.difference else None,
            }
            for name, one in found.items()
        },
    }
