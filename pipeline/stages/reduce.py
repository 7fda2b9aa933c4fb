"""Compare an autoencoder's codes with PCA, truncated SVD and t-SNE, where params.yaml asks for it.

Reads: data/features, data/interim, data/split/split.parquet.
Writes: data/reduce/ (comparison.json, explained_variance.csv, codes.parquet, an autoencoder per number of
dimensions), reports/reduce/summary.json; for people, not tracked by DVC: reports/reduce/report.html and pictures/.
Parameters: reduce, seed, threads.

A killed training continues at its last complete epoch when the same command runs again.
"""

import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inference import backend
from pipeline.params.load import load_params
from pipeline.params.sections import Reduce
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path, read_json, write_json, write_text
from pipeline.runtime.stage import Stage, running_stage

SHOWN_IMAGES = 10


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("reduce") as stage:
        params = load_params()
        shutil.rmtree(paths.REDUCE_DIR, ignore_errors=True)
        shutil.rmtree(paths.REDUCED_DIR, ignore_errors=True)
        if params.reduce is None:
            write_json(paths.REDUCED_DIR / "comparison.json", [])
            write_json(paths.REDUCE_SUMMARY, {"compared": 0})
            stage.console.print("reduce: not asked for (no section `reduce` in params.yaml)")
            return
        backend.prepare_tensorflow(params.threads, params.seed)
        for sentence in reduce(params.reduce, params.seed, stage):
            stage.console.print(sentence, highlight=False)


