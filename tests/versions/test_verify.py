"""Everything is hashed again: what does not fit is told all at once, and what cannot be looked at fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime import paths
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import file_digest, path_digest
from pipeline.tracking import registry
from pipeline.versions import verify as versions_verify
from tests.helpers.dvc_project import init_dvc
from tests.helpers.empty_store import put_store
from tests.helpers.rebuilt_project import repository
from tests.helpers.registered import make_champion, register, store_in

DVC_YAML = """
stages:
  make:
    cmd: {python} make.py
    deps: [make.py]
    outs: [data/file.bin, data/folder]
    metrics:
    - reports/numbers.json:
        cache: false
"""
MAKE = """
from pathlib import Path
Path("data/folder").mkdir(parents=True)
Path("reports").mkdir(exist_ok=True)
Path("data/file.bin").write_bytes(b"a" * 5000)
Path("data/folder/one").write_bytes(b"b" * 5000)
Path("data/folder/two").write_bytes(b"c" * 5000)
Path("reports/numbers.json").write_text("{}")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a project with the real DVC once; copies of the cache, no links, as by default."""
    root = tmp_path_factory.mktemp("made")
    (root / "dvc.yaml").write_text(DVC_YAML.format(python=sys.executable))
    (root / "make.py").write_text(MAKE)
    init_dvc(root, no_scm=True, site_cache_dir=str(root / "site"))
    with (root / ".dvc/config").open("a") as config:
        config.write("[cache]\n    type = copy\n")
    dvc(root, "repro", "-q")
    return root


def dvc(root, *arguments):
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """Stand in a copy of it."""
    import shutil

    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def problems():
    return list(versions_verify.cache_and_output_problems([]))


def cached(project, path):
    """Return the object of an out in DVC's cache."""
    md5 = path_digest(project / path)
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def damage_quietly(path):
    """Change a byte as a bad disk does: same size, same mode, same modification time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)


def test_untouched_project_fits(project):
    """Nothing is found where nothing is wrong."""
    assert [] == problems()


def test_quietly_damaged_cache_object_is_found_where_dvc_hands_it_out(project):
    """DVC checks the object out without a word, because its modification time is the old one; verify names it."""
    damaged = cached(project, "data/file.bin")
    before = file_digest(project / "data/file.bin")
    damage_quietly(damaged)
    (project / "data/file.bin").unlink()
    dvc(project, "checkout", "data/file.bin")
    assert before != file_digest(project / "data/file.bin")
    found = problems()
    assert 2 == len(found), found
    assert "data/file.bin: expected md5" in found[0]
    assert "data/file.bin: damaged in DVC's cache" in found[1]
    assert str(damaged.relative_to(project)) in found[1]


def test_damage_inside_a_folder_is_found(project):
    """A file of a folder is named by its own path; so is the list of its files."""
    md5 = file_digest(project / "data/folder/two")
    damage_quietly(project / ".dvc/cache/files/md5" / md5[:2] / md5[2:])
    (found,) = problems()
    assert found.startswith("data/folder/two: damaged in DVC's cache")
    listing = cached(project, "data/folder")
    listing.chmod(0o644)
    listing.write_text("[]")
    assert any(problem.startswith("data/folder: damaged") for problem in problems())


@pytest.mark.parametrize("path", ["data/file.bin", "data/folder/one", "reports/numbers.json"])
def test_changed_out_is_found(project, path):
    """Outs are compared with dvc.lock whether DVC caches them or not."""
    (project / path).write_text("other")
    (found,) = problems()
    assert "Run `dvc repro`" in found


def test_what_is_missing_could_not_be_checked(project):
    """Neither a missing out nor a missing object counts as fitting."""
    cached(project, "data/file.bin").unlink()
    (project / "reports/numbers.json").unlink()
    found = problems()
    assert 2 == len(found)
    assert all("could not check" in problem for problem in found)


def test_lock_that_names_nothing_is_a_problem(project):
    """An empty lock has nothing to hash, which is no proof."""
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert "it names no outs" in problems()[0]


def test_packages_are_compared_with_the_lock(tmp_path, monkeypatch):
    """Another version, a missing package, an empty or missing lock; conditions of other systems are left out."""
    monkeypatch.setattr(versions_verify, "installed_problems", lambda _lock, _folders: iter(["a file"]))
    monkeypatch.setattr(versions_verify, "ALLOWED_OUTSIDE", ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION",))
    monkeypatch.setattr(versions_verify, "strange_places", lambda _folders, _ours: iter(["a folder"]))
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "numpy==0.0.1 \\\n    --hash=sha256:00\nno-such-package-of-ours==1.0\n"
        "also-not-there==1.0 ; sys_platform == 'win32'\n"
    )
    one, other, files, folder, switch = versions_verify.environment_problems(lock)
    assert ("a file", "a folder") == (files, folder)
    assert switch.startswith("MLFLOW_ALLOW_PICKLE_DESERIALIZATION is on in the environment")
    assert one.startswith("numpy: 0.0.1 locked, ")
    assert other.startswith("no-such-package-of-ours: 1.0 locked, none installed")
    lock.write_text("# nothing\n")
    assert "could not check: requirements.lock pins no package" in next(
        versions_verify.environment_problems(lock)
    )
    lock.unlink()
    assert "could not check" in next(versions_verify.environment_problems(lock))


def test_source_is_compared_with_its_manifest(tmp_path, monkeypatch):
    """The archive in data/raw must be the one that data/source.json pins."""
    monkeypatch.chdir(tmp_path)
    assert "could not check" in next(versions_verify.source_problems())
    paths.RAW_TAR.parent.mkdir(parents=True)
    paths.RAW_TAR.write_bytes(b"data")
    content = {"kind": "digits", "location": "bundled", "bytes": 4, "files": 1, "count": 1}
    content["sha256"] = file_digest(paths.RAW_TAR, "sha256")
    paths.SOURCE_JSON.write_text(json.dumps(content))
    assert [] == list(versions_verify.source_problems())
    paths.RAW_TAR.write_bytes(b"atad")
    assert "expected sha256" in next(versions_verify.source_problems())


def test_registered_files_are_downloaded_and_hashed(tmp_path, monkeypatch):
    """A changed byte, missing files, an alias that lies and a registry without versions are all told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    put_store(tmp_path)
    store = store_in(tmp_path)

    def found():
        return list(versions_verify.registry_problems(store, "digits"))

    assert [
        "digits: could not check: the registry has no version of it. Run `dvc repro register`."
    ] == found()
    first, second = register(store, tmp_path, b"first"), register(store, tmp_path, b"second")
    make_champion(store, first)
    assert [] == found()
    stored = {path.read_bytes(): path for path in Path("mlartifacts").rglob("model.keras")}
    stored[b"first"].write_bytes(b"fjrst")
    stored[b"second"].unlink()
    store.client.set_registered_model_alias("digits", "champion", str(second.number))
    one, other, alias = found()
    assert "digits version 1: The files of model version 1 are not those" in one
    assert "digits version 2: " in other
    assert "the alias `champion` is not what the list of champions says" in alias


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store in a folder of its own, where we stand; models are not tried, which takes Keras."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    put_store(tmp_path)
    return store_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("data/custom_objects.cloudpickle", b"danger", "data/custom_objects.cloudpickle were added"),
        ("millrace/more.json", b"{}", "millrace/more.json were added"),
        ("registered_model_meta", b"model_name: digits\nmodel_version: '1'\n", ""),
        ("registered_model_meta", b"model_name: digits\nimport os\n", "registered_model_meta were added"),
        ("data/registered_model_meta", b"", "data/registered_model_meta were added"),
    ],
    ids=["pickle", "paper", "MLflow's note", "no note", "elsewhere"],
)
def test_files_planted_beside_a_version_are_found(store, tmp_path, name, content, told):
    """Every file is on the list of the version, but for the note that MLflow leaves where a model is loaded."""
    version = register(store, tmp_path, b"first")
    (model,) = Path("mlartifacts").rglob("model.keras")
    (model.parents[1] / name).write_bytes(content)
    found = list(versions_verify.registry_problems(store, "digits"))
    assert (1 if told else 0) == len(found)
    assert all(f"version {version.number}" in problem and told in problem for problem in found)


