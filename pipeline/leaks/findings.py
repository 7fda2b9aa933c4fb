"""What the leak gate finds, how it is told, and how a person signs it off.

Every finding has an id that stays the same while the leak does (`group-overlap`, `column:registered`), so that
`leaks.accepted` in params.yaml can name it with a reason, and up to which extent that reason holds: a leak that
grows is looked at again. The letters L1.1 to L3.3 are the eight kinds of
leakage of Kapoor and Narayanan (2023), Leakage and the reproducibility crisis in machine-learning-based
science, Patterns 4 (9), 100804.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from pipeline.data.label_sets import labels_in
from pipeline.data.samples import SampleRows, SplitTable, read_sample_rows, read_split
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing
from pipeline.runtime.files import csv_text

NAMED = 10
"""Samples named in a message; reports/leaks/findings.csv has all of them."""
LEAKS = {
    "L1.1": "no test set",
    "L1.2": "pre-processing on train and test",
    "L1.3": "feature selection on train and test",
    "L1.4": "duplicates across the splits",
    "L2": "features that would not be there in use",
    "L3.1": "temporal leakage",
    "L3.2": "train and test are not independent",
    "L3.3": "sampling bias in the test distribution",
}
FITTED = ("fitted:", "selected:")
"""How ids begin of what `pipeline.leaks.fitted` finds, once features are fitted; the others the stage leaks finds."""


@dataclass(frozen=True)
class SignOff:
    """A person's word that a finding is no leak.

    Attributes:
        reason: Why.
        up_to: Largest extent of the finding for which that was said.
    """

    reason: str
    up_to: float


@dataclass(frozen=True)
class Finding:
    """One leak.

    Attributes:
        finding: Its id.
        leak: Key of `LEAKS`.
        problem: What is wrong, what was expected and received.
        fix: What to do about it.
        sample_ids: The samples it is about; () where it is about a column or a whole split.
        score: How far it goes where that is no number of samples: AUC, R2, a distance, steps, columns.
        like: Which sample of train each of the samples is like; () where nobody says so.
    """

    finding: str
    leak: str
    problem: str
    fix: str
    sample_ids: tuple[str, ...] = ()
    score: float | None = None
    like: tuple[str, ...] = ()

    @property
    def extent(self) -> float:
        """Return how far it goes, to four digits: its score, else its samples; 1 where it is there or not."""
        return len(self.sample_ids) or 1 if self.score is None else round(self.score, 4)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return each sample and what it is like, "" where nobody says so."""
        return list(zip(self.sample_ids, self.like or ("",) * len(self.sample_ids), strict=True))

    def is_signed(self, accepted: Mapping[str, SignOff]) -> bool:
        """Return whether a person signed off as much as was found."""
        return self.finding in accepted and self.extent <= accepted[self.finding].up_to

    @property
    def message(self) -> str:
        """Return the paragraph that a person reads, samples named."""
        said = [f"{one} (like {other})" if other else one for one, other in self.pairs]
        shown = ", ".join(said[:NAMED])
        more = len(self.sample_ids) - NAMED
        named = f" Samples: {shown}{f' and {more} more' if more > 0 else ''}." if shown else ""
        return f"{self.finding} ({self.leak} {LEAKS[self.leak]}): {self.problem}{named} {self.fix}"


def leaks_summary(
    findings: Sequence[Finding], accepted: Mapping[str, SignOff], checked: Sequence[str]
) -> dict[str, Any]:
    """Return the content of reports/leaks/summary.json.

    Args:
        findings: All that was found.
        accepted: Id of a finding to what was said about it.
        checked: Names of the checks that were run.

    Returns:
        `passed` is true if every finding is accepted; `accepted_without_finding` names what is signed off in
        params.yaml and was not found.
    """
    found = [
        {
            "finding": finding.finding,
            "leak": f"{finding.leak} {LEAKS[finding.leak]}",
            "problem": finding.problem,
            "samples": len(finding.sample_ids),
            "extent": finding.extent,
            "accepted": finding.is_signed(accepted),
        }
        | _said(accepted.get(finding.finding))
        for finding in findings
    ]
    return {
        "passed": all(entry["accepted"] for entry in found),
        "findings": found,
        "open": sum(not entry["accepted"] for entry in found),
        "accepted_without_finding": signed_in_vain(findings, accepted, fitted=False),
        "checks": list(checked),
    }


