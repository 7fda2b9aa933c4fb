"""What `predict` has answered already, kept beside its file until that is whole: a killed run goes on where it was.

A part holds the answers of some records that were read together. Its name is the digest of the model and of all that
these records hold, so that whatever changes, model, file or order, is answered anew, and what did not change is not.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.runtime.files import write_text
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import papers_digest

Lines = list[dict[str, Any]]
"""Of each record its answer with `id`, or, of a refused one, `id`, `place` and `problems`."""


class Parts:
    """The parts of one file of answers.

    Args:
        out: The file; its parts lie beside it.
        model: The folder of the model.
    """

    def __init__(self, out: Path, model: Path) -> None:
        self._folder = out.with_name(f".{out.name}.parts")
        self._model = papers_digest(model)
        self.found = 0
        """Records whose answers were there."""

    def of(self, some: Sequence[Given], answer: Callable[[Sequence[Given]], Lines]) -> Lines:
        """Return what became of records: as it was written down, or as `answer` says, which is written down."""
        named = msgspec.msgpack.encode([self._model, some])
        path = self._folder / f"{hashlib.sha256(named).hexdigest()}.json"
        try:
            lines: Lines = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            lines = answer(some)
            self._folder.mkdir(exist_ok=True)
            write_text(path, json.dumps(lines, ensure_ascii=False, allow_nan=False))
        else:
            self.found += len(lines)
        return lines

    def remove(self) -> None:
        """Remove all parts: the file is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)
