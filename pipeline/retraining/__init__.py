"""What `millrace retrain` does every night: triggers, drift, a tree of its own, a journal, a history.

Imports `tracking`, `params`, `provenance`, `data` and `runtime`, never a room above or beside it; the stages
run as programs of their own. Begin with `pipeline/retraining/retrain.py`.
"""
