"""Whether a split can be used: every class (or range of targets) is everywhere, and no group is too large.

Every problem says the smallest number of samples that would mend it, and offers another salt where one works.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.splits.by_hash import EXCLUDED, SPLITS

SALTS_TRIED = 200
ABSENCE_RISK = 0.001
"""How often a class may be missing somewhere by chance, where a number of samples is recommended."""
OVERSIZE = 1.5
"""A unit may fill its split half as large again as its share: draws of few units scatter that much anyway."""
TARGET_BINS = 5
"""Quantile bins of regression targets; each must be everywhere, as a class must."""


def class_strata(labels: Sequence[str]) -> list[str]:
    """Return the stratum of each sample as messages name it: `class 'hat'`."""
    return [f"class {label!r}" for label in labels]


def target_strata(targets: np.ndarray) -> list[str]:
    """Return the quantile bin of each target as messages name it; equal targets are in one bin.

    Args:
        targets: Numbers, float64, shape (num_samples,), all finite.
    """
    edges = np.unique(np.quantile(targets, np.linspace(0, 1, TARGET_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, targets, side="right") - 1, 0, max(len(edges) - 2, 0))
    highs = edges[1:] if len(edges) > 1 else edges
    return [f"the range of targets from {edges[place]:g} to {highs[place]:g}" for place in bins]


def presence_problems(
    strata: Sequence[str],
    units: Sequence[str],
    splits: np.ndarray,
    *,
    shares: Mapping[str, float],
    noun: str = "contents",
) -> list[str]:
    """Return one message per stratum that is missing from a split; empty if every one is everywhere.

    Args:
        strata: What each sample must not be alone in, as messages name it.
        units: What of each sample is drawn: its cluster of copies, or its group.
        splits: As assigned.
        shares: Share of each split that was drawn by hash; splits that the source gave are not in it.
        noun: What units are called.
    """
    present = {split: set(np.asarray(strata, dtype=object)[splits == split]) for split in SPLITS}
    missing = [
        (stratum, split)
        for stratum in sorted(set(strata))
        for split in SPLITS
        if stratum not in present[split]
    ]
    units_of: dict[str, set[str]] = {stratum: set() for stratum in strata}
    for stratum, unit, split in zip(strata, units, splits, strict=True):
        units_of[stratum].update([unit] if split != EXCLUDED else [])
    return [
        f"{stratum} has no sample in {split}. Expected at least one. "
        f"Received: {len(units_of[stratum])} different {noun} to share out. "
        f"{_presence_fix(split, len(units_of[stratum]), shares, noun)}"
        for stratum, split in missing
    ]


def size_problems(units: Sequence[str], splits: np.ndarray, *, shares: Mapping[str, float]) -> list[str]:
    """Return one message per unit that is too large for the split it was drawn into.

    Args:
        units: What was drawn: the group of each sample, with all copies of its members.
        splits: As drawn.
        shares: Share of each split.
    """
    split_of = dict(zip(units, splits, strict=True))
    problems = []
    for unit, count in sorted(Counter(units).items()):
        split = split_of[unit]
        if split in shares and count > OVERSIZE * shares[split] * len(units):
            share = count / len(units)
            raised = (
                f"raise split.{split}_share to {share:.2f}" if split != "train" else "lower the other shares"
            )
            problems.append(
                f"group {unit!r} is larger than {split}, which it was drawn into. Expected at most "
                f"{int(OVERSIZE * shares[split] * len(units))} of {len(units)} samples, {OVERSIZE:g} times the share "
                f"of {split}. Received: {count} samples. Add other groups: at least "
                f"{math.ceil(count / (OVERSIZE * shares[split]))} samples are needed in all; or {raised}, or set "
                "another split.salt."
            )
    return problems


def working_salt(
    strata: Sequence[str],
    draw: Callable[[str], np.ndarray],
    *,
    salt: str,
    accepts: Callable[[np.ndarray], bool] = lambda _splits: True,
) -> str | None:
    """Return the first of some salts under which every stratum is in every split, None if none is.

    Args:
        strata: What must be everywhere.
        draw: Returns the splits of all samples for a salt.
        salt: The one that does not work; the offered ones are made from it.
        accepts: What else is asked of the splits of all samples.
    """
    wanted = {(stratum, split) for stratum in set(strata) for split in SPLITS}
    for number in range(1, SALTS_TRIED + 1):
        candidate = f"{salt}-{number}"
        splits = draw(candidate)
        if wanted <= set(zip(strata, splits.tolist(), strict=True)) and accepts(splits):
            return candidate
    return None


def _presence_fix(split: str, num_units: int, shares: Mapping[str, float], noun: str) -> str:
    if split not in shares:
        return (
            f"Add samples of it to {split} in the source, move the dates of a split by time, or leave it out."
        )
    needed = 1 + sum(name in shares for name in ("val", "test"))
    if num_units < needed:
        return f"Add {needed - num_units} or more: at least {needed} are needed, one for each split."
    if split == "train":
        return "Add samples of it, or lower split.val_share and split.test_share."
    if shares[split] == 0:
        return f"Raise split.{split}_share above 0."
    enough = max(needed, math.ceil(math.log(ABSENCE_RISK) / math.log1p(-shares[split])))
    return (
        f"Bad luck of the draw; from {enough} {noun} on it happens less than once in a thousand draws. "
        f"Add samples of it, raise split.{split}_share, or set another split.salt."
    )
