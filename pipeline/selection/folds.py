"""Which rows train and which are held out, fold by fold, where validation alone has too few units to choose by.

A unit is what is drawn together: a group, a cluster of copies, else a sample; of windows so many as overlap. Folds are
cut out of train and val together, never out of test (docs/decisions/0026).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.data.label_sets import label_matrix
from pipeline.data.samples import read_sample_rows
from pipeline.evaluation.rows import EvaluationRows, load_rows
from pipeline.inputs.specs import OutputSpec
from pipeline.preprocessing.side import seconds_of
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing
from pipeline.splits.by_hash import units_of

Positions = npt.NDArray[np.intp]
BANDS = 5
"""Numbers are stratified by as many ranges of equal count."""


@dataclass(frozen=True)
class Fold:
    """One of the trainings that choose.

    Attributes:
        repeat: From 0; each repeat holds every unit out once.
        number: Of the fold in its repeat, from 0.
        train: Positions among the rows, ascending.
        held: The same, of those that are answered for.
    """

    repeat: int
    number: int
    train: Positions
    held: Positions


# --- What is drawn together.


def units(rows: EvaluationRows) -> tuple[str, ...]:
    """Return the unit of each row that is a sample; () where windows slide over the samples.

    Raises:
        InputMissing: An earlier stage has not run; says which.
    """
    if rows.timeline is not None:
        return ()
    for path, stage in ((paths.SAMPLES_PARQUET, "ingest"), (paths.DUPLICATES_PARQUET, "validate")):
        if not path.is_file():
            raise InputMissing(f"{path} does not exist. Run `dvc repro {stage}`.")
    samples = pq.read_table(paths.SAMPLES_PARQUET, columns=["sample_id", "row", "group"])
    copies = pq.read_table(paths.DUPLICATES_PARQUET, columns=["sample_id", "cluster"])
    table = samples.join(copies, "sample_id", join_type="left outer").sort_by("row")
    clusters = [name or own for name, own in zip(*_lists(table, "cluster", "sample_id"), strict=True)]
    every = units_of(clusters, table["group"].to_pylist())
    return tuple(every[row] for row in rows.rows)


def _lists(table: "pq.pa.Table", *names: str) -> tuple[list[str], ...]:
    return tuple(table[name].to_pylist() for name in names)


def count_units(rows: EvaluationRows) -> int:
    """Return how many rows do not hang together with another; of windows, how many without a common step."""
    if rows.timeline is None:
        return len(set(units(rows)))
    overlapping = -(-rows.timeline.length // rows.timeline.stride)
    return sum(-(-count // overlapping) for count in rows.timeline.segments)


# --- The rows that folds are cut out of.


def labelled_rows(season: int | None = None) -> EvaluationRows:
    """Return the rows of train and val together: by row, of windows by series and step.

    Args:
        season: As for `load_rows`.
    """
    parts = [load_rows("train", season), load_rows("val", season)]
    if not all(len(part) for part in parts):
        return max(parts, key=len)
    first, second = parts
    timeline, keys = None, [np.concatenate([part.rows for part in parts])]
    if first.timeline is not None and second.timeline is not None:
        keys = [np.concatenate([one, other]) for one, other in (
            (first.timeline.starts, second.timeline.starts), (first.timeline.series, second.timeline.series),
        )]  # fmt: skip
        kept = first.timeline
        timeline = type(kept)(kept.names, keys[1], keys[0], kept.length, kept.stride, kept.labelled)
    targets, naive = (
        None if one is None or other is None else np.concatenate([one, other])
        for one, other in ((first.targets, second.targets), (first.naive_errors, second.naive_errors))
    )
    together = EvaluationRows(
        first.sample_ids + second.sample_ids,
        np.concatenate([first.rows, second.rows]),
        first.labels + second.labels,
        targets,
        timeline,
        naive,
        tuple(name for part in parts for name in (part.groups or ("",) * len(part)))
        if first.groups or second.groups
        else (),
    )
    return together.take(np.lexsort(keys))


def kinds(rows: EvaluationRows, spec: OutputSpec) -> npt.NDArray[np.bool_]:
    """Return what folds shall have alike: a column per class, per label and its absence, or per range of a target."""
    if spec.task == "multilabel":
        present = label_matrix(rows.labels, spec.classes).astype(bool)
        return np.hstack([present, ~present])
    if spec.classes:
        return np.asarray(rows.class_indices(spec.classes)[:, None] == np.arange(spec.num_classes))
    if rows.targets is None:
        return np.ones((len(rows), 1), bool)
    first = rows.targets.reshape(len(rows), -1)[:, 0]
    ranks = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    return np.asarray((ranks * BANDS // len(ranks))[:, None] == np.arange(BANDS))


# --- The folds.


def stratified_folds(
    members: Sequence[str], kind: npt.NDArray[np.bool_], *, folds: int, repeats: int, seed: int
) -> list[Fold]:
    """Return folds that tear no unit apart and have all kinds in like shares.

    Units are dealt out in a random order, large ones first, each to the fold that has least of its kinds. A kind that
    one unit alone has is never held out: a model that never saw it would be asked for it.

    Args:
        members: Unit of each row.
        kind: See `kinds`, shape (num_rows, num_kinds).
        folds: How many per repeat; no more than there are units.
        repeats: How often the units are dealt out anew.
        seed: Of the order.

    Returns:
        By repeat and number; [] where there are fewer than two units to hold out.
    """
    names, unit = np.unique(np.array(members, dtype=object).astype(str), return_inverse=True)
    counts = np.zeros((len(names), kind.shape[1]))
    np.add.at(counts, unit, kind)
    sizes = np.bincount(unit)
    alone = (counts[:, (counts > 0).sum(axis=0) == 1] > 0).any(axis=1)
    free = np.flatnonzero(~alone)
    folds = min(folds, len(free))
    if folds < 2:
        return []
    totals = np.maximum(counts.sum(axis=0), 1)
    found = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(free)
        order = order[np.argsort(-sizes[order], kind="stable")]
        place = np.full(len(names), -1)
        held, rows = np.zeros((folds, len(totals))), np.zeros(folds)
        for one in order:
            crowded = ((2 * held + counts[one]) * counts[one] / totals**2).sum(axis=1)
            fold = int(np.lexsort((np.arange(folds), rows, crowded.round(12)))[0])
            place[one] = fold
            held[fold] += counts[one]
            rows[fold] += sizes[one]
        of_row = place[unit]
        for number in range(folds):
            inside = of_row == number
            # Groups may take the last of a kind with them, however they are dealt out.
            if inside.any() and (kind[~inside].any(axis=0) >= kind[inside].any(axis=0)).all():
                found.append(Fold(repeat, number, np.flatnonzero(~inside), np.flatnonzero(inside)))
    return found


def rolling_folds(
    begins: npt.NDArray[np.floating],
    ends: npt.NDArray[np.floating],
    kind: npt.NDArray[np.bool_],
    *,
    folds: int,
    gap: float = 0.0,
) -> list[Fold]:
    """Return folds that train on what was before and hold out what came next (rolling origin; Tashman, 2000).

    Args:
        begins: First moment that a row says something about, shape (num_rows,), any unit.
        ends: The last one.
        kind: See `kinds`; a fold whose past has not seen all of them is left out, for a model of it could not be built.
        folds: Stretches held out; the time before the first of them only trains.
        gap: Left out before what is held, in the unit of `begins`.
    """
    order = np.sort(begins)
    edges = [order[len(order) * place // (folds + 1)] for place in range(1, folds + 1)]
    found = []
    for number, edge in enumerate(edges):
        until = edges[number + 1] if number + 1 < folds else np.inf
        held, train = (begins >= edge) & (begins < until), ends < edge - gap
        known = train.any() and held.any() and (kind[train].any(axis=0) >= kind.any(axis=0)).all()
        if known:
            found.append(Fold(0, number, np.flatnonzero(train), np.flatnonzero(held)))
    return found


def moments(rows: EvaluationRows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Return when what each row says begins and ends, and the time of a step: by the clock, else by the step.

    Samples that are no windows say something about their own time alone, and have no step.
    """
    samples = read_sample_rows()
    if rows.timeline is None:
        begins = np.array([float(seconds_of(samples.times[row])) for row in rows.rows])
        return begins, begins, 0.0
    timeline = rows.timeline
    clock = all(samples.times) and bool(samples.step_seconds.all())
    steps = samples.step_seconds if clock else np.ones(len(samples))
    first = np.array([float(seconds_of(time)) for time in samples.times]) if clock else np.zeros(len(samples))
    begins = first[timeline.series] + timeline.starts * steps[timeline.series]
    return begins, begins + (timeline.length - 1) * steps[timeline.series], float(steps.max())


