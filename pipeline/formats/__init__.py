"""Files of a stranger, read strictly: delimited text, Parquet, JSON lines, .ts, .arff, time stamps.

Imports `data` and `runtime`, never a room above or beside it; which files and columns are wanted is said by
`sources`. Begin with `pipeline/formats/problems.py`, how all problems are told at once, then
`pipeline/formats/delimited.py`.
"""
