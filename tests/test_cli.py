"""`millrace init` and `millrace refresh`: all or nothing, and in words a newcomer understands."""

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import cli
from pipeline.checks.contradictions import contradictions
from pipeline.commands import init, predict
from pipeline.fetching.source import Location, read_source, stored_tar
from pipeline.params.load import load_params
from pipeline.runtime import paths, processes
from pipeline.runtime.files import file_digest
from tests.conftest import ROOT
from tests.helpers.picture_folders import class_folders, fill, picture

EXAMPLES = {"digits": b"# digits\n", "own": b"# own pictures\n"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, and the working directory inside it."""
    root = tmp_path / "project"
    fill(root, {"dvc.yaml": b"stages: {}\n", "params.yaml": EXAMPLES["digits"]})
    fill(root, {f"examples/{name}.yaml": content for name, content in EXAMPLES.items()})
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MILLRACE_DEBUG", raising=False)
    return root


def millrace(*arguments):
    """Run a command and return its exit code."""
    try:
        cli.main(arguments)
    except SystemExit as error:
        return error.code
    return 0


def test_init_of_a_folder_says_what_was_read(project, tmp_path, capsys):
    """Counts per class, files left out, the next command; source.json and the store agree."""
    folder = class_folders(tmp_path / "pictures")
    fill(folder, {"cat/notes.txt": b"x"})
    assert millrace("init", "--kind", "image_folder", "--path", str(folder)) == 0
    source = read_source()
    assert ("image_folder", Location(path=str(folder)), 6, 6) == (
        source.kind,
        source.location,
        source.files,
        source.count,
    )
    stored = stored_tar(source.sha256)
    assert (source.sha256, source.bytes) == (file_digest(stored, "sha256"), stored.stat().st_size)
    output = capsys.readouterr().out
    for part in ("image_folder: 6 samples", "cat", "dog", "Left out: 1 x cat/*.txt", "Next:"):
        assert part in output


def test_millrace_alone_tells_every_command_with_an_example(capsys):
    """In groups, 0; each example is one that the command's own parser takes."""
    assert millrace() == 0
    said = capsys.readouterr().out
    parser, _ = cli.parsers()
    files = {path.stem for path in Path(cli.__file__).parent.glob("commands/**/[a-z]*.py")}
    assert files == set(cli.COMMANDS)
    for group, commands in cli.GROUPS.items():
        assert f"\n{group}:\n" in said
        for name, example in commands.items():
            assert f"millrace {example}\n" in said
            assert name == parser.parse_args(shlex.split(example)).command


@pytest.mark.parametrize("typed", [("init", "--kind", "foo"), ("predcit",)])
def test_words_stay_whole_on_a_terminal(monkeypatch, capsys, typed):
    """A list of names is broken between them; a file of errors keeps a message on one line."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert millrace(*typed) == 64
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(
        f"'{name}'" in "\n".join(lines)
        for name in (cli.COMMANDS if typed == ("predcit",) else ("idx", "series_archive"))
    )


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_says_what_a_command_does_with_an_example(monkeypatch, capsys, command):
    """And no line of it is wider than a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert millrace(command, "--help") == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "For example: millrace " in told
    said = " ".join(told.split()).lower()
    assert " ".join(cli._module(command).HELP.split()).lower() in said  # what the list of commands says


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["retrian"], "retrain"),
        (["retrain", "--forse"], "--force"),
        (["predict", "--otu=a.csv", "x"], "--out"),
    ],
)
def test_a_slip_is_met_with_what_was_probably_meant(capsys, typed, meant):
    """Commands and options; 64 as for every wrong call."""
    assert millrace(*typed) == 64
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_the_version_is_that_of_the_project(capsys):
    """As pyproject.toml says."""
    assert millrace("--version") == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"millrace {project['version']}\n" == capsys.readouterr().out


