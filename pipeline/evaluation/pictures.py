"""Which pictures the evaluation draws: those of every task here, the others by what was asked."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.anomaly_pictures import draw_anomalies
from pipeline.evaluation.class_pictures import draw_classes, draw_codes
from pipeline.evaluation.judgement import Judgement
from pipeline.evaluation.value_pictures import draw_values
from pipeline.reports import charts
from pipeline.reports.style import save

if TYPE_CHECKING:  # it imports Keras, which nothing here needs
    from pipeline.evaluation.codes import CodesComparison

TASK_PICTURES = {
    "classification": draw_classes,
    "regression": draw_values,
    "forecasting": draw_values,
    "anomaly": draw_anomalies,
}


def draw_pictures(folder: Path, judgement: Judgement, codes: "CodesComparison | None") -> None:
    """Draw all pictures of an evaluation as PNG files.

    Args:
        folder: Where.
        judgement: What to show.
        codes: The comparison with PCA; without an autoencoder there are no reconstructions and no map of codes.
    """
    histories = {name: item.history["epochs"] for name, item in judgement.candidates.items()}
    trained = {name: epochs for name, epochs in histories.items() if epochs}
    save(charts.learning_curves(trained, judgement.choice.chosen), folder / "learning_curves.png")
    _draw_candidates(folder, judgement)
    TASK_PICTURES[judgement.spec.task](folder, judgement)
    if codes is not None:
        draw_codes(folder, judgement, codes)


def _draw_candidates(folder: Path, judgement: Judgement) -> None:
    metric = judgement.primary.name
    figure = charts.candidates(
        {name: metrics[metric] for name, metrics in judgement.test.items()},
        {name: item.val[metric] for name, item in judgement.candidates.items() if metric in item.val},
        judgement.choice.chosen,
        judgement.baselines,
        judgement.primary.words,
        higher_is_better=judgement.primary.higher_is_better,
    )
    save(figure, folder / "candidates.png")
