"""Small changes of a good model file, from which hostile ones are made."""

import json
import zipfile
from pathlib import Path

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def members_of(good):
    """Return the members of a model file by name."""
    with zipfile.ZipFile(good) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(target, members, method=zipfile.ZIP_STORED):
    """Write pairs of names (or ZipInfo) and content."""
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)


def with_member(good, target, name, content):
    """Copy a model with one member replaced or added."""
    write_zip(target, ({**members_of(good), name: content}).items())


def config_of(good):
    """Return the configuration of a model."""
    return json.loads(members_of(good)[CONFIG])


def with_config(good, target, config):
    """Copy a model with another configuration."""
    with_member(good, target, CONFIG, json.dumps(config).encode())


def layer_of(config, name="hidden"):
    """Return the node of a layer inside a configuration."""
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def with_dense(good, target, **changes):
    """Copy a model whose layer `hidden` has other keys; `config` is merged."""
    config = config_of(good)
    node = layer_of(config)
    inner = node["config"] | changes.pop("config", {})
    node.update(changes)
    node["config"] = inner
    with_config(good, target, config)


def in_place_of_dense(good, target, module, class_name, config, name="hidden"):
    """Copy a model of which a layer is another class."""
    found = config_of(good)
    node = layer_of(found, name)
    node.pop("build_config", None)
    node |= {"module": module, "class_name": class_name, "config": {"name": name, **config}}
    with_config(good, target, found)


def with_weights(good, target, change):
    """Copy a model whose weights `change(h5py.File)` altered."""
    import h5py

    loose = Path(target).with_suffix(".h5")
    loose.write_bytes(members_of(good)[WEIGHTS])
    with h5py.File(loose, "r+") as file:
        change(file)
    with_member(good, target, WEIGHTS, loose.read_bytes())
    loose.unlink()
