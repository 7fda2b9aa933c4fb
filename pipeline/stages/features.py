"""Measure on the training split what models must know about their inputs, and describe every image by hand.

Reads:
    data/interim/images.npy, data/split/split.parquet.
Writes:
    data/features/features.npy: float32, one row of hand-made features per image, of all splits.
    data/features/state.json: class list, image statistics and feature statistics, all of the training split.
Parameters:
    features, data (recorded, to know later what kind of pixels a model was made for).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from rich.progress import Progress

from pipeline import paths, runtime
from pipeline.artifacts import write_json
from pipeline.config import load_params
from pipeline.feature_rules import feature_problems
from pipeline.features import feature_names, write_features
from pipeline.train_statistics import feature_statistics, image_statistics


def features(
    groups: Sequence[str],
    edge_cell_px: int,
    colour_bins: int,
    progress: Progress,
    *,
    workers: int = 1,
    pixels_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the features of all images and the state fitted on the training rows.

    Args:
        groups: Any of `colour`, `texture`, `edges`.
        edge_cell_px: Side of a cell in the histogram of oriented gradients, in pixels.
        colour_bins: Bins of each colour histogram.
        progress: Shows how far the images are.
        workers: Processes side by side; the result does not depend on it.
        pixels_from: How files became pixels (`data` in params.yaml); travels with the model, which means
            nothing on pixels made otherwise.

    Returns:
        The state, as written.

    Raises:
        DataRefused: The features cannot be computed on these images, or training lacks a class.
        InputMissing: Images and split are not of the same data.
    """
    images = np.load(paths.IMAGES_NPY, mmap_mode="r")
    split = pd.read_parquet(paths.SPLIT_PARQUET)
    shape = images.shape[1:]
    _check_rows(split, len(images))
    problems = feature_problems(shape, groups, edge_cell_px)
    if problems:
        raise runtime.DataRefused("\n".join(problems))
    train = split[split["split"] == "train"]
    train_rows = train["row"].to_numpy()
    counts = _class_counts(split, train)

    task = progress.add_task("features", total=len(images))
    write_features(
        images,
        paths.FEATURES_NPY,
        groups=groups,
        edge_cell_px=edge_cell_px,
        colour_bins=colour_bins,
        workers=workers,
        on_rows=lambda rows: progress.advance(task, rows),
    )

    pixels = image_statistics(images, train_rows)
    handmade = feature_statistics(np.load(paths.FEATURES_NPY, mmap_mode="r"), train_rows)
    state = {
        "classes": list(counts),
        "class_counts": list(counts.values()),
        "data": dict(pixels_from or {}),
        "image": {
            "shape": list(shape),
            "mean": pixels.mean,
            "standard_deviation": pixels.standard_deviation,
        },
        "handmade": {
            "groups": list(groups),
            "edge_cell_px": edge_cell_px,
            "colour_bins": colour_bins,
            "names": feature_names(shape, groups, edge_cell_px, colour_bins),
            "mean": handmade.mean,
            "standard_deviation": handmade.standard_deviation,
        },
    }
    write_json(paths.FEATURES_STATE, state)
    return state


def _check_rows(split: pd.DataFrame, num_images: int) -> None:
    if sorted(split["row"]) != list(range(num_images)):
        raise runtime.InputMissing(
            f"{paths.SPLIT_PARQUET} and {paths.IMAGES_NPY} are not of the same data. Expected every row of "
            f"the images exactly once. Received: {len(split)} rows for {num_images} images. "
            "Run `dvc repro split`."
        )


def _class_counts(split: pd.DataFrame, train: pd.DataFrame) -> dict[str, int]:
    """Return training samples per class, classes in alphabetical order: the one class list of the project."""
    counts = {str(label): int(count) for label, count in train["label"].value_counts().sort_index().items()}
    judged = split[split["split"].isin(["val", "test"])]
    unknown = sorted(set(judged["label"]) - set(counts))
    if not counts or unknown:
        raise runtime.DataRefused(
            "Nothing to learn some classes from. Expected every class of val and test in train as well. "
            f"Received: {len(counts)} classes in train, not among them: {', '.join(unknown) or 'any'}. "
            "Add training samples of them, or remove them from the source."
        )
    return counts


def main() -> None:
    """Run the stage from the command line."""
    with runtime.stage("features") as stage:
        params = load_params()
        settings = params.features
        with Progress(console=stage.console, disable=not stage.console.is_terminal) as progress:
            state = features(
                settings.groups,
                settings.edge_cell_px,
                settings.colour_bins,
                progress,
                workers=len(os.sched_getaffinity(0)),
                pixels_from={
                    name: msgspec.to_builtins(getattr(params.data, name))
                    for name in ("image_size", "channels", "resize", "policy")
                },
            )
        stage.console.print(
            f"{len(state['classes'])} classes, {sum(state['class_counts'])} training images, "
            f"{len(state['handmade']['names'])} hand-made features"
        )


if __name__ == "__main__":
    main()
