"""Readers and downloads of the plain stack accept what is not the data; here it is refused."""

import csv
import io
import shutil
import tarfile
import threading
import urllib.request
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras
import pandas as pd
import pytest
from PIL import Image

from pipeline.fetching.archives import unpack
from pipeline.fetching.download import Limits, download
from pipeline.ingest.images import decode
from pipeline.runtime.errors import DataRefused, NotPermitted
from pipeline.sources import text_table
from tests.helpers.read_source import read_source

LIMITS = Limits(deadline_seconds=5, minimum_bytes_per_second=1, window_seconds=1, max_bytes=1_000_000)
TABLE = "text\tlabel\tid\nfine\tNA\t007\ngood\tNone\t008\n"


class Answering(BaseHTTPRequestHandler):
    """Answers with half of what it has, or with a page."""

    def do_GET(self):
        """Half a file without saying how long it is, or a login page where a table was asked for."""
        half = self.path == "/half"
        self.send_response(200)
        self.send_header("Content-Type", "text/csv" if half else "text/html")
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n3" if half else b"<!DOCTYPE html><html>Please log in</html>")

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture
def server(monkeypatch):
    """The address of that server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("page", ["half", "login"])
def test_a_download_that_is_not_the_file(server, tmp_path, page):
    """A body cut in the middle, and a login page in place of a table.

    Plain: `urlopen` with `copyfileobj` writes either and raises nothing.
    Millrace: `download` demands the sha256, and leaves no file.
    """
    with urllib.request.urlopen(f"{server}/{page}") as body, (tmp_path / "plain.csv").open("wb") as file:
        shutil.copyfileobj(body, file)
    assert (tmp_path / "plain.csv").stat().st_size > 0
    with pytest.raises(DataRefused):
        download(f"{server}/{page}", tmp_path / "file.csv", sha256="0" * 64, limits=LIMITS)
    assert not (tmp_path / "file.csv").exists()


def test_an_archive_with_a_member_that_climbs_out(tmp_path):
    """A tar with a good file, and one whose name begins with `..`.

    Plain: `keras.utils.get_file` leaves the bad member out without a word, so that data is missing.
    Millrace: the whole archive is refused, and nothing of it stays.
    """
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("good.txt", "../evil.txt"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"text"))
    (tmp_path / "cache").mkdir()  # Keras goes elsewhere where it is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.utils.get_file(
            "data.tar", origin=archive.as_uri(), cache_dir=str(tmp_path / "cache"), extract=True
        )
    extracted = [path.name for path in (tmp_path / "cache").rglob("*.txt")]
    assert extracted == ["good.txt"]
    with pytest.raises(NotPermitted):
        unpack(archive, tmp_path / "out", max_bytes=1_000_000)
    assert not list((tmp_path / "out").rglob("*.txt"))


def test_labels_called_na_and_ids_with_zeros(tmp_path):
    """A table whose classes are called `NA` and `None`, with ids such as 007.

    Plain: pandas reads the labels as missing and the id as 7.
    Millrace: labels and ids are the text that stands in the file.
    """
    plain = pd.read_csv(io.StringIO(TABLE), sep="\t")
    assert plain["label"].isna().all()
    assert plain["id"].tolist() == [7, 8]
    samples = read_source(text_table, {"t.tsv": TABLE.encode()}, text="text", label="label", id="id")
    assert [("NA", "007"), ("None", "008")] == [(sample.label, sample.side["id"]) for sample in samples]


def test_a_stray_quote(tmp_path):
    """A tab-separated file in which two texts hold a single quotation mark.

    Plain: pandas takes everything between the two marks for one field, and rows are gone.
    Millrace: every line is a row, or the file is refused with its line.
    """
    text = 'text\tlabel\n"hello\tham\nbye\tham\nsee" you\tspam\nlast\tspam\n'
    assert len(pd.read_csv(io.StringIO(text), sep="\t")) < 4
    options = {"format": "tsv", "text": "text", "label": "label"}
    assert len(read_source(text_table, {"t.tsv": text.encode()}, quoting="none", **options)) == 4
    with pytest.raises(DataRefused, match="line"):
        read_source(text_table, {"t.tsv": text.encode()}, quoting="minimal", **options)
    assert len(list(csv.reader(io.StringIO(text), delimiter="\t"))) < 5


def test_a_truncated_photograph(tmp_path):
    """A JPEG cut in half.

    Plain: Pillow's `verify()` is content, and training ends in mid-epoch.
    Millrace: every image is decoded completely at ingest, and this one refused.
    """
    whole = io.BytesIO()
    Image.effect_noise((200, 200), 80).convert("RGB").save(whole, "JPEG")
    half = whole.getvalue()[: len(whole.getvalue()) // 2]
    Image.open(io.BytesIO(half)).verify()
    with pytest.raises(Exception, match=r"(?i)truncated|decode"):
        decode(half)
