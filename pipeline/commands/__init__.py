"""What `millrace` can be told to do: one file per command, found by its name.

May import every room but `stages`, heavy ones inside `run`, so that `millrace --help` stays quick;
`pipeline/cli.py` runs them. Begin with `pipeline/commands/report.py`, the shortest, then
`pipeline/commands/init.py`.
"""
