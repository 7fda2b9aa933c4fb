"""The gate on splits: copies, groups, times and columns that would make the test lie.

Imports `data`, `duplicates`, `splits`, `preprocessing` and `runtime`, never a room above or beside it. Begin
with `pipeline/leaks/findings.py`, what a finding is and how a person signs it off.
"""
