"""A tiny data set as the stages before `train` leave it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inference.backend import prepare_tensorflow
from pipeline.runtime import paths
from pipeline.runtime.files import write_json
from tests.helpers.training_runs import images

prepare_tensorflow(2, 7)  # as a stage does: once something was computed it is too late
CLASSES = ["cat", "dog", "emu"]
TRAINING = {
    "epochs": 2, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0,
    "schedule": "cosine", "warmup_share": 0.1, "decay_rate": 0.5, "decay_epochs": 2.0, "label_smoothing": 0.0, "loss": "auto", "class_weights": "none",
    "ema_momentum": 0.0, "clip_norm": 0.0, "early_stopping_patience": 0, "monitor": "val_loss",
    "augment": {"flip": False, "shift_px": 1, "cutout_px": 0}, "test_time_flip": False,
}  # fmt: skip
MODELS = {
    "cnn": {"filters": [4], "units": 8},
    "rnn": {"cell": "gru", "units": [6]},
    "autoencoder": {
        "codes": 4, "units": [8], "pretrain_epochs": 2, "pretrain_learning_rate": 0.01, "encoder": "fine_tuned",
        "classifier_units": [8],
    },
    "dense": {"units": [8]},
    "linear": {},
    "majority": {},
}  # fmt: skip


def write_train_project(folder: Path, *, without_val_class: str | None = None) -> None:
    """Write 90 images of 8x8, their features and a split of 60 train, 15 val and 15 test rows.

    Args:
        folder: The root of the project.
        without_val_class: A class that has no row in val.
    """
    inputs, targets = images(90)
    labels = [CLASSES[target] for target in targets]
    splits = ["train"] * 60 + ["val"] * 15 + ["test"] * 15
    splits = [
        "test" if split == "val" and label == without_val_class else split
        for split, label in zip(splits, labels, strict=True)
    ]
    features = inputs.reshape(90, -1)[:, :10].astype(np.float32)
    for path, array in ((paths.PAYLOAD_NPY, inputs), (paths.FEATURES_NPY, features)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / path, array)
    # Of images only what must not be torn apart is read.
    table = pa.table(
        {"row": list(range(90)), "group": [""] * 90, "content_sha256": list(map(str, range(90)))}
    )
    pq.write_table(table, folder / paths.SAMPLES_PARQUET)
    (folder / paths.SPLIT_PARQUET).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(
            {
                "sample_id": [f"{row:03d}" for row in range(90)],
                "row": pa.array(range(90), pa.int32()),
                "label": labels,
                "split": splits,
            }
        ),
        folder / paths.SPLIT_PARQUET,
    )
    state = {
        "classes": CLASSES,
        "class_counts": [20, 20, 20],
        "image": {"shape": [8, 8, 1], "mean": [0.3], "standard_deviation": [0.2]},
        "handmade": {
            "names": [f"feature_{index}" for index in range(10)],
            "mean": features.mean(axis=0).tolist(),
            "standard_deviation": features.std(axis=0).tolist(),
            "groups": ["texture"],
        },
    }
    write_json(folder / paths.FEATURES_STATE, state)