def _said(signed: SignOff | None) -> dict[str, Any]:
    return (
        {"reason": "", "up_to": None} if signed is None else {"reason": signed.reason, "up_to": signed.up_to}
    )


def signed_in_vain(
    findings: Sequence[Finding], accepted: Mapping[str, SignOff], *, fitted: bool
) -> list[str]:
    """Return the ids that are signed off and were not found, sorted.

    Args:
        findings: All that was found.
        accepted: Id of a finding to what was said about it.
        fitted: Whether these are the findings about what was fitted, or those before that.
    """
    found = {finding.finding for finding in findings}
    return sorted(name for name in accepted if name.startswith(FITTED) == fitted and name not in found)


def findings_csv(findings: Sequence[Finding], accepted: Mapping[str, SignOff]) -> str:
    """Return reports/leaks/findings.csv: one line per finding and sample, one for a finding without samples."""
    rows = [
        [
            finding.finding,
            finding.leak,
            sample_id,
            other,
            "yes" if finding.is_signed(accepted) else "no",
            finding.problem,
        ]
        for finding in findings
        for sample_id, other in finding.pairs or [("", "")]
    ]
    return csv_text(["finding", "leak", "sample_id", "like", "accepted", "problem"], rows)


def leak_refusal(findings: Sequence[Finding], accepted: Mapping[str, SignOff], where: str) -> str:
    """Return the message of the gate, all open findings at once, and how to sign one off.

    Args:
        findings: All that was found; at least one is open.
        accepted: Id of a finding to what was said about it.
        where: The file that names all samples.
    """
    still = [finding for finding in findings if not finding.is_signed(accepted)]
    lines = [f"The split leaks: {len(still)} findings. Expected none that nobody signed off."]
    lines += [f"- {finding.message}{_outgrown(finding, accepted)}" for finding in still]
    place = "an entry of that name, or behind the others" if accepted else "`accepted: []`"
    lines.append(
        f"All samples: {where}. If one of these is no leak, say why below `leaks:` in params.yaml, in place of "
        f"{place}, in ten characters or more, and it is recorded:"
    )
    lines += [] if accepted else ["  accepted:"]
    lines += [
        f"  - {{finding: {finding.finding!r}, up_to: {finding.extent:.12g}, reason: ...}}"
        for finding in still
    ]
    return "\n".join(lines)


def _outgrown(finding: Finding, accepted: Mapping[str, SignOff]) -> str:
    if finding.finding not in accepted:
        return ""
    up_to = accepted[finding.finding].up_to
    return f" It was signed off up to {up_to:.12g}, and goes as far as {finding.extent:.12g} now."


HELD_OUT = ("val", "test")
# --- What the leak gate looks at: samples, payload and split, read anew from disk and trusted in nothing else.

USED = ("train", *HELD_OUT)
Kind = Literal["image", "text", "series"]
KINDS: dict[int, Kind] = {4: "image", 1: "text", 2: "series"}
"""Dimensions of the payload to what it holds."""


