"""Millrace in Python: a champion that answers, and a project's results as tables. Also the command `millrace`.

    from millrace import Project, load_model

    load_model("models:/digits@champion").predict([Path("photo.png")])
    Project(".").leaderboard()

The `pipeline` beside this file is used, also where PYTHONPATH has another package of that name.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Model", "Project", "load_model", "main"]


class Model:
    """A model with its fitted state, which answers raw records without TensorFlow.

    Attributes:
        card: What is known of it: candidate, test scores, operating point, calibration (card.json).
        state: What was fitted on train, and travels with it (state.json).
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a folder like models/best, or a bundle of `millrace export`.

        Raises:
            pipeline.runtime.errors.InputMissing: A file is not there.
            pipeline.runtime.errors.StorageFailed: It is damaged, or does not give its golden answers.
        """
        _use_own_pipeline()
        from pipeline.serving.model_folder import opened
        from pipeline.serving.scorer import Scorer

        with opened(Path(folder)) as model:
            self._scorer = Scorer(model.folder)
        self.card: Mapping[str, Any] = self._scorer.card
        self.state: Mapping[str, Any] = self._scorer.state

    def predict(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        """Return an answer for each record, in order, in the user's words.

        Args:
            records: What `/predict` takes: a mapping of fields (`{"text": ..., "side": {...}}`). Without side features
                the main field alone will do: a text, the steps of a series, and of an image its path, the bytes of its
                file, or its pixels, uint8 (height, width, channels).

        Returns:
            As docs/guides/models-out.md says for the task: class and probabilities, labels, values with their
            interval, or score and alarm. One that cannot be answered has `problems`, all of them, instead.
        """
        from pipeline.serving.scorer import Refused

        said = self._scorer.answers([self._record(record) for record in records])
        return [{"problems": list(one.problems)} if isinstance(one, Refused) else one for one in said]

    def _record(self, record: Any) -> Mapping[str, Any]:
        fields = dict(record) if isinstance(record, Mapping) else {self.state.get("payload", "image"): record}
        return {
            name: value.read_bytes() if isinstance(value, Path) else value for name, value in fields.items()
        }


class Project:
    """A cloned Millrace project with its results."""

    def __init__(self, root: str | os.PathLike[str] = ".") -> None:
        """Find the project.

        Args:
            root: Its folder, or one below it.

        Raises:
            FileNotFoundError: There is no dvc.yaml there or above it.
        """
        _use_own_pipeline()
        from pipeline.runtime.paths import project_root

        with chdir(root):
            self.root = project_root()

    def leaderboard(self) -> "pd.DataFrame":
        """Return a row per candidate, the chosen one first, then by the score that chose.

        Returns:
            Columns candidate, family, chosen, baseline, parameters, trials; `val_NAME` for each metric on validation;
            `test_NAME` with `test_NAME_low` and `test_NAME_high` where there is an interval.

        Raises:
            FileNotFoundError: Nothing was evaluated yet.
        """
        import pandas as pd

        from pipeline.reports.run import best_first
        from pipeline.runtime import paths
        from pipeline.runtime.files import read_json

        with chdir(self.root):
            rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
            selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate")
        ranked = sorted(best_first(rows, selection["select_by"]), key=lambda row: not row["chosen"])
        return pd.DataFrame([_flat(row) for row in ranked])

    def champion(self) -> Model:
        """Return the champion of the project, fetched from the registry once and compared with its digests.

        Raises:
            pipeline.runtime.errors.InputMissing: There is none.
        """
        return self.model("")

    def model(self, name: str) -> Model:
        """Return a registered version.

        Args:
            name: `NAME@ALIAS`, `NAME/VERSION`, with or without `models:/` before it; "" for the champion.
        """
        from pipeline.params.load import load_params
        from pipeline.versions.fetched import fetched_model

        with chdir(self.root):
            _called, folder = fetched_model(self.root, name, load_params().register.model_name)
            return Model(folder.absolute())


def load_model(name: str | os.PathLike[str] = "") -> Model:
    """Return a model by its folder, or by its name in the registry of the project around the working directory.

    Args:
        name: A folder like models/best, or a bundle; `models:/digits@champion`, `digits/3`; "" for the champion.
    """
    if name and (Path(name).is_dir() or Path(name).suffix == ".zip"):
        return Model(name)
    return Project().model(os.fspath(name))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: row[key] for key in ("candidate", "family", "chosen", "baseline", "parameters", "trials")}
    flat |= {f"val_{metric}": value for metric, value in row["val"].items()}
    for metric, found in row["test"].items():
        flat[f"test_{metric}"] = found["value"]
        flat |= {f"test_{metric}_{end}": found[end] for end in ("low", "high") if end in found}
    return flat


def _use_own_pipeline() -> None:
    own = str(Path(__file__).resolve().parent)
    if sys.path[:1] != [own]:
        sys.path.insert(0, own)


def main() -> None:
    """Run the command line of this project."""
    # Python looks for modules beside a script first; `.venv/bin` holds none, and `verify` takes it for a stranger.
    if sys.path[:1] == [str(Path(sys.argv[0]).absolute().parent)]:
        del sys.path[0]
    _use_own_pipeline()
    # With it, what we start by `-m` would look there before it looks here.
    os.environ.pop("PYTHONSAFEPATH", None)
    from pipeline.cli import main as run

    run()
