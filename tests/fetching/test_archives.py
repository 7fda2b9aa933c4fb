"""Archives of strangers are unpacked whole or refused whole; our own have bytes that follow from content."""

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from pipeline.fetching.archives import list_files, unpack, write_tar
from pipeline.runtime.errors import DataRefused, NotPermitted

LIMIT = 50 << 20


def tar_of(path, members, mode="w:gz"):
    """Write a tar whose members are (TarInfo or name, content)."""
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    """Return a tar header of a link or device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of(path, members):
    """Write a zip whose members are (ZipInfo or name, content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def zip_link(name):
    """Return a zip header of a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_equal_content_gives_equal_bytes(tmp_path):
    """Order, times, owners and modes of the files do not reach the archive."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, "ab"), (two, "ba")):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(name.encode() * 700)
    os.utime(two / "a", (1, 1))
    (two / "b").chmod(0o600)
    write_tar(tmp_path / "1.tar", {"x/a": one / "a", "x/b": one / "b"})
    write_tar(tmp_path / "2.tar", {"x/b": two / "b", "x/a": b"a" * 700})
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as archive:
        assert [(member.name, member.mtime, member.uid, member.uname, member.mode) for member in archive] == [
            ("x/a", 0, 0, "", 0o644),
            ("x/b", 0, 0, "", 0o644),
        ]


def test_long_and_foreign_names_survive(tmp_path):
    """Names above 256 bytes and outside ASCII come back as they were."""
    names = ["d/" * 150 + "file.jpg", "h\u00fcte/\u5e3d\u5b50.jpg", "Screenshot at 3.14\u202fPM.png"]
    write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"x"))
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert sorted(names) == archive.getnames()


def test_packing_does_not_hold_the_files(tmp_path):
    """A file of 32 MB is streamed."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(32 << 20)
    tracemalloc.start()
    write_tar(tmp_path / "a.tar", {"big": big})
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_honest_archive_is_unpacked(tmp_path, suffix):
    """Content decides what an archive is; its suffix does not."""
    members = [("set/hat/1.jpg", b"one"), ("set/shoe/2.jpg", b"two")]
    path = tmp_path / "download"
    if suffix == "zip":
        zip_of(path, members)
    else:
        tar_of(path, members, f"w:{suffix.removeprefix('tar').removeprefix('.')}")
    unpack(path, tmp_path / "out", max_bytes=LIMIT)
    assert list_files(tmp_path / "out") == ["set/hat/1.jpg", "set/shoe/2.jpg"]
    assert (tmp_path / "out/set/shoe/2.jpg").read_bytes() == b"two"


BAD_TAR = {
    "absolute": "/etc/evil",
    "parent": "a/../../evil",
    "backslash": "a\\..\\evil",
    "drive": "C:evil",
    "symbolic link": special("link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("link", tarfile.LNKTYPE, "good.jpg"),
    "device": special("device", tarfile.CHRTYPE),
    "fifo": special("fifo", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("member", BAD_TAR.values(), ids=BAD_TAR.keys())
def test_the_first_bad_member_refuses_the_whole_tar(tmp_path, member):
    """Keras' `get_file` leaves bad members out silently; here nothing of the archive stays."""
    path = tar_of(tmp_path / "a.tar.gz", [("good.jpg", b"x"), (member, b"")])
    with pytest.raises(NotPermitted, match="whole archive is refused"):
        unpack(path, tmp_path / "out", max_bytes=LIMIT)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "member", ["/etc/evil", "a/../../evil", "a\\evil", "C:evil", zip_link("link")], ids=str
)
def test_the_first_bad_member_refuses_the_whole_zip(tmp_path, member):
    """The same for zip files, whose links hide in the attributes."""
    path = zip_of(tmp_path / "a.zip", [("good.jpg", b"x"), (member, b"/etc/passwd")])
    with pytest.raises(NotPermitted, match="whole archive is refused"):
        unpack(path, tmp_path / "out", max_bytes=LIMIT)
    assert [path] == list(tmp_path.iterdir())


