"""New rows against the known ones: how many came and went, and how far they have drifted."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.data.samples import SIDE_PREFIX
from pipeline.metrics.two_samples import chi_square_test, holm, ks_test
from pipeline.retraining.accepted import (
    DESCRIBED,
    LAST_RESULTS,
    NO_RESULTS,
    Accepted,
    bring,
    recorded_files,
)
from pipeline.retraining.children import Children
from pipeline.retraining.triggers import DriftBounds
from pipeline.runtime import paths
from pipeline.runtime.repository import has_remote

# --- How far new rows lie from the rows a model knows: plain functions of arrays.
#
# Every comparison gives two numbers. The *effect* is how far apart the two distributions are, in [0, 1]: the
# largest difference between the shares that both give to any stretch of values (Kolmogorov-Smirnov) or to any
# set of classes (total variation). The *p-value* says how often chance alone would do that. Many columns are
# compared at once, so p-values are adjusted (Holm); with many rows a difference too small to matter is
# significant too, so a finding counts only if its effect is also above a bound.

PSI_BINS = 10
PSI_FLOOR = 1e-4
"""Stands for an empty bin, whose logarithm would be infinite."""
Verdict = Literal["none", "report", "refuse"]


@dataclass(frozen=True)
class DriftFinding:
    """One comparison of new rows with known ones.

    Attributes:
        what: Column or measure.
        effect: How far apart, in [0, 1].
        p_value: How often chance alone would put them so far apart; after `adjusted`, among all comparisons.
        stability: Population stability index, or None where there are no numbers; shown, decides nothing.
    """

    what: str
    effect: float
    p_value: float
    stability: float | None = None


@dataclass(frozen=True)
class Bounds:
    """From when on a difference counts.

    Attributes:
        significance: Largest adjusted p-value that counts; also the chance of a false alarm per check.
        report: Effect from which on a significant difference is reported (and starts a retrain).
        refuse: Effect from which on a significant difference refuses the data.
    """

    significance: float
    report: float
    refuse: float


def population_stability_index(reference: np.ndarray, new: np.ndarray) -> float:
    """Return the population stability index over the deciles of the reference; 0 for equal shares.

    Args:
        reference: Finite numbers, shape (num_reference,).
        new: Finite numbers, shape (num_new,).
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) / len(side)
        for side in (reference, new)
    ]
    before, after = (np.maximum(share, PSI_FLOOR) for share in shares)
    return float(((after - before) * np.log(after / before)).sum())


def compare_numbers(what: str, reference: np.ndarray, new: np.ndarray) -> list[DriftFinding]:
    """Return how a column of numbers moved, and how often it is missing if it ever is.

    Args:
        what: Name of the column.
        reference: Numbers, NaN where missing, shape (num_reference,).
        new: The same of the new rows, shape (num_new,).
    """
    reference, new = np.asarray(reference, float), np.asarray(new, float)
    known, fresh = reference[np.isfinite(reference)], new[np.isfinite(new)]
    findings = []
    if len(known) and len(fresh):
        distance, p_value = ks_test(known, fresh)
        findings.append(DriftFinding(what, distance, p_value, population_stability_index(known, fresh)))
    if len(known) < len(reference) or len(fresh) < len(new):
        counts = [
            {"missing": len(side) - len(finite), "there": len(finite)}
            for side, finite in ((reference, known), (new, fresh))
        ]
        findings.append(DriftFinding(f"{what} missing", *chi_square_test(*counts)))
    return findings


def pca_reconstruction_errors(
    reference: np.ndarray, others: Sequence[np.ndarray], components: int = 16
) -> list[np.ndarray]:
    """Return how badly rows are rebuilt from a few numbers by a linear autoencoder fitted on the reference.

    Args:
        reference: What the autoencoder (principal components) is fitted on, shape (num_rows, num_values).
        others: Rows to rebuild, none of them among the reference: fitted rows would look too good.
        components: Numbers that stand for a row.

    Returns:
        Root mean squared error per row, for each of `others`.
    """
    mean = reference.mean(axis=0)
    _, _, axes = np.linalg.svd(reference - mean, full_matrices=False)
    axes = axes[:components]
    errors = []
    for rows in others:
        centred = rows - mean
        rebuilt = centred @ axes.T @ axes
        errors.append(np.sqrt(((centred - rebuilt) ** 2).mean(axis=1)))
    return errors


