"""A bundle holds what was put into it, and nothing else is read as one."""

import json
import tempfile
import zipfile
from pathlib import Path

import pytest

from pipeline.runtime.errors import InputMissing, NotPermitted, StorageFailed, WronglyCalled
from pipeline.runtime.files import write_zip
from pipeline.serving.model_folder import MANIFEST, named_model, opened, read_bundle, write_bundle

MODEL = {"name": "digits", "version": "3", "keras_sha256": "0" * 64}
FILES = {
    "card.json": b"{}",
    "model.onnx": b"onnx",
    "saved_model/variables/variables.data-00000-of-00001": b"v",
}


@pytest.fixture
def bundle(tmp_path):
    """A bundle of a few files."""
    path = tmp_path / "digits-3.zip"
    write_bundle(path, {"model": MODEL}, FILES)
    return path


def rewritten(path, change):
    """Write the bundle anew after its members were changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    write_zip(path, members, members.__getitem__)
    return path


def test_the_same_content_gives_the_same_bytes_which_any_zip_reader_reads(bundle, tmp_path):
    """A path or its content, in any order; the digest is that of `sha256sum`."""
    (tmp_path / "card.json").write_bytes(b"{}")
    again = {name: FILES[name] for name in reversed(FILES)} | {"card.json": tmp_path / "card.json"}
    write_bundle(tmp_path / "again.zip", {"model": MODEL}, again)
    assert bundle.read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        assert FILES == {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
    assert FILES == read_bundle(bundle)[1]


def test_what_answers_lies_in_a_folder_while_it_is_open(bundle):
    """With name, version and digest; other formats stay in the zip; the folder is gone afterwards."""
    with opened(bundle) as model:
        assert ("digits", "3", "0" * 64) == (model.name, model.version, model.sha256)
        assert ["card.json", "model.onnx"] == sorted(path.name for path in model.folder.iterdir())
        assert model.folder.is_relative_to(tempfile.gettempdir())
    assert not model.folder.exists()


def test_a_folder_is_itself(tmp_path):
    """It has no version."""
    with opened(tmp_path) as model:
        assert (tmp_path.name, "", tmp_path) == (model.name, model.version, model.folder)


def test_a_name_that_ends_in_zip_is_a_path(bundle, tmp_path, monkeypatch):
    """Also where nothing lies there, which is told then."""
    monkeypatch.chdir(tmp_path)
    assert bundle == named_model("digits-3.zip")
    assert "digits/3" == named_model("digits/3")
    assert "" == named_model("")
    with pytest.raises(InputMissing, match=r"There is no .*nowhere.zip"), opened(named_model("nowhere.zip")):
        pass


@pytest.mark.parametrize("at", range(0, 700, 7))
def test_no_byte_can_change_what_is_read(bundle, at):
    """In a file, the manifest or the list it is refused; a date that nobody reads changes nothing."""
    content, before = bytearray(bundle.read_bytes()), read_bundle(bundle)
    content[at % len(content)] ^= 1
    bundle.write_bytes(content)
    try:
        assert before == read_bundle(bundle)
    except (StorageFailed, NotPermitted):
        return
    assert before[1] == FILES


def test_a_file_too_few_or_too_many_is_damage(bundle):
    """The manifest names every file, and the message names the first ones that differ."""
    with pytest.raises(StorageFailed, match=r"card\.json differ"):
        read_bundle(rewritten(bundle, lambda members: members.pop("card.json")))
    with pytest.raises(StorageFailed, match=r"card\.json, extra\.json differ"):
        read_bundle(rewritten(bundle, lambda members: members.update({"extra.json": b"{}"})))


@pytest.mark.parametrize(
    "name", ["../card.json", "/card.json", "a/../b", ".hidden", "a\\b", "a//b", "a/.b", "a\nb"]
)
def test_no_file_leads_out_of_the_folder(bundle, name):
    """Refused before anything is written, though the manifest lists it."""

    def plant(members):
        manifest = json.loads(members[MANIFEST])
        manifest["files"][name] = manifest["files"]["card.json"]
        members |= {name: b"{}", MANIFEST: json.dumps(manifest).encode()}

    with pytest.raises(NotPermitted, match="unsafe names"):
        read_bundle(rewritten(bundle, plant))


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{", b'{"format": 1}', b'{"format": 2, "model": {"name": "a", "version": null, "keras_sha256": ""}, "files": {}}',
     b'{"format": 1, "model": {"name": 1, "version": null, "keras_sha256": ""}, "files": {}}',
     b'{"format": 1, "model": {"name": "a", "version": null, "keras_sha256": ""}, "files": []}'],
)  # fmt: skip
def test_a_zip_without_a_manifest_of_ours_is_no_bundle(bundle, manifest):
    """Or one of a later release, whose papers this one may read wrong."""
    with pytest.raises(NotPermitted, match="is no bundle"):
        read_bundle(rewritten(bundle, lambda members: members.update({MANIFEST: manifest})))


@pytest.mark.parametrize(
    "change",
    [{"version": "1\r\nx-evil: yes"}, {"version": "v€"}, {"version": "9" * 30}, {"name": "a/b"}, {"name": "a\nb"},
     {"name": ""}, {"keras_sha256": "none"}, {"version": 3}],
)  # fmt: skip
def test_a_name_or_version_that_no_registry_has_is_refused(bundle, change):
    """It would stand in the head of every reply."""

    def claim(members):
        manifest = json.loads(members[MANIFEST])
        manifest["model"] |= change
        members[MANIFEST] = json.dumps(manifest).encode()

    with pytest.raises(NotPermitted, match="is no bundle"):
        read_bundle(rewritten(bundle, claim))


def test_a_manifest_of_great_depth_and_a_file_that_is_a_folder_are_refused(bundle, tmp_path):
    """Not met by an error of Python or of the file system."""
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    with pytest.raises(NotPermitted, match="is no bundle"):
        read_bundle(rewritten(bundle, lambda members: members.update({MANIFEST: deep})))
    for odd in ("card.json/more", "a" * 300):
        path = tmp_path / "odd.zip"
        with pytest.raises(NotPermitted, match="a folder too, or a long name"):
            write_bundle(path, {"model": MODEL}, {**FILES, odd: b"x"})
        assert not path.exists()


def test_the_keras_file_is_the_one_that_the_manifest_tells_of(tmp_path):
    """What the registry knew the model by."""
    with pytest.raises(StorageFailed, match=r"Expected model\.keras to have the sha256"):
        write_bundle(tmp_path / "a.zip", {"model": MODEL}, {**FILES, "model.keras": b"another"})
    assert [] == list(tmp_path.iterdir())


def test_a_compressed_zip_is_not_unpacked(tmp_path):
    """It may be a bomb; `millrace export` stores."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, "0" * 1000)
    with pytest.raises(NotPermitted, match="compressed member"):
        read_bundle(tmp_path / "a.zip")


