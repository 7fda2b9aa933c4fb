"""What a candidate's answers for validation are worth, without Keras: `tune` asks where nothing is trained."""

import math

import numpy as np
import numpy.typing as npt

from pipeline.inputs.arrays import take_targets
from pipeline.inputs.specs import OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.metrics import classification, multilabel
from pipeline.metrics.monitors import monitors_of
from pipeline.runtime.errors import DataRefused


def validation_metrics(
    data: TrainData, answers: npt.NDArray[np.float32], monitor: str = "val_loss"
) -> dict[str, float]:
    """Return the scores of a model's answers on the rows of val.

    Args:
        data: Of the candidate.
        answers: What `prediction.answers` gave for `data.val_rows`.
        monitor: What chooses epochs and trials: one of `monitors.monitors_of`, or `val_loss`; it is there in any case.

    Returns:
        Classification: `val_accuracy` and `val_loss` (log loss). Multilabel: `val_mean_average_precision` and
        `val_loss` (mean over labels of the binary cross-entropy). Regression and forecasting: `val_loss` (mean
        squared error) and `val_mean_absolute_error`, in units of the targets' deviation on train. Anomaly:
        `val_loss`, the mean squared error of reconstruction of the normal windows.

    Raises:
        DataRefused: The monitor does not exist for these rows.
    """
    task = data.output_spec.task
    if task == "anomaly":
        normal = answers if data.normal_val is None else answers[data.normal_val]
        return {"val_loss": float(np.mean(normal, dtype=np.float64))}
    targets = take_targets(data.inputs, data.targets, data.val_rows)
    metric = monitors_of(task).get(monitor)
    asked = {monitor: float(metric(targets, answers, None))} if metric else {}
    if metric and math.isnan(asked[monitor]):
        raise DataRefused(
            f"training.monitor={monitor} does not exist for the {len(data.val_rows)} rows that choose (of `folds`: "
            "those of a fold). Expected some of every class, or another metric. Received: an undefined value. Set "
            "monitor: val_loss, or raise split.val_share."
        )
    if task == "classification":
        return asked | {
            "val_accuracy": float(classification.accuracy_score(targets, answers)),
            "val_loss": float(classification.log_loss(targets, answers)),
        }
    if task == "multilabel":
        return asked | {
            "val_mean_average_precision": float(multilabel.mean_average_precision_score(targets, answers)),
            "val_loss": float(multilabel.log_loss(targets, answers)),
        }
    difference = scaled(answers, data.output_spec) - targets
    return {
        "val_loss": float(np.mean(difference**2, dtype=np.float64)),
        "val_mean_absolute_error": float(np.mean(np.abs(difference), dtype=np.float64)),
    }


def scaled(values: npt.NDArray[np.float32], output_spec: OutputSpec) -> npt.NDArray[np.float32]:
    """Return values in the units of the data as deviations from the training mean; targets on the last axis."""
    mean = np.asarray(output_spec.target_mean, np.float32)
    deviation = np.asarray(output_spec.target_standard_deviation, np.float32)
    scaled_values: npt.NDArray[np.float32] = (values - mean) / deviation
    return scaled_values