def adjusted(findings: Sequence[DriftFinding]) -> list[DriftFinding]:
    """Return findings with p-values adjusted for their number, the largest effect first."""
    p_values = holm([finding.p_value for finding in findings])
    made = [
        DriftFinding(finding.what, finding.effect, p_value, finding.stability)
        for finding, p_value in zip(findings, p_values, strict=True)
    ]
    return sorted(made, key=lambda finding: (-finding.effect, finding.what))


def drift_verdict(findings: Sequence[DriftFinding], bounds: Bounds) -> Verdict:
    """Return what adjusted findings come to."""
    effects = [finding.effect for finding in findings if finding.p_value <= bounds.significance]
    if any(effect >= bounds.refuse for effect in effects):
        return "refuse"
    return "report" if any(effect >= bounds.report for effect in effects) else "none"


# --- The data of today against that of the committed results, which DVC's cache or its remote holds.


def compare_with_results(
    children: Children, bounds: DriftBounds, accepted: Accepted | None
) -> dict[str, Any]:
    """Bring `validate` up to date and compare the new rows with those of the committed results.

    Args:
        children: Runs stages in the tree.
        bounds: From when on a difference counts; both comparisons share the level.
        accepted: What is compared with as well, unless it is the same data.

    Returns:
        See `compare_rows`; of the accepted data under `since`, with `data` in words. The verdict is `unknown` where
        there are results or accepted data that nobody has any more.

    Raises:
        ProgramFailed: `validate` does not pass the data.
    """
    tree = children.tree
    recorded = recorded_files(tree)
    if not recorded:
        nothing = {"new_rows": 0, "lost_rows": 0, "lost_share": 0.0, "verdict": "none"}
        return {**nothing, "skipped": [NO_RESULTS]}
    # Brought before `validate` writes into dvc.lock what it read tonight.
    last = bring(children, recorded)
    earlier = bring(children, accepted.files) if accepted and accepted.files != recorded else None
    children.repro("validate")
    now = read_described_rows(*(tree / path for path in DESCRIBED))

    def compared(what: str, places: Mapping[Path, Path | None]) -> dict[str, Any]:
        here = [path for path in map(places.get, DESCRIBED) if path is not None]
        if len(here) < len(DESCRIBED):
            return _unknown(what, len(now.samples), asked_remote=has_remote(tree))
        significance = bounds.significance / (1 if earlier is None else 2)
        limits = Bounds(significance, bounds.report, bounds.refuse)
        return compare_rows(
            read_described_rows(*here), now, tree / paths.PAYLOAD_NPY, limits, bounds.min_rows
        )

    found = compared(LAST_RESULTS, last)
    if accepted and earlier is not None:
        found["since"] = {"data": accepted.what, **compared(accepted.what, earlier)}
    return found


def _unknown(what: str, num_rows: int, *, asked_remote: bool) -> dict[str, Any]:
    where = "came neither from DVC's cache nor from its remote" if asked_remote else "is not in DVC's cache"
    return {
        "new_rows": num_rows,
        "lost_rows": 0,
        "lost_share": 0.0,
        "verdict": "unknown",
        "skipped": [f"{what} {where}"],
        "asked_remote": asked_remote,
    }


# --- The rows of the committed results: from DVC's cache, by the digests that the committed dvc.lock records.

LABELS = ("label", "target")


@dataclass(frozen=True)
class DescribedRows:
    """A data set as `ingest` and `validate` describe it.

    Attributes:
        samples: data/interim/samples.parquet, by row.
        statistics: data/validate/statistics.parquet, one row per sample, in the same order.
    """

    samples: pd.DataFrame
    statistics: pd.DataFrame

    def only(self, wanted: pd.Series) -> "DescribedRows":
        """Return some of the rows; `wanted` is a truth per row."""
        return DescribedRows(self.samples[wanted.to_numpy()], self.statistics[wanted.to_numpy()])


def read_described_rows(samples_path: Path, statistics_path: Path) -> DescribedRows:
    """Read the two files of a data set and bring them into one order.

    Raises:
        FileNotFoundError: One is missing.
    """
    samples = pd.read_parquet(samples_path).sort_values("row", ignore_index=True)
    statistics = pd.read_parquet(statistics_path).set_index("sample_id").loc[samples["sample_id"]]
    return DescribedRows(samples, statistics.reset_index())


# --- New rows against the known ones.

