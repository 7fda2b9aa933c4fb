"""Every picture is drawn from plain arrays, is a readable PNG, and has the same bytes each time."""

import struct
import subprocess
import sys
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.metrics.intervals import Interval
from pipeline.reports import charts, samples
from pipeline.reports import samples as reports_samples
from pipeline.reports.style import save_figure

CLASSES = ["cat", "dog", "emu"]
EPOCHS = [
    {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 9.0, "val_accuracy": 0.4},
    {"epoch": 2, "loss": 0.5, "accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.6},
]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)


def candidates() -> Figure:
    """Return the comparison of two candidates and two baselines, one of them far below."""
    test = {
        "cnn": Interval(0.93, 0.92, 0.94), "rnn": Interval(0.9, 0.89, 0.91),
        "linear": Interval(0.8, 0.79, 0.81), "majority": Interval(0.1, 0.09, 0.11),
    }  # fmt: skip
    val = {name: interval.value for name, interval in test.items()}
    return charts.candidates(test, val, "cnn", ["linear", "majority"], "accuracy")


def map_of_codes() -> Figure:
    """Return 30 dots of two classes; the third has none."""
    plane = np.random.default_rng(1).normal(size=(30, 2))
    return samples.codes_map(plane, np.arange(30) % 2, CLASSES, "Codes")


def errors() -> Figure:
    """Return the comparison of candidates by an error, one of them far above and one without validation."""
    test = {
        "rnn": Interval(4e-5, 3e-5, 5e-5),
        "cnn": Interval(6e-5, 5e-5, 7e-5),
        "naive": Interval(9.0, 8.0, 9.9),
    }
    return charts.candidates(
        test, {"rnn": 4e-5}, "rnn", ["naive"], "mean squared error", higher_is_better=False
    )


def stories() -> list[reports_samples.Story]:
    """Return a series with a found anomaly, a false alarm and an enormous score, and one where nothing happened."""
    steps = np.arange(100)
    scores = np.where(steps == 40, 1e6, 0.5)
    eventful = reports_samples.Story("a", steps, scores, np.sin(steps), 0, [(35, 50)], [(38, 45)], [(80, 90)])
    return [eventful, reports_samples.Story("b", steps, np.full(100, 0.2), np.zeros(100), 0, [], [], [])]


