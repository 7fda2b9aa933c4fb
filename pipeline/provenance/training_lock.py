"""The part of requirements.lock that can move the bits of a trained model: `requirements-training.lock`.

`train`, `tune`, `reduce` and `evaluate` depend on that file, so that another linter or storage driver costs nobody a
night of training (docs/decisions/0008). `make lock` writes it: every package that pyproject.toml names, save for those
below, and all that these need in turn. `python -m pipeline.provenance.training_lock`.
"""

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.provenance.origin import REQUIREMENTS_LOCK
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import write_text
from pipeline.runtime.processes import run

TRAINING_LOCK = Path("requirements-training.lock")
CANNOT_MOVE_BITS = {
    "configobj": "reads and writes the config of DVC",
    "dvc": "starts stages and hashes files",
    "filelock": "locks",
    "great-expectations": "judges data before it is split; `validate` runs no training",
    "httpx": "fetches what has a digest already",
    "mlflow": "records what was trained",
    "onnxruntime": "runs the exported model, whose bytes are written without it",
    "rich": "draws on terminals",
}
"""Package of pyproject.toml to the reason why training does not depend on it, unless another one needs it."""
HEADER = (
    "# Written by `make lock`: the packages of requirements.lock that can move the bits of a model. The rest of the\n"
    "# lock may change without anything being trained anew. No hashes: those stand there.\n"
)


def training_roots(pyproject: str) -> list[str]:
    """Return the requirements of a pyproject.toml from which everything that can move bits follows."""
    given = tomllib.loads(pyproject)["project"]["dependencies"]
    return [line for line in given if canonicalize_name(Requirement(line).name) not in CANNOT_MOVE_BITS]


def training_lock(lock: str, names: Iterable[str]) -> str:
    """Return the lines of a lock for these packages, versions and conditions alone.

    Args:
        lock: Content of requirements.lock.
        names: Of packages; of each, every line is taken, for all Pythons and systems.
    """
    wanted = {canonicalize_name(name) for name in names}
    lines = [
        line.removesuffix("\\").strip()
        for line in lock.splitlines()
        if line
        and line[0] not in " #-"
        and canonicalize_name(Requirement(line.removesuffix("\\")).name) in wanted
    ]
    return HEADER + "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Write the file anew, from pyproject.toml and requirements.lock in the working directory."""
    roots = "\n".join(training_roots(Path("pyproject.toml").read_text(encoding="utf-8")))
    command = [str(Path(sys.executable).with_name("uv")), "--no-config", "pip", "compile", "-", "--universal"]
    command += [
        "--python-version",
        "3.11",
        "--constraint",
        str(REQUIREMENTS_LOCK),
        "--no-header",
        "--no-annotate",
    ]
    answer = run(command, given=roots)
    if answer.code:
        raise StorageFailed(f"uv could not say what training needs. Received: {answer.err.strip()[-500:]}")
    lock = REQUIREMENTS_LOCK.read_text(encoding="utf-8")
    # Conditions are those of the whole lock, which holds for fewer Pythons than uv takes here.
    names = [Requirement(line).name for line in answer.out.splitlines() if line and line[0] not in " #-"]
    write_text(TRAINING_LOCK, training_lock(lock, names))


if __name__ == "__main__":
    main()
