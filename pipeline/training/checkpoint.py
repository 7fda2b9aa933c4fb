"""The state of a training as one file that is whole, verified and old, or whole, verified and new.

Keras' own backup leaves out the state of dropout's random generators, loads weights with flipped bits without
a word, and destroys the good file when the disk is full. Here everything that decides the next step is in one
file: every variable of the layers (random generators too) and of the optimizer, the epoch, the best weights
and the history. It is written beside, synced, renamed, and carries a sha256 that is checked on load.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.files import atomic_path

MAGIC = b"millrace checkpoint 1\n"
DIGEST_BYTES = 32

Groups = Mapping[str, Sequence[np.ndarray]]
"""Named lists of arrays, `{"model": [...], "optimizer": [...]}`."""


class DamagedCheckpoint(Exception):
    """The file is not a checkpoint as it was written, or belongs to another model."""


def save(path: Path, groups: Groups, state: dict[str, Any]) -> None:
    """Write a checkpoint, all or nothing; on failure (full disk) the former one stays.

    Args:
        path: The file.
        groups: Arrays by group.
        state: Anything JSON can say.

    Raises:
        OSError: The file could not be written.
    """
    arrays = {
        f"{name}/{index:05d}": array for name, group in groups.items() for index, array in enumerate(group)
    }
    counts = {name: len(group) for name, group in groups.items()}
    text = json.dumps({"counts": counts, "state": state}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, state=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    payload = buffer.getvalue()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).digest())
        file.write(payload)


def load(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
    """Return the groups and the state of a checkpoint.

    Raises:
        DamagedCheckpoint: Its bytes are not those that were written.
        FileNotFoundError: There is none.
    """
    content = path.read_bytes()
    head = len(MAGIC) + DIGEST_BYTES
    payload = content[head:]
    if content[:head] != MAGIC + hashlib.sha256(payload).digest():
        raise DamagedCheckpoint(
            f"{path} is damaged. Expected the sha256 written at its start. Received: {len(content)} bytes "
            "with another digest. It is left aside."
        )
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        header = json.loads(archive["state"].tobytes())
        groups = {
            name: [archive[f"{name}/{index:05d}"] for index in range(count)]
            for name, count in header["counts"].items()
        }
    return groups, header["state"]


def values(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return copies of the values of Keras variables."""
    return [np.array(variable) for variable in variables]


def assign(variables: Sequence[Any], arrays: Sequence[np.ndarray], what: str) -> None:
    """Give Keras variables the values of a checkpoint, all or none.

    Args:
        variables: Where the values go.
        arrays: One per variable.
        what: What the values are, for the message.

    Raises:
        DamagedCheckpoint: Number, shapes or types differ; nothing was assigned.
    """
    wanted = [(tuple(variable.shape), str(np.dtype(variable.dtype))) for variable in variables]
    given = [(array.shape, str(array.dtype)) for array in arrays]
    if wanted != given:
        different = sum(pair[0] != pair[1] for pair in zip(wanted, given, strict=False))
        raise DamagedCheckpoint(
            f"The {what} of the checkpoint belong to another model. Expected {len(wanted)} arrays. Received: "
            f"{len(given)} arrays, {different} of them with another shape or type. It is left aside."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
