"""Parquet files in memory, for tests of sources."""

import io


def parquet(columns):
    """Return a Parquet file of these columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    return packed.getvalue()