def test_init_works_from_below_the_project(project, tmp_path, monkeypatch):
    """Paths count from where the user stands; source.json keeps them relative to the project."""
    class_folders(tmp_path / "pictures")
    (project / "docs").mkdir()
    monkeypatch.chdir(project / "docs")
    assert millrace("init", "--kind", "image_folder", "--path", "../../pictures") == 0
    assert read_source(project / "data/source.json").location == Location(path="../pictures")


def test_init_reads_a_zip_file(project, tmp_path):
    """An archive gives the same bytes as the folder that was packed."""
    folder = class_folders(tmp_path / "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", str(folder)) == 0
    sha256 = read_source().sha256
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", archive) == 0
    assert read_source().sha256 == sha256


def test_init_of_the_bundled_digits_never_drifts(project):
    """Two runs give the same bytes: no date, no path."""
    assert millrace("init", "--kind", "digits") == 0
    first = paths.SOURCE_JSON.read_bytes()
    assert millrace("init", "--kind", "digits") == 0
    assert first == paths.SOURCE_JSON.read_bytes()
    committed = Path(__file__).resolve().parent.parent / "data/source.json"
    assert json.loads(committed.read_text()) == json.loads(first)


def refused_inits(tmp_path):
    """Return arguments of `init` that cannot work, their exit code and a part of the message."""
    one_class = fill(tmp_path / "one", {"cat/1.png": picture(0), "cat/2.png": picture(1)})
    bad_zip = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad_zip, "w") as archive:
        archive.writestr("../evil.png", b"x")
    return [
        (["--kind", "image_folder", "--path", str(tmp_path / "nowhere")], 66, "nothing at the given path"),
        (["--kind", "image_folder", "--path", str(one_class)], 65, "Fewer than two classes"),
        (["--kind", "idx", "--path", str(one_class)], 65, "no complete IDX data set"),
        (["--kind", "image_folder", "--path", str(bad_zip)], 77, "whole archive is refused"),
        (["--kind", "image_folder", "--path", __file__], 65, "cannot be unpacked"),
        (["--kind", "digits", "--path", str(one_class)], 64, "belong together"),
        (["--kind", "idx"], 64, "either path or url"),
        (["--kind", "idx", "--url", "http://127.0.0.1:1/a.zip"], 64, "--sha256"),
        (["--kind", "idx", "--url", "http://127.0.0.1:1/a.zip", "--sha256", "0" * 64], 69, "could not be"),
        (["--kind", "idx", "--url", "http://127.0.0.1:1/a.zip", "--sha256", "short"], 64, "sha256"),
        (["--kind", "digits", "--example", "nothing"], 66, "Expected one of digits, own"),
    ]


def test_a_refused_init_changes_nothing(project, tmp_path, capsys):
    """Whatever goes wrong: the documented code, a message, and the data of before still in place."""
    assert millrace("init", "--kind", "digits") == 0
    before = {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and "status" not in path.name
    }
    for arguments, code, message in refused_inits(tmp_path):
        assert millrace("init", *arguments) == code, arguments
        assert message in capsys.readouterr().err
    after = {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and "status" not in path.name
    }
    changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    assert [path for path in changed if path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["init"], ["init", "--kind", "cinema"], ["init", "--kin", "digits"],
     ["init", "--kind", "idx", "--path", "a", "--url", "b"]],
)  # fmt: skip
def test_usage_mistakes_exit_with_64(project, arguments, capsys):
    """As in the table of exit codes, with a pointer to --help."""
    assert millrace(*arguments) == 64
    assert "--help" in capsys.readouterr().err


