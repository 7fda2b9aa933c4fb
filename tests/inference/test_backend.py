"""What a machine says about precision does not reach TensorFlow."""

import subprocess
import sys

from pipeline.inference.backend import PINNED


def test_precision_is_pinned_before_tensorflow_is_loaded(monkeypatch):
    """BF16 from the environment is overruled when the first library of the backend is imported."""
    for name in PINNED:
        monkeypatch.setenv(name, "BF16")
    program = (
        "import os, sys\n"
        "from pipeline.inference.backend import prepare_tensorflow\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('keras', 'tensorflow'):\n"
        f"            print({{key: os.environ[key] for key in {sorted(PINNED)}}})\n"
        "            sys.stdout.flush()\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "prepare_tensorflow(1, 7)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert (
        str(
            {
                "DNNL_DEFAULT_FPMATH_MODE": "STRICT",
                "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
                "TF_ENABLE_ONEDNN_OPTS": "1",
                "XLA_FLAGS": "",
            }
        )
        == said.strip()
    )
