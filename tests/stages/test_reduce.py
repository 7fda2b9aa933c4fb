"""The comparison of reductions on a tiny project: complete, repeatable, and its PCA is scikit-learn's."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sklearn.decomposition import PCA

from pipeline.params.sections import Reduce
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json
from pipeline.stages.reduce import reduce
from tests.helpers.train_project import write_train_project

SETTINGS = Reduce(
    dimensions=(2, 4),
    export=4,
    units=(16,),
    activation="relu",
    epochs=3,
    batch_size=16,
    learning_rate=0.01,
    max_rows=50,
    neighbours=3,
    tsne=True,
)


STAGE = SimpleNamespace(console=Console(quiet=True), inputs_key="key")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """90 images of 8x8 in three classes, 15 of them test, compared once: the folder, and what was said."""
    folder = tmp_path_factory.mktemp("project")
    write_train_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = pa.table(
            {"row": pa.array(range(90), pa.int32()), "sample_id": [f"{row:03d}" for row in range(90)]}
        )
        pq.write_table(rows, paths.SAMPLES_PARQUET)
        return folder, reduce(SETTINGS, 7, STAGE)


@pytest.fixture
def sentences(compared, monkeypatch):
    """What was said, with the project as the working directory."""
    monkeypatch.chdir(compared[0])
    return compared[1]


def test_every_method_is_measured_and_everything_is_written(sentences):
    """Three methods times two dimensions with all figures; codes, models, pictures and the page are there."""
    rows = read_json(paths.REDUCED_DIR / "comparison.json")
    assert [(m, d) for d in (2, 4) for m in ("autoencoder", "pca", "svd")] == [
        (row["method"], row["dimensions"]) for row in rows
    ]
    assert all(0 <= row["probe_accuracy"] <= 1 and 0 <= row["trustworthiness"] <= 1 for row in rows)
    assert 2 == len(sentences)
    codes = pq.read_table(paths.REDUCED_DIR / "codes.parquet")
    assert ["sample_id", "split", "code_0", "code_1", "code_2", "code_3"] == codes.column_names
    assert 75 == len(codes)
    assert (paths.REDUCED_DIR / "autoencoder_2.keras").is_file()
    page = (paths.REDUCE_DIR / "report.html").read_text()
    assert "t-SNE" in page
    assert page.count("<img") == len(list((paths.REDUCE_DIR / "pictures").glob("*.png"))) == 10


@pytest.mark.usefixtures("sentences")
def test_the_error_of_pca_is_that_of_scikit_learn():
    """Fitted on the 60 training rows, measured on the 15 test rows."""
    pixels = np.load(paths.PAYLOAD_NPY).reshape(90, -1) / 255
    split = pq.read_table(paths.SPLIT_PARQUET).to_pydict()
    of = {name: np.flatnonzero(np.array(split["split"]) == name) for name in ("train", "test")}
    pca = PCA(2, svd_solver="full").fit(pixels[of["train"]])
    test = pixels[of["test"]]
    expected = np.mean((test - pca.inverse_transform(pca.transform(test))) ** 2)
    (row,) = [
        row
        for row in json.loads((paths.REDUCED_DIR / "comparison.json").read_text())
        if (row["method"], row["dimensions"]) == ("pca", 2)
    ]
    assert expected == pytest.approx(row["reconstruction_error"], abs=2e-6)


@pytest.mark.long
@pytest.mark.usefixtures("sentences")
def test_again_gives_the_same_bytes():
    """What DVC hashes does not depend on the attempt."""

    def bytes_of():
        return {path.name: path.read_bytes() for path in sorted(paths.REDUCED_DIR.iterdir())}

    first = bytes_of()
    reduce(SETTINGS, 7, STAGE)
    assert first == bytes_of()


@pytest.mark.usefixtures("sentences")
def test_windows_are_refused():
    """What cannot be laid flat and brought back has no comparison."""
    state = read_json(paths.FEATURES_STATE)
    paths.FEATURES_STATE.write_text(json.dumps(state | {"windows": {"length": 4}}))
    with pytest.raises(DataRefused, match="images and whole series"):
        reduce(SETTINGS, 7, STAGE)
