"""Files are whole or absent, and equal content gives equal bytes."""

import csv
import hashlib
import os
import subprocess
import sys
import zipfile

import pytest

from pipeline.runtime.files import (
    atomic_path,
    canonical_zip,
    content_key,
    csv_text,
    file_digest,
    finite,
    path_digest,
    read_json,
    write_csv,
    write_json,
)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    """When the writer raises half-way, the good file stays and no temporary is left."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"good")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path, umask, mode):
    """Closed to others where the user closes everything, open to the group where a team shares a folder."""
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


def test_a_killed_write_keeps_the_old_file(tmp_path):
    """kill -9 in the middle of a write leaves the old content under the final name."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"good")
    code = (
        "import os, signal, sys; from pathlib import Path; from pipeline.runtime.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"good"


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    """A temporary file of a dead process goes, one of a living process stays."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.json.{dead.pid}.x.json").write_text("half")
    (tmp_path / f".a.json.{os.getpid()}.x.json").write_text("being written")
    write_json(tmp_path / "a.json", {})
    assert sorted(file.name for file in tmp_path.iterdir()) == [f".a.json.{os.getpid()}.x.json", "a.json"]


def test_json_has_sorted_keys_and_refuses_nan(tmp_path):
    """Two dicts in different order are one file; NaN is never written."""
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_a_missing_json_says_which_stage_makes_it(tmp_path):
    """The message for a missing file names the command."""
    with pytest.raises(FileNotFoundError, match="dvc repro split"):
        read_json(tmp_path / "none.json", made_by="split")


def test_file_digest_is_md5(tmp_path):
    """The digest equals hashlib's over the whole content."""
    (tmp_path / "x").write_bytes(b"abc" * 500_000)
    assert file_digest(tmp_path / "x") == hashlib.md5(b"abc" * 500_000).hexdigest()


def test_folder_digest_is_dvcs(tmp_path):
    """A folder's digest equals the one DVC itself computes."""
    from dvc.repo import Repo

    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "b").write_text("1")
    (folder / "sub" / "a").write_text("2")
    (folder / "a").write_text("3")
    repo = Repo.init(str(tmp_path), no_scm=True)
    (stage,) = repo.add(str(folder))
    assert path_digest(folder) == stage.outs[0].hash_info.value


def test_canonical_zip_forgets_dates_and_order(tmp_path):
    """Archives with equal members written at other times in other order become equal bytes."""
    for name, members in (("a.zip", ["x", "y"]), ("b.zip", ["y", "x"])):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                archive.writestr(
                    zipfile.ZipInfo(member, (2000 + len(name), 1, len(members), 0, 0, 0)), member * 9
                )
    canonical_zip(tmp_path / "a.zip", tmp_path / "a2.zip")
    canonical_zip(tmp_path / "b.zip", tmp_path / "b2.zip")
    assert (tmp_path / "a2.zip").read_bytes() == (tmp_path / "b2.zip").read_bytes()


def test_content_key_does_not_depend_on_order():
    """Equal mappings have equal keys, others have others."""
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_finite_names_the_place():
    """The first NaN is named by its path."""
    finite({"a": [1.0, {"b": 2.0}]}, "metrics")
    with pytest.raises(ValueError, match=r"metrics\.a\[1\]\.b"):
        finite({"a": [1.0, {"b": float("inf")}]}, "metrics")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "\uff1d", "\uff20"])
def test_no_text_in_a_csv_is_a_formula(tmp_path, start):
    """A class of that name would be calculated by the spreadsheet of whoever opens the table."""
    cell = f"{start}HYPERLINK(0)"
    told = f"'{cell}".replace("\r", "\\r")
    write_csv(tmp_path / "a.csv", [cell, "n"], [[cell, 1], ["plain", -2.5]])
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [[told, "n"], [told, "1"], ["plain", "-2.5"]] == list(csv.reader(file))


@pytest.mark.parametrize("cell", ["-1", "+1", "-2.5e-3", "-inf", "plain", "a=b", "", "007", -3, None, 0.5])
def test_numbers_and_plain_texts_in_a_csv_stay_as_they_are(cell):
    """Classes are called -1 and +1 in many archives."""
    assert f"a,b\n{'' if cell is None else cell},x\n" == csv_text(["a", "b"], [[cell, "x"]])
