"""Writers of one file whose bytes follow from its content."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.faults.writer import Writer, file_writer


def _content(number: int) -> dict:
    return {"number": number, "numbers": list(range(number, number + 4000))}


def _bytes(path: Path, number: int) -> None:
    from pipeline.runtime.files import write_bytes

    write_bytes(path, bytes([number]) * (200_000 + number))


def _json(path: Path, number: int) -> None:
    from pipeline.runtime.files import write_json

    write_json(path, _content(number))


def _csv(path: Path, number: int) -> None:
    from pipeline.runtime.files import write_csv

    write_csv(path, ["number", "square"], [(row, row * number) for row in range(3000)])


def _checkpoint(path: Path, number: int) -> None:
    from pipeline.training import fit

    fit.save_checkpoint(path, {"model": [np.full((50, 50), number, np.float32)]}, {"epoch": number})


def _npz(path: Path, number: int) -> None:
    from pipeline.evaluation.golden import write_npz

    write_npz(path, {"inputs": np.full((100, 16), number, np.float32), "predictions": np.arange(number + 1)})


def _npy(path: Path, number: int) -> None:
    from pipeline.ingest.writers import npy_writer

    with npy_writer(path) as writer:
        for row in range(3):
            writer.append(np.full((60, 60), number + row, np.float32))


def _source(path: Path, number: int) -> None:
    from pipeline.fetching.source import Source, write_source

    source = Source(
        kind="digits", location="bundled", sha256=f"{number:064x}", bytes=9, files=1, count=100 + number
    )
    write_source(source, path)


def _params(path: Path, number: int) -> None:
    from pipeline.commands.init import replace_params

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent == Path():
        replace_params(f"seed: {number}\n".encode())
    else:
        path.write_bytes(f"seed: {number}\n".encode())


def _tar(path: Path, number: int) -> None:
    """As `fetch` writes data/raw/source.tar."""
    from pipeline.fetching.archives import write_tar
    from pipeline.runtime.files import atomic_path

    with atomic_path(path) as temporary:
        write_tar(temporary, {f"{name}.txt": name.encode() * (5000 + number) for name in "abc"})


def _keras_model(number: int):
    import keras

    inputs = keras.Input((4,), name="inputs")
    made = keras.Model(inputs, keras.layers.Dense(3, name="out")(inputs), name="small")
    made.get_layer("out").set_weights([np.full((4, 3), number, np.float32), np.zeros(3, np.float32)])
    return made


def _keras(path: Path, number: int) -> None:
    from pipeline.inference.keras_files import save_model

    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(_keras_model(number), path)


FILE_WRITERS: dict[str, Writer] = {
    "write_bytes": file_writer("out/bytes.bin", _bytes, 7),
    "write_json": file_writer("reports/register/decision.json", _json, 7),
    "write_csv": file_writer("reports/table.csv", _csv, 7),
    "write_npz": file_writer("models/golden.npz", _npz, 5),
    "npy_writer": file_writer("data/payload.npy", _npy, 6),
    "checkpoint": file_writer("models/checkpoint", _checkpoint, 6),
    "source.json": file_writer("data/source.json", _source, 7),
    "params.yaml": file_writer("params.yaml", _params, 5),
    "source.tar": file_writer("data/raw/source.tar", _tar, 6),
    # Keras unpacks into the system's temporary folder; what a kill leaves there, the system clears away.
    "keras": replace(
        file_writer("models/model.keras", _keras, 2), ignored=("../tmp/",), may_crash=True, dear=True
    ),
}
