"""A held model brings DVC back; a settled one leaves it in peace. With the real DVC."""

import os
import subprocess
import sys

import pytest

from tests.helpers.dvc_project import init_dvc
from tests.helpers.synthetic_project import HERE

DVC_YAML = """
stages:
  before:
    cmd: cp in made
    deps: [in]
    outs: [made]
  register:
    cmd: {python} judge.py
    deps: [made]
    outs:
    - reports/register/settled:
        cache: false
"""
JUDGE = """
from pathlib import Path
from pipeline.gate.decision import write_settled
write_settled(held=not Path("committed").exists())
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a DVC project whose last stage holds until a file `committed` is there, which no stage reads."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML.format(python=sys.executable))
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "in").write_text("1")
    monkeypatch.chdir(tmp_path)
    init_dvc(tmp_path, no_scm=True, site_cache_dir=str(tmp_path / "site"))
    return tmp_path


def dvc(*arguments):
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def ran():
    return [line.split("'")[1] for line in dvc("repro").splitlines() if line.startswith("Running stage")]


@pytest.mark.long
def test_dvc_comes_back_until_the_model_is_settled(project):
    """Held: every `dvc repro` runs the stage, and it alone. Settled: none does, and the status is clean."""
    assert ["before", "register"] == ran()
    assert "modified:           reports/register/settled" in dvc("status")
    assert ["register"] == ran()
    assert ["register"] == ran()
    (project / "committed").touch()
    assert ["register"] == ran()
    assert [] == ran()
    assert "up to date" in dvc("status")
    assert "settled\n" == (project / "reports/register/settled").read_text()


@pytest.mark.long
def test_settling_never_writes_through_the_link(project):
    """The link is replaced, and dvc.lock keeps its content."""
    from pipeline.gate.decision import write_settled

    dvc("repro")
    before = (project / "dvc.lock").read_bytes()
    assert (project / "reports/register/settled").is_symlink()
    write_settled(held=False)
    assert before == (project / "dvc.lock").read_bytes()