def test_a_decompression_bomb_is_refused_while_it_goes_off(tmp_path):
    """Zeros that grow a thousandfold, as zip and as tar.gz, never reach the disk."""
    zeros = bytes(20 << 20)
    for path in (zip_of(tmp_path / "a.zip", [("0", zeros)]), tar_of(tmp_path / "a.tar.gz", [("0", zeros)])):
        with pytest.raises(NotPermitted, match="decompression bomb"):
            unpack(path, tmp_path / "out", max_bytes=LIMIT)
        assert not (tmp_path / "out").exists()


def test_a_bomb_in_a_tar_header_does_not_fill_the_memory(tmp_path):
    """A pax header of 64 MB would be read into memory before any member is seen."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 64 << 20
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf() + bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(NotPermitted, match="decompression bomb"):
        unpack(path, tmp_path / "out", max_bytes=LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_small_files_may_shrink_as_they_like(tmp_path):
    """Sorted labels of 100 kB weigh a few hundred bytes packed, and harm nobody."""
    path = zip_of(tmp_path / "a.zip", [("labels", bytes(100_000))])
    unpack(path, tmp_path / "out", max_bytes=LIMIT)
    assert (tmp_path / "out/labels").stat().st_size == 100_000


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_too_many_bytes_are_refused(tmp_path, pack):
    """The limit holds for all members together."""
    path = pack(tmp_path / "a", [("1", os.urandom(60_000)), ("2", os.urandom(60_000))])
    with pytest.raises(DataRefused, match="too large when unpacked"):
        unpack(path, tmp_path / "out", max_bytes=100_000)
    assert not (tmp_path / "out").exists()


def test_damaged_and_unknown_files_are_refused(tmp_path):
    """Cut off, a flipped byte, a member twice, and no archive at all."""
    content = os.urandom(50_000)
    cut = tar_of(tmp_path / "cut", [("1", content)])
    cut.write_bytes(cut.read_bytes()[:-20_000])
    flipped = zip_of(tmp_path / "flipped", [("1", content)])
    data = bytearray(flipped.read_bytes())
    data[25_000] ^= 1
    flipped.write_bytes(data)
    twice = tar_of(tmp_path / "twice", [("1", b"x"), ("1", b"y")])
    page = tmp_path / "page"
    page.write_text("<html>please log in</html>")
    for path in (cut, flipped, twice, page):
        with pytest.raises(DataRefused, match="cannot be unpacked"):
            unpack(path, tmp_path / "out", max_bytes=LIMIT)
        assert not (tmp_path / "out").exists()


def test_an_encrypted_zip_is_refused(tmp_path):
    """Python would only say that a password is required."""
    path = zip_of(tmp_path / "a.zip", [("1", b"x")])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(DataRefused, match="encrypted"):
        unpack(path, tmp_path / "out", max_bytes=LIMIT)


def test_names_that_no_two_machines_agree_on_are_refused(tmp_path):
    """Bytes that are not UTF-8, and line breaks."""
    for name in (b"\xe9.jpg", b"two\nlines.jpg"):
        path = os.path.join(os.fsencode(tmp_path), name)
        open(path, "wb").close()
        with pytest.raises(DataRefused, match="cannot be stored"):
            list_files(tmp_path)
        os.unlink(path)


def test_the_format_is_plain_ustar(tmp_path):
    """The bytes may not drift between Python versions, since every clone pins them: packed by hand here."""
    write_tar(tmp_path / "a.tar", {"a": b"hello"})
    before = b"a".ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"00000000005\0" + b"00000000000\0"
    after = (b"0" + bytes(100) + b"ustar\x0000").ljust(512 - len(before) - 8, b"\0")
    checksum = b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" "))
    expected = (before + checksum + after + b"hello").ljust(10240, b"\0")
    assert expected == (tmp_path / "a.tar").read_bytes()
