"""Fit on the training split what models must know about their inputs, and write the inputs of all samples.

Reads:
    data/interim/payload.npy, data/interim/samples.parquet, data/split/split.parquet, reports/leaks/summary.json.
Writes to data/features:
    state.json: all that was fitted, of the training split alone; it travels with the model. And by kind
    features.npy: images; float32, one row of hand-made features per image;
    tokens.npy, bag_ids.npy, bag_weights.npy, vectors.npy: texts; see `pipeline.features.texts`;
    series.npy: series; float32 (total_steps, channels), without gaps and to scale;
    trunk.keras, frozen.npy, pieces.npy: where features.pretrained names a file: the trunk, what it makes of every
    sample, and the ids that it reads of texts; see `pipeline.weights.frozen`;
    side.npy, categories.npy: side features; float32 and int32, one row per sample.
Parameters:
    features, threads, data (recorded, to know later what kind of pixels a model was made for).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.progress import Progress

from pipeline.data.samples import SampleRows, SplitTable, read_sample_rows, read_split
from pipeline.features.targets import class_state, label_state, target_state
from pipeline.inference import backend
from pipeline.params.load import load_params
from pipeline.params.sections import Data
from pipeline.preprocessing.side import fit_side_features
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import atomic_path, file_digest, read_json, write_json
from pipeline.runtime.stage import running_stage

PAYLOADS = {4: "image", 1: "text", 2: "series"}
"""Dimensions of the payload to what it holds."""


def features(
    groups: Sequence[str] | None,
    edge_cell_px: int | None,
    colour_bins: int | None,
    progress: Progress,
    *,
    workers: int = 1,
    made_from: Mapping[str, Any] | None = None,
    task: str = "classification",
    windows: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
    series: Mapping[str, Any] | None = None,
    side: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the inputs of all samples and the state fitted on the training rows.

    Args:
        groups: Images: any of `colour`, `texture`, `edges`.
        edge_cell_px: Images: side of a cell in the histogram of oriented gradients, in pixels.
        colour_bins: Images: bins of each colour histogram.
        progress: Shows how far the images are.
        workers: Processes side by side; the result does not depend on it.
        made_from: How files became samples (`data` in params.yaml); travels with the model, which means
            nothing on samples made otherwise.
        task: What is asked, as in `data.task`.
        windows: The block `data.windows`; None where samples are whole.
        text: The block `features.text`.
        series: The block `features.series`.
        side: The block `features.side`; None leaves side columns out.

    Returns:
        The state, as written.

    Raises:
        DataRefused: The features cannot be computed on this data, or training lacks a class.
        InputMissing: Payload, samples and split are not of the same data.
    """
    payload, samples, split = np.load(paths.PAYLOAD_NPY, mmap_mode="r"), read_sample_rows(), read_split()
    _check_rows(split, len(samples), whole=windows is None)
    kind = PAYLOADS[payload.ndim]
    blocks: dict[str, Mapping[str, Any] | None] = {"image": {}, "text": text, "series": series}
    block = blocks[kind]
    if block is None:
        raise DataRefused(
            f"features.{kind} is missing in params.yaml. Expected the block that {kind} data needs. Received: "
            f"features.{kind}=null. Copy it from an example of that kind."
        )

    state: dict[str, Any] = {"task": task, "payload": kind, "data": dict(made_from or {})}
    if task == "classification":
        state |= class_state(split)
    elif task == "multilabel":
        state |= label_state(split)
    elif windows is None:
        state |= target_state(split)
    if kind == "image":
        from pipeline.features.images import write_image_features

        state |= write_image_features(
            payload,
            split,
            groups=groups or (),
            edge_cell_px=edge_cell_px,
            colour_bins=colour_bins,
            progress=progress,
            workers=workers,
        )
    elif kind == "text":
        from pipeline.features.texts import write_text_features

        train_rows = split.rows_of("train")
        state["text"] = write_text_features(payload, samples.starts, samples.lengths, train_rows, **block)
    else:
        state |= _series(payload, samples, split, windows=windows, series=block, side=side)
    if side is not None and samples.side_kinds:
        state["side"] = _side(samples, np.unique(split.rows_of("train")), side)
    write_json(paths.FEATURES_STATE, state)
    return state


