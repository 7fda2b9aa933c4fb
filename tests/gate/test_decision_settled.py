"""A held model brings DVC back; a settled one leaves it in peace. With the real DVC."""

import sys

import pytest

from tests.helpers.dvc_project import init_dvc, reproduced, status
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
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    init_dvc(tmp_path, no_scm=True, site_cache_dir=str(tmp_path / "site"))
    return tmp_path


@pytest.mark.long
def test_dvc_comes_back_until_the_model_is_settled(project):
    """Held: every `dvc repro` runs the stage, and it alone. Settled: none does, and the status is clean."""
    assert ["before", "register"] == reproduced()
    assert [{"changed outs": {"reports/register/settled": "modified"}}] == status()["register"]
    assert ["register"] == reproduced()
    assert ["register"] == reproduced()
    (project / "committed").touch()
    assert ["register"] == reproduced()
    assert [] == reproduced()
    assert {} == status()
    assert "settled\n" == (project / "reports/register/settled").read_text()


@pytest.mark.long
def test_settling_never_writes_through_the_link(project):
    """The link is replaced, and dvc.lock keeps its content."""
    from pipeline.gate.decision import write_settled

    reproduced()
    before = (project / "dvc.lock").read_bytes()
    assert (project / "reports/register/settled").is_symlink()
    write_settled(held=False)
    assert before == (project / "dvc.lock").read_bytes()
