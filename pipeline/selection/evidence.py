"""The answers that choose: for rows of validation or, where those are too few, for rows that folds held out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.measures import Predictions
from pipeline.evaluation.rows import EvaluationRows, load_rows
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.selection.folds import count_units, labelled_rows, units


@dataclass(frozen=True)
class Evidence:
    """Rows with answers of every candidate.

    Attributes:
        rows: In the order of the answers; where folds were cut anew, a row stands once for each answer, and the answers
            for a row are of one group.
        out_of_fold: Whether folds answered; else validation did.
        num_rows: Different rows.
        num_units: Those of them that do not hang together.
        members: Of the candidate `ensemble`, whose answers are the mean of theirs; () where there is none.
    """

    rows: EvaluationRows
    out_of_fold: bool
    num_rows: int
    num_units: int
    members: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return what such scores are called."""
        return "out-of-fold" if self.out_of_fold else "validation"

    def answers(self, candidate: str, models_dir: Path = paths.TUNED_DIR) -> Predictions:
        """Return what a candidate answered for the rows.

        Args:
            candidate: Its name.
            models_dir: Where its folder lies, with the answers for validation.

        Raises:
            FileNotFoundError: They are not there; says which stage makes them.
        """
        if members := self.members_of(candidate):
            return averaged([self.answers(name, models_dir) for name in members])
        found: Predictions = np.load(self.path(candidate, models_dir), allow_pickle=False)
        return found

    def members_of(self, candidate: str) -> tuple[str, ...]:
        """Return whose answers are averaged; () where a candidate answers itself."""
        return self.members if candidate == paths.ENSEMBLE else ()

    def probabilities(self, candidate: str, models_dir: Path = paths.TUNED_DIR) -> Predictions:
        """Return what a temperature is laid on, see `pipeline.metrics.calibration.tempered`.

        Arguments and errors as for `answers`; of an ensemble the answers of all members, one after the other.
        """
        members = self.members_of(candidate)
        if not members:
            return self.answers(candidate, models_dir)
        return np.stack([self.answers(name, models_dir) for name in members])

    def path(self, candidate: str, models_dir: Path) -> Path:
        """Return the file of these answers.

        Raises:
            FileNotFoundError: It is not there.
        """
        folds, tuned = paths.folds_dir(candidate), models_dir / candidate
        path = folds / "answers.npy" if self.out_of_fold else tuned / "val_predictions.npy"
        if not path.is_file():
            stage = "folds" if self.out_of_fold else "tune"
            raise FileNotFoundError(f"{path} does not exist. Run `dvc repro {stage}@{candidate}`.")
        return path


def averaged(answers: Sequence[Predictions]) -> Predictions:
    """Return the mean of several models' answers, float32; arrays of one shape."""
    return np.asarray(np.mean(answers, axis=0, dtype=np.float64), np.float32)


def read_evidence(
    candidates: Iterable[str], season: int | None = None, members: Sequence[str] = ()
) -> Evidence:
    """Return the rows that choose among candidates.

    Args:
        candidates: Their names; folds were needed for all of them or for none.
        season: As for `load_rows`.
        members: Those of them that are averaged, see `Evidence`.

    Raises:
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Folds of two candidates answered for different rows.
    """
    positions: list[npt.NDArray[np.intp]] = []
    for name in candidates:
        folder = paths.folds_dir(name)
        if read_json(folder / "folds.json", f"folds@{name}")["needed"]:
            positions.append(np.load(folder / "positions.npy", allow_pickle=False))
        if positions and not np.array_equal(positions[0], positions[-1]):
            raise ValueError(f"{folder} answers for other rows. Run `dvc repro --force folds@{name}`.")
    if not positions:
        val = load_rows("val", season)
        return Evidence(_drawn_by_unit(val), False, len(val), count_units(val), tuple(members))
    every = labelled_rows(season)
    held = every.take(np.unique(positions[0]))
    rows = _drawn_by_unit(every.take(positions[0]), repeated=len(positions[0]) > len(held))
    return Evidence(rows, True, len(held), count_units(held), tuple(members))


def _drawn_by_unit(rows: EvaluationRows, *, repeated: bool = False) -> EvaluationRows:
    """Return the rows with their units as groups, where a unit has more than one."""
    if rows.timeline is not None:
        return rows
    of_rows = units(rows)
    alone = len(set(of_rows)) == len(of_rows) and not repeated
    return replace(rows, groups=() if alone else of_rows)
