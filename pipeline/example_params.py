"""Parameters of an example in the place of params.yaml, without losing what stands there."""

from pathlib import Path

from pipeline import paths, runtime
from pipeline.artifacts import write_bytes
from pipeline.repository import file_at

EXAMPLES_DIR = Path("examples")


def example_params(name: str, force: bool) -> bytes:
    """Return an example's parameters, after making sure that no work in params.yaml is lost.

    Args:
        name: Path of the file below examples/, without `.yaml`.
        force: Take them even if params.yaml holds work of its own.

    Raises:
        InputMissing: There is no such example.
        NotPermitted: params.yaml holds changes that neither git nor an example has.
    """
    path = EXAMPLES_DIR / f"{name}.yaml"
    known = {
        file.relative_to(EXAMPLES_DIR).with_suffix("").as_posix(): file.read_bytes()
        for file in sorted(EXAMPLES_DIR.rglob("*.yaml"))
    }
    if name not in known:
        raise runtime.InputMissing(
            f"There is no example {name}. Expected one of {', '.join(known)}. Received: --example {name}. "
            f"Look into {EXAMPLES_DIR}/."
        )
    if not paths.PARAMS_YAML.is_file() or force:
        return known[name]
    present = paths.PARAMS_YAML.read_bytes()
    if present not in known.values() and present != file_at("HEAD", paths.PARAMS_YAML):
        raise runtime.NotPermitted(
            f"params.yaml holds changes that are not committed, and {path} would replace them. "
            f"Expected a committed or untouched params.yaml. Received: --example {name}. "
            "Commit it, or add --force, which keeps it as params.yaml.bak."
        )
    return known[name]


def replace_params(content: bytes) -> None:
    """Write params.yaml; what was there before is kept as params.yaml.bak."""
    if paths.PARAMS_YAML.is_file() and paths.PARAMS_YAML.read_bytes() != content:
        write_bytes(Path("params.yaml.bak"), paths.PARAMS_YAML.read_bytes())
    write_bytes(paths.PARAMS_YAML, content)
