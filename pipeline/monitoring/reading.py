"""A log of predictions, read part by part: counts of one model's rows, however long the log is.

Rows are counted into the bins of the model's reference, and by hour: how many, how many refused, how sure, how many
alarms, and milliseconds in bins an eighth of an octave wide (about 9 %). What labels are joined to is kept row by row.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.specs import OutputSpec
from pipeline.monitoring.labels import Labels
from pipeline.monitoring.reference import Block, block_from
from pipeline.monitoring.rows import ANSWERED, ANSWERS, CANARY, FORMAT, REFUSED, SHADOW, Answering
from pipeline.runtime.errors import InputMissing
from pipeline.runtime.files import read_json

PART = "[0-9]*/part-*.parquet"
BATCH_ROWS = 8192
LATENCY_BINS, LATENCY_FIRST_MS, LATENCY_STEPS = 256, 0.01, 8
HOUR_US = 3_600_000_000
LOWEST_US, HIGHEST_US = -(2**62), 2**62
Batch = Mapping[str, pa.Array]
"""Some rows of a part, by column."""
FIXED = ("time", "request", "index", "id", "outcome", "milliseconds")


def paper_of(content: Mapping[str, Any]) -> Answering:
    """Return a model as the log holds it."""
    return Answering(
        content["name"],
        content["version"],
        content["digest"],
        content["state"],
        content["card"],
        content.get("reference") or {},
    )


def papers_in(folder: Path) -> dict[str, Answering]:
    """Return the models whose answers a log holds, by their digests.

    Raises:
        InputMissing: It is no log.
    """
    if not (folder / "models").is_dir():
        raise InputMissing(
            f"{folder} is no prediction log. Expected a folder that `millrace serve --log` has written to. Received: "
            f"{'no models/ in it' if folder.is_dir() else 'nothing there'}. Check the path."
        )
    papers = [paper_of(read_json(path)) for path in sorted((folder / "models").glob("*.json"))]
    return {paper.digest: paper for paper in papers}


@dataclass
class Hour:
    """What happened in one hour.

    Attributes:
        rows: Records.
        refused: Of them.
        sure: Sum of the confidences, and of how many.
        alarms: How many, and of how many.
        latency: Requests by bin of their milliseconds.
    """

    rows: int = 0
    refused: int = 0
    sure: list[float] = field(default_factory=lambda: [0.0, 0])
    alarms: list[int] = field(default_factory=lambda: [0, 0])
    latency: np.ndarray = field(default_factory=lambda: np.zeros(LATENCY_BINS, np.int64))

    def join(self, other: "Hour") -> None:
        """Take in another one."""
        self.rows += other.rows
        self.refused += other.refused
        self.sure = [one + more for one, more in zip(self.sure, other.sure, strict=True)]
        self.alarms = [one + more for one, more in zip(self.alarms, other.alarms, strict=True)]
        self.latency = self.latency + other.latency


@dataclass
class Seen:
    """What a log says of one model.

    Attributes:
        paper: The model.
        train: Its records in the bins of its train rows; None without a reference.
        test: Its answers in the bins of those for test rows.
        hours: Hours since 1970 to what happened.
        outcomes: Records by what became of them.
        requests: How many.
        roles: Records by the role that the model had.
        others: Records that are left out, by the model and its role where that is no usual one.
        unread: Part files that could not be read.
        first, last: Times of the first and the last record, microseconds since 1970; None for no record.
    """

    paper: Answering
    train: Block | None = None
    test: Block | None = None
    hours: dict[int, Hour] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    first: int | None = None
    last: int | None = None

    @property
    def rows(self) -> int:
        """Return how many records there are."""
        return sum(self.outcomes.values())


def parts_in(folder: Path, *, newest_first: bool = False) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the part files of a log with what each says of itself, see `facts_of`."""
    for path in sorted(folder.glob(PART), key=lambda path: path.name, reverse=newest_first):
        yield path, facts_of(path)