def test_what_is_no_bundle_is_not_overwritten(bundle, tmp_path):
    """A bundle is written anew."""
    for name, content in (("one.jpg", b"1"), (MANIFEST, b'{"manifest_version": 3, "name": "an extension"}')):
        other = tmp_path / "photos.zip"
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr(name, content)
        before = other.read_bytes()
        with pytest.raises(WronglyCalled, match="is there and is no bundle"):
            write_bundle(other, {"model": MODEL}, FILES)
        assert before == other.read_bytes()
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere.zip")
    with pytest.raises(WronglyCalled, match="is there and is no bundle"):
        write_bundle(tmp_path / "link.zip", {"model": MODEL}, FILES)
    write_bundle(bundle, {"model": MODEL | {"version": "4"}}, FILES)
    with opened(bundle) as model:
        assert "4" == model.version


def test_a_folder_with_that_name_is_not_overwritten(tmp_path):
    """Nor is what cannot be read."""
    Path(tmp_path / "a.zip").mkdir()
    with pytest.raises(WronglyCalled, match="is there and is no bundle"):
        write_bundle(tmp_path / "a.zip", {"model": MODEL}, FILES)


DAMAGED = [
    (name, content)
    for name in ("state.json", "settings.json", "card.json")
    for content in ("{}", "[]", "{", "[" * 100_000)
]


@pytest.mark.parametrize(("name", "content"), [one for one in DAMAGED if one != ("card.json", "{}")])
def test_papers_of_another_shape_are_damage(tmp_path, name, content):
    """No bug of ours, whoever wrote them: told with what is wrong."""
    from pipeline.serving.scorer import Scorer
    from tests.helpers.served_models import DIGITS, write_model

    model = write_model(tmp_path / "model", DIGITS)
    (model / name).write_text(content)
    with pytest.raises(StorageFailed, match="damaged or no model"):
        Scorer(model)
