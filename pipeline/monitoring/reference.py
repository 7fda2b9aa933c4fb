"""How answers and samples were distributed when a model was judged: counts in bins, small enough to travel with it.

`reference.json` lies beside card.json, and holds two blocks of one form: `train`, what can be measured of the rows that
it learned from, and `test`, what it answered for the rows that judged it. A block says of each number how many rows
fell into which bin (between deciles and finer quantiles of those rows), and of each name how often it came.
What is served later is counted into the same bins, so that neither needs the other's rows, and a log of any length
takes no memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.monitoring.measured import OTHER, rounded_for_bins
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import read_json

FORMAT = 1
BINS = 64
MOST_NAMES = 200
"""Names that are counted each for itself; the rarer ones are counted together."""
MISSING = ""
"""Stands among names for a cell without one."""


@dataclass
class Block:
    """Rows that were counted.

    Attributes:
        rows: How many.
        draws: How many of them say something of their own: copies, members of a group and windows that overlap do not.
        edges: Number to the inner edges of its bins, ascending; a bin holds what is at least its lower edge.
        counts: Number to rows by bin, int64, one more than edges.
        missing: Number to rows without it.
        names: Kind of name to name to rows.
    """

    rows: int = 0
    draws: int = 0
    edges: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        numbers: Mapping[str, np.ndarray],
        names: Mapping[str, Sequence[str | None]],
        rows: int,
        draws: int,
    ) -> "Block":
        """Return some rows as counts, in bins of their own.

        Args:
            numbers: Float arrays of shape (rows,) by name; NaN is missing. One that is missing everywhere is left out.
            names: A name per row; None is missing.
            rows: How many there are.
            draws: See the attribute.
        """
        made = cls(0, draws)
        for name, values in numbers.items():
            known = rounded_for_bins(values[np.isfinite(values)])
            if len(known):
                made.edges[name] = _edges(known)
        for kind, given in names.items():
            found: dict[str, int] = {}
            for one in given:
                found[one or MISSING] = found.get(one or MISSING, 0) + 1
            kept = sorted(found, key=lambda name: (-found[name], name))[:MOST_NAMES]
            made.names[kind] = dict.fromkeys(sorted(kept), 0)
        made.clear()
        made.add(numbers, names, rows)
        return made

    def clear(self) -> None:
        """Forget the rows; the bins stay."""
        self.rows = 0
        self.counts = {name: np.zeros(len(edges) + 1, np.int64) for name, edges in self.edges.items()}
        self.missing = dict.fromkeys(self.edges, 0)
        self.names = {kind: dict.fromkeys([*names, OTHER], 0) for kind, names in self.names.items()}

    def emptied(self) -> "Block":
        """Return the same bins without any rows."""
        other = Block(edges=self.edges, names=self.names)
        other.clear()
        return other

    def add(
        self, numbers: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str | None]], rows: int
    ) -> None:
        """Count some rows more; what has no bins is passed over."""
        self.rows += rows
        for name in self.edges.keys() & numbers.keys():
            values = numbers[name]
            known = rounded_for_bins(values[np.isfinite(values)])
            places = np.searchsorted(self.edges[name], known, side="right")
            self.counts[name] += np.bincount(places, minlength=len(self.counts[name]))
            self.missing[name] += len(values) - len(known)
        for kind in self.names.keys() & names.keys():
            counted = self.names[kind]
            for one in names[kind]:
                told = one or MISSING
                counted[told if told in counted else OTHER] += 1

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written down."""
        return {
            "rows": self.rows,
            "draws": self.draws,
            "numbers": {
                name: {
                    "edges": edges.tolist(),
                    "counts": self.counts[name].tolist(),
                    "missing": self.missing[name],
                }
                for name, edges in self.edges.items()
            },
            "names": self.names,
        }


def reference_in(path: Path) -> dict[str, Any] | None:
    """Return the content of a reference.json; None where there is none that can be used: a model answers without."""
    try:
        content = read_json(path)
        for name in ("train", "test"):
            block_from(content[name]).emptied()
        return dict(content) if content["format"] == FORMAT else None
    except (OSError, UserError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _edges(known: np.ndarray) -> np.ndarray:
    """Return where bins meet: halfway between a quantile and the next smaller value, so that no value is an edge."""
    different = np.unique(known)
    quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:], method="higher")
    places = np.unique(np.searchsorted(different, quantiles))
    places = places[places > 0]
    return rounded_for_bins(different[places - 1] / 2 + different[places] / 2)


def block_from(content: Mapping[str, Any]) -> Block:
    """Return a block that was written down."""
    numbers = content["numbers"]
    return Block(
        content["rows"],
        content["draws"],
        {name: np.array(one["edges"], float) for name, one in numbers.items()},
        {name: np.array(one["counts"], np.int64) for name, one in numbers.items()},
        {name: int(one["missing"]) for name, one in numbers.items()},
        {kind: dict(names) for kind, names in content["names"].items()},
    )