def test_a_single_table_is_read_with_stated_options(project, tmp_path, capsys):
    """Its neighbours are not; path and options stand in data/source.json, and refresh uses them again."""
    fill(
        tmp_path / "texts", {"mail.csv": b"body;class\nhello;ham\nbuy;spam\nbye;ham\n", "other.csv": b"a,b\n"}
    )
    path = tmp_path / "texts" / "mail.csv"
    assert (
        millrace(
            "init", "--kind", "text_table", "--path", str(path), "--set", "text=body", "--set", "label=class"
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "text_table: 3 samples (text) of 2 classes" in shown
    assert "mail.csv: semicolon between fields (detected)" in shown
    source = read_source()
    assert source.options == {"label": "class", "text": "body"}
    assert source.location == Location(path=str(path))
    assert (source.files, source.count) == (1, 3)
    before = paths.SOURCE_JSON.read_bytes()
    assert millrace("refresh") == 0
    assert before == paths.SOURCE_JSON.read_bytes()


def test_data_without_classes_is_shown_without_a_table(project, tmp_path, capsys):
    """A series to forecast has no class, and five files that are read alike are one line."""
    rows = b"time,load\n2026-01-01T00:00:00,1\n2026-01-01T01:00:00,2\n2026-01-01T02:00:00,3\n"
    fill(tmp_path / "loads", {f"{name}.csv": rows for name in "abcde"})
    assert millrace("init", "--kind", "series_table", "--path", str(tmp_path / "loads")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "series_table: 5 samples (series) a.csv and 4 more: comma between fields" in shown
    assert "class" not in shown


def test_series_may_be_of_one_class(project, tmp_path):
    """Anomaly detection learns from what is normal; whether one class is enough is for `ingest` to say."""
    rows = b"time,load,state\n2026-01-01T00:00:00,1,normal\n2026-01-01T01:00:00,2,normal\n"
    fill(tmp_path / "loads", {"a.csv": rows, "b.csv": rows})
    path = str(tmp_path / "loads")
    assert millrace("init", "--kind", "series_table", "--path", path, "--set", "label=state") == 0
    assert read_source().count == 2


def test_wrong_options_exit_with_64_and_name_them_all(project, tmp_path, capsys):
    """Before any file is touched."""
    fill(tmp_path / "texts", {"mail.csv": b"text,label\na,b\n"})
    arguments = ["init", "--kind", "text_table", "--path", str(tmp_path / "texts")]
    assert millrace(*arguments, "--set", "lable=label", "--set", "quoting=odd") == 64
    shown = capsys.readouterr().err
    assert "lable=label" in shown
    assert "quoting=odd" in shown
    assert not paths.SOURCE_JSON.exists()


def test_refresh_notices_new_files_and_nothing_else(project, tmp_path, capsys):
    """Unchanged data leaves source.json byte for byte; a new picture changes digest and count."""
    folder = class_folders(tmp_path / "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", str(folder)) == 0
    content = json.loads(paths.SOURCE_JSON.read_text()) | {"seen": "2020-01-01"}
    paths.SOURCE_JSON.write_text(json.dumps(content))
    before = paths.SOURCE_JSON.read_bytes()
    assert millrace("refresh") == 0
    assert before == paths.SOURCE_JSON.read_bytes()
    assert "Nothing changed since 2020-01-01" in capsys.readouterr().out
    fill(folder, {"cat/new.png": picture(99)})
    assert millrace("refresh") == 0
    assert read_source().count == 7
    assert read_source().sha256 != content["sha256"]


def test_refresh_brings_back_a_lost_store(project, tmp_path):
    """A fresh clone has source.json but no archive; refresh reads the original again."""
    folder = class_folders(tmp_path / "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", str(folder)) == 0
    shutil.rmtree(project / ".millrace")
    assert millrace("refresh") == 0
    assert stored_tar(read_source().sha256).is_file()


def test_refresh_when_the_original_is_gone_keeps_the_data(project, tmp_path):
    """DVC deletes a local file whose URL is down; here the archive of before stays usable."""
    folder = class_folders(tmp_path / "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", str(folder)) == 0
    before = paths.SOURCE_JSON.read_bytes()
    shutil.rmtree(folder)
    assert millrace("refresh") == 66
    assert before == paths.SOURCE_JSON.read_bytes()
    assert stored_tar(read_source().sha256).is_file()


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves a folder and counts requests."""

    def do_GET(self):
        """Count, then serve."""
        self.server.requests += 1
        super().do_GET()

    def log_message(self, *_):
        """Stay quiet."""


@contextmanager
def served(folder):
    """Serve a folder on this machine; yield the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=folder))
    server.requests = 0
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_url_is_read_once_and_then_from_the_store(project, tmp_path, capsys, monkeypatch):
    """Its digest pins it: as long as the archive is here and whole, the network is not asked again."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    class_folders(tmp_path / "pictures")
    archive = Path(shutil.make_archive(str(tmp_path / "served" / "set"), "zip", tmp_path, "pictures"))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    with served(archive.parent) as server:
        url = f"http://127.0.0.1:{server.server_port}/set.zip"
        assert millrace("init", "--kind", "image_folder", "--url", url, "--sha256", sha256) == 0
        assert read_source().location == Location(url=url, sha256=sha256)
        assert millrace("refresh") == 0
        assert server.requests == 1
        assert "Nothing to do" in capsys.readouterr().out
        stored_tar(read_source().sha256).write_bytes(b"damaged")
        assert millrace("refresh") == 0
        assert server.requests == 2
        assert file_digest(stored_tar(read_source().sha256), "sha256") == read_source().sha256


def test_a_moving_url_is_read_again_by_each_refresh(project, tmp_path, capsys, monkeypatch):
    """New rows arrive and are pinned; the same rows, packed anew, change nothing; half a file is no file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    table = tmp_path / "served" / "mail.csv"
    fill(table.parent, {"mail.csv": b"text,label\nhello,ham\nbuy,spam\n"})
    with served(table.parent) as server:
        url = f"http://127.0.0.1:{server.server_port}/mail.csv"
        options = ["--kind", "text_table", "--set", "label=label"]
        assert millrace("init", *options, "--url", url, "--moving") == 0
        first = read_source()
        assert first.location == Location(url=url, sha256=file_digest(table, "sha256"), moving=True)
        assert millrace("refresh") == 0
        assert "Nothing changed" in capsys.readouterr().out
        table.write_bytes(table.read_bytes() + b"hi,ham\n")
        assert millrace("refresh") == 0
        assert "2 samples before, 3 now" in capsys.readouterr().out
        assert (read_source().count, read_source().location.sha256) == (3, file_digest(table, "sha256"))
        assert stored_tar(first.sha256).is_file()
    before = paths.SOURCE_JSON.read_bytes()
    assert millrace("refresh") == 69
    assert before == paths.SOURCE_JSON.read_bytes()


def test_only_a_url_moves(project, tmp_path, capsys):
    """A folder is read again by each refresh anyway."""
    folder = class_folders(tmp_path / "pictures")
    assert millrace("init", "--kind", "image_folder", "--path", str(folder), "--moving") == 64
    assert "only a url can be moving" in capsys.readouterr().err


def test_another_working_tree_reads_and_keeps_the_data_of_the_project(project, tmp_path, monkeypatch):
    """`MILLRACE_HOME` is where relative paths start and archives are kept; data/source.json stays in the tree."""
    class_folders(tmp_path / "pictures")
    tree = tmp_path / "elsewhere" / "tree"
    fill(tree, {"dvc.yaml": b"stages: {}\n"})
    assert millrace("init", "--kind", "image_folder", "--path", "../pictures") == 0
    shutil.copytree(project / "data", tree / "data")
    fill(tmp_path / "pictures", {"cat/more.png": picture(77)})
    monkeypatch.chdir(tree)
    monkeypatch.setenv("MILLRACE_HOME", str(project))
    assert millrace("refresh") == 0
    assert (read_source().count, read_source(project / paths.SOURCE_JSON).count) == (7, 6)
    assert stored_tar(read_source().sha256) == project / ".millrace/sources" / f"{read_source().sha256}.tar"
    assert stored_tar(read_source().sha256).is_file()


def test_a_url_may_lead_to_a_single_file(project, tmp_path, monkeypatch):
    """It keeps its name, since the suffix says how it is read, and gives the bytes that --path gives."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    content = b"text,label\nhello,ham\nbuy,spam\n"
    fill(tmp_path / "served", {"mail 1.csv": content})
    options = ["--set", "label=label"]
    assert (
        millrace("init", "--kind", "text_table", "--path", str(tmp_path / "served" / "mail 1.csv"), *options)
        == 0
    )
    expected = read_source().sha256
    with served(tmp_path / "served") as server:
        url = f"http://127.0.0.1:{server.server_port}/mail%201.csv?download=1"
        sha256 = hashlib.sha256(content).hexdigest()
        assert millrace("init", "--kind", "text_table", "--url", url, "--sha256", sha256, *options) == 0
    assert expected == read_source().sha256


def test_an_example_replaces_untouched_parameters(project):
    """params.yaml that equals some example holds no work; a copy is kept all the same."""
    assert millrace("init", "--kind", "digits", "--example", "own") == 0
    assert paths.PARAMS_YAML.read_bytes() == EXAMPLES["own"]
    assert Path("params.yaml.bak").read_bytes() == EXAMPLES["digits"]


def test_an_example_does_not_replace_work(project, capsys):
    """Changed parameters are refused before any data is read, and kept as .bak with --force."""
    paths.PARAMS_YAML.write_bytes(b"# mine\n")
    assert millrace("init", "--kind", "digits", "--example", "own") == 77
    assert "--force" in capsys.readouterr().err
    assert paths.PARAMS_YAML.read_bytes() == b"# mine\n"
    assert not paths.SOURCE_JSON.exists()
    assert millrace("init", "--kind", "digits", "--example", "own", "--force") == 0
    assert Path("params.yaml.bak").read_bytes() == b"# mine\n"


def test_committed_parameters_may_be_replaced(project):
    """Git has them."""
    paths.PARAMS_YAML.write_bytes(b"# mine\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "mine"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    assert millrace("init", "--kind", "digits", "--example", "own") == 0
    assert paths.PARAMS_YAML.read_bytes() == EXAMPLES["own"]


def test_class_names_that_look_like_markup_are_shown_as_they_are(project, tmp_path, capsys):
    """`[red]` is a folder's name, not a colour."""
    fill(tmp_path / "pictures", {"[red]/1.png": picture(0), "blue/1.png": picture(1)})
    assert millrace("init", "--kind", "image_folder", "--path", str(tmp_path / "pictures")) == 0
    assert "[red]" in capsys.readouterr().out


def test_debug_shows_the_traceback(project, capsys, monkeypatch):
    """Without it there is a message; with it, where it came from."""
    monkeypatch.setenv("MILLRACE_DEBUG", "")
    assert millrace("init", "--kind", "idx", "--path", "nowhere") == 66
    assert "Traceback" not in capsys.readouterr().err
    assert millrace("--debug", "init", "--kind", "idx", "--path", "nowhere") == 66
    assert "Traceback" in capsys.readouterr().err


def test_outside_a_project_the_command_says_so(tmp_path, monkeypatch, capsys):
    """There is no dvc.yaml above an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert millrace("refresh") == 66
    assert "No dvc.yaml" in capsys.readouterr().err


def test_the_command_line_starts_light():
    """None of the heavy libraries is imported before a command needs it; all commands are known by then."""
    heavy = "tensorflow keras mlflow great_expectations sklearn pandas matplotlib numpy httpx"
    code = "import sys; from pipeline import cli; cli.parsers(); "
    code += f"print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "room",
    [
        "versions.verify",
        *(
            pytest.param(room, marks=pytest.mark.long)
            for room in ("versions.lineage", "versions.rollback", "tracking.registry")
        ),
    ],
)
def test_who_asks_for_versions_waits_for_no_keras(room):
    """Verify, lineage and rollback answer in seconds: TensorFlow is started where a model is packed or loaded."""
    code = f"import sys, pipeline.{room}; print(sorted({{'keras', 'tensorflow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "[]" == done.stdout.strip()


@pytest.mark.parametrize("safe_path", ["", "1"])
def test_another_package_called_pipeline_is_not_ours(project, tmp_path, safe_path):
    """Many are, and PYTHONPATH comes before what is installed."""
    fill(tmp_path / "other", {"pipeline/__init__.py": b"raise SystemExit('not ours')\n"})
    (project / "below").mkdir()
    done = subprocess.run(
        [Path(sys.executable).with_name("millrace"), "history"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "other"), "PYTHONSAFEPATH": safe_path},
        cwd=project / "below",
        capture_output=True,
        text=True,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "No retrain yet" in done.stdout


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m"


def test_class_names_have_no_power_over_the_terminal(project, tmp_path, capsys):
    """What would set its title, clear it or colour it is shown as its code: in tables, and in messages."""
    rows = "".join(f"a text {number},{label}\n" for number in range(4) for label in (HOSTILE, "blue"))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    reading = ("--set", "label=label", "--path", str(tmp_path / "texts.csv"))
    assert millrace("init", "--kind", "text_table", *reading) == 0
    assert millrace("init", "--kind", "image_folder", "--path", str(tmp_path / HOSTILE)) == 66
    said = capsys.readouterr()
    for text in said:
        assert r"\x1b]0;title\x07\x1b[2J\x9b31m" in text
        assert not set("\x1b\x07\x9b") & set(text)


TEXTS = b"text,label\n" + b"".join(
    b"how do I log in again %d,%s\n" % (n, b"login" if n % 3 else b"other") for n in range(120)
)


@pytest.fixture
def own_examples(project):
    """The project with the examples as they are, and one of them as params.yaml."""
    shutil.rmtree(project / "examples")
    shutil.copytree(ROOT / "examples", project / "examples")
    shutil.copy(ROOT / "examples/digits.yaml", project / "params.yaml")
    return project


def files_of(folder):
    """Return the content of all files but those of locks."""
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    }


def test_init_without_a_kind_proposes_and_writes_nothing(own_examples, tmp_path, capsys):
    """Kind, reason, the first samples as they will be read, what is left out, and the command."""
    fill(tmp_path / "mails", {"mail.csv": TEXTS, "notes.md": b"x"})
    before = files_of(own_examples)
    assert millrace("init", "--path", str(tmp_path / "mails")) == 0
    shown = capsys.readouterr().out
    for part in (
        "1. text_table (sure): column 'text' holds texts",
        "as        00000000, label 'other', 'how do I log in again 0'",
        "left out  1 x *.md",
        f"command   millrace init --kind text_table --path {tmp_path / 'mails'} --set text=text --set label=label",
        "Nothing was written.",
    ):
        assert part in shown
    kept = {path: content for path, content in files_of(own_examples).items() if path.name != "status.json"}
    assert before == kept


def test_the_proposed_command_followed_to_the_letter_gives_parameters_that_fit(
    own_examples, tmp_path, capsys
):
    """From a folder that nobody has said anything about to a checked params.yaml, in two commands."""
    fill(tmp_path / "mails", {"mail.csv": TEXTS})
    assert millrace("init", "--path", str(tmp_path / "mails")) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "command" in line)
    assert millrace(*shlex.split(line.partition("millrace")[2])) == 0
    params = load_params()
    assert ("mails", "other") == (params.register.model_name, params.data.positive_class)
    assert [] == contradictions(params, read_source())
    assert (own_examples / "params.yaml.bak").read_bytes() == (ROOT / "examples/digits.yaml").read_bytes()


def test_yes_does_what_is_sure_and_refuses_to_choose(own_examples, tmp_path, capsys):
    """Of two columns that could be the answer none is taken unasked."""
    fill(tmp_path / "sure", {"mail.csv": TEXTS})
    unclear = (
        TEXTS.replace(b"text,label", b"text,a").replace(b"\n", b",x\n", 1).replace(b"login\n", b"login,1\n")
    )
    fill(tmp_path / "unclear", {"mail.csv": unclear.replace(b"other\n", b"other,2\n")})
    assert millrace("init", "--path", str(tmp_path / "unclear"), "--yes") == 64
    assert "0 of 2 proposals are" in capsys.readouterr().err
    assert not paths.SOURCE_JSON.exists()
    assert millrace("init", "--path", str(tmp_path / "sure"), "--yes") == 0
    assert read_source().options == {"label": "label"}


def test_files_that_nothing_reads_are_refused_with_what_lies_there(own_examples, tmp_path, capsys):
    """And with the way to what a kind can be told."""
    fill(tmp_path / "odd", {"labels.csv": b"id,weight\na,1\nb,2\n", "images/a.jpg": picture(0)})
    assert millrace("init", "--path", str(tmp_path / "odd")) == 65
    told = capsys.readouterr()
    assert "Not as image_folder: Fewer than two classes." in " ".join(told.out.split())
    assert "labels.csv: columns id, weight" in told.err
    assert "--options KIND" in told.err


def test_a_dry_run_reads_everything_and_changes_nothing(own_examples, tmp_path, capsys):
    """Also what would become of params.yaml is said."""
    folder = class_folders(tmp_path / "pictures")
    before = files_of(own_examples)
    assert millrace("init", "--kind", "image_folder", "--path", str(folder), "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "image_folder: 6 samples" in shown
    assert "params.yaml would begin from examples/digits.yaml" in shown
    kept = {path: content for path, content in files_of(own_examples).items() if path.name != "status.json"}
    assert before == kept


def test_own_parameters_are_never_replaced_unasked(own_examples, tmp_path, capsys):
    """What git, an example or this command does not have stays; what fits stays as well."""
    folder = str(class_folders(tmp_path / "pictures", per_class=60))
    own = (ROOT / "examples/digits.yaml").read_bytes() + b"# tuned for days\n"
    (own_examples / "params.yaml").write_bytes(own)
    assert millrace("init", "--kind", "image_folder", "--path", folder) == 0
    assert "not committed, and stays as it is" in capsys.readouterr().out
    assert own == (own_examples / "params.yaml").read_bytes()
    assert millrace("init", "--kind", "image_folder", "--path", folder, "--force") == 0
    assert own == (own_examples / "params.yaml.bak").read_bytes()
    fitted = (own_examples / "params.yaml").read_bytes() + b"# tuned again\n"
    (own_examples / "params.yaml").write_bytes(fitted)
    assert millrace("init", "--kind", "image_folder", "--path", folder) == 0
    assert "fits this data already" in capsys.readouterr().out
    assert fitted == (own_examples / "params.yaml").read_bytes()


def test_what_this_command_wrote_is_replaced_when_the_data_is_another(own_examples, tmp_path):
    """Nobody has touched it."""
    assert (
        millrace("init", "--kind", "image_folder", "--path", str(class_folders(tmp_path / "pictures", 60)))
        == 0
    )
    for name in ("mails", "letters"):
        fill(tmp_path / name, {"mail.csv": TEXTS})
        assert millrace("init", "--path", str(tmp_path / name), "--yes") == 0
        assert load_params().register.model_name == name


def test_options_of_a_kind_are_printed_with_their_meaning(project, capsys):
    """From the command line, not from the code."""
    assert millrace("init", "--options", "text_table") == 0
    shown = capsys.readouterr().out
    assert "--set quoting=   (auto, minimal, none; without it: auto)" in shown
    assert "Column of persons, machines or documents that a split must not tear apart." in shown


def test_a_refresh_keeps_a_file_from_before_facts_were_kept(project, tmp_path, capsys):
    """Nothing changed then, and no stage runs again."""
    folder = str(class_folders(tmp_path / "pictures"))
    assert millrace("init", "--kind", "image_folder", "--path", folder) == 0
    content = json.loads(paths.SOURCE_JSON.read_text())
    assert {"cat": 3, "dog": 3} == content.pop("facts")["classes"]
    paths.SOURCE_JSON.write_text(json.dumps(content))
    assert millrace("refresh") == 0
    assert "Nothing changed" in capsys.readouterr().out
    assert "facts" not in paths.SOURCE_JSON.read_text()


def test_what_has_no_answer_and_classes_too_rare_are_left_out_by_policy_and_counted(
    project, tmp_path, capsys
):
    """In data/source.json, and by the stage that reads it."""
    rows = b"text,label\na,x\nb,y\nc,\nd,x\ne,y\nf,odd\n"
    fill(tmp_path / "mails", {"mail.csv": rows})
    arguments = ["init", "--kind", "text_table", "--path", str(tmp_path / "mails"), "--set", "label=label"]
    assert millrace(*arguments) == 65
    assert "--set unlabelled=leave_out" in capsys.readouterr().err
    assert millrace(*arguments, "--set", "unlabelled=leave_out", "--set", "least_per_class=2") == 0
    shown = capsys.readouterr().out
    assert "Left out: 1 of 6 samples (16.7 %) without an answer (unlabelled=leave_out)" in shown
    assert "Left out: 1 of 6 samples (16.7 %) of class 'odd' (least_per_class)" in shown
    source = read_source()
    assert (4, 1, {"odd": 1}, {"x": 2, "y": 2}) == (
        source.count, source.unlabelled, source.rare, source.facts.classes
    )  # fmt: skip
    before = paths.SOURCE_JSON.read_bytes()
    assert millrace("refresh") == 0
    assert before == paths.SOURCE_JSON.read_bytes()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["pre"], ["predict"]),
        (["predict", "--max"], ["--max-refused"]),
        (["export", "--format", "saved"], ["saved_model"]),
        (["predict", "models/best", "pho"], ["photos"]),
    ],
)
def test_a_shell_completes_commands_options_and_paths(tmp_path, capsys, typed, expected):
    """By the script that is printed, asked as bash asks it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--completion", "bash"])
    assert 0 == ended.value.code
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out)
    (tmp_path / "photos").mkdir()
    words = " ".join(["millrace", *typed])
    asked = f"source completion.bash; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_millrace; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert expected == done.stdout.split()


