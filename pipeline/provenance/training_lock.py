"""Two parts of requirements.lock: what can move the bits of a trained model, and what answers need.

`requirements-serve.lock` is all that `millrace predict` and `millrace serve` need of a folder like models/best: neither
TensorFlow nor MLflow. On `requirements-training.lock` depend `train`, `tune`, `reduce` and `evaluate`, so that another
linter or storage driver costs nobody a night of training (docs/decisions/0008). `make lock` writes both, each with all
that its packages need in turn: `python -m pipeline.provenance.training_lock`.
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
    "shtab": "completes what is typed into shells",
}
"""Package of pyproject.toml to the reason why training does not depend on it, unless another one needs it."""
SERVE_LOCK = Path("requirements-serve.lock")
SERVES = (
    "charset-normalizer", "configobj", "filelock", "h5py", "jinja2", "msgspec", "numpy", "onnxruntime", "pillow",
    "pyarrow", "rich", "ruamel-yaml", "ruamel-yaml-clib", "scikit-image", "tzdata",
)  # fmt: skip
"""Packages of pyproject.toml that answers need, beside the extra `serve`; scikit-image for hand-made features."""
SERVE_HEADER = (
    "# Written by `make lock`: the packages of requirements.lock that predict and serve a folder.\n"
)
HEADER = (
    "# Written by `make lock`: the packages of requirements.lock that can move the bits of a model. The rest of the\n"
    "# lock may change without anything being trained anew. No hashes: those stand there.\n"
)


def training_roots(pyproject: str) -> list[str]:
    """Return the requirements of a pyproject.toml from which everything that can move bits follows."""
    given = tomllib.loads(pyproject)["project"]["dependencies"]
    return [line for line in given if canonicalize_name(Requirement(line).name) not in CANNOT_MOVE_BITS]


def serve_roots(pyproject: str) -> list[str]:
    """Return the requirements of a pyproject.toml from which everything that answers need follows."""
    project = tomllib.loads(pyproject)["project"]
    direct = [line for line in project["dependencies"] if canonicalize_name(Requirement(line).name) in SERVES]
    return [*direct, *project["optional-dependencies"]["serve"]]


def training_lock(lock: str, names: Iterable[str]) -> str:
    """Return the lines of a lock for these packages, versions and conditions alone.

    Args:
        lock: Content of requirements.lock.
        names: Of packages; of each, every line is taken, for all Pythons and systems.
    """
    lines = [block.splitlines()[0].removesuffix("\\").strip() for block in _blocks(lock, names)]
    return HEADER + "".join(f"{line}\n" for line in lines)


def serve_lock(lock: str, names: Iterable[str]) -> str:
    """Return the part of a lock for these packages, with its hashes: pip installs it as it stands."""
    return SERVE_HEADER + "".join(_blocks(lock, names))


def _blocks(lock: str, names: Iterable[str]) -> list[str]:
    """Return what a lock says of each of these packages: the line that pins it, and its hashes."""
    wanted = {canonicalize_name(name) for name in names}
    blocks: list[str] = []
    for line in lock.splitlines(keepends=True):
        if line[0] not in " #-\n":
            name = canonicalize_name(Requirement(line.strip().removesuffix("\\")).name)
            blocks.append(line if name in wanted else "")
        elif line[0] == " " and blocks and blocks[-1]:
            blocks[-1] += line
    return [block for block in blocks if block]


def needed_names(roots: Iterable[str]) -> list[str]:
    """Return the packages that these requirements need in turn, within requirements.lock.

    Raises:
        StorageFailed: uv does not say.
    """
    command = [str(Path(sys.executable).with_name("uv")), "--no-config", "pip", "compile", "-", "--universal"]
    command += [
        "--python-version",
        "3.11",
        "--constraint",
        str(REQUIREMENTS_LOCK),
        "--no-header",
        "--no-annotate",
    ]
    answer = run(command, given="\n".join(roots))
    if answer.code:
        raise StorageFailed(f"uv could not say what is needed. Received: {answer.err.strip()[-500:]}")
    # Conditions are those of the whole lock, which holds for fewer Pythons than uv takes here.
    return [Requirement(line).name for line in answer.out.splitlines() if line and line[0] not in " #-"]


def main() -> None:
    """Write both files anew, from pyproject.toml and requirements.lock in the working directory."""
    pyproject = Path("pyproject.toml").read_text(encoding="utf-8")
    lock = REQUIREMENTS_LOCK.read_text(encoding="utf-8")
    write_text(TRAINING_LOCK, training_lock(lock, needed_names(training_roots(pyproject))))
    write_text(SERVE_LOCK, serve_lock(lock, needed_names(serve_roots(pyproject))))


if __name__ == "__main__":
    main()