def test_commits_that_are_gone_are_found(store, tmp_path):
    """A version whose commit no repository has any more cannot be rebuilt; one that never had one said so then."""
    tags = [{"git.commit": repository(tmp_path)}, {"git.commit": "1" * 40}, {"git.commit": "none"}, {}]
    for number, own in enumerate(tags):
        register(store, tmp_path, f"model {number}".encode(), tags=own)
    (found,) = versions_verify.registry_problems(store, "digits")
    assert found.startswith("digits version 2: its commit is gone")
    assert "1" * 40 in found


def test_the_command_reports_everything_at_once(project, monkeypatch, capsys):
    """One attempt shows all problems, from all parts, and ends with 74."""
    from pipeline import cli
    from pipeline.commands import verify

    def failing():
        raise StorageFailed("the registry is broken")

    def parts(*_arguments):
        return [("first", lambda: iter(["one", "two"])), ("second", failing), ("third", lambda: iter([]))]

    import shutil

    from tests.helpers.synthetic_project import HERE

    shutil.copy(HERE / "params.yaml", project / "params.yaml")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(verify, "_checks", parts)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify"])
    assert 74 == stopped.value.code
    said = capsys.readouterr()
    assert ["first: 2 problem(s)", "second: 1 problem(s)", "third: fits"] == said.out.splitlines()
    for part in (
        "first: one",
        "first: two",
        "second: could not check: the registry is broken",
        "3 problem(s)",
    ):
        assert part in said.err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["verify", "--json"])
    assert 74 == stopped.value.code
    found = {"first": ["one", "two"], "second": ["could not check: the registry is broken"], "third": []}
    assert found == json.loads(capsys.readouterr().out)
