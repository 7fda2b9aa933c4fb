"""The choice on validation, then the test set, once: measures, results, tables, pictures, golden.

Imports `reduction`, `inference`, `inputs`, `features`, `metrics`, `reports` and what these stand on, never a
room above or beside it. Begin with `pipeline/evaluation/results.py`, then
`pipeline/evaluation/measures.py`.
"""