def newest_in(folder: Path, papers: Mapping[str, Answering]) -> Answering:
    """Return the model that answered last: not as a canary or a shadow, unless there is no other.

    Raises:
        InputMissing: There is no row yet.
    """
    found: dict[str, Answering] = {}
    for _path, facts in parts_in(folder, newest_first=True):
        if facts.get("digest") in papers:
            found.setdefault(role_of(facts), papers[facts["digest"]])
        if ANSWERS in found:
            break
    for role in (ANSWERS, CANARY, SHADOW):
        if role in found:
            return found[role]
    raise InputMissing(
        f"{folder} holds no answers yet. Expected part files that `millrace serve --log` writes. Received: none. Ask "
        "the server, and wait for --log-seconds."
    )


def read_log(
    folder: Path,
    paper: Answering,
    papers: Mapping[str, Answering],
    *,
    since: int = LOWEST_US,
    until: int = HIGHEST_US,
    labels: Labels | None = None,
) -> Seen:
    """Return what a log says of one model: of what clients heard of it, or else of what it said as a shadow.

    Args:
        folder: The log.
        paper: The model.
        papers: All of the log, for the names of the others.
        since: From when on, microseconds since 1970.
        until: Before when.
        labels: Are joined to its answers.
    """
    read = partial(_read, folder, paper, papers, since=since, until=until, labels=labels)
    heard = read((ANSWERS, CANARY))
    return heard if heard.rows else read((SHADOW,))


def _read(
    folder: Path,
    paper: Answering,
    papers: Mapping[str, Answering],
    roles: Sequence[str],
    *,
    since: int,
    until: int,
    labels: Labels | None,
) -> Seen:
    seen = Seen(paper)
    if paper.reference:
        seen.train, seen.test = (block_from(paper.reference[name]).emptied() for name in ("train", "test"))
    for path, facts in parts_in(folder):
        if facts.get("format") != FORMAT:
            seen.unread.append(path.name)
        elif facts["digest"] == paper.digest and role_of(facts) in roles:
            for batch in batches_of(path, _wanted(seen, labels), since, until):
                _count(seen, batch, labels)
                seen.roles[role_of(facts)] += len(batch["time"])
        else:
            times = pq.read_table(path, columns=["time"])["time"].cast(pa.int64()).to_numpy()
            other = papers.get(facts["digest"])
            called = other.called if other else "a model that nobody knows"
            called += "" if role_of(facts) == ANSWERS else f" ({role_of(facts)})"
            seen.others[called] += int(((times >= since) & (times < until)).sum())
    seen.others = +seen.others
    return seen


