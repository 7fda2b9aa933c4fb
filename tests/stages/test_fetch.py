"""fetch writes exactly the pinned bytes, or nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.fetching.source import read_source, stored_tar
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed
from pipeline.runtime.files import file_digest
from pipeline.stages.fetch import fetch

CONTENT = b"the archive"


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A working directory whose store holds one archive; its digest."""
    import hashlib

    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    stored_tar(sha256).parent.mkdir(parents=True)
    stored_tar(sha256).write_bytes(CONTENT)
    return sha256


def test_the_bundled_digits_have_the_committed_digest(tmp_path):
    """The installed scikit-learn and data/source.json agree, so a fresh clone runs."""
    source = read_source(Path(__file__).resolve().parents[2] / "data/source.json")
    fetch("digits", bundled=True, sha256=source.sha256, tar_path=tmp_path / "source.tar")
    assert source.sha256 == file_digest(tmp_path / "source.tar", "sha256")
    assert source.bytes == (tmp_path / "source.tar").stat().st_size


def test_the_stored_archive_is_copied_not_linked(stored):
    """Changing the copy does not reach the store."""
    fetch("idx", bundled=False, sha256=stored, tar_path=paths.RAW_TAR)
    assert paths.RAW_TAR.read_bytes() == CONTENT
    with paths.RAW_TAR.open("r+b") as file:
        file.write(b"X")
    assert stored_tar(stored).read_bytes() == CONTENT


def test_a_fresh_clone_is_told_to_refresh(stored):
    """The store is machine-local; source.json alone is not the data."""
    with pytest.raises(InputMissing, match="millrace refresh"):
        fetch("idx", bundled=False, sha256="0" * 64, tar_path=paths.RAW_TAR)
    assert not paths.RAW_TAR.exists()


def test_a_damaged_store_is_noticed(stored):
    """One flipped bit, same size: no file appears."""
    stored_tar(stored).write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    with pytest.raises(StorageFailed, match="is damaged"):
        fetch("idx", bundled=False, sha256=stored, tar_path=paths.RAW_TAR)
    assert not any(paths.RAW_TAR.parent.iterdir())


def test_other_bundled_data_is_refused(tmp_path):
    """Another scikit-learn with other digits would change every result silently."""
    with pytest.raises(DataRefused, match="millrace init --kind digits"):
        fetch("digits", bundled=True, sha256="0" * 64, tar_path=tmp_path / "source.tar")


def test_the_stage_runs_as_dvc_runs_it(project, stage_environment):
    """In a fresh copy of the project, without network, and twice with the same bytes."""
    Path("reports/check").mkdir(parents=True, exist_ok=True)
    Path("reports/check/passed.json").write_text("{}\n")
    digests = set()
    for _ in range(2):
        command = [sys.executable, "-m", "pipeline.stages.fetch"]
        done = subprocess.run(command, env=stage_environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1,797 samples" in done.stdout
        digests.add(file_digest(paths.RAW_TAR, "sha256"))
    assert digests == {read_source().sha256}
