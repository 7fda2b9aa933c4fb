"""Model files whose weights lead elsewhere or are not there: each writes `target` from a good file, see `corpus`."""

import h5py
import numpy as np

from tests.hostile.rewriting import WEIGHTS, members_of, with_member, with_weights

KERNEL = "layers/dense/vars/0"


def _replaced(good, target, make):
    """Write a model whose first kernel `make(group)` makes anew under the name `0`."""

    def change(file):
        del file[KERNEL]
        make(file["layers/dense/vars"])

    with_weights(good, target, change)


def external_link(good, target, _canary, secret):
    """An array that is a link into another HDF5 file of the victim."""
    _replaced(good, target, lambda group: group.__setitem__("0", h5py.ExternalLink(str(secret), "/secret")))


def link_to_nowhere(good, target, _canary, _secret):
    """A soft link, which may point anywhere in the file, or nowhere."""
    _replaced(good, target, lambda group: group.__setitem__("0", h5py.SoftLink("/layers/dense_1/vars/0")))


def external_storage(good, target, _canary, secret):
    """An array whose bytes are those of any file: /etc/passwd as weights."""
    _replaced(
        good,
        target,
        lambda group: group.create_dataset("0", (4, 30), "float32", external=[(str(secret), 0, 480)]),
    )


def virtual_array(good, target, _canary, secret):
    """An array put together from other files."""
    layout = h5py.VirtualLayout((4, 30), "float32")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (4, 30))
    _replaced(good, target, lambda group: group.create_virtual_dataset("0", layout))


def behind_a_filter(good, target, _canary, _secret):
    """Compressed weights: a bomb, or a filter from a plug-in of the victim's machine."""
    _replaced(
        good,
        target,
        lambda group: group.create_dataset("0", data=np.zeros((4, 30), "float32"), compression="gzip"),
    )


def terabytes_declared(good, target, _canary, _secret):
    """An array of ten terabytes of which nothing is stored."""
    _replaced(
        good, target, lambda group: group.create_dataset("0", (10**12, 10), "float32", chunks=(1024, 10))
    )


def gigabytes_not_stored(good, target, _canary, _secret):
    """An array without chunks whose space was never allocated."""

    def make(group):
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        space = h5py.h5s.create_simple((10**9, 30))
        h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, made)

    _replaced(good, target, make)


def texts_as_weights(good, target, _canary, _secret):
    """Texts of any length, which are pointers into a heap of the file."""
    _replaced(
        good, target, lambda group: group.create_dataset("0", data=["a" * 100] * 3, dtype=h5py.string_dtype())
    )


def references_as_weights(good, target, _canary, _secret):
    """References to other objects."""

    def make(group):
        array = group.create_dataset("0", (2,), h5py.ref_dtype)
        array[0] = group.ref

    _replaced(good, target, make)


def other_numbers(good, target, _canary, _secret):
    """Complex numbers in place of float32."""
    _replaced(good, target, lambda group: group.create_dataset("0", data=np.zeros((4, 30), "complex64")))


def group_in_itself(good, target, _canary, _secret):
    """A group that contains itself, so that a walk never ends."""
    with_weights(good, target, lambda file: file["layers"].__setitem__("again", file["layers"]))


def one_array_at_two_places(good, target, _canary, _secret):
    """Two names for one array: less in the file than it declares."""
    _replaced(good, target, lambda group: group.__setitem__("0", group["1"]))


def array_that_is_not_needed(good, target, _canary, _secret):
    """One array more than the model has, room for anything."""
    with_weights(good, target, lambda file: file.create_dataset("more", data=np.zeros(1000, "float32")))


def weights_of_another_shape(good, target, _canary, _secret):
    """Weights that do not fit the configuration."""
    _replaced(good, target, lambda group: group.create_dataset("0", data=np.zeros((3, 30), "float32")))


def weights_that_are_missing(good, target, _canary, _secret):
    """A layer without weights, which would keep random ones."""
    with_weights(good, target, lambda file: file.__delitem__(KERNEL))


def attribute_with_pickle(good, target, _canary, _secret):
    """An attribute that Keras does not write."""
    with_weights(good, target, lambda file: file["layers"].attrs.__setitem__("custom", np.zeros(10)))


def type_as_array(good, target, _canary, _secret):
    """A named data type in place of an array."""

    def make(group):
        group["0"] = np.dtype("float32")

    _replaced(good, target, make)


def name_with_a_blank(good, target, _canary, _secret):
    """A group with a name that Keras never gives."""
    with_weights(good, target, lambda file: file.create_group("layers/a b"))


def something_before_the_weights(good, target, _canary, _secret):
    """512 bytes before the HDF5 file, which HDF5 skips."""
    with_member(good, target, WEIGHTS, b"#!/bin/sh".ljust(512, b"\n") + members_of(good)[WEIGHTS])


def not_finite(good, target, _canary, _secret):
    """A weight that is NaN: a model that answers healthy-looking numbers."""
    with_weights(good, target, lambda file: file[KERNEL].__setitem__((0, 0), np.nan))


def garbage(good, target, _canary, _secret):
    """Random bytes behind the signature of HDF5."""
    noise = np.random.default_rng(4).bytes(4000)
    with_member(good, target, WEIGHTS, b"\x89HDF\r\n\x1a\n" + noise)


FAMILIES = [
    external_link,
    link_to_nowhere,
    external_storage,
    virtual_array,
    behind_a_filter,
    terabytes_declared,
    gigabytes_not_stored,
    texts_as_weights,
    references_as_weights,
    other_numbers,
    group_in_itself,
    one_array_at_two_places,
    array_that_is_not_needed,
    weights_of_another_shape,
    weights_that_are_missing,
    attribute_with_pickle,
    type_as_array,
    name_with_a_blank,
    something_before_the_weights,
    not_finite,
    garbage,
]
