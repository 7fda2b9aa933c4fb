"""Which pictures the evaluation draws, from which numbers."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.judgement import Judgement
from pipeline.metrics import confidence_bins
from pipeline.plots import charts, grids
from pipeline.plots.style import save

if TYPE_CHECKING:  # it imports Keras, which nothing here needs
    from pipeline.codes_comparison import CodesComparison

NUM_MISTAKES = 18


def draw_pictures(
    folder: Path,
    judgement: Judgement,
    codes: "CodesComparison | None",
    *,
    images: npt.NDArray[np.uint8],
    test_rows: npt.NDArray[np.int64],
    num_bins: int,
) -> None:
    """Draw all pictures of an evaluation as PNG files.

    Args:
        folder: Where.
        judgement: What to show.
        codes: The comparison with PCA; without an autoencoder there are no reconstructions and no map of codes.
        images: All images, NHWC; may be a memmap.
        test_rows: Which of them judge.
        num_bins: Bins of the reliability diagram.
    """
    _draw_scores(folder, judgement)
    _draw_calibration(folder, judgement, num_bins)
    shown = judgement.mistakes()[:NUM_MISTAKES]
    predicted = judgement.answers.argmax(axis=1)
    figure = grids.mistakes(
        [images[test_rows[row]] for row in shown],
        said=[judgement.classes[predicted[row]] for row in shown],
        actual=[judgement.classes[judgement.y_true[row]] for row in shown],
        sure=[float(judgement.answers[row].max()) for row in shown],
    )
    save(figure, folder / "mistakes.png")
    if codes is not None:
        _draw_codes(folder, judgement, codes)


def _draw_scores(folder: Path, judgement: Judgement) -> None:
    chosen, num_classes = judgement.choice.chosen, len(judgement.classes)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (judgement.y_true, judgement.answers.argmax(axis=1)), 1)
    save(charts.confusion_matrix(counts, judgement.classes), folder / "confusion.png")

    histories = {name: item.history["epochs"] for name, item in judgement.candidates.items()}
    trained = {name: epochs for name, epochs in histories.items() if epochs}
    save(charts.learning_curves(trained, chosen), folder / "learning_curves.png")

    f1 = dict(zip(judgement.classes, judgement.per_class["f1"], strict=True))
    figure = charts.class_bars(f1, f"{chosen} on test, class by class", "F1, with interval")
    save(figure, folder / "per_class.png")

    metric = "accuracy"
    figure = charts.candidates(
        {name: metrics[metric] for name, metrics in judgement.test.items()},
        {name: candidate.val[metric] for name, candidate in judgement.candidates.items()},
        chosen,
        judgement.baselines,
        metric,
    )
    save(figure, folder / "candidates.png")


def _draw_calibration(folder: Path, judgement: Judgement, num_bins: int) -> None:
    confidence = judgement.answers.max(axis=1).astype(np.float64)
    error = judgement.test[judgement.choice.chosen]["expected_calibration_error"].value
    correct = judgement.answers.argmax(axis=1) == judgement.y_true
    bins = confidence_bins(confidence, num_bins)
    save(charts.reliability_diagram(confidence, correct, bins, num_bins, error), folder / "reliability.png")


def _draw_codes(folder: Path, judgement: Judgement, codes: "CodesComparison") -> None:
    rows = {"input": list(codes.reconstructions["input"])}
    for name, label in (("autoencoder", "autoencoder"), ("pca", "PCA")):
        rows[f"{label}\n{codes.errors[name]:.4f}"] = list(codes.reconstructions[name])
    title = f"{codes.codes} codes: mean squared error"
    save(grids.reconstructions(rows, title), folder / "reconstructions.png")
    y_shown = judgement.y_true[codes.plane_rows]
    figure = grids.codes_map(
        codes.plane, y_shown, judgement.classes, "Codes of test images, 2-D view (principal axes)"
    )
    save(figure, folder / "codes.png")