@dataclass(frozen=True)
class WindowColumns:
    """Which columns of series a window reads and predicts, as in `data.windows`."""

    length: int
    horizon: int
    targets: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    known_categorical: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeakData:
    """All samples in order of row.

    Attributes:
        samples: Ids, places in the payload, times, side columns.
        split: Lines of split.parquet.
        payload: As ingested, memory-mapped.
        groups: Per sample, "" for none.
        clusters: Of copies per sample, as `validate` found them.
        method: As in `split.method`.
        task: As in `data.task`.
        windows: Where windows slide over the series.
    """

    samples: SampleRows
    split: SplitTable
    payload: np.ndarray
    groups: list[str]
    clusters: list[str]
    method: str
    task: str
    windows: WindowColumns | None = None

    @property
    def kind(self) -> Kind:
        """Return what the samples are."""
        return KINDS[self.payload.ndim]

    @property
    def cut(self) -> bool:
        """Return whether series are cut by time, so that one sample stands in several splits."""
        return self.windows is not None and self.method == "time"

    @cached_property
    def split_of(self) -> np.ndarray:
        """Return the split per sample, object, shape (num_samples,); `excluded` throughout where series are cut."""
        assigned = np.full(len(self.samples), "excluded", dtype=object)
        if not self.cut:
            assigned[self.split.rows] = self.split.splits
        return assigned

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the class per sample, object; of several labels the cell that stands for them."""
        labels = np.full(len(self.samples), "", dtype=object)
        labels[self.split.rows] = self.split.labels
        return labels

    def label_columns(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each label of task multilabel and whether a sample has it, bool, shape (num_samples,)."""
        sets = [frozenset(labels_in(cell)) if cell else frozenset() for cell in self.labels]
        for label in sorted(frozenset().union(*sets)):
            yield label, np.array([label in labels for labels in sets], bool)

    @cached_property
    def targets(self) -> np.ndarray:
        """Return the target per sample, float64, NaN for none."""
        targets = np.full(len(self.samples), np.nan)
        targets[self.split.rows] = self.split.targets
        return targets

    @property
    def train_rows(self) -> np.ndarray:
        """Return the rows of whole samples that train."""
        return np.flatnonzero(self.split_of == "train")

    @property
    def evaluation_rows(self) -> np.ndarray:
        """Return the rows of whole samples that choose or judge."""
        return np.flatnonzero((self.split_of == "val") | (self.split_of == "test"))

    def part(self, row: int) -> np.ndarray:
        """Return the part of the payload that is one sample: its pixels, bytes or steps."""
        start = int(self.samples.starts[row])
        return np.asarray(self.payload[start : start + int(self.samples.lengths[row])])

    def text(self, row: int) -> str:
        """Return one text."""
        return self.part(row).tobytes().decode()

    def ids(self, rows: np.ndarray) -> tuple[str, ...]:
        """Return the names of samples."""
        return tuple(self.samples.sample_ids[row] for row in rows)


def read_leak_data(method: str, task: str, windows: WindowColumns | None = None) -> LeakData:
    """Return the data of the project.

    Raises:
        InputMissing: A file is not there, or samples and split are not of the same data.
    """
    if not paths.PAYLOAD_NPY.is_file():
        raise InputMissing(f"{paths.PAYLOAD_NPY} does not exist. Run `dvc repro ingest`.")
    if not paths.DUPLICATES_PARQUET.is_file():
        raise InputMissing(f"{paths.DUPLICATES_PARQUET} does not exist. Run `dvc repro validate`.")
    samples, split = read_sample_rows(), read_split()
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "sample_id", "group"]).sort_by("row")
    duplicates = pq.read_table(paths.DUPLICATES_PARQUET, columns=["sample_id", "cluster"])
    cluster_of = dict(
        zip(duplicates["sample_id"].to_pylist(), duplicates["cluster"].to_pylist(), strict=True)
    )
    expected = set(range(len(samples)))
    if set(split.rows.tolist()) != expected or cluster_of.keys() != set(samples.sample_ids):
        raise InputMissing(
            f"{paths.SPLIT_PARQUET} and {paths.SAMPLES_PARQUET} are not of the same data. Expected every sample in "
            f"both. Received: {len(samples)} samples, {len(set(split.rows.tolist()))} of them split. "
            "Run `dvc repro split`."
        )
    return LeakData(
        samples,
        split,
        np.load(paths.PAYLOAD_NPY, mmap_mode="r"),
        table["group"].to_pylist(),
        [cluster_of[name] for name in samples.sample_ids],
        method,
        task,
        windows,
    )
