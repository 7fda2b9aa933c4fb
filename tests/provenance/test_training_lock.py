"""Training depends on every package that can move its bits, and on no other."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.provenance.training_lock import (
    CANNOT_MOVE_BITS,
    SERVE_LOCK,
    SERVES,
    TRAINING_LOCK,
    serve_lock,
    serve_roots,
    training_lock,
    training_roots,
)
from pipeline.runtime.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
TRAINING = (ROOT / TRAINING_LOCK).read_text()
SERVE = (ROOT / SERVE_LOCK).read_text()


PYPROJECT_DEPENDENCIES = "\n".join(tomllib.loads(PYPROJECT)["project"]["dependencies"])


def names_in(lock):
    """Return the packages of a lock, whatever the condition."""
    lines = [line.removesuffix("\\") for line in lock.splitlines() if line and line[0] not in " #-"]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def needed(name, seen):
    """Walk through what the installed packages say they need; an extra counts where it is asked for."""
    requirement = Requirement(name)
    key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
    if key in seen:
        return
    seen.add(key)
    try:
        lines = requires(requirement.name) or []
    except PackageNotFoundError:  # for other systems only
        return
    for line in lines:
        marker = Requirement(line).marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            needed(line, seen)


def test_it_is_the_lock_for_the_packages_it_names():
    """Versions and conditions are those that `make setup` installs."""
    assert TRAINING == training_lock(LOCK, names_in(TRAINING))


def test_it_holds_everything_that_training_needs():
    """By a second opinion: what the installed packages themselves say, through all others."""
    seen = set()
    for root in training_roots(PYPROJECT):
        needed(root, seen)
    assert set() == {name for name, _ in seen} - names_in(TRAINING)
    assert {
        "tensorflow",
        "keras",
        "numpy",
        "scikit-learn",
        "pandas",
        "pyarrow",
        "scipy",
        "ml-dtypes",
    } <= names_in(TRAINING)


def test_it_holds_nothing_that_cannot_move_a_bit():
    """Linters, tests, drivers of stores and servers change without anything being trained anew."""
    assert set() == names_in(TRAINING) & {"ruff", "mypy", "pytest", "boto3", "dvc", "mlflow", "psycopg", "uv"}
    direct = {canonicalize_name(Requirement(line).name) for line in training_roots(PYPROJECT)}
    assert set() == direct & CANNOT_MOVE_BITS.keys()
    # No reason is left over for a package that is gone.
    assert CANNOT_MOVE_BITS.keys() <= names_in(LOCK)


@pytest.mark.parametrize("stage", ["train", "tune", "reduce", "evaluate"])
def test_stages_that_train_depend_on_it(stage):
    """And not on the whole lock."""
    body = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    deps = body.get("do", body)["deps"]
    assert "requirements-training.lock" in deps
    assert "requirements.lock" not in deps


def test_another_version_of_a_package_that_can_move_bits_is_another_file():
    """And another linter is the same."""
    other = LOCK.replace("keras==", "keras==9", 1)
    assert TRAINING != training_lock(other, names_in(TRAINING))
    linted = LOCK.replace("ruff==", "ruff==9", 1)
    assert TRAINING == training_lock(linted, names_in(TRAINING))


@pytest.mark.parametrize(
    "drivers", [("boto3", "dvc-s3"), ("google-cloud-storage", "dvc-gs"), ("azure-storage-blob", "dvc-azure")]
)
def test_drivers_of_stores_are_in_the_lock(drivers):
    """Adding one by hand moved another package, so that `verify` ended with 74."""
    assert set(drivers) <= names_in(LOCK)


def test_what_answers_need_is_the_lock_for_these_packages_with_its_hashes():
    """pip installs it as it stands; TensorFlow, MLflow, DVC and pandas are no part of it."""
    assert SERVE == serve_lock(LOCK, names_in(SERVE))
    lines = SERVE.splitlines()[1:]
    assert all(line in LOCK.splitlines() for line in lines)
    pinned = [place for place, line in enumerate(lines) if line[0] != " "]
    assert all(lines[place + 1].startswith("    --hash=sha256:") for place in pinned)
    assert set() == names_in(SERVE) & {
        "tensorflow",
        "keras",
        "mlflow",
        "dvc",
        "pandas",
        "scikit-learn",
        "optuna",
    }


def test_what_answers_need_is_all_there():
    """By what the installed packages themselves say; and every package named for it is one of the project's."""
    seen = set()
    for root in serve_roots(PYPROJECT):
        needed(root, seen)
    assert set() == {name for name, _ in seen} - names_in(SERVE)
    assert set(SERVES) <= names_in(PYPROJECT_DEPENDENCIES)