def reduce(settings: Reduce, seed: int, stage: Stage) -> list[str]:
    """Reduce the samples by every method to every number of dimensions, measure, draw and export.

    Args:
        settings: The section `reduce` of params.yaml.
        seed: Of weights, order and randomised solvers.
        stage: The running stage.

    Returns:
        A sentence per number of dimensions.

    Raises:
        DataRefused: The samples cannot be laid flat.
    """
    # Here, because they import Keras, which must wait for `backend.prepare_tensorflow`.
    from pipeline.inference.keras_files import save_model
    from pipeline.inputs.train_data import load_train_data
    from pipeline.reduction import comparison
    from pipeline.reduction.comparison import draw_charts, draw_reconstructions, reduction_page, verdicts
    from pipeline.runtime.progress import epoch_progress

    if read_json(paths.FEATURES_STATE, "features").get("windows"):
        raise _not_reducible("windows")
    data = load_train_data("autoencoder")
    if not comparison.can_reduce(data.input_spec):
        raise _not_reducible(data.input_spec.kind)
    test_rows, test_labels = _test_rows()
    classes = data.output_spec.classes
    labels = _labels(data.targets, data.train_rows, test_labels, classes)
    train, test = comparison.flat(data.inputs, data.train_rows), comparison.flat(data.inputs, test_rows)
    compared = np.unique(np.linspace(0, len(test) - 1, min(len(test), settings.max_rows)).astype(np.intp))
    shown = compared[:: max(1, len(compared) // SHOWN_IMAGES)][:SHOWN_IMAGES]
    network = comparison.AutoencoderSettings(
        settings.units,
        settings.activation,
        settings.epochs,
        settings.batch_size,
        settings.learning_rate,
        seed,
    )
    checkpoints = paths.STATE_DIR / "reduce" / stage.inputs_key

    rows: list[dict[str, Any]] = []
    planes, restored = {}, {"input": test[shown]}
    for dimensions in settings.dimensions:
        with epoch_progress(stage.console, f"{dimensions} codes", {"": settings.epochs}) as show:
            path = checkpoints / f"{dimensions}.checkpoint"
            model = comparison.train_autoencoder(data, dimensions, network, path, show)
        save_model(model, paths.REDUCED_DIR / f"autoencoder_{dimensions}.keras")
        methods = [comparison.by_autoencoder(model, data, test_rows, shown)]
        methods += [
            comparison.by_projection(name, train, test, dimensions, seed=seed, shown=shown)
            for name in ("pca", "svd")
        ]
        for reduced in methods:
            rows.append(comparison.measured(reduced, test, compared, settings.neighbours, labels))
            if reduced.dimensions == 2:
                planes[reduced.method] = reduced.test[compared]
            if reduced.method != "svd":
                restored[f"{reduced.method} {reduced.dimensions}"] = reduced.reconstructed
        if dimensions == settings.export:
            _export(methods[0].train, methods[0].test, data.train_rows, test_rows)
    variance = list(comparison.cumulative_explained_variance(train, max(settings.dimensions), seed))
    lines = [f"{number},{share}" for number, share in variance]
    write_text(paths.REDUCED_DIR / "explained_variance.csv", "\n".join(["components,share", *lines, ""]))
    write_json(paths.REDUCED_DIR / "comparison.json", rows)

    tsne = None
    if settings.tsne:
        planes["tsne"], tsne = _tsne(test[compared], settings.neighbours, seed)
    pictures = paths.REDUCE_DIR / "pictures"
    y_shown = labels.test[compared] if labels else np.zeros(len(compared), np.int64)
    draw_charts(
        pictures,
        rows,
        variance=variance,
        planes=planes,
        y_shown=y_shown,
        classes=classes or ("samples",),
    )
    if data.input_spec.kind == "image":
        draw_reconstructions(pictures, restored, data.input_spec.shape)
    write_text(paths.REDUCE_DIR / "report.html", reduction_page(rows, tsne, pictures))
    write_json(paths.REDUCE_SUMMARY, _summary(rows))
    shutil.rmtree(checkpoints.parent, ignore_errors=True)
    return verdicts(rows)


def _not_reducible(received: str) -> DataRefused:
    return DataRefused(
        f"The section `reduce` works on images and whole series. Received: {received}. "
        "Set reduce: null in params.yaml."
    )


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the errors by method and number of dimensions, as DVC and MLflow show them."""
    content: dict[str, Any] = {"compared": len(rows)}
    for row in rows:
        content.setdefault(row["method"], {})[f"error_{row['dimensions']}"] = row["reconstruction_error"]
    return content


def _test_rows() -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the rows that judge, ascending, and their labels."""
    table = pq.read_table(paths.SPLIT_PARQUET, columns=["row", "label", "split"])
    test = sorted((item["row"], item["label"]) for item in table.to_pylist() if item["split"] == "test")
    return np.array([row for row, _ in test], dtype=np.int64), [label for _, label in test]


def _labels(
    targets: np.ndarray | None, train_rows: np.ndarray, test_labels: list[str], classes: Sequence[str]
) -> Any:
    """Return the class indices of train and test, None where the task has no classes."""
    from pipeline.reduction.comparison import Labels

    if not classes or targets is None:
        return None
    index_of = {name: index for index, name in enumerate(classes)}
    y_test = np.array([index_of[label] for label in test_labels], dtype=np.int64)
    return Labels(targets[train_rows].astype(np.int64), y_test, len(classes))


def _tsne(test: np.ndarray, neighbours: int, seed: int) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Return positions by t-SNE (van der Maaten and Hinton 2008) and how well they keep neighbourhoods.

    Not in a file that DVC hashes: the same data gives other last bits, and then another picture, under
    another environment (docs/decisions/0009).
    """
    from pipeline.reduction.methods import neighbourhood_preservation, trustworthiness, tsne_plane

    plane = tsne_plane(test, seed)
    return plane, {
        "method": "tsne",
        "dimensions": 2,
        "trustworthiness": trustworthiness(test, plane, neighbours),
        "neighbourhood_preservation": neighbourhood_preservation(test, plane, neighbours),
    }


def _export(
    train_codes: np.ndarray, test_codes: np.ndarray, train_rows: np.ndarray, test_rows: np.ndarray
) -> None:
    """Write the autoencoder's codes of train and test as Parquet: sample_id, split, code_0, code_1, ..."""
    samples = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "sample_id"]).to_pydict()
    id_of = dict(zip(samples["row"], samples["sample_id"], strict=True))
    rows = [*train_rows.tolist(), *test_rows.tolist()]
    codes = np.concatenate([train_codes, test_codes])
    columns = {
        "sample_id": pa.array([id_of[row] for row in rows]),
        "split": pa.array(["train"] * len(train_rows) + ["test"] * len(test_rows)),
    }
    columns |= {f"code_{index}": pa.array(codes[:, index]) for index in range(codes.shape[1])}
    with atomic_path(paths.REDUCED_DIR / "codes.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary)


if __name__ == "__main__":
    main()
