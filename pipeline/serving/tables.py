"""Tables that come as the body of a request."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import DataRefused
from pipeline.serving.bodies import Item, refuse, require_few

TABLES = {"text/csv": ".csv", "text/tab-separated-values": ".tsv"}
"""Content type to suffix."""


def table_in(
    body: bytes, kind: str, state: Mapping[str, Any], source: Mapping[str, Any], most: int
) -> list[Item]:
    """Return the rows of a table, read as `millrace predict` reads the same file.

    Args:
        body: Content of the file.
        kind: Its content type, one of `TABLES`.
        state: Content of the model's state.json.
        source: Content of the source.json of its data; {} where nobody knows.
        most: Rows that are read.

    Raises:
        HTTPException: 400, it cannot be read; 413, it holds too many.
    """
    from pipeline.serving.record_files import read_records  # pyarrow and the sources

    items: list[Item] = []
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        path = Path(folder) / f"records{TABLES[kind]}"
        path.write_bytes(body)
        try:
            for given in read_records(path, state, source):
                items.append(Item(given.place, given.record, given.problems))
                require_few(len(items), most)
        except DataRefused as error:
            raise refuse(400, str(error).replace(f"{folder}/", "")) from error
    if not items:
        raise refuse(400, "The table has no row. Expected at least one below its header. Received: none.")
    return items
