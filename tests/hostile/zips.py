"""Model files whose zip is not what it seems: each writes `target` from a good file, see `corpus`."""

import pickle
import stat
import struct
import warnings
import zipfile

from tests.hostile.rewriting import CONFIG, METADATA, WEIGHTS, members_of, with_member, write_zip


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def pickle_inside(good, target, canary, _secret):
    """A pickled object as one more member, for loaders that look for custom objects."""
    with_member(good, target, "custom_objects.cloudpickle", pickle.dumps(Canary(canary)))


def pickle_as_model(_good, target, canary, _secret):
    """The whole file is a pickle, for loaders that try one format after the other."""
    target.write_bytes(pickle.dumps(Canary(canary)))


def member_twice(good, target, _canary, _secret):
    """Two members of one name: the one that is checked and the one that is loaded may differ."""
    members = members_of(good)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_zip(target, [*members.items(), (CONFIG, b"{}")])


def name_that_climbs(good, target, canary, _secret):
    """A member named with `..`, which lands outside the folder it is unpacked into."""
    with_member(good, target, f"assets/../../{canary.name}", b"planted")


def absolute_name(good, target, canary, _secret):
    """A member with an absolute name."""
    with_member(good, target, str(canary), b"planted")


def link_as_member(good, target, _canary, secret):
    """The weights are a symbolic link to a file of the victim."""
    members = members_of(good)
    info = zipfile.ZipInfo(WEIGHTS)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    write_zip(
        target, [(CONFIG, members[CONFIG]), (METADATA, members[METADATA]), (info, str(secret).encode())]
    )


def bomb(good, target, _canary, _secret):
    """A member of 64 kB that unpacks to 64 MiB, and could as well be a thousand times larger."""
    members = members_of(good) | {WEIGHTS: members_of(good)[WEIGHTS] + bytes(64 << 20)}
    write_zip(target, members.items(), zipfile.ZIP_DEFLATED)


def encrypted(good, target, _canary, _secret):
    """A member marked as encrypted, which no scanner can look into."""
    content = bytearray(good.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    target.write_bytes(content)


def something_before(good, target, _canary, _secret):
    """A shell script before the zip: a model to one reader, a program to another."""
    target.write_bytes(b"#!/bin/sh\necho hello\n" + good.read_bytes())


def something_behind(good, target, _canary, _secret):
    """The beginning of a second zip behind the first: readers disagree where the file ends."""
    target.write_bytes(good.read_bytes() + good.read_bytes()[:100])


def another_zip_behind(good, target, _canary, _secret):
    """A complete zip behind the first: the first is hidden from readers that start at the end."""
    target.write_bytes(good.read_bytes() + good.read_bytes())


def something_between(good, target, _canary, _secret):
    """Bytes between the last member and the list of members, which no list mentions."""
    content = good.read_bytes()
    start = struct.unpack("<L", content[-6:-2])[0]
    end = content[-22:-6] + struct.pack("<LH", start + 1000, 0)
    target.write_bytes(content[:start] + b"x" * 1000 + content[start:-22] + end)


def comment(good, target, _canary, _secret):
    """A comment at the end of the zip, room for anything."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members_of(good).items():
            archive.writestr(name, content)
        archive.comment = b"x" * 1000


def size_that_lies(good, target, _canary, _secret):
    """The list says that a member of some kB has 4 GB."""
    content = bytearray(good.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<L", 0xFFFF0000)
    target.write_bytes(content)


def second_end(good, target, _canary, _secret):
    """A zip64 end with another list than the ordinary end has."""
    content = good.read_bytes()
    start, size = struct.unpack("<L", content[-6:-2])[0], struct.unpack("<L", content[-10:-6])[0]
    record = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 3, 3, size, start)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, len(content) - 22, 1)
    target.write_bytes(content[:-22] + record + locator + content[-22:])


def ten_thousand_members(good, target, _canary, _secret):
    """So many members that listing them is the work."""
    write_zip(target, [*members_of(good).items(), *((f"assets/{index}", b"") for index in range(10_000))])


def cut_off(good, target, _canary, _secret):
    """A download that ended early."""
    target.write_bytes(good.read_bytes()[:-300])


def hdf5_as_model(good, target, _canary, _secret):
    """The older format under the newer name; Keras reads it with fewer checks."""
    target.write_bytes(members_of(good)[WEIGHTS])


def metadata_of_another(good, target, _canary, _secret):
    """Metadata with more than the version: whatever reads it later."""
    with_member(good, target, METADATA, b'{"keras_version": "3.15.1", "custom_objects": "custom.pkl"}')


FAMILIES = [
    pickle_inside,
    pickle_as_model,
    member_twice,
    name_that_climbs,
    absolute_name,
    link_as_member,
    bomb,
    encrypted,
    something_before,
    something_behind,
    another_zip_behind,
    something_between,
    comment,
    size_that_lies,
    second_end,
    ten_thousand_members,
    cut_off,
    hdf5_as_model,
    metadata_of_another,
]
