"""Where all services are said to be here, a test that skips for want of one is a failure."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CONFTEST = "from tests.conftest import pytest_sessionfinish, pytest_terminal_summary, skipped_services\n"
TESTS = """
import pytest

@pytest.mark.{marker}
def test_of_a_program():
    pytest.skip("not here")

def test_of_code():
    pass
"""


@pytest.mark.parametrize(
    ("marker", "said", "workers", "code"),
    [
        ("browser", "1", "0", 1),
        ("browser", "1", "2", 1),
        ("services", "1", "0", 1),
        ("ray", "1", "0", 1),
        ("browser", None, "0", 0),
        ("long", "1", "0", 0),
    ],
)
def test_a_skip_for_want_of_a_service_is_a_failure_where_all_are_here(marker, said, workers, code, tmp_path):
    """In one process and in several; other reasons to skip are none, nor is it one where nothing was said."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_one.py").write_text(TESTS.format(marker=marker))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.pop("MILLRACE_ALL_SERVICES", None)
    environment |= {"PYTHONPATH": str(ROOT)} | ({"MILLRACE_ALL_SERVICES": said} if said else {})
    options = ["-p", "no:cacheprovider", "-n", workers, "-c", str(ROOT / "pyproject.toml"), "-m", ""]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert (code, bool(code)) == (done.returncode, "SKIPPED though" in done.stdout), done.stdout
