"""data/source.json says what the data is, strictly, and the same bytes for the same content."""

import json
from pathlib import Path

import pytest

from pipeline.fetching.source import Location, Source, read_source, write_source
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.paths import stored_path

ROOT = Path(__file__).resolve().parents[2]
SHA256 = "0" * 64
GOOD = {
    "kind": "idx",
    "location": {"path": "../data"},
    "sha256": SHA256,
    "bytes": 10240,
    "files": 2,
    "count": 100,
    "seen": "2026-01-31",
}


def write(path, **changes):
    """Write a good source.json with some keys changed, or left out where None."""
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read_back(tmp_path):
    """Path, URL and bundled sources survive, and writing again gives the same bytes."""
    path = tmp_path / "source.json"
    url = Location(url="https://example.org/a.zip", sha256=SHA256)
    for kind, location in (("digits", "bundled"), ("idx", Location(path="x")), ("image_folder", url)):
        source = Source(kind=kind, location=location, sha256=SHA256, bytes=1, files=1, count=2)
        write_source(source, path)
        first = path.read_bytes()
        assert source == read_source(path)
        write_source(read_source(path), path)
        assert first == path.read_bytes()


def test_options_are_read_back_as_they_were(tmp_path):
    """Words, numbers, truths and lists; without options the file does not mention them."""
    options = {"label": "007", "step": 60.5, "header": False, "side": ["a", "b"]}
    source = read_source(write(tmp_path / "a.json", options=options))
    assert options == source.options
    write_source(source, tmp_path / "b.json")
    assert source == read_source(tmp_path / "b.json")
    write_source(read_source(write(tmp_path / "a.json")), tmp_path / "b.json")
    assert "options" not in json.loads((tmp_path / "b.json").read_text())


def test_a_source_cannot_be_changed(tmp_path):
    """It is read once and handed on."""
    source = read_source(write(tmp_path / "source.json"))
    with pytest.raises(AttributeError):
        source.kind = "digits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "idxx"}, "kind"),
        ({"kinds": "idx"}, "Did you mean kind"),
        ({"sha256": "ABC"}, "sha256"),
        ({"count": 0}, "count"),
        ({"count": "7"}, "count"),
        ({"seen": "yesterday"}, "seen"),
        ({"bytes": None}, "bytes is missing"),
        ({"options": {"label": {"a": 1}}}, "options"),
        ({"options": ["label"]}, "options"),
        ({"location": {"pth": "x"}}, "Did you mean location.path"),
        ({"location": {}}, "either path or url"),
        ({"location": {"path": "a", "url": "http://h/a", "sha256": SHA256}}, "either path or url"),
        ({"location": {"url": "http://h/a"}}, "belong together"),
        ({"location": {"path": "a", "sha256": SHA256}}, "belong together"),
        ({"location": {"path": "a", "moving": True}}, "only a url can be moving"),
        ({"location": {"url": "ftp://h/a", "sha256": SHA256}}, "must be http or https"),
        ({"location": {"url": "http:///a", "sha256": SHA256}}, "must be http or https"),
        ({"location": {"url": "https://me:secret@h/a", "sha256": SHA256}}, "must not hold a user name"),
        ({"location": "bundled"}, "digits and location bundled belong together"),
        ({"kind": "digits"}, "digits and location bundled belong together"),
    ],
)
def test_anything_unclear_is_refused(tmp_path, changes, message):
    """Misspelt, missing, contradicting and dangerous entries are named."""
    with pytest.raises(ParamsError, match=message) as error:
        read_source(write(tmp_path / "source.json", **changes))
    assert "secret" not in str(error.value)


def test_all_problems_are_reported_at_once(tmp_path):
    """Nobody has to run the command once per mistake."""
    with pytest.raises(ParamsError) as error:
        read_source(write(tmp_path / "source.json", count=0, files="x", bytes=None))
    assert len(error.value.problems) == 3


def test_a_missing_or_broken_file_says_what_to_do(tmp_path):
    """Both name the command that writes it."""
    with pytest.raises(FileNotFoundError, match="millrace init --kind digits"):
        read_source(tmp_path / "source.json")
    (tmp_path / "source.json").write_text('{"kind": ')
    with pytest.raises(ParamsError, match="not valid JSON"):
        read_source(tmp_path / "source.json")


def test_relative_paths_are_kept_relative_to_the_project(tmp_path, monkeypatch):
    """A project that moves together with its data still finds it."""
    (tmp_path / "project" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "deep")
    assert stored_path(Path("../../pictures"), tmp_path / "project") == "../pictures"
    assert stored_path(Path("/pictures"), tmp_path / "project") == "/pictures"


def test_the_committed_source_is_the_bundled_one():
    """A fresh clone runs without network: its data comes with scikit-learn, 1,797 digits."""
    source = read_source(ROOT / "data" / "source.json")
    assert (source.kind, source.location, source.count, source.seen) == ("digits", "bundled", 1797, None)
