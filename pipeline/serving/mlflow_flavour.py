"""A registered version as MLflow's own tools ask it: raw records in, answers in words out.

`MLmodel` of a version names this module as the loader of its `python_function` flavour, beside the keras flavour: no
pickle, and no code in the artifact. So `mlflow.pyfunc.load_model`, `mlflow models serve` and `mlflow models predict`
answer as `millrace predict` does, wherever Millrace is installed; TensorFlow is not needed for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inputs.record_columns import as_record
from pipeline.serving.scorer import Answer, Refused, Scorer

MOST_NAMED = 10


def _load_pyfunc(path: str) -> "Answers":
    """Return the model in a folder, as MLflow asks its loaders to.

    Raises:
        InputMissing, StorageFailed: See `Scorer`.
    """
    return Answers(Path(path))


class Answers:
    """What MLflow calls a model.

    Args:
        folder: Like models/best.
    """

    def __init__(self, folder: Path) -> None:
        self._scorer = Scorer(folder)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[Answer]:  # noqa: ARG002  # MLflow gives it
        """Return an answer for each row.

        Args:
            model_input: A pandas.DataFrame whose columns are those of the signature; or rows as a list of objects.
            params: Nothing is read from them.

        Raises:
            MlflowException: A record cannot be answered (INVALID_PARAMETER_VALUE, over HTTP 400); names all of them.
        """
        records = [as_record(row, self._scorer.state) for row in _rows(model_input)]
        answers = self._scorer.answers(records)
        refused = [(row, one) for row, one in enumerate(answers) if isinstance(one, Refused)]
        if refused:
            from pipeline.tracking.registry import invalid_parameter

            told = "\n".join(f"row {row}: {' '.join(one.problems)}" for row, one in refused[:MOST_NAMED])
            raise invalid_parameter(f"{len(refused)} of {len(records)} records cannot be answered.\n{told}")
        return [one for one in answers if not isinstance(one, Refused)]


def _rows(given: Any) -> Iterator[dict[str, Any]]:
    """Yield rows as plain values, None where one is missing."""
    rows: Sequence[Mapping[str, Any]] = given.to_dict("records") if hasattr(given, "to_dict") else given
    for row in rows:
        yield {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value] if value.dtype == object else value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    missing = (
        value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ == "NAType"
    )
    return None if missing else value
