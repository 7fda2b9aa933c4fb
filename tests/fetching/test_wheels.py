"""Files come out of a wheel whole and as they are, or not at all; pip is asked for one wheel and nothing else."""

import zipfile

import pytest

from pipeline.fetching import wheels
from pipeline.fetching.wheels import fetch_wheel, name_and_version, wheel_files
from pipeline.runtime.errors import DataRefused, NotPermitted, ServiceDown, StorageFailed, WronglyCalled
from pipeline.runtime.processes import Answer


def wheel(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_are_taken_by_name(tmp_path):
    """Those that are wanted, and nothing is unpacked beside them."""
    made = wheel(tmp_path / "a.whl", model=b"numbers", setup=b"code")
    assert {"m": b"numbers"} == wheel_files(made, {"m": "model"})
    assert ["a.whl"] == [path.name for path in tmp_path.iterdir()]


def test_what_is_not_there_damaged_or_a_bomb_is_refused(tmp_path):
    """Each with its own exit code."""
    made = wheel(tmp_path / "a.whl", model=bytes(40 << 20))
    with pytest.raises(NotPermitted, match="too large"):
        wheel_files(made, {"m": "model"})
    with pytest.raises(DataRefused, match="Expected one file other"):
        wheel_files(made, {"m": "other"})
    content = bytearray(wheel(tmp_path / "b.whl", model=b"x" * 100_000).read_bytes())
    content[40] ^= 0xFF
    (tmp_path / "b.whl").write_bytes(content)
    with pytest.raises(StorageFailed, match="damaged"):
        wheel_files(tmp_path / "b.whl", {"m": "model"})
    with pytest.raises(StorageFailed, match="no wheel"):
        wheel_files(__file__ and tmp_path, {"m": "model"})


@pytest.mark.parametrize("requirement", ["--requirement=x", "a b", "https://x/a.whl", "a>=1", "", "a==1;b"])
def test_a_requirement_names_one_package(requirement):
    """No option of pip, address or range of versions comes in by this way."""
    with pytest.raises(WronglyCalled, match="names one package"):
        name_and_version(requirement)


def test_names_are_written_as_an_index_does():
    """Underscores and capitals are one package."""
    assert ("a-b", "1.0.post1") == name_and_version("A_b==1.0.post1")
    assert ("a-b", None) == name_and_version("a.b")


def test_pip_is_asked_for_a_wheel_alone(tmp_path, monkeypatch):
    """Nothing is built, resolved or installed, and a failure says what pip said."""
    asked = []

    def run(command, **_limits):
        asked.append(command)
        return Answer(1, "", "ERROR: No matching distribution found for a==1\n")

    monkeypatch.setattr(wheels, "run", run)
    with pytest.raises(ServiceDown, match="No matching distribution"):
        fetch_wheel("a", "1", tmp_path)
    assert {"download", "--no-deps", "--only-binary", ":all:"} <= set(asked[0])
    assert "a==1" == asked[0][-1]
