"""The only door to MLflow: the store, the record of a pipeline state, the registry, the champions.

Imports `provenance` and `runtime`, never a room above or beside it. MLflow is the view and the files of the
project are the truth, so everything here can be repeated at will. Begin with `pipeline/tracking/record.py`.

The settings below stand before any module of this package imports MLflow, which reads some of them at
import. A value that the user has set wins.
"""

import os

DEFAULTS = {
    # With MLflow's own settings a dead server blocks a call for four minutes; with these for ten seconds, and
    # a busy one has a minute to answer. The follower has shorter ones of its own.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # "View run at" shows the address of the server as it was given, with its password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

OURS = frozenset(name for name in DEFAULTS if name not in os.environ)
"""Settings that the user left to us; `follower` has other values for some of them."""

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

# Not defaults but rules: a pickle planted beside a safe model, or code, would run when the model is loaded.
RULES = ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION")
"""Switches of MLflow (the second one from 3.18 on) that are off in every process of ours."""
ALLOWED_OUTSIDE = tuple(name for name in RULES if os.environ.get(name, "").lower() in ("true", "1"))
"""Those that the environment has on; other programs of MLflow that are started in it heed them."""

os.environ.update(dict.fromkeys(RULES, "false"))
