"""A model with all that it consists of, wherever it lies: in models/best, in a folder, fetched from the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.runtime import paths


@dataclass(frozen=True)
class Whole:
    """A model with all that it consists of.

    Attributes:
        name: Of the registered model, or of the folder.
        version: Its number; "" for a folder.
        folder: Its papers, like models/best.
        keras_file: Its model.keras.
        tags: Of the version; {} for a folder.
        given: The path it was named by; "" for a version.
        pictures_dir: What was drawn of it when it was judged, PNG; None where there is nothing, or nobody asked.
    """

    name: str
    version: str
    folder: Path
    keras_file: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    given: str = ""
    pictures_dir: Path | None = None

    @property
    def called(self) -> str:
        """Return what people call it."""
        return f"{self.name} version {self.version}" if self.version else self.name

    @property
    def is_best(self) -> bool:
        """Return whether it is what models/best of this project holds."""
        return self.folder.resolve() == paths.BEST_DIR.resolve()

    def paper(self, name: str) -> Path | None:
        """Return a file that says what the model is or came from; of models/best some lie elsewhere in the project."""
        here = {
            "source.json": paths.SOURCE_JSON,
            "dvc.lock": paths.DVC_LOCK,
            "params.yaml": paths.PARAMS_YAML,
        }
        path = Path(here[name]) if self.is_best and name in here else self.folder / name
        return path if path.is_file() else None
