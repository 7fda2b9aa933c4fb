"""From a model back to its origin, and from data forward to the models that saw it."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, WronglyCalled
from pipeline.tracking import registry
from pipeline.versions import lineage
from tests.helpers.registered import (
    PAYLOAD_MD5,
    SOURCE_SHA256,
    SPLIT_MD5,
    make_champion,
    new_store,
    register,
    row_digest,
)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory):
    """Make a store with two versions, the first champion; the second saw a sample more."""
    root = tmp_path_factory.mktemp("store")
    with new_store(root) as store:
        facts = {
            "machine.facts": json.dumps({"cpu": "a"}),
            "git.commit": "c" * 40,
            "data.md5.train": "d" * 32,
        }
        first = register(store, root, b"first", {"train": ["one"], "val": ["two"]}, facts)
        register(store, root, b"second", {"train": ["one", "three"], "val": ["two"]})
        make_champion(store, first)
        yield store, root


def test_way_back_of_the_champion_tells_all_of_its_origin(two_versions):
    """Tags, the outs of its own dvc.lock, its source, how many rows it saw, and why it became champion."""
    store, _ = two_versions
    name, version = lineage.named_version(store, "", "digits")
    content = lineage.way_back(store, name, version)
    assert ("digits", 1, ["champion"]) == (content["model"], content["version"], content["aliases"])
    assert ({"cpu": "a"}, "c" * 40) == (content["tags"]["machine.facts"], content["tags"]["git.commit"])
    assert {"data/interim/payload.npy": PAYLOAD_MD5, "data/split": SPLIT_MD5} == content["outs"]
    assert SOURCE_SHA256 == content["source"]["sha256"]
    assert {"train": 1, "val": 1} == content["trained_on"]
    assert ["promoted"] == [item["reason"] for item in content["champion"]]
    json.dumps(content)


@pytest.mark.parametrize(
    ("text", "number"), [("digits/2", 2), ("digits@champion", 1), ("digits", 1), ("", 1)]
)
def test_versions_are_named_by_number_alias_or_not_at_all(two_versions, text, number):
    """MODEL/VERSION, MODEL@ALIAS, MODEL for its champion, and nothing for this project's."""
    assert number == lineage.named_version(two_versions[0], text, "digits")[1].number


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("digits/x", WronglyCalled, "Expected MODEL, MODEL/VERSION or MODEL@ALIAS"),
        ("digits/9", InputMissing, "Expected one of digits: 1, 2. Received: digits/9"),
        ("digits@best", InputMissing, "Expected one of: digits@champion"),
        ("other", InputMissing, "no version of other.*Run `dvc repro`"),
        ("digits@best", InputMissing, r"digits has no alias best\..*`millrace lineage digits/2` shows"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(two_versions, text, error, message):
    """A message names the versions and aliases there are."""
    with pytest.raises(error, match=message):
        lineage.named_version(two_versions[0], text, "digits")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PAYLOAD_MD5, {1: ["dvc.lock: data/interim/payload.npy"], 2: ["dvc.lock: data/interim/payload.npy"]}),
        (f"{SPLIT_MD5}.dir", {1: ["dvc.lock: data/split"], 2: ["dvc.lock: data/split"]}),
        (SOURCE_SHA256, {1: ["data/source.json"], 2: ["data/source.json"]}),
        ("d" * 32, {1: ["tag data.md5.train"]}),
        (row_digest("three"), {2: ["1 row(s) of train"]}),
        (row_digest("two")[:12].upper(), {1: ["1 row(s) of val"], 2: ["1 row(s) of val"]}),
        ("0" * 64, {}),
    ],
)
def test_way_forward_finds_the_versions_that_saw_the_data(two_versions, data, expected):
    """A file, a folder, the source, a split or a single sample: exactly the versions that saw it."""
    found = lineage.way_forward(two_versions[0], "digits", data)
    assert (expected, {}) == (found["versions"], found["unreadable"])


def stored_papers(root, version_id):
    """Return where the papers of a version lie in the artifact store."""
    return root / "mlartifacts/models" / version_id / "artifacts/millrace"


def lose_everything(papers):
    shutil.rmtree(papers)


def lose_rows(papers):
    (papers / "trained_on.parquet").unlink()


def leave_out_a_row(papers):
    table = pq.read_table(papers / "trained_on.parquet")
    pq.write_table(table.slice(1), papers / "trained_on.parquet")


def empty_lock(papers):
    (papers / "dvc.lock").write_text("stages: {}\n")


def add_a_paper(papers):
    (papers / "more.json").write_text("{}")


