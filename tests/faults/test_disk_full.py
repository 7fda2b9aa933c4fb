"""A disk that is full in the middle of a line: what is noted is there, or the writer is told."""

import itertools
import resource
import signal

import numpy as np
import pytest

from pipeline.runtime.files import reserve
from pipeline.versions.rollback import append_audit, read_audit
from tests.conftest import ROOT
from tests.faults.disks import fill, mount_problem, mounted


@pytest.fixture
def room():
    """Let files grow to so many bytes and no further, as on a disk that is full: the write that crosses is cut."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_audit_entry_that_does_not_fit_is_reported(tmp_path, room):
    """The kernel writes the part that fits and says how much; taking that for the whole would lose a rollback's why."""
    path = tmp_path / "audit.jsonl"
    append_audit({"what": "first"}, path)
    room(path.stat().st_size + 10)
    with pytest.raises(OSError, match=r"audit\.jsonl"):
        append_audit({"what": "second"}, path)
    room(1 << 20)
    append_audit({"what": "third"}, path)
    assert ["first", "third"] == [entry["what"] for entry in read_audit(path)]


def test_file_of_holes_gets_its_room_or_an_error(tmp_path):
    """A mapped file has no room of its own until it is written, and a write that finds none is a SIGBUS."""
    problem = mount_problem(tmp_path)
    if problem:
        pytest.skip(problem)
    with mounted(tmp_path / "disk") as disk:
        path = disk / "array.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(1 << 20,))
        filler = fill(disk, 1 << 16)
        with pytest.raises(OSError, match="No space left"):
            reserve(path)
        filler.unlink()
        reserve(path)
        assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_every_mapped_file_gets_its_room():
    """Wherever a new file is mapped, its room is taken in the next line."""
    for path in (ROOT / "pipeline").rglob("*.py"):
        lines = path.read_text().splitlines()
        for line, following in itertools.pairwise(lines):
            assert 'mode="w+"' not in line or "reserve(" in following, f"{path}: {line}"
