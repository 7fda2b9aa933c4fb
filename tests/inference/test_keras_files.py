"""Model files are the same bytes for the same model, survive a full disk, and are inspected before use."""

import json
import os
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from pipeline.inference import keras_files
from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.runtime.errors import NotPermitted, StorageFailed

prepare_tensorflow(2, 7)

import keras  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

# Builds and saves in a process of its own: sys.argv is the file, then how many models were built before.
SAVE = """
import sys
from pathlib import Path
from pipeline.inference.backend import prepare_tensorflow
prepare_tensorflow(1, 7)
import keras
from pipeline.inference.keras_files import save_model
from pipeline.models import autoencoder, cnn, rnn
from pipeline.inputs.specs import InputSpec, OutputSpec
images, classes = InputSpec("image", (8, 8, 1), (0.3,), (0.25,)), OutputSpec(("a", "b"), (1, 1))
junk = [keras.layers.Dense(3) for _ in range(int(sys.argv[2]))] + [object() for _ in range(int(sys.argv[2]))]
for name, build in {
    "cnn": lambda: cnn.build(images, classes, filters=[4], block_dropout=0.1),
    "rnn": lambda: rnn.build(images, classes, cell="lstm", bidirectional=True, l2=0.1),
    "autoencoder": lambda: autoencoder.build_autoencoder(images, kind="conv"),
}.items():
    keras.utils.set_random_seed(7)
    save_model(build(), Path(sys.argv[1]) / f"{name}.keras")
"""

# Files may not grow beyond sys.argv[2] bytes, which fails like a full disk: OSError in the middle of a write.
SAVE_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from pipeline.inference.backend import prepare_tensorflow
prepare_tensorflow(1, 7)
import keras
from pipeline.inference.keras_files import save_model
inputs = keras.Input((100,))
model = keras.Model(inputs, keras.layers.Dense(1000, name="dense")(inputs), name="other")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
save_model(model, Path(sys.argv[1]))
"""


def small_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,), name="inputs")
    hidden = keras.layers.Dense(30, name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden), name="small")


@pytest.fixture
def saved(tmp_path):
    """A good model file."""
    save_model(small_model(), tmp_path / "model.keras")
    return tmp_path / "model.keras"


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def rewritten(path: Path, **replaced: bytes) -> Path:
    """Copy a zip with members replaced or added; `config_json` stands for `config.json`."""
    target = path.with_name("rewritten.keras")
    new = {name.replace("_", "."): content for name, content in replaced.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as archive:
        for name in sorted({*old.namelist(), *new}):
            archive.writestr(name, new[name] if name in new else old.read(name))
    return target


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.long
def test_two_processes_at_two_paths_write_the_same_bytes(tmp_path):
    """A `.keras` file tells neither the time, nor memory addresses, nor what was built before it."""
    for folder, built_before in (("one", 0), ("another/place", 500)):
        (tmp_path / folder).mkdir(parents=True)
        ended = run_python(SAVE, tmp_path / folder, built_before)
        assert ended.returncode == 0, ended.stderr
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["autoencoder.keras", "cnn.keras", "rnn.keras"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "another/place" / name).read_bytes()


def test_a_loaded_model_is_saved_to_the_same_bytes(saved, tmp_path):
    """How a model came to be, built or loaded, does not show in its file."""
    save_model(load_model(saved), tmp_path / "again.keras")
    assert saved.read_bytes() == (tmp_path / "again.keras").read_bytes()


def test_members_are_sorted_undated_and_without_ids(saved):
    """The zip holds three members in order, dated 1980, with neither a date nor an address inside."""
    with zipfile.ZipFile(saved) as archive:
        assert archive.namelist() == ["config.json", "metadata.json", "model.weights.h5"]
        assert {(1980, 1, 1, 0, 0, 0)} == {info.date_time for info in archive.infolist()}
        assert {"keras_version": keras.__version__} == json.loads(archive.read("metadata.json"))
        assert b"shared_object_id" not in archive.read("config.json")


def test_a_loaded_model_predicts_the_same_and_is_not_compiled(saved):
    """What comes out of the file is the model that went in, without an optimizer."""
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    loaded = load_model(saved, sha256=digest(saved))
    assert np.array_equal(small_model().predict_on_batch(inputs), loaded.predict_on_batch(inputs))
    assert not loaded.compiled


@pytest.mark.long
@pytest.mark.parametrize("limit", [1_000, 300_000])
def test_a_full_disk_leaves_the_good_file_alone(saved, limit):
    """Keras would truncate the old model first; here it stays whole, and nothing half-written beside it."""
    before = saved.read_bytes()
    ended = run_python(SAVE_ON_A_FULL_DISK, saved, limit)
    assert ended.returncode != 0
    assert "too large" in ended.stderr
    assert before == saved.read_bytes()
    assert [saved] == list(saved.parent.iterdir())


def test_one_flipped_bit_in_the_weights_is_found(saved):
    """Keras loads different weights in silence; the digest does not, and neither does the zip's checksum."""
    expected = digest(saved)
    content = bytearray(saved.read_bytes())
    weights = small_model().get_layer("hidden").get_weights()[0].tobytes()
    content[content.index(weights) + 17] ^= 1
    saved.write_bytes(content)
    with pytest.raises(StorageFailed, match=rf"not the file that was recorded.*{expected}"):
        load_model(saved, sha256=expected)
    with pytest.raises(StorageFailed, match=r"Expected model.weights.h5 to fit its checksum"):
        load_model(saved)


