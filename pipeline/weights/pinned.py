"""What stands in data/weights.json: every file of pretrained weights with its source, licence and digest.

The files lie in data/weights, tracked by DVC like data. A stage opens one only after its digest was compared with the
one in params.yaml, so that two clones read the same bytes or stop.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, StorageFailed
from pipeline.runtime.files import file_digest, read_json, write_json
from pipeline.runtime.processes import run
from pipeline.runtime.strict_yaml import read_yaml

WEIGHTS_DIR = Path("data/weights")
WEIGHTS_JSON = Path("data/weights.json")


def records() -> dict[str, dict[str, Any]]:
    """Return what data/weights.json says, by name of the file; {} where there is none."""
    if not WEIGHTS_JSON.is_file():
        return {}
    found = read_json(WEIGHTS_JSON)
    if not isinstance(found, dict) or not all(isinstance(record, dict) for record in found.values()):
        raise StorageFailed(
            f"{WEIGHTS_JSON} is damaged. Expected an object per file of weights. Received: something else. "
            "Take it from git, or remove it and run `millrace weights add` again."
        )
    return found


def write_record(name: str, record: Mapping[str, Any]) -> None:
    """Write what a file is into data/weights.json, in place of what was said of one with that name."""
    write_json(WEIGHTS_JSON, records() | {name: dict(record)})


def pinned_file(file: str, sha256: str) -> Path:
    """Return where a file of weights is, once its digest was compared.

    Args:
        file: As in `features.pretrained.file`, relative to the project.
        sha256: As in `features.pretrained.sha256`.

    Raises:
        InputMissing: It is not here, and not in the project that this working tree belongs to.
        StorageFailed: It is another file.
    """
    found = [place for place in (Path(file), paths.home_dir() / file) if place.is_file()]
    if not found:
        raise InputMissing(
            f"{file} does not exist. Expected the weights that params.yaml names. Received: features.pretrained.file="
            f"{file}. Run `dvc pull {file}.dvc`, or make it anew: `millrace weights add --help`."
        )
    received = file_digest(found[0], "sha256")
    if received != sha256:
        raise StorageFailed(
            f"{file} is not the file of weights that params.yaml pins. Expected features.pretrained.sha256={sha256}. "
            f"Received: {received}. Run `dvc checkout {file}.dvc`, or correct the digest (data/weights.json has it)."
        )
    return found[0]


def restore_weights(tree: Path) -> None:
    """Give another working tree the file of weights that its params.yaml pins, if it pins one.

    Args:
        tree: The root of the working tree; it has no files of DVC's yet.

    Raises:
        InputMissing: The file is neither among those of this project nor at the DVC remote.
    """
    pinned = (read_yaml(tree / paths.PARAMS_YAML).get("features") or {}).get("pretrained")
    if not pinned:
        return
    file, sha256 = pinned["file"], pinned["sha256"]
    for place in (Path(file), *sorted(WEIGHTS_DIR.glob("*"))):
        if place.is_file() and file_digest(place, "sha256") == sha256:
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, tree / file)
            return
    answer = run([sys.executable, "-m", "dvc", "pull", f"{file}.dvc"], folder=tree)
    if answer.code != 0:
        raise InputMissing(
            f"{file} cannot be had. Expected the weights that params.yaml names in this project or at the DVC remote. "
            f"Received: {answer.err.strip()[-200:]}. Make it anew (`millrace weights add --help`); sha256={sha256}."
        )


def weights_problems() -> Iterator[str]:
    """Yield which files of weights are others than data/weights.json says; those that are not here are none."""
    for name, record in records().items():
        place = WEIGHTS_DIR / name
        if place.is_file() and (received := file_digest(place, "sha256")) != record.get("sha256"):
            yield (
                f"{place}: expected sha256 {record.get('sha256')} ({WEIGHTS_JSON}). Received: {received}. "
                f"Run `dvc checkout {place}.dvc`."
            )
