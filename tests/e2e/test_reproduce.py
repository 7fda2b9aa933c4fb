"""A model three commits old is built again in a fresh clone, to the last bit; changed data is named."""

import json
import struct
import subprocess
import sys
import time

import pytest
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_digits

from tests.e2e.clones import clone, dvc, environment
from tests.helpers.rebuilt_project import git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def write_idx(folder):
    """Write scikit-learn's digits as IDX files, whose bytes a test can change."""
    folder.mkdir()
    images, labels = load_digits(return_X_y=True)
    pixels = (images * 15).astype("uint8")
    header = struct.pack(">4B3I", 0, 0, 8, 3, len(pixels), 8, 8)
    (folder / "images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    header = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
    (folder / "labels-idx1-ubyte").write_bytes(header + labels.astype("uint8").tobytes())


def millrace(folder, *arguments, **extra):
    """Run a command in a clone, without its failing the test."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    values = environment(**extra)
    values.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=folder, env=values, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A repository in which a model was registered, and three commits were made since; and its data."""
    root = tmp_path_factory.mktemp("reproduce")
    write_idx(root / "digits")
    first = clone(root / "first", "quick/digits")
    example = ["--example", "quick/digits", "--force"]
    read = millrace(first, "init", "--kind", "idx", "--path", str(root / "digits"), *example)
    assert read.returncode == 0, read.stderr
    params = (first / "params.yaml").read_text()
    assert "model_name: digits" in params
    params = params.replace("model_name: digits", "model_name: own")
    (first / "params.yaml").write_text(params.replace("millrace-digits", "millrace-own"))
    git(first, "commit", "-qam", "data")
    start = time.monotonic()
    dvc(first, "repro")
    print(f"pipeline: {time.monotonic() - start:.0f} s")
    git(first, "add", "-A")
    git(first, "commit", "-qm", "results")
    made_at = git(first, "rev-parse", "HEAD")  # whose dvc.lock is that of the run
    for name, old, new in (
        ("params.yaml", "seed: 7 ", "seed: 8 "),
        ("pipeline/models/layers/blocks.py", "import keras\n", "import keras  # changed\n"),
        ("README.md", "# ", "# Changed "),
    ):
        text = (first / name).read_text()
        assert old in text
        (first / name).write_text(text.replace(old, new, 1))
        git(first, "commit", "-qam", f"change {name}")
    return root, first, made_at


@pytest.fixture
def fresh(registered, tmp_path):
    """A fresh clone of it, and the registry of the first one."""
    _, first, _ = registered
    git(tmp_path, "clone", "-q", str(first), "fresh")
    return tmp_path / "fresh", {"MLFLOW_TRACKING_URI": f"sqlite:///{first}/mlflow.db"}


def test_a_model_three_commits_old_is_rebuilt_to_the_last_bit(registered, fresh):
    """Bit-identical, every stage compared, the worktree gone, the registry and the clone as they were."""
    (_, first, made_at), (folder, store) = registered, fresh
    before = {path: path.read_bytes() for path in (first / "mlartifacts").rglob("*") if path.is_file()}
    quick = millrace(folder, "reproduce", "own/1", "--quick", "--json", **store)
    assert quick.returncode == 66, quick.stdout + quick.stderr
    not_fine = [item["what"] for item in json.loads(quick.stdout)["findings"] if item["code"]]
    assert not_fine == ["data"]  # a fresh clone does not have it yet
    start = time.monotonic()
    rebuilt = millrace(folder, "reproduce", "own/1", "--json", **store)
    print(f"reproduce: {time.monotonic() - start:.0f} s\n{rebuilt.stdout}")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    answer = json.loads(rebuilt.stdout)
    assert ("bit-identical", made_at, None) == (answer["answer"], answer["commit"], answer["stage"])
    assert answer["compared"] >= 15
    assert answer["model_sha256"] == answer["registered_sha256"]
    assert not list((folder / ".millrace/reproduce").iterdir())
    assert git(folder, "status", "--porcelain") == ""
    assert before == {
        path: path.read_bytes() for path in (first / "mlartifacts").rglob("*") if path.is_file()
    }


def test_one_changed_byte_of_data_names_the_stage(registered, fresh):
    """Exit code 65 and `stage fetch`, before anything is trained; --quick in a project that has the data sees it too."""
    (root, _, _), (folder, store) = registered, fresh
    path = root / "digits/images-idx3-ubyte"
    good = path.read_bytes()
    path.write_bytes(good[:-20] + bytes([good[-20] ^ 1]) + good[-19:])
    try:
        told = millrace(folder, "reproduce", "own/1", **store)
    finally:
        path.write_bytes(good)
    assert told.returncode == 65, told.stdout + told.stderr
    assert "differs from stage fetch on" in told.stderr
    assert not list((folder / ".millrace/reproduce").iterdir())


def test_a_commit_that_did_not_make_the_model_is_found_without_training(registered, fresh):
    """A version whose tag points to a later commit: --quick names the folder of code and the parameter, exit code 3."""
    (_, first, made_at), (folder, store) = registered, fresh
    client = MlflowClient(store["MLFLOW_TRACKING_URI"])
    try:
        client.set_model_version_tag("own", "1", "git.commit", git(first, "rev-parse", "HEAD"))
        told = millrace(folder, "reproduce", "own/1", "--quick", **store)
    finally:
        client.set_model_version_tag("own", "1", "git.commit", made_at)
    assert told.returncode == 3, told.stdout + told.stderr
    assert "pipeline/models/layers" in told.stdout
    assert "seed" in told.stdout
