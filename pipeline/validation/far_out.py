"""Values far outside all others that repeat exactly: -9999 or 999 where a logger or a survey had no value.

A measurement that is far out rarely comes twice to the last digit; what stands for no value always does. Only the
smallest and largest different values need to be known for that, so a series of any length passes through. Values at the
ends that come once or twice (a slip, a real extreme) are passed over, or a single 1e9 would make -9999 look near.
"""

from itertools import product

import numpy as np

KEPT = 16
"""Different values kept at each end."""
MOST = 3
"""Stand-ins looked for at each end: -9999 and -999 in one column."""
REPEATED = 3
"""A value that comes less often may be a slip or a real extreme."""
SLIPS = 3
"""Different values of that sort that are passed over at each end."""
OTHERS = 10
"""Different values that the others must have: of a few codes (0, 1, 9) none is far out."""
DISTANCE = 0.5
"""To the nearest of the others, as a share of their span: 999 among 0 to 500 is one."""


class Ends:
    """The smallest and the largest different values of a column and how often each comes, after some of its rows.

    Attributes:
        values: Different values, ascending, float64: all, or those at both ends.
        counts: How often each came, int64.
    """

    def __init__(self) -> None:
        self.values = np.empty(0)
        self.counts = np.empty(0, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Take in further values.

        Args:
            values: Any shape; NaN and infinite ones do not count.
        """
        values = np.asarray(values, np.float64)
        self._join(*np.unique(values[np.isfinite(values)], return_counts=True))

    def join(self, other: "Ends") -> None:
        """Take in what another one has seen."""
        self._join(other.values, other.counts)

    def repeated_far_out(self) -> list[float]:
        """Return the values that look like they stand for none, ascending."""
        size = len(self.values)
        # The most first: beside -9999 and -999 alone, the other would be one of the others and widen their span.
        ways = sorted(product(range(MOST + SLIPS + 1), repeat=2), key=sum, reverse=True)
        for low, high in ways[:-1]:
            others = self.values[low : size - high]
            # Of both ends from the inside outwards.
            below, above = np.arange(low)[::-1], np.arange(size - high, size)
            if len(others) < OTHERS or not (self._can_go(below) and self._can_go(above)):
                continue
            gap = DISTANCE * (others[-1] - others[0])
            if (low and others[0] - self.values[below[0]] < gap) or (
                high and self.values[above[0]] - others[-1] < gap
            ):
                continue
            outside = np.r_[below, above]
            found = self.values[np.sort(outside[self.counts[outside] >= REPEATED])]
            if len(found):
                return [float(value) for value in found]
        return []

    def _can_go(self, outside: np.ndarray) -> bool:
        """Tell whether values at an end may lie outside: few, and begun by one that repeats unless none does.

        Args:
            outside: Their places, the innermost first.
        """
        slips = self.counts[outside] < REPEATED
        few = slips.sum() <= SLIPS and (~slips).sum() <= MOST
        return bool(few and (slips.all() or not slips[0]))

    def _join(self, values: np.ndarray, counts: np.ndarray) -> None:
        # A value between the ends can never come back to them: they only move outwards.
        joined, places = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        sums = np.bincount(places, np.concatenate([self.counts, counts]), len(joined)).astype(np.int64)
        kept = np.r_[0 : min(KEPT, len(joined)), max(KEPT, len(joined) - KEPT) : len(joined)]
        self.values, self.counts = joined[kept], sums[kept]
