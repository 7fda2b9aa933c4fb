"""What a data set is, split by split: a digest that two clones share and that names rows, not files."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.runtime import paths

SPLITS = ("train", "val", "test")


def split_digests() -> dict[str, str]:
    """Return the md5 (hex) of each split's rows, whatever order they stand in.

    A row is the sha256 of a sample's content with the steps of it that belong to the split. Nothing is returned
    where `samples.parquet` or `split.parquet` does not exist.
    """
    if not (paths.SPLIT_PARQUET.is_file() and paths.SAMPLES_PARQUET.is_file()):
        return {}
    names = [name for name in ("start", "stop") if name in pq.read_schema(paths.SPLIT_PARQUET).names]
    rows = pq.read_table(paths.SPLIT_PARQUET, columns=["sample_id", "split", *names])
    content = pq.read_table(paths.SAMPLES_PARQUET, columns=["sample_id", "content_sha256"])
    joined = rows.join(content, "sample_id", join_type="left outer")
    return {split: _digest(joined.filter(pc.equal(joined["split"], split)), names) for split in SPLITS}


def _digest(rows: pa.Table, names: list[str]) -> str:
    columns = [rows[name].to_pylist() for name in ("content_sha256", *names)]
    lines = sorted(" ".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.md5("\n".join(lines).encode(), usedforsecurity=False).hexdigest()
