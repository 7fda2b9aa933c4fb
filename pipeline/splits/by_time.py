"""Splits by time: the past trains, what came later chooses, the last judges.

Samples with one time each are put in order of time, and a boundary never runs through equal times: all of
them go to the later side. Series that windows slide over are cut instead: every series has its own train,
val and test segment, one after the other.

The boundaries are dates (`val_start`, `test_start`, `test_end`), then later rows move no earlier one; or
shares of the order of time, then they follow the data, and the summary names the dates that would pin them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipeline.splits.by_hash import EXCLUDED, SPLITS

NAMED = 5
"""Samples that a message names."""


@dataclass(frozen=True)
class Boundaries:
    """Where val, test and what is not used begin.

    Attributes:
        val_share: Share of the order of time that chooses; not looked at where the dates are given.
        test_share: Share of the order of time that judges, the last one.
        val_start: ISO 8601, the first time of val; with `test_start`.
        test_start: The first time of test.
        test_end: The first time that is not used any more; None for none.
        embargo: Samples or steps left out at the end of train and of val.
    """

    val_share: float
    test_share: float
    val_start: str | None = None
    test_start: str | None = None
    test_end: str | None = None
    embargo: int = 0


@dataclass(frozen=True)
class Segment:
    """Steps of one series that belong to one split.

    Attributes:
        series: Index of the series.
        split: `train`, `val`, `test` or `excluded`.
        start: First step, counted in the series.
        stop: Step after the last.
    """

    series: int
    split: str
    start: int
    stop: int


def seconds_since_1970(times: Sequence[str]) -> np.ndarray:
    """Return ISO 8601 times as numbers, float64 seconds; a time without a zone is taken as UTC.

    Raises:
        ValueError: A time is missing or is none; names the first of them.
    """
    numbers = np.empty(len(times))
    wrong = []
    for place, time in enumerate(times):
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            wrong.append(f"sample {place}: {time!r}")
            continue
        numbers[place] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if wrong:
        raise ValueError(
            "split.method=time needs the time of every sample. Expected ISO 8601, as 2012-10-01 or "
            f"2012-10-01T13:00. Received: {len(wrong)} of {len(times)} samples without, {', '.join(wrong[:NAMED])}. "
            "Name the column of times with --set time=<column>, or take another split.method."
        )
    return numbers


def iso_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, without a zone."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def split_by_time(times: Sequence[str], boundaries: Boundaries) -> tuple[np.ndarray, dict[str, str]]:
    """Return the split of samples that have one time each.

    Args:
        times: ISO 8601 per sample.
        boundaries: Shares or dates, and the embargo in samples.

    Returns:
        `train`, `val`, `test` or `excluded` per sample; and `val_start` and `test_start` as used.

    Raises:
        ValueError: A time is missing, or a split is left without samples; with what would mend it.
    """
    seconds = seconds_since_1970(times)
    val_start, test_start, end = _starts(seconds, boundaries)
    later = np.searchsorted([val_start, test_start, end], seconds, side="right")
    assigned = np.array([*SPLITS, EXCLUDED], dtype=object)[later]
    for split in ("train", "val") if boundaries.embargo else ():
        own = seconds[assigned == split]
        last = np.sort(own)[max(0, len(own) - boundaries.embargo) :]
        if len(last):  # whole ties: a time is inside the embargo or before it
            assigned[(assigned == split) & (seconds >= last[0])] = EXCLUDED
    _check_sizes({split: int((assigned == split).sum()) for split in SPLITS}, boundaries, "samples")
    return assigned, {"val_start": iso_time(val_start), "test_start": iso_time(test_start)}


def segments_by_time(
    lengths: np.ndarray,
    times: Sequence[str],
    step_seconds: np.ndarray,
    boundaries: Boundaries,
    needed: tuple[int, int] = (1, 1),
) -> list[Segment]:
    """Return the segments of series that windows slide over.

    Args:
        lengths: Steps of each series, int64.
        times: Time of the first step of each series; not looked at for shares.
        step_seconds: Time from one step to the next, per series; not looked at for shares.
        boundaries: Shares (of each series by itself) or dates (for all), and the embargo in steps.
        needed: Steps that one training window needs, and one of val or test.

    Returns:
        Segments by series and then by step; together they cover all steps once.

    Raises:
        ValueError: No series has a segment long enough for a split; with what would mend it.
    """
    if boundaries.val_start is None or boundaries.test_start is None:
        cuts = _cuts_by_share(lengths, boundaries)
    else:
        cuts = _cuts_by_date(lengths, times, step_seconds, boundaries)
    segments = []
    for series, (val, test, end) in enumerate(cuts.tolist()):
        edges = [0, val, test, end]
        for split, start, stop in zip(SPLITS, edges[:-1], edges[1:], strict=True):
            kept = stop if split == "test" else max(start, stop - boundaries.embargo)
            segments += [Segment(series, split, start, kept), Segment(series, EXCLUDED, kept, stop)]
        segments.append(Segment(series, EXCLUDED, end, int(lengths[series])))
    segments = [segment for segment in segments if segment.start < segment.stop]
    longest = {
        split: max((part.stop - part.start for part in segments if part.split == split), default=0)
        for split in SPLITS
    }
    wanted = {"train": needed[0], "val": needed[1], "test": needed[1]}
    _check_sizes(longest, boundaries, "steps", wanted)
    return segments


def _starts(seconds: np.ndarray, boundaries: Boundaries) -> tuple[float, float, float]:
    """Return the first second of val, of test and of what is not used."""
    end = _date(boundaries.test_end) if boundaries.test_end else math.inf
    if boundaries.val_start is not None and boundaries.test_start is not None:
        starts = _date(boundaries.val_start), _date(boundaries.test_start), end
        _check_order(boundaries, starts)
        return starts
    used = np.sort(seconds[seconds < end])
    if not len(used):
        return end, end, end
    test_start = used[_place(len(used), boundaries.test_share * len(used))]
    # Counted back from the first of the ties, so that a crowd at the boundary does not swallow val.
    before = int(np.searchsorted(used, test_start))
    val_start = used[_place(before, boundaries.val_share * len(used))]
    return float(val_start), float(test_start), end


def _place(count: int, later: float) -> int:
    """Return where the last `later` of `count` samples begin."""
    return min(max(count - 1, 0), max(0, math.floor(count - later + 1e-9)))


def _check_order(boundaries: Boundaries, starts: tuple[float, float, float]) -> None:
    if not starts[0] < starts[1] < starts[2]:
        raise ValueError(
            "The dates of the split are not in order. Expected split.val_start < split.test_start < split.test_end. "
            f"Received: val_start={boundaries.val_start}, test_start={boundaries.test_start}, "
            f"test_end={boundaries.test_end}. Put them in order."
        )


def _cuts_by_share(lengths: np.ndarray, boundaries: Boundaries) -> np.ndarray:
    """Return first step of val, of test and of what is not used, int64 (num_series, 3)."""
    both = boundaries.val_share + boundaries.test_share
    places = [np.floor(lengths * (1 - share) + 1e-9) for share in (both, boundaries.test_share)]
    return np.stack([*places, lengths], axis=1).astype(np.int64)


def _cuts_by_date(
    lengths: np.ndarray, times: Sequence[str], step_seconds: np.ndarray, boundaries: Boundaries
) -> np.ndarray:
    starts = _starts(np.empty(0), boundaries)
    if (step_seconds <= 0).any():
        raise ValueError(
            "Dates cannot cut series without a step in time. Expected split.val_share and split.test_share, or a "
            f"source with time stamps. Received: {int((step_seconds <= 0).sum())} series without. "
            "Remove split.val_start, split.test_start and split.test_end."
        )
    begins = seconds_since_1970(times)
    places = [np.ceil((start - begins) / step_seconds) for start in starts]
    cuts: np.ndarray = np.clip(np.stack(places, axis=1), 0, lengths[:, None]).astype(np.int64)
    return cuts


def _date(text: str) -> float:
    return float(seconds_since_1970([text])[0])


def _check_sizes(
    sizes: dict[str, int], boundaries: Boundaries, noun: str, needed: dict[str, int] | None = None
) -> None:
    """Refuse a split with too little in it, with the smallest number of samples or steps needed.

    Raises:
        ValueError: One line per split.
    """
    shares = {"val": boundaries.val_share, "test": boundaries.test_share}
    shares["train"] = 1 - sum(shares.values())
    problems = []
    for split in SPLITS:
        wanted = (needed or {}).get(split, 1)
        if sizes[split] >= wanted:
            continue
        if boundaries.val_start is not None:
            fix = "Move split.val_start, split.test_start or split.test_end."
        else:
            lost = boundaries.embargo if split != "test" else 0
            least = math.ceil((wanted + lost) / shares[split]) if shares[split] > 0 else 0
            fix = (
                f"At least {least} {noun} are needed in all" if least else f"Set split.{split}_share above 0"
            )
            fix += "; add them, change the shares, or lower split.embargo." if least else "."
        what = "samples with times of their own" if noun == "samples" else "steps in a row of one series"
        problems.append(
            f"{split} is too small for a split by time. Expected at least {wanted} {what}. "
            f"Received: {sizes[split]}. {fix}"
        )
    if problems:
        raise ValueError("\n".join(problems))