def planned_folds(
    rows: EvaluationRows,
    spec: OutputSpec,
    *,
    folds: int,
    repeats: int,
    seed: int,
    split_method: str,
    embargo: int,
) -> list[Fold]:
    """Return the folds of a data set: by time where its split is by time or windows slide, else stratified.

    Args:
        rows: See `labelled_rows`.
        spec: What is asked of models.
        folds: Per repeat.
        repeats: Of stratified folds; time has one order.
        seed: Of their order.
        split_method: `split.method` of params.yaml.
        embargo: `split.embargo`: steps, or samples, left out before what is held.
    """
    kind = kinds(rows, spec)
    if rows.timeline is None and split_method != "time":
        return stratified_folds(units(rows), kind, folds=folds, repeats=repeats, seed=seed)
    begins, ends, step = moments(rows)
    # Numbers may rise for ever: that the past has not seen their level is what a forecast has to live with.
    classes = kind if spec.classes else kind[:, :0]
    found = rolling_folds(begins, ends, classes, folds=folds, gap=embargo * step)
    if rows.timeline is None and embargo:
        by_time = [fold.train[np.argsort(ends[fold.train], kind="stable")] for fold in found]
        pairs = [(fold, np.sort(train[:-embargo])) for fold, train in zip(found, by_time, strict=True)]
        found = [Fold(0, fold.number, train, fold.held) for fold, train in pairs if len(train)]
    return found if len(found) > 1 else []