def facts_of(path: Path) -> dict[str, Any]:
    """Return what a part says of itself; {} where it cannot be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        facts = json.loads(metadata.get(b"millrace", b"{}"))
    except (OSError, pa.ArrowException, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def role_of(facts: Mapping[str, Any]) -> str:
    """Return the role of the model of a part; earlier releases had one role and did not say so."""
    return str(facts.get("role", ANSWERS))


def _wanted(seen: Seen, labels: Labels | None) -> list[str]:
    wanted = [*FIXED, "confidence", "error", "alarm", "answer", "values"]
    for block in (seen.train, seen.test):
        wanted += [*block.edges, *block.names] if block else []
    return wanted + (["probabilities"] if labels else [])


def batches_of(path: Path, wanted: Sequence[str], since: int, until: int) -> Iterator[Batch]:
    """Yield some rows of a part at a time, of some columns as far as it has them, of the time that is wanted."""
    with pq.ParquetFile(path) as file:
        there = set(file.schema_arrow.names)
        for batch in file.iter_batches(
            BATCH_ROWS, columns=[name for name in dict.fromkeys(wanted) if name in there]
        ):
            times = batch["time"].cast(pa.int64()).to_numpy()
            kept = pa.array((times >= since) & (times < until))
            chosen = batch.filter(kept)
            if len(chosen):
                yield {name: chosen[name] for name in chosen.schema.names}


def _count(seen: Seen, batch: Batch, labels: Labels | None) -> None:
    times = batch["time"].cast(pa.int64()).to_numpy()
    first, last = int(times.min()), int(times.max())
    seen.first = first if seen.first is None else min(seen.first, first)
    seen.last = last if seen.last is None else max(seen.last, last)
    outcomes = np.array(batch["outcome"].to_pylist(), dtype=object)
    seen.outcomes.update(outcomes.tolist())
    begins = floats(batch["index"]) == 0
    seen.requests += int(begins.sum())
    answered = outcomes == ANSWERED
    _count_hours(seen, batch, times, outcomes == REFUSED, begins)
    _count_block(seen.train, batch, outcomes != REFUSED, seen.paper.spec)
    _count_block(seen.test, batch, answered, seen.paper.spec)
    if labels is not None:
        labels.join(batch, answered)


def _count_hours(
    seen: Seen, batch: Batch, times: np.ndarray, refused: np.ndarray, begins: np.ndarray
) -> None:
    hours = times // HOUR_US
    sure = floats(batch["confidence"]) if "confidence" in batch else np.full(len(times), np.nan)
    alarms = floats(batch["alarm"].cast(pa.int8())) if "alarm" in batch else np.full(len(times), np.nan)
    milliseconds = floats(batch["milliseconds"])
    begins = begins & np.isfinite(milliseconds)  # a shadow has no client that waits
    bins = latency_bins(np.where(begins, milliseconds, 0.0))
    for hour in np.unique(hours).tolist():
        inside = hours == hour
        own = [one[inside & np.isfinite(one)] for one in (sure, alarms)]
        made = Hour(
            int(inside.sum()),
            int((inside & refused).sum()),
            [float(own[0].sum()), len(own[0])],
            [int(own[1].sum()), len(own[1])],
            np.bincount(bins[inside & begins], minlength=LATENCY_BINS),
        )
        seen.hours.setdefault(hour, Hour()).join(made)


def _count_block(block: Block | None, batch: Batch, kept: np.ndarray, spec: OutputSpec) -> None:
    if block is None or not kept.any():
        return
    numbers = {name: floats(batch[name])[kept] for name in block.edges if name in batch}
    if "values" in batch:
        given = batch["values"].filter(pa.array(kept)).to_pylist()
        means = np.array([np.reshape(one, (-1, spec.num_targets)).mean(axis=0) for one in given])
        numbers |= {f"value.{name}": means[:, place] for place, name in enumerate(spec.targets)}
    names: dict[str, Sequence[str | None]] = {}
    for kind in block.names.keys() & batch.keys():
        values = batch[kind].filter(pa.array(kept))
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.string())
        names[kind] = values.to_pylist()
    block.add(numbers, names, int(kept.sum()))


def floats(values: pa.Array) -> np.ndarray:
    """Return a column as numbers, NaN for nothing."""
    found: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return found


# --- Answers as arrays.

FIELDS = ("there", "said", "numbers", "milliseconds")


@dataclass
class Answers:
    """Answers to some records.

    Attributes:
        there: Which records have one, shape (num_records,).
        said: Class, cell of labels, or alarm of each; None where there is none, or where answers are numbers.
        numbers: Probabilities by class, values by step and target, or error and score; shape (num_records, width), NaN
            where there is none.
        milliseconds: Processor time of the model.
    """

    there: np.ndarray
    said: np.ndarray
    numbers: np.ndarray
    milliseconds: np.ndarray

    @classmethod
    def none(cls, count: int, width: int) -> "Answers":
        """Return room for so many."""
        return cls(
            np.zeros(count, bool), np.full(count, None, object), np.full((count, width), np.nan, np.float32),
            np.full(count, np.nan),
        )  # fmt: skip

    @classmethod
    def together(cls, parts: Sequence["Answers"]) -> "Answers":
        """Return all of some."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in FIELDS))

    def taken(self, rows: npt.ArrayLike) -> "Answers":
        """Return some rows."""
        return Answers(*(getattr(self, name)[rows] for name in FIELDS))