MOST_ROWS = 2000
"""Of each kind that the linear autoencoder sees: its error is well known from so many."""
MIN_FITTED = 40
"""Known rows that are still in the source, below which no autoencoder is fitted."""
MOST_VALUES = 1024
"""Of one image; larger ones are thinned out."""
IDENTITY = ("sample_id", "row")
DESCRIPTION = ("label", "target", "group", "given_split", "time")
"""What may be said otherwise of a sample whose content is the same; side columns too."""


def compare_rows(
    known: DescribedRows, now: DescribedRows, payload_path: Path, bounds: Bounds, min_rows: int
) -> dict[str, Any]:
    """Compare the rows that are new with the known ones.

    Args:
        known: The data of the committed results.
        now: All the data of today.
        payload_path: data/interim/payload.npy of today.
        bounds: From when on a difference counts.
        min_rows: New rows below which nothing is compared.

    Returns:
        `new_rows`, `lost_rows`, `lost_share`; `changed_rows` and `changed_share`: of the same content, with another
        label, target, group, given split, time or side column that both have; `verdict` of the drift, or why there is
        none in `skipped`;
        `findings`, the largest first.
    """
    before, after = Counter(known.samples["content_sha256"]), Counter(now.samples["content_sha256"])
    is_new = ~now.samples["content_sha256"].isin(before)
    # A series that grew has other content under its old name: it is not gone. A number of a line is no such name:
    # another known row has moved there.
    grown = now.samples.loc[is_new, "sample_id"]
    missing = before - after
    replaced = known.samples["content_sha256"].isin(missing) & known.samples["sample_id"].isin(grown)
    lost = missing.total() - int(replaced.sum())
    new = (after - before).total()
    changed = _differing(known.samples, now.samples) - new
    counted = {
        "new_rows": new,
        "changed_rows": changed,
        "lost_rows": lost,
        "lost_share": round(lost / max(1, len(known.samples)), 6),
        "changed_share": round(changed / max(1, len(known.samples)), 6),
    }
    findings = relabelled_findings(known.samples, now.samples, bounds.report, min_rows)
    if is_new.sum() < min_rows:
        skipped = [f"{is_new.sum()} rows with new content, {min_rows} are needed to compare"]
    else:
        fresh = now.only(is_new)
        findings += label_findings(known, fresh) + statistics_findings(known.statistics, fresh.statistics)
        shape, skipped = content_findings(now, is_new.to_numpy(), payload_path)
        findings += shape
    found = adjusted(findings)
    return {
        **counted,
        "verdict": drift_verdict(found, bounds),
        "skipped": skipped,
        "findings": [_rounded(finding) for finding in found],
    }


def label_findings(known: DescribedRows, fresh: DescribedRows) -> list[DriftFinding]:
    """Compare classes, or targets where there are numbers to predict."""
    findings = []
    labels = [rows.samples["label"] for rows in (known, fresh) if "label" in rows.samples]
    if len(labels) == 2 and any(len(_counts(side)) > 1 for side in labels):
        findings.append(DriftFinding("label", *chi_square_test(*(_counts(side) for side in labels))))
    targets = [rows.samples.get("target") for rows in (known, fresh)]
    if all(side is not None and pd.api.types.is_numeric_dtype(side) for side in targets):
        arrays = [side.to_numpy(dtype=float, na_value=np.nan) for side in targets if side is not None]
        if all(np.isfinite(array).any() for array in arrays):
            findings += compare_numbers("target", *arrays)
    return findings


def relabelled_findings(
    known: pd.DataFrame, now: pd.DataFrame, share: float, min_rows: int
) -> list[DriftFinding]:
    """Compare what is said of the same content before and now, by class: a few rows of all can be most of one.

    Args:
        known: Samples of before.
        now: Samples of today.
        share: The p-value says how often chance would relabel so many, if it relabelled this share.
        min_rows: Rows of a class that are still there, below which it is not compared.

    Returns:
        One finding for each class with relabelled rows: its effect is their share. One for numeric targets of which
        any moved.
    """
    findings = []
    if "label" in known and "label" in now:
        findings += _relabelled(_labels_by_content(known), _labels_by_content(now), share, min_rows)
    if "target" not in known or "target" not in now:
        return findings
    both = [
        side.drop_duplicates("content_sha256", keep=False).set_index("content_sha256")["target"]
        for side in (known, now)
    ]
    before, after = both[0].align(both[1], join="inner")
    numeric = all(pd.api.types.is_numeric_dtype(side) for side in (before, after))
    if len(before) < min_rows or not numeric or before.equals(after):
        return findings
    arrays = [side.to_numpy(dtype=float, na_value=np.nan) for side in (before, after)]
    return findings + compare_numbers("target of known rows", *arrays)


