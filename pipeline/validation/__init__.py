"""The gate on data: statistics per sample, the suites, the page; the only door to Great Expectations.

Imports `data`, `duplicates`, `reports` and `runtime`, never a room above or beside it. Begin with
`pipeline/validation/suites.py`, then the file of your kind of data: `pipeline/validation/images.py`,
`texts.py` or `series.py`.
"""
