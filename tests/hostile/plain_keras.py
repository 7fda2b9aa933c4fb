"""What Keras and MLflow themselves do with the bad files: `python -m tests.hostile.plain_keras` prints a table.

Each file is loaded in a process of its own, with 8 GB of address space and 60 seconds.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from pipeline.inference.backend import prepare_tensorflow
from tests.hostile.corpus import FAMILIES, good_model, write_secret
from tests.hostile.witness import witness

ADDRESS_SPACE_BYTES, SECONDS = 8 << 30, 60
MODES = ("Keras", "Keras, safe_mode=False", "MLflow")


def load(mode, target, packed):
    """Load a model as a program without Millrace would."""
    import keras

    if mode == "MLflow":
        import mlflow.keras

        shutil.copyfile(target, packed / "data/model.keras")
        return mlflow.keras.load_model(str(packed))
    return keras.saving.load_model(target, safe_mode=mode == "Keras")


def outcome(mode, target, packed, canary, secret):
    """Return in a few words what happened."""
    import warnings

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    signal.alarm(SECONDS)
    ended = "loads"
    with witness(target, secret.parent) as seen:
        try:
            load(mode, target, packed)
        except MemoryError:
            ended = "out of memory"
        except BaseException as error:  # whatever it is, the row says so
            exhausted = "OOM" in str(error) or "ResourceExhausted" in type(error).__name__
            ended = "out of memory" if exhausted else f"refuses ({type(error).__name__})"
    if canary.exists():
        ended = f"**runs its code**, {ended}"
    if any(event == "opened" for event, _ in seen):
        ended = f"**opens the victim's file**, {ended}"
    return ended


def in_a_child(*arguments):
    """Return the outcome, or how the process that should have told it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(writer, outcome(*arguments).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return (
            f"longer than {SECONDS} s"
            if number == signal.SIGALRM
            else f"dies ({signal.Signals(number).name})"
        )
    return told


def main():
    """Print one row per family."""
    prepare_tensorflow(1, 7)
    import mlflow.keras

    folder = Path(tempfile.mkdtemp())
    print(f"| family | {' | '.join(MODES)} |\n|---|{'---|' * len(MODES)}")
    good = good_model(folder / "model.keras")
    child = os.fork()
    if child == 0:  # the parent must not have used TensorFlow before it forks
        from pipeline.inference.keras_files import load_model

        mlflow.keras.save_model(load_model(good), str(folder / "packed"), pip_requirements=["keras"])
        os._exit(0)
    os.waitpid(child, 0)
    for family in FAMILIES:
        told = []
        for mode in MODES:
            place = Path(tempfile.mkdtemp(dir=folder))
            secret = write_secret(place / "victim/secret.h5")
            family(good, place / "bad.keras", place / "canary", secret)
            told.append(in_a_child(mode, place / "bad.keras", folder / "packed", place / "canary", secret))
            shutil.rmtree(place)
        print(f"| {family.__name__} | {' | '.join(told)} |", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
