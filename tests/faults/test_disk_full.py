"""A disk that is full in the middle of a line: what is noted is there, or the writer is told."""

import resource
import signal

import pytest

from pipeline.audit import append_audit, read_audit


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