def test_a_flipped_bit_anywhere_is_found_by_the_digest(saved):
    """Also where no checksum of the zip looks: every 500th byte in turn."""
    expected, content = digest(saved), saved.read_bytes()
    for place in range(0, len(content), 500):
        damaged = bytearray(content)
        damaged[place] ^= 4
        saved.write_bytes(damaged)
        with pytest.raises(StorageFailed):
            load_model(saved, sha256=expected)


def test_what_is_no_zip_is_named_damaged(saved):
    """A truncated file is a storage problem with a way out, not a traceback from zipfile."""
    saved.write_bytes(saved.read_bytes()[:2000])
    with pytest.raises(
        StorageFailed, match=r"damaged, or no file that Millrace wrote.*fetch or make it again"
    ):
        load_model(saved)


def test_a_missing_file_says_how_to_get_it(tmp_path):
    """The message names the commands."""
    with pytest.raises(FileNotFoundError, match="dvc pull"):
        load_model(tmp_path / "model.keras")


def test_a_pickle_inside_the_file_is_refused(saved):
    """`.keras` files carry three members and nothing that could run."""
    with pytest.raises(NotPermitted, match=r"custom.objects.*Do not load it"):
        load_model(rewritten(saved, custom_objects=b"anything"))


def test_a_member_that_stands_twice_is_refused(saved):
    """Two members of one name: what is checked and what is loaded could differ."""
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(NotPermitted, match=r"config.json, config.json"):
        load_model(saved)


@pytest.mark.parametrize(
    ("module", "class_name"), [("os", "system"), ("kerasfake.layers", "Dense"), ("keras.layers", "Lambda")]
)
def test_foreign_code_in_the_configuration_is_refused(saved, module, class_name):
    """Classes from outside Keras, and Lambda with its byte code, are refused before Keras looks at them."""
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1] |= {"module": module, "class_name": class_name}
    with pytest.raises(NotPermitted, match=class_name):
        load_model(rewritten(saved, config_json=json.dumps(config).encode()))


def test_a_model_with_its_own_code_is_not_saved(tmp_path):
    """What could not be loaded in safe mode is refused when it is made, not when it is needed."""
    lambda_layer = keras.layers.Lambda(lambda x: x * 2, name="double")
    inputs = keras.Input((2,))
    model = keras.Model(inputs, lambda_layer(inputs))
    with pytest.raises(NotPermitted, match="Lambda"):
        save_model(model, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_never_saved(saved, number):
    """A broken model does not replace a good one."""
    before = saved.read_bytes()
    model = small_model()
    model.get_layer("out").bias.assign([0.0, number])
    with pytest.raises(ValueError, match=r"not finite.*out/bias"):
        save_model(model, saved)
    assert before == saved.read_bytes()


def test_weights_that_are_not_finite_are_never_loaded(tmp_path, monkeypatch):
    """A model of NaN answers with healthy-looking probabilities behind a ReLU; it is refused at the door."""
    model = small_model()
    model.get_layer("out").bias.assign([0.0, np.nan])
    monkeypatch.setattr(keras_files, "_broken_weights", lambda _model: [])
    save_model(model, tmp_path / "model.keras")
    monkeypatch.undo()
    with pytest.raises(StorageFailed, match=r"not finite.*out/bias"):
        load_model(tmp_path / "model.keras")


def test_layers_that_share_a_part_with_state_are_refused(tmp_path):
    """Without its id one dense layer inside two wrappers would come back as two that disagree."""
    shared = keras.layers.Dense(2, name="shared")
    wrappers = [keras.layers.TimeDistributed(shared, name=name) for name in ("one", "two")]
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, wrappers[1](wrappers[0](inputs)))
    with pytest.raises(ValueError, match=r"share a part with state.*Dense"):
        save_model(model, tmp_path / "model.keras")