VALUES = np.random.default_rng(2).normal(size=(50, 5))
NAMES = ["load", "wind", "sun", "rain", "price"]
PICTURES: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: charts.confusion_matrix(np.array([[5, 1, 0], [0, 4, 0], [0, 0, 0]]), CLASSES),
    "confusion of many": lambda: charts.confusion_matrix(np.eye(40, dtype=int), [f"class {i}" for i in range(40)]),
    "learning curves": lambda: charts.learning_curves({"cnn": EPOCHS, "rnn": EPOCHS[:1]}, "cnn"),
    "learning curves of nobody": lambda: charts.learning_curves({}, "cnn"),
    "reliability": lambda: charts.reliability_diagram(
        np.array([0.55, 0.9, 0.95]), np.array([False, True, True]), np.array([8, 13, 14]), 15, 0.2
    ),
    "per class": lambda: charts.class_bars(
        {"cat": Interval(0.9, 0.8, 1.0), "dog": Interval(0.0, 0.0, 0.0), "emu": None}, "Classes", "F1"
    ),
    "candidates": candidates,
    "mistakes": lambda: samples.mistakes(list(IMAGES), ["cat"] * 4, ["dog"] * 4, [0.9] * 4),
    "no mistakes": lambda: samples.mistakes([], [], [], []),
    "colour mistakes": lambda: samples.mistakes([np.repeat(IMAGES[0], 3, axis=2)], ["cat"], ["dog"], [0.9]),
    "reconstructions": lambda: samples.reconstructions(
        {"input": list(IMAGES / 255), "PCA\n0.01": list(IMAGES / 200)}, "Images"
    ),
    "codes": map_of_codes,
    "learning curves without accuracy": lambda: charts.learning_curves(
        {"rnn": [{"epoch": 1, "loss": 1.0, "val_loss": 2.0}, {"epoch": 2, "loss": 0.5, "val_loss": 1.0}]}, "rnn"
    ),
    "candidates by error": errors,
    "mistakes that are texts": lambda: samples.mistakes(
        ["WIN $100 now, $$ and _more_ \\frac{1}{2} " * 9, "", "zażółć"], ["ham"] * 3, ["spam"] * 3, [0.9] * 3
    ),
    "mistakes that are series": lambda: samples.mistakes(
        [np.random.default_rng(3).normal(size=(30, 12)), np.full((5, 1), np.nan)], ["a"] * 2, ["b"] * 2, [0.8] * 2
    ),
    "predicted against true": lambda: reports_samples.predicted_against_true(VALUES, VALUES + 0.1, NAMES),
    "predicted against true of one target": lambda: reports_samples.predicted_against_true(VALUES[:, :1], VALUES[:, :1], NAMES[:1]),
    "residuals": lambda: reports_samples.residuals(VALUES, VALUES * 1.1, NAMES),
    "stretch": lambda: reports_samples.stretch(
        np.arange(50), VALUES[:, 0], VALUES[:, 1], title="rnn on a", ylabel="load", others={"naive": VALUES[:, 2]}
    ),
    "error by step": lambda: reports_samples.error_by_step({"rnn": np.arange(1, 9) / 8, "naive": np.ones(8)}, "rnn"),
    "timelines": lambda: reports_samples.anomaly_timelines(stories(), "dense on test"),
    "timelines of nobody": lambda: reports_samples.anomaly_timelines([], "dense on test"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_a_png_with_the_same_bytes_each_time(name: str, tmp_path) -> None:
    """Drawn twice, once under another matplotlibrc, a picture has the same bytes and is more than a blank page."""
    save_figure(PICTURES[name](), tmp_path / "first.png")
    with mpl.rc_context({"font.size": 31, "axes.facecolor": "red"}):
        save_figure(PICTURES[name](), tmp_path / "again.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "first.png") as picture:
        assert min(picture.size) >= 300
        assert len(set(picture.convert("L").getdata())) > 10


def test_png_names_no_software_and_no_date(tmp_path) -> None:
    """Chunks that carry text or time would differ by version and by day."""
    save_figure(candidates(), tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    chunks, place = [], 8
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        chunks.append(kind)
        place += length + 12
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & set(chunks)


def test_confusion_matrix_prints_the_counts() -> None:
    """Every cell that is not 0 carries its count, and the title says how many are right."""
    (axes,) = charts.confusion_matrix(np.array([[5, 2], [0, 1234]]), ["cat", "dog"]).axes
    assert sorted(text.get_text() for text in axes.texts) == ["1234", "2", "5"]
    assert "1,239 of 1,241" in axes.get_title(loc="left")


def test_candidates_far_below_are_named_not_drawn() -> None:
    """The majority baseline stands at the edge with its number, or the differences that matter would vanish."""
    (axes,) = candidates().axes
    assert axes.get_xlim()[0] > 0.5
    assert any("0.100" in text.get_text() for text in axes.texts)


def test_a_wild_first_epoch_does_not_squeeze_the_loss() -> None:
    """The loss axis follows most epochs, not the worst."""
    epochs = [EPOCHS[0] | {"epoch": 1}, *[EPOCHS[1] | {"epoch": epoch} for epoch in range(2, 30)]]
    _, loss = charts.learning_curves({"cnn": epochs}, "cnn").axes
    assert loss.get_ylim()[1] < 1


def test_importing_pictures_opens_no_window_system() -> None:
    """Nothing imports pyplot, which would choose a backend and keep every figure alive."""
    code = "import sys, pipeline.reports.charts, pipeline.reports.samples; print('matplotlib.pyplot' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_of_many_classes_the_worst_are_drawn():
    """Sixty bars with their names; the title says how many there are."""
    scores = {f"c{n:03d}": Interval(n / 100, n / 100, n / 100) for n in range(77)}
    (axes,) = charts.class_bars(scores, "cnn", "F1").axes
    assert [f"c{n:03d}" for n in range(60)] == [label.get_text() for label in axes.get_yticklabels()]
    assert "cnn\nthe worst 60 of 77" == axes.get_title(loc="left")


def test_names_of_many_classes_do_not_lie_over_each_other():
    """Beside the confusions of 77 classes a name is no taller than its row."""
    figure = charts.confusion_matrix(np.eye(77, dtype=int), [f"intent {n}" for n in range(77)])
    heights = [label.get_window_extent().height for label in figure.axes[0].get_yticklabels()]
    places = [label.get_window_extent().y0 for label in figure.axes[0].get_yticklabels()]
    assert max(heights) <= 1.02 * np.abs(np.diff(places)).min()
