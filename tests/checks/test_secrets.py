"""What the next commit would hold is looked at before: a commit is for ever."""

import subprocess

import msgspec
import pytest

from pipeline import cli
from pipeline.checks.secrets import committed_secrets
from pipeline.fetching.source import Location, read_source
from pipeline.runtime.errors import ParamsError
from pipeline.stages.check import check
from tests.helpers.fake_project import git

SIGNED = "https://account.blob.example/data.zip?sv=2024&sig=S3CRET"


@pytest.fixture
def project(project_without_code):
    """What is read here is no code."""
    return project_without_code


def signed(source, url=SIGNED):
    """Return a source whose address is signed."""
    return msgspec.structs.replace(source, kind="idx", location=Location(url=url, moving=True))


def test_a_signed_address_is_no_source(project, capsys):
    """`init` refuses it before it asks the network, and shows no signature."""
    before = (project / "data/source.json").read_bytes()
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", "--kind", "idx", "--url", SIGNED, "--moving"])
    assert 64 == ended.value.code
    said = capsys.readouterr().err
    assert "must not hold a secret" in said
    assert "'sig'" in said
    assert "--path" in said
    assert "S3CRET" not in said
    assert before == (project / "data/source.json").read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "instead"),
    [
        ("retrain.yaml", "url: null", "url: https://hooks.example/x?token=S3CRET", "MILLRACE_NOTIFY_URL"),
        ("retrain.yaml", "url: null", "url: https://me:S3CRET@hooks.example/x", "MILLRACE_NOTIFY_URL"),
        (
            "retrain.yaml",
            "command: null",
            "command: curl -d @- https://h/x?key=S3CRET",
            "MILLRACE_NOTIFY_URL",
        ),
        (
            "retrain.yaml",
            "url: null",
            "url: https://hooks.example/services/T0AB/B0CD/S3CRETs3cretS3CRETs3cret",
            "MILLRACE_NOTIFY_URL",
        ),
        (
            "retrain.yaml",
            "command: null",
            "command: \"curl -d @- -H 'Authorization: Bearer S3CRET' https://h/x\"",
            "MILLRACE_NOTIFY_URL",
        ),
        (".dvc/config", "", '["remote \\"a\\""]\n    url = https://me:S3CRET@host/dvc\n', "--local"),
        (
            ".dvc/config",
            "",
            "['remote \"a\"']\n    url = s3://b\n    secret_access_key = S3CRET\n",
            "--local",
        ),
    ],
)
def test_a_secret_is_refused_before_it_is_committed_and_told_afterwards(project, file, old, new, instead):
    """`check` stops the pipeline at once; where a commit holds it, stopping would help nobody."""
    path = project / file
    path.parent.mkdir(exist_ok=True)
    text = path.read_text() if path.exists() else ""
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new)
    with pytest.raises(ParamsError, match="must not hold a secret") as refused:
        check()
    assert instead in str(refused.value)
    assert "S3CRET" not in str(refused.value)
    git(project, "init", "-q")
    git(project, "add", "-f", file)
    git(project, "commit", "-qm", "leak")
    _, warnings = check()
    assert [True] == ["committed already" in warning for warning in warnings if "S3CRET" not in warning]


def test_a_secret_that_was_edited_into_source_json_is_refused(project):
    """Nobody called `init`."""
    problems, warnings = committed_secrets(signed(read_source()))
    assert [True] == [
        problem.startswith("data/source.json: a url must not hold a secret") for problem in problems
    ]
    assert [] == warnings
    subprocess.run(["git", "init", "-q"], check=True)
    assert ([], []) == committed_secrets(signed(read_source(), "https://host/data.zip?version=3"))


def test_the_project_as_it_is_cloned_has_no_secret(project):
    """No warning, no problem."""
    assert ([], []) == committed_secrets(read_source())


@pytest.mark.parametrize(
    "line",
    [
        "url: https://ntfy.example/our-models",
        "url: https://hooks.example/teams/data-science/retraining-of-the-models",
        "url: https://ntfy.example/fraud-detection-2026",
        "url: https://ntfy.example/production2026-model-v2beta3",
        "command: \"curl -H 'Authorization: Bearer $TOKEN' -H @headers -d @- https://h/x\"",
    ],
)
def test_what_names_no_secret_may_be_committed(project, line):
    """A topic, words in a path, and a variable that the shell puts in."""
    path = project / "retrain.yaml"
    name = line.partition(":")[0]
    path.write_text(path.read_text().replace(f"  {name}: null", f"  {line}"))
    assert ([], []) == committed_secrets(read_source())
