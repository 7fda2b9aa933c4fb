"""What every test may use: the project's own files, copied into an empty folder."""

import atexit
import gc
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Ray reads them once, when it is imported: whichever test does so first, clusters of others take its token.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and a child would never hear of Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
gc.disable()  # half of the time in which tests are found; see pytest_runtestloop
# A busy machine is no fault of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
if "DVC_SITE_CACHE_DIR" not in os.environ:
    # No stage runs with DVC's own place, which is open to everybody, and no clone here is made by `make setup`.
    os.environ["DVC_SITE_CACHE_DIR"] = tempfile.mkdtemp(prefix="millrace-dvc-")
    atexit.register(shutil.rmtree, os.environ["DVC_SITE_CACHE_DIR"], ignore_errors=True)


CODE = ("benchmarks/", "docs/", "pipeline/", "tests/")
"""Nine files of ten, which take as long to copy as a small test takes."""


def copy_project(target: Path, without: tuple[str, ...] = ()) -> Path:
    """Copy what git tracks (and what it would track) into `target`, without any result.

    Args:
        target: A folder that exists.
        without: Beginnings of names that are left out.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if not name.startswith(without) and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A fresh copy of the project; the working directory is inside it."""
    copy_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


@pytest.fixture
def project_without_code(tmp_path, monkeypatch):
    """A fresh copy of its parameters, examples, lock and papers; the working directory is inside it."""
    monkeypatch.chdir(tmp_path)
    return copy_project(tmp_path, CODE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, the working directory: all that stages need whose files a test writes itself."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stage_environment():
    """Environment of a stage's process: this interpreter first on PATH, no settings of the caller."""
    environment = dict(os.environ)
    for name in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI", "MILLRACE_DEBUG"):
        environment.pop(name, None)
    environment["VIRTUAL_ENV"] = sys.prefix
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return environment


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Collect garbage from now on, and seldom: what was imported to find the tests, a million objects, is none."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


SERVICES = ("browser", "ray", "services")
"""Markers of tests that skip where a program is missing."""


def skipped_services(config) -> list[str]:
    """Return the tests with such a marker that were skipped though MILLRACE_ALL_SERVICES says that all is here."""
    if "MILLRACE_ALL_SERVICES" not in os.environ:
        return []
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return sorted(
        {report.nodeid for report in skipped if any(marker in report.keywords for marker in SERVICES)}
    )


def pytest_sessionfinish(session):
    """A test that could have run and was skipped is a failure."""
    if skipped_services(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Say which tests were left out on purpose, the commands that run them, and which should not have skipped."""
    for marker in ("long", "slow"):
        if f"not {marker}" in config.getoption("markexpr"):
            terminalreporter.write_line(
                f"Tests marked {marker} were left out: `make test-{marker}` runs them."
            )
    for test in skipped_services(config):
        terminalreporter.write_line(f"SKIPPED though MILLRACE_ALL_SERVICES is set: {test}")


def benchmarks_dir() -> Path:
    """Return the folder of the real data sets, or skip the test with the reason."""
    folder = Path(os.environ.get("MILLRACE_BENCHMARKS", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set MILLRACE_BENCHMARKS")
    return folder


@pytest.fixture
def benchmarks():
    """The folder of the real data sets."""
    return benchmarks_dir()
