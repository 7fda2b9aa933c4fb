"""How results are shown: pages in one file, charts, pictures of samples, tables on the terminal.

Imports `metrics` and `runtime`, never a room above or beside it; it shows and decides nothing. Begin with
`pipeline/reports/run.py`, the page of the whole run.
"""