@pytest.mark.parametrize("width", [80, 120])
def test_the_commands_fit_the_terminal(width, monkeypatch, capsys):
    """What each does is wrapped below itself; an example is one line, to be copied."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert millrace("--help") == 0
    shown = capsys.readouterr().out
    assert [] == [line for line in shown.splitlines() if len(line) > width and "  millrace " not in line]
    assert "  export     a model as one file for elsewhere" in shown


@pytest.mark.parametrize(("beside", "moves"), [(True, True), (False, False)])
def test_no_line_moves_among_answers_on_a_terminal(beside, moves, monkeypatch):
    """Where answers go to the terminal itself, nothing else is written there."""
    file = io.StringIO()
    monkeypatch.setattr(processes, "terminal", lambda **_: Console(file=file, force_terminal=True))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with predict._bar(beside=beside) as done:
        done(3)
    assert moves is ("3 records" in file.getvalue())
    assert moves or not file.getvalue().strip()


def test_proposals_are_read_on_a_narrow_terminal(tmp_path, project):
    """Words stay whole, below what they are said of; the command is one piece, and a lonely sure one alone is shown."""
    table = tmp_path / "mails.csv"
    rows = [
        f"the mail number {n} tells of many things,{'ham' if n % 3 else 'spam'},{n % 4},{'ab'[n % 2]}"
        for n in range(60)
    ]
    table.write_text("text,label,length,marks\n" + "\n".join(rows) + "\n")
    location = Location(path=str(table))
    text = io.StringIO()
    narrow = Console(file=text, width=80, force_terminal=True)
    init.propose(location, [], yes=False, max_bytes=2**30, console=narrow)
    lines = text.getvalue().splitlines()
    (first, *more) = [line for line in lines if line.startswith("   command   ")]
    assert (
        first
        == f"   command   millrace init --kind text_table --path {table} --set text=text --set label=label"
    )
    assert more
    assert max(len(line) for line in lines if not line.startswith("   command")) <= 80
    assert any(line.startswith((" " * 13 + "(detected)", " " * 13 + "double")) for line in lines)
    text.truncate(0)
    chosen = init.propose(location, [], yes=True, max_bytes=2**30, console=narrow)
    assert chosen.proposal.options == {"text": "text", "label": "label"}
    assert 1 == text.getvalue().count("   command   ")
