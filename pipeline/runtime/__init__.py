"""How a process runs here: stages, errors and exit codes, whole files, paths, child processes, git.

Imports no other room, so that every other one may import it. Begin with `pipeline/runtime/stage.py`, what
each stage gets, and `pipeline/runtime/files.py`, how a file comes to be complete or absent.
"""
