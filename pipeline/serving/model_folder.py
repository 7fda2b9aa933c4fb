"""What `predict` and `serve` are given: a model by name or folder, and what is known of its data."""

from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.files import read_json


def absolute_path(text: str) -> Path:
    """Return a path as whoever typed it meant it: called where the working directory is still theirs."""
    return Path(text).absolute()


def named_model(text: str) -> str | Path:
    """Return the folder of a model, absolute, or the name of a registered one; "" for the champion."""
    return absolute_path(text) if text and Path(text).is_dir() else text


def source_of(folder: Path) -> dict[str, Any]:
    """Return what is known of a model's data, {} for nothing: a version carries it, models/best is of this project."""
    best = folder.resolve() == paths.BEST_DIR.resolve()
    path = paths.SOURCE_JSON if best else folder / "source.json"
    return dict(read_json(path)) if path.is_file() else {}
