"""Counts and times of a server, in the text form that Prometheus reads."""

import resource
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
RECORDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
COUNTERS = {
    "millrace_requests_total": "Requests by endpoint and status.",
    "millrace_records_total": "Records by what became of them.",
    "millrace_answers_total": "Answers by class, or by alarm.",
    "millrace_swaps_total": "Versions that took the place of another.",
    "millrace_refused_versions_total": "Versions that did not check.",
    "millrace_log_rows_total": "Rows of the prediction log by what became of them.",
    "millrace_shadow_records_total": "Records by how the shadow's answer compares.",
    "millrace_canary_requests_total": "Requests of the canary's clients by what became of them.",
}
HISTOGRAMS = {
    "millrace_request_seconds": ("Time from the head of a request to the end of its reply.", STEPS),
    "millrace_batch_records": ("Records that were answered together.", RECORDS),
    "millrace_shadow_difference": (
        "Largest difference of a probability, of a value in standard deviations, or of a score.",
        STEPS,
    ),
}
Labels = tuple[tuple[str, str], ...]


class Measured:
    """Everything that is counted."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], float] = defaultdict(float)
        self._seen: dict[str, list[int]] = {name: [0] * (len(at) + 1) for name, (_, at) in HISTOGRAMS.items()}
        self._sums: dict[str, float] = defaultdict(float)

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counts[name, tuple(labels.items())] += number

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        self._seen[name][bisect_left(HISTOGRAMS[name][1], value)] += 1
        self._sums[name] += value

    def text(self, gauges: Sequence[tuple[str, float, dict[str, str]]]) -> str:
        """Return everything, and what is so just now.

        Args:
            gauges: Names, values and labels; those of one name stand together.
        """
        lines = []
        for name, told in COUNTERS.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} counter"]
            lines += [
                f"{name}{_written(labels)} {value:.17g}"
                for (of, labels), value in self._counts.items()
                if of == name
            ]
        for name, (told, bounds) in HISTOGRAMS.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} histogram"]
            total = 0
            for bound, seen in zip((*map(str, bounds), "+Inf"), self._seen[name], strict=True):
                total += seen
                lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
            lines += [f"{name}_sum {self._sums[name]:.17g}", f"{name}_count {total}"]
        known = set[str]()
        for name, value, given in gauges:
            lines += [f"# TYPE {name} gauge"] if name not in known else []
            lines.append(f"{name}{_written(tuple(given.items()))} {value:.17g}")
            known.add(name)
        return "\n".join(lines) + "\n"


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return "{" + ",".join(f'{name}="{value.translate(escaped)}"' for name, value in labels) + "}"


def peak_memory_bytes() -> float:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)
