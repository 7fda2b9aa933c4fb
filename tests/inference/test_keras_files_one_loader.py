"""Nothing in the project reads a model, or runs what it reads, but the guarded loader."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("pipeline", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
LOADER = ROOT / "pipeline/inference/keras_files.py"
LOADING = {
    "load_model", "load_weights", "model_from_json", "from_json", "model_from_config", "from_config",
    "deserialize_keras_object", "deserialize", "enable_unsafe_deserialization", "TFSMLayer", "load_own_variables",
    "register_keras_serializable", "eval", "exec", "compile_from_config",
}  # fmt: skip
"""Calls that make an object of what stands in a file."""
UNPACKING = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib", "h5py", "torch", "saved_model"}
"""Modules that do the same, or open the files."""


def problems(path):
    """Return the calls and imports of a file that could load a model."""
    found, ours = [], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "pipeline.inference.keras_files":
            ours |= {alias.name for alias in node.names}
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names}
            names |= {(getattr(node, "module", "") or "").split(".")[0]}
            found += [f"{node.lineno}: import {name}" for name in sorted(names & UNPACKING)]
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            own = isinstance(node.func, ast.Name) and called in ours
            if called in LOADING and not own:
                found.append(f"{node.lineno}: {called}()")
            for keyword in node.keywords:
                given = getattr(keyword.value, "value", None)
                if (keyword.arg, given) in {("allow_pickle", True), ("safe_mode", False), ("shell", True)}:
                    found.append(f"{node.lineno}: {keyword.arg}={given}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=[path.relative_to(ROOT).as_posix() for path in SOURCES])
def test_no_other_file_loads_a_model(path):
    """No `load_model` but ours, no weights, no pickle, no configuration made into objects, no eval."""
    allowed = {
        LOADER: ["load_model()", "deserialize_keras_object()"],
        ROOT / "pipeline/inference/file_checks.py": ["import h5py"],
        # Layers of models that our loader has let in, under other names.
        ROOT / "pipeline/selection/ensemble.py": ["from_config()"],
        # Times networks of its own, and reads no file; `model.eval()` is PyTorch's switch from training.
        ROOT / "benchmarks/against_torch.py": ["import torch", "eval()"],
    }
    left = [what for what in problems(path) if what.partition(": ")[2] not in allowed.get(path, [])]
    assert left == []


@pytest.mark.parametrize(
    "line",
    [
        "keras.saving.load_model('x')",
        "from keras.saving import load_model\nload_model('x')",
        "mlflow.keras.load_model('x')",
        "model.load_weights('x')",
        "keras.models.model_from_json(text)",
        "import pickle",
        "from joblib import load",
        "np.load('x', allow_pickle=True)",
        "import h5py",
        "keras.layers.Dense.from_config({})",
        "eval(text)",
    ],
)
def test_each_way_in_is_noticed(line, tmp_path):
    """The silence above means something: planted in a file, each of these is found."""
    (tmp_path / "planted.py").write_text(line)
    assert problems(tmp_path / "planted.py")
