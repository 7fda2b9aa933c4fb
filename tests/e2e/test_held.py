"""From data of one's own to a champion on the first run, which the commit that follows completes."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.e2e.clones import ROOT, clone, commit, dvc, environment, executed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def decision(folder):
    return json.loads((folder / "reports/register/decision.json").read_text())


def millrace(folder, *arguments, check=True, python=sys.executable):
    command = [python, "-m", "pipeline.cli", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A clone in which the quick digits example ran once, with nothing committed of what came out."""
    folder = clone(tmp_path_factory.mktemp("clone"), "quick/digits", held=True)
    return folder, dvc(folder, "repro")


def test_the_way_to_the_first_champion(ran):
    """Promoted at once, though nothing is committed; then nothing runs, before the commit and after it."""
    folder, first = ran
    assert decision(folder)["decision"] == "promoted"
    assert "Its origin is not committed yet." in first.stdout
    lines = first.stdout.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("Verdict: "))
    assert "became champion" in lines[at]
    assert [line.partition(":")[0] for line in lines[at + 1 : at + 4]] == ["Page", "Dashboard", "Next"]
    assert executed(dvc(folder, "repro")) == []
    commit(folder, "what came out")
    assert executed(dvc(folder, "repro")) == []
    assert "up to date" in dvc(folder, "status").stdout
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""


def test_from_the_champion_to_an_answer_as_the_readme_types_it(ran):
    """`millrace predict examples/digits`: a line for each image, in the user's words."""
    folder, _ = ran
    shutil.copytree(ROOT / "examples/digits", folder / "examples/digits", dirs_exist_ok=True)
    answers = [
        json.loads(line) for line in millrace(folder, "predict", "examples/digits").stdout.splitlines()
    ]
    assert [answer["id"] for answer in answers] == ["eight.png", "five.png", "three.png"]
    assert all(answer["class"] in set("0123456789") for answer in answers)


def test_the_commit_leads_a_new_clone_to_the_same_champion(ran, tmp_path):
    """A clone of that commit promotes at once, and its dvc.lock stays as it is."""
    folder, _ = ran
    again = tmp_path / "again"
    subprocess.run(["git", "clone", "-q", str(folder), str(again)], check=True)
    dvc(again, "cache", "dir", "--local", os.fspath(folder / ".dvc/cache"))
    dvc(again, "repro")
    assert decision(again) == decision(folder)
    changed = subprocess.run(["git", "diff"], cwd=again, capture_output=True, text=True, check=True)
    assert changed.stdout == ""


def test_commands_on_a_real_champion(ran):
    """lineage tells the commit and the rows, verify finds nothing wrong, and a flipped byte ends it with 74."""
    folder, _ = ran
    content = json.loads(millrace(folder, "lineage", "--json").stdout)
    assert content["tags"]["git.dirty"] == "false"
    assert content["tags"]["data.md5.train"] != content["tags"]["data.md5.test"]
    payload = content["outs"]["data/interim/payload.npy"]
    seen = json.loads(millrace(folder, "lineage", "--data", payload, "--json").stdout)
    assert list(seen["versions"]) == ["1"]
    # With packages of its own: the interpreter of these tests would import another folder's code as well, and is told so.
    subprocess.run(["make", "-s", "setup"], cwd=folder, env=environment(), capture_output=True, check=True)
    own = os.fspath(folder / ".venv/bin/python")
    assert "registry: fits" in millrace(folder, "verify", python=own).stdout
    (stored,) = (folder / "mlartifacts").rglob("model.keras")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    broken = millrace(folder, "verify", check=False, python=own)
    assert broken.returncode == 74
    assert "data/model.keras differ" in broken.stderr