def width_of(spec: OutputSpec) -> int:
    """Return how many numbers an answer holds."""
    return spec.num_classes or (2 if spec.task == "anomaly" else spec.horizon * spec.num_targets)


def answers_of(batch: Batch, spec: OutputSpec) -> Answers:
    """Return the answers of some rows of a log."""
    count = len(batch["time"])
    made = Answers.none(count, width_of(spec))
    made.there = np.array([one != REFUSED for one in batch["outcome"].to_pylist()], bool)
    if "model_milliseconds" in batch:
        made.milliseconds = floats(batch["model_milliseconds"])
    if spec.task == "anomaly":
        alarms = [None if one is None else str(one).lower() for one in batch["alarm"].to_pylist()]
        made.said = np.array(alarms, object)
        made.numbers = np.column_stack([floats(batch[name]) for name in ("error", "score")]).astype(
            np.float32
        )
        return made
    if spec.classes:
        made.said = np.array(batch["answer"].to_pylist(), object)
    lists = batch["probabilities" if spec.classes else "values"]
    rows = np.flatnonzero(made.there)
    flat = lists.take(pa.array(rows)).flatten().to_numpy(zero_copy_only=False)
    made.numbers[rows] = flat.reshape(len(rows), -1)
    return made


# --- Over time.


def latency_bins(milliseconds: np.ndarray) -> np.ndarray:
    """Return the bin of each, see the head of this file."""
    steps = LATENCY_STEPS * np.log2(np.maximum(milliseconds, LATENCY_FIRST_MS) / LATENCY_FIRST_MS)
    bins: np.ndarray = np.clip(np.floor(steps).astype(np.int64), 0, LATENCY_BINS - 1)
    return bins


def milliseconds_at(latency: np.ndarray, share: float) -> float | None:
    """Return below which milliseconds such a share of requests lies, to about 9 %; None without any."""
    total = int(latency.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(latency), share * total))
    return float(LATENCY_FIRST_MS * 2.0 ** ((place + 0.5) / LATENCY_STEPS))


def over_time(seen: Seen, most: int = 48) -> list[dict[str, Any]]:
    """Return what happened in stretches of equal length, whole hours, at most so many."""
    if not seen.hours:
        return []
    first, last = min(seen.hours), max(seen.hours)
    width = -(-(last - first + 1) // most)
    stretches: dict[int, Hour] = {}
    for hour, content in seen.hours.items():
        stretches.setdefault((hour - first) // width, Hour()).join(content)
    return [
        {"from": as_time((first + place * width) * HOUR_US), "hours": width, **told(stretches[place])}
        for place in sorted(stretches)
    ]


def told(hour: Hour) -> dict[str, Any]:
    """Return a stretch of time as JSON content; None for what there is nothing of."""
    return {
        "rows": hour.rows,
        "refused": hour.refused,
        "confidence": few(hour.sure[0] / hour.sure[1]) if hour.sure[1] else None,
        "alarm_share": few(hour.alarms[0] / hour.alarms[1]) if hour.alarms[1] else None,
        "p50_milliseconds": few(milliseconds_at(hour.latency, 0.5)),
        "p99_milliseconds": few(milliseconds_at(hour.latency, 0.99)),
    }


def few(value: float | None) -> float | None:
    """Return a number with the digits that people read."""
    return None if value is None else float(f"{value:.4g}")


def as_time(microseconds: int) -> str:
    """Return a time as people and programs read it, UTC."""
    return f"{dt.datetime.fromtimestamp(microseconds // 1_000_000, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