def _relabelled(before: pd.Series, after: pd.Series, share: float, min_rows: int) -> list[DriftFinding]:
    """Return a finding for each class; both count rows by content and label."""
    counts = pd.DataFrame({"before": before, "after": after}).reindex(before.index).fillna(0)
    still = after.groupby("content").sum().reindex(counts.index.get_level_values("content"), fill_value=0)
    counts["there"] = np.minimum(counts["before"], still.to_numpy())
    counts["kept"] = counts[["there", "after"]].min(axis=1)
    classes = counts.groupby("label")[["there", "kept"]].sum().astype(int)
    moved = classes[(classes["there"] >= min_rows) & (classes["kept"] < classes["there"])]
    if moved.empty:
        return []
    from scipy import stats

    return [
        DriftFinding(
            f"label of known {name!r}",
            (there - kept) / there,
            float(stats.binom.sf(there - kept - 1, there, share)),
        )
        for name, there, kept in moved.itertuples(name=None)
    ]


def _labels_by_content(samples: pd.DataFrame) -> pd.Series:
    keys = [samples["content_sha256"].rename("content"), samples["label"].fillna("").astype(str)]
    return samples.groupby(keys).size()


def statistics_findings(known: pd.DataFrame, fresh: pd.DataFrame) -> list[DriftFinding]:
    """Compare every number that `validate` measured on each sample."""
    findings = []
    for name in known.columns.intersection(fresh.columns):
        numeric = all(pd.api.types.is_numeric_dtype(side[name]) for side in (known, fresh))
        if name not in IDENTITY and numeric:
            sides = [side[name].to_numpy(dtype=float, na_value=np.nan) for side in (known, fresh)]
            findings += compare_numbers(str(name), *sides)
    return findings


def content_findings(
    now: DescribedRows, is_new: np.ndarray, payload_path: Path
) -> tuple[list[DriftFinding], list[str]]:
    """Compare how well a linear autoencoder of known rows rebuilds unseen known rows, and new ones.

    Returns:
        At most one finding, and why there is none.
    """
    payload: np.ndarray = np.load(payload_path, mmap_mode="r")
    if payload.ndim != 4:
        return [], ["content: only images of one size have rows of equal length; statistics must do"]
    rows = now.samples["row"].to_numpy()
    known, fresh = (_thinned(rows[mask]) for mask in (~is_new, is_new))
    if len(known) < 2 * MIN_FITTED:
        return [], [f"content: {len(known)} known rows are still in the source, {2 * MIN_FITTED} are needed"]
    fitted, unseen, new = (_flat(payload, part) for part in (known[::2], known[1::2], fresh))
    errors = pca_reconstruction_errors(fitted, [unseen, new])
    return [DriftFinding("reconstruction error", *ks_test(*errors))], []


def finding_sentences(found: dict[str, Any], most: int = 3) -> list[str]:
    """Return the largest findings as sentences."""
    return [
        f"{item['what']}: differs by {item['effect']:.2f} (p {item['p_value']:.2g}"
        + (f", PSI {item['stability']:.2f})" if item["stability"] is not None else ")")
        for item in found.get("findings", [])[:most]
    ]


def _differing(known: pd.DataFrame, now: pd.DataFrame) -> int:
    """Return how many rows of today are not, with all that is said of them, among the known ones."""
    described = [
        name
        for name in known.columns.intersection(now.columns)
        if name in DESCRIPTION or name.startswith(SIDE_PREFIX)
    ]
    before, after = (
        Counter(side[["content_sha256", *described]].astype(str).itertuples(index=False, name=None))
        for side in (known, now)
    )
    return (after - before).total()


def _counts(labels: pd.Series) -> dict[Hashable, int]:
    return dict(Counter(labels.fillna("").astype(str)))


def _thinned(rows: np.ndarray) -> np.ndarray:
    step = max(1, -(-len(rows) // MOST_ROWS))
    return rows[::step]


def _flat(payload: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return images as rows of at most about `MOST_VALUES` numbers in [0, 1]."""
    step = max(1, int(np.ceil(np.sqrt(np.prod(payload.shape[1:]) / MOST_VALUES))))
    images = payload[np.sort(rows), ::step, ::step]
    flat: np.ndarray = images.reshape(len(rows), -1).astype(np.float32) / 255
    return flat


def _rounded(finding: DriftFinding) -> dict[str, Any]:
    values = asdict(finding)
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()
    }