def _series(
    payload: np.ndarray,
    samples: SampleRows,
    split: SplitTable,
    *,
    windows: Mapping[str, Any] | None,
    series: Mapping[str, Any],
    side: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write series to scale; return the parts of the state that are about them."""
    from pipeline.features.series import write_whole_series, write_windowed_series

    if windows is None:
        return {"series": write_whole_series(payload, samples, split, **series)}
    if windows["known_categorical"] and side is None:
        raise DataRefused(
            "data.windows.known_categorical needs a limit of categories. Expected the block features.side. "
            "Received: features.side=null. Copy it from examples/bike-sharing.yaml."
        )
    return write_windowed_series(
        payload,
        samples,
        split,
        windows=windows,
        scaling=series["scaling"],
        max_categories=side["max_categories"] if side else 2,
    )


def _side(samples: SampleRows, train_rows: np.ndarray, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write side features of all samples; return what was fitted."""
    train = {name: [column[row] for row in train_rows] for name, column in samples.side.items()}
    fitted = fit_side_features(
        train,
        samples.side_kinds,
        mode=settings["categories"],
        max_categories=settings["max_categories"],
    )
    numbers, categories = fitted.transform(samples.side, len(samples))
    for path, array in ((paths.SIDE_NPY, numbers), (paths.CATEGORIES_NPY, categories)):
        if array.shape[1]:
            with atomic_path(path) as temporary:
                np.save(temporary, array)
    return fitted.state()


def _check_rows(split: SplitTable, num_samples: int, *, whole: bool) -> None:
    """Check that split and samples belong together; of series in segments a row may stand often or never."""
    inside = (split.rows >= 0) & (split.rows < num_samples)
    if not inside.all() or (whole and not np.array_equal(split.rows, np.arange(num_samples))):
        raise InputMissing(
            f"{paths.SPLIT_PARQUET} and {paths.PAYLOAD_NPY} are not of the same data. Expected every row of "
            f"the samples exactly once. Received: {len(split.rows)} rows for {num_samples} samples. "
            "Run `dvc repro split`."
        )


def _require_no_leaks() -> None:
    if read_json(paths.LEAKS_SUMMARY, made_by="leaks")["passed"] is not True:
        raise DataRefused(
            f"The split did not pass the leak gate. Expected passed=true in {paths.LEAKS_SUMMARY}. "
            f"See {paths.LEAKS_FINDINGS}, then run `dvc repro leaks`."
        )


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("features") as stage:
        params = load_params()
        _require_no_leaks()
        settings = params.features
        blocks = {name: msgspec.to_builtins(getattr(settings, name)) for name in ("text", "series", "side")}
        if settings.text is not None:
            _require_pinned_vectors(settings.text.vectors, blocks["text"].pop("vectors_sha256"))
        with Progress(console=stage.console, disable=not stage.console.is_terminal) as progress:
            state = features(
                settings.groups,
                settings.edge_cell_px,
                settings.colour_bins,
                progress,
                workers=len(os.sched_getaffinity(0)),
                made_from=_made_from(params.data),
                task=params.data.task,
                windows=msgspec.to_builtins(params.data.windows),
                **blocks,
            )
        if settings.pretrained is not None:
            backend.prepare_tensorflow(params.threads, 0)
            from pipeline.weights.frozen import pretrained_features  # Keras, which waits for the line above

            pinned = msgspec.to_builtins(settings.pretrained)
            with Progress(console=stage.console, disable=not stage.console.is_terminal) as progress:
                state = pretrained_features(state, progress, **pinned)
            write_json(paths.FEATURES_STATE, state)
        _require_positive_class(params.data.positive_class, state)
        stage.console.print(_sentence(state))


def _made_from(data: Data) -> dict[str, Any]:
    """Return what decides how files became samples; what is not used leaves no trace in the state."""
    names = ("image_size", "channels", "resize", "policy", *(["grey_range"] if data.grey_range else []))
    made = {name: msgspec.to_builtins(getattr(data, name)) for name in names}
    if made["policy"] is not None:
        # Which files are left out changes no pixel of the others.
        del made["policy"]["frames"]
    if data.labelled_windows is not None:
        # How far windows lie apart changes nothing of what one is.
        cut = data.labelled_windows
        made["labelled_windows"] = {"length": cut.length, "label": cut.label}
    return made


def _require_pinned_vectors(path: str | None, sha256: str | None) -> None:
    if path is None or not Path(path).is_file():
        return  # a missing file is reported where it is read
    received = file_digest(Path(path), "sha256")
    if received != sha256:
        raise DataRefused(
            f"{path} is not the file of word vectors that params.yaml pins. Expected features.text.vectors_sha256="
            f"{sha256}. Received: {received}. Put the right file there, or correct the digest."
        )


def _require_positive_class(name: str | None, state: Mapping[str, Any]) -> None:
    classes = state.get("classes", [])
    if name is not None and (name not in classes or len(classes) != 2):
        raise DataRefused(
            f"data.positive_class must be one of exactly two classes. The data has {classes}. "
            f"Received: positive_class={name}. Correct it in params.yaml, or set it to null."
        )


def _sentence(state: Mapping[str, Any]) -> str:
    parts = []
    if "classes" in state:
        many = {"image": "images", "text": "texts", "series": "series"}[state["payload"]]
        num_train = state.get("train_samples", sum(state["class_counts"]))
        noun = "labels" if "train_samples" in state else "classes"
        parts.append(f"{len(state['classes'])} {noun}, {num_train} training {many}")
    if "handmade" in state:
        parts.append(f"{len(state['handmade']['names'])} hand-made features")
    if "text" in state:
        parts.append(
            f"{len(state['text']['tokens']['vocabulary'])} tokens, {len(state['text']['bag']['terms'])} terms"
        )
    if "pretrained" in state:
        parts.append(f"{len(state['pretrained']['mean'])} pretrained features")
    if "series" in state:
        parts.append(f"{len(state['series']['channels'])} channels")
    if "side" in state:
        parts.append(f"{len(state['side']['names'])} side features")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