@pytest.mark.parametrize(
    "deed", [lose_everything, lose_rows, leave_out_a_row, empty_lock, add_a_paper], ids=lambda it: it.__name__
)
def test_papers_that_are_gone_or_altered_are_no_answer(two_versions, tmp_path, monkeypatch, capsys, deed):
    """Nobody can say that the version did not see the row: it is named, and the exit code is 74."""
    from pipeline import cli

    store, root = two_versions
    papers = stored_papers(root, registry.version_numbered(store, "digits", 2).model_id)
    shutil.copytree(papers, tmp_path / "kept")
    project(root, monkeypatch)
    deed(papers)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["lineage", "--data", row_digest("three")])
        with pytest.raises(SystemExit) as stopped_too:
            cli.main(["lineage", "digits/2"])
    finally:
        shutil.rmtree(papers, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", papers)
    assert 74 == stopped.value.code
    assert stopped_too.value.code in (66, 74)
    assert "could not check {2: " in capsys.readouterr().err


@pytest.mark.parametrize("listed", [None, {"millrace/dvc.lock": "0" * 64, "millrace/source.json": "0" * 64}])
def test_a_version_that_does_not_list_its_rows_is_no_answer(two_versions, listed):
    """Registered by an earlier release, without the rows that it saw: not a version that saw nothing."""
    store, _ = two_versions
    tag = registry.version_numbered(store, "digits", 1).tags[registry.FILES]
    try:
        store.client.delete_model_version_tag("digits", "1", registry.FILES)
        if listed:
            store.client.set_model_version_tag("digits", "1", registry.FILES, json.dumps(listed))
        found = lineage.way_forward(store, "digits", "0" * 64)
    finally:
        store.client.set_model_version_tag("digits", "1", registry.FILES, tag)
    assert ([1], {}) == (list(found["unreadable"]), found["versions"])
    assert "does not say what it saw" in found["unreadable"][1]


def test_a_model_that_does_not_exist_saw_not_nothing(two_versions):
    """A misspelt name must not answer that no version saw the row."""
    with pytest.raises(InputMissing, match="no version of digit, so none can be asked"):
        lineage.way_forward(two_versions[0], "digit", row_digest("one"))


def test_a_server_that_fails_is_no_version_without_papers(two_versions, monkeypatch):
    """An outage ends the command as one, not as papers that are gone."""

    def down(*_arguments):
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(lineage, "download_details", down)
    with pytest.raises(requests.ConnectionError):
        lineage.way_forward(two_versions[0], "digits", row_digest("one"))


def test_a_series_is_found_by_its_name_or_not_denied(tmp_path, monkeypatch):
    """Models of windows know stretches: today's content leads to the name, an earlier one cannot be looked up."""
    monkeypatch.chdir(tmp_path)
    names = {"sample_id": ["pump"], "content_sha256": ["a" * 64]}
    paths.SAMPLES_PARQUET.parent.mkdir(parents=True)
    pq.write_table(pa.table(names), paths.SAMPLES_PARQUET)
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    (tmp_path / "source.json").write_text("{}")
    rows = {"content_sha256": ["b" * 64, "c" * 64], "split": ["train", "val"], "series": ["pump", "pump"]}
    pq.write_table(pa.table(rows), tmp_path / "trained_on.parquet")

    def places(wanted):
        return lineage._places(tmp_path, {}, wanted, lineage._series_of(wanted))

    assert ["1 stretch(es) of train", "1 stretch(es) of val"] == sorted(places("a" * 64))
    assert ["1 row(s) of train"] == places("b" * 64)
    # 32 digits may be the md5 of a file, or the beginning of what a series once held.
    for length in (31, 32, 64):
        with pytest.raises(InputMissing, match="trained on stretches of series"):
            places("d" * length)


@pytest.mark.parametrize("data", ["abc", "not a hash at all"])
def test_what_is_no_hash_is_refused(two_versions, data):
    """A short or wrong text would find nothing, which looks like "no model saw it"."""
    with pytest.raises(WronglyCalled, match="at least 8 hexadecimal digits"):
        lineage.way_forward(two_versions[0], "digits", data)


def test_version_that_cannot_be_looked_at_is_told_and_fails(two_versions, monkeypatch, capsys):
    """That no version saw it must not be said of one whose papers are gone; exit code 74."""
    from pipeline import cli

    store, root = two_versions
    (second,) = [item for item in registry.versions(store, "digits") if item.number == 2]
    original = registry.download_details

    def gone(store, version, folder):
        if version.number == second.number:
            raise InputMissing("gone")
        return original(store, version, folder)

    monkeypatch.setattr(lineage, "download_details", gone)
    project(root, monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["lineage", "--data", row_digest("one"), "--json"])
    assert 74 == stopped.value.code
    said = capsys.readouterr()
    assert {"1": ["1 row(s) of train"]} == json.loads(said.out)["versions"]
    assert "could not check {2: 'gone'}" in said.err


def test_the_command_prints_a_table_or_json(two_versions, monkeypatch, capsys):
    """The table is for people, the JSON is the same content whole."""
    from pipeline import cli

    project(two_versions[1], monkeypatch)
    cli.main(["lineage"])
    table = capsys.readouterr().out
    for part in ("digits version 1 (champion)", "git.commit", "c" * 40, "cpu", "train 1, val 1", "promoted"):
        assert part in table
    cli.main(["lineage", "digits/2", "--json"])
    assert 2 == json.loads(capsys.readouterr().out)["version"]


def project(root, monkeypatch):
    """Make the store's folder a project that commands can run in."""
    from tests.helpers.synthetic_project import HERE

    shutil.copy(HERE / "params.yaml", root / "params.yaml")
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
