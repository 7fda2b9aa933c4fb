"""A model in the formats that others run: written, opened again, and held against what Keras answers.

Against the golden answers that travel with the model, and against rows of the test set where this project holds the
data that the model was judged on.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.golden import (
    EXPORTED_TOLERANCE,
    GOLDEN_ANSWERS,
    TOLERANCE,
    Difference,
    answers_of,
    difference,
    read_npz,
)
from pipeline.evaluation.rows import load_rows
from pipeline.evaluation.scoring import inputs_of
from pipeline.export.places import PLACES
from pipeline.inference import backend
from pipeline.inference.prediction import Model
from pipeline.inputs.arrays import Named, named, take
from pipeline.inputs.specs import kinds_read
from pipeline.runtime import paths
from pipeline.runtime.errors import AnswersDiffer, NotPermitted
from pipeline.runtime.files import file_digest, folder_bytes, read_json
from pipeline.runtime.paths import MODEL_ONNX

TEST_ROWS = 256
"""Of the test set, at equal distances."""
TOLERANCES = {
    "onnx": EXPORTED_TOLERANCE,
    "keras": TOLERANCE,
    "saved_model": TOLERANCE,
    "litert": EXPORTED_TOLERANCE,
}
"""Share of the spread of the answers: 1e-6 where TensorFlow computes, 1e-5 where another program does."""


@dataclass(frozen=True)
class Proof:
    """How a format answered.

    Attributes:
        rows: How many it was asked.
        largest: Difference from what Keras answers, in the unit of the answers.
        share: The same as a share of the spread of the answers.
    """

    rows: int
    largest: float
    share: float


@dataclass(frozen=True)
class Made:
    """A model in one format.

    Attributes:
        place: Its file or folder.
        bytes: How large it is.
        golden: Its proof by the golden answers.
        test: That by rows of the test set; None where they are not here.
    """

    place: Path
    bytes: int
    golden: Proof
    test: Proof | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON content."""
        return {
            "bytes": self.bytes,
            "golden": asdict(self.golden),
            "test": None if self.test is None else asdict(self.test),
        }


def inputs_of_test(papers: Path, keras_file: Path) -> Named | None:
    """Return rows of the test set by the names of a model's inputs; None where this project holds other data.

    Args:
        papers: Its settings.json and state.json lie there.
        keras_file: Its model.keras.
    """
    best = paths.BEST_DIR / "model.keras"
    if (
        not best.is_file()
        or file_digest(best) != file_digest(keras_file)
        or not paths.FEATURES_STATE.is_file()
    ):
        return None
    if read_json(paths.FEATURES_STATE) != read_json(papers / "state.json"):
        return None
    try:
        rows = load_rows("test").rows
    except FileNotFoundError:  # of split or samples: `dvc pull` was not asked for them
        return None
    some = np.unique(np.linspace(0, len(rows) - 1, min(TEST_ROWS, len(rows))).astype(np.int64))
    state, settings = (read_json(papers / f"{name}.json") for name in ("state", "settings"))
    return named(take(inputs_of("test", kinds_read(state, settings)), rows[some]))


def make_formats(
    wanted: Sequence[str], papers: Path, keras_file: Path, folder: Path, test: Named | None
) -> dict[str, Made]:
    """Write a model in some formats and return them by name, each proven.

    TensorFlow must have been prepared.

    Args:
        wanted: Names, see `export.places.PLACES`.
        papers: Its model.onnx, golden.npz, settings.json and state.json lie there.
        keras_file: Its model.keras, which is proven by the golden answers itself.
        folder: Where the formats go.
        test: Inputs of the test set, see `inputs_of_test`.

    Raises:
        NotPermitted: A format cannot say what the model does.
        AnswersDiffer: A runtime answers otherwise than Keras did.
    """
    # Keras: not for whoever only reads the names of the formats.
    from pipeline.export.onnx_session import OnnxModel
    from pipeline.export.tensorflow_formats import LiteRt, SavedModel, write_litert, write_saved_model
    from pipeline.inference.keras_files import load_model

    model = load_model(keras_file)
    onnx = OnnxModel(papers / MODEL_ONNX)
    numbers = onnx.numbers_per_sample

    def copied(place: Path) -> Model:
        shutil.copyfile(keras_file, place)
        model: Model = load_model(place)
        return model

    def as_saved_model(place: Path) -> Model:
        write_saved_model(model, place)
        return SavedModel(place, numbers)

    def as_litert(place: Path) -> Model:
        write_litert(model, place)
        return LiteRt(place, numbers)

    def as_onnx(place: Path) -> Model:
        shutil.copyfile(papers / MODEL_ONNX, place)
        return OnnxModel(place)

    makers: dict[str, Callable[[Path], Model]] = {
        "onnx": as_onnx, "keras": copied, "saved_model": as_saved_model, "litert": as_litert
    }  # fmt: skip
    golden = read_npz(papers / "golden.npz")
    asked = {"golden": (golden, golden.pop(GOLDEN_ANSWERS))}
    if test is not None:
        asked["test"] = (test, answers_of(model, papers, test))
    made = {}
    for name in wanted:
        place = folder / PLACES[name]
        try:
            with backend.quiet_stderr():  # TensorFlow's C++ tells what it reads
                opened = makers[name](place)
        except NotImplementedError as error:
            raise NotPermitted(f"The model cannot be exported as {name}. {error}") from error
        proofs = {rows: _proof(name, opened, papers, *pair) for rows, pair in asked.items()}
        size = folder_bytes(place) if place.is_dir() else place.stat().st_size
        made[name] = Made(place, size, proofs["golden"], proofs.get("test"))
    return made


def _proof(
    name: str, model: Model, papers: Path, inputs: Mapping[str, np.ndarray], expected: np.ndarray
) -> Proof:
    received = answers_of(model, papers, inputs)
    found = Difference(np.inf, np.inf, within=False)
    if received.shape == expected.shape:
        found = difference(received, expected, read_json(papers / "state.json"), TOLERANCES[name])
    if not found.within:
        raise AnswersDiffer(
            f"The model as {name} does not answer as Keras does, so nothing was exported. Expected the same up to "
            f"{TOLERANCES[name]} of the spread of the answers. Received: a difference of {found.largest:g}, "
            f"{found.share:.2g} of the spread, in {len(expected)} rows. That is a bug, in its writer or in its "
            "runtime: report it with the family and its settings, and take another format."
        )
    return Proof(len(expected), found.largest, found.share)
