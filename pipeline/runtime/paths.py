"""Where everything lies, relative to the project's root.

The root is the folder that holds `dvc.yaml`, searched upwards from the working directory. `DVC_ROOT` does not name
it: where DVC runs an experiment in a copy of the project (`dvc exp run --temp` and its queue), a stage stands in the
copy and `DVC_ROOT` names the project that the copy was made of.
"""

import os
from pathlib import Path
from urllib.parse import unquote


def stored_path(path: Path, root: Path) -> str:
    """Return how a path stands in data/source.json: as typed if absolute, else relative to `root`."""
    return str(path) if path.is_absolute() else os.path.relpath(path.absolute(), root)


# --- Where everything lies, relative to the project's root.

SOURCE_JSON = Path("data/source.json")
PARAMS_YAML = Path("params.yaml")
RETRAIN_YAML = Path("retrain.yaml")
DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
CHECK_PASSED = Path("reports/check/passed.json")
RAW_TAR = Path("data/raw/source.tar")
SAMPLES_PARQUET = Path("data/interim/samples.parquet")
PAYLOAD_NPY = Path("data/interim/payload.npy")
"""Images, the bytes of texts, or the steps of series; one memory map."""
INGEST_REPORT = Path("reports/ingest/summary.json")
VALIDATE_SUMMARY = Path("reports/validate/summary.json")
VALIDATE_FAILING = Path("reports/validate/failing.csv")
VALIDATE_HTML = Path("reports/validate/report.html")
DUPLICATES_PARQUET = Path("data/validate/duplicates.parquet")
STATISTICS_PARQUET = Path("data/validate/statistics.parquet")
SPLIT_PARQUET = Path("data/split/split.parquet")
SPLIT_SUMMARY = Path("reports/split/summary.json")
LEAKS_SUMMARY = Path("reports/leaks/summary.json")
LEAKS_FINDINGS = Path("reports/leaks/findings.csv")
LEAKS_PAIRS = Path("reports/leaks/pairs.png")
FEATURES_DIR = Path("data/features")
FEATURES_STATE = Path("data/features/state.json")
FEATURES_NPY = Path("data/features/features.npy")
TOKENS_NPY = Path("data/features/tokens.npy")
BAG_IDS_NPY = Path("data/features/bag_ids.npy")
BAG_WEIGHTS_NPY = Path("data/features/bag_weights.npy")
PIECES_NPY = Path("data/features/pieces.npy")
FROZEN_NPY = Path("data/features/frozen.npy")
"""What the trunk made of every sample, float32 (num_samples, dimensions)."""
TRUNK_KERAS = Path("data/features/trunk.keras")
SERIES_NPY = Path("data/features/series.npy")
SIDE_NPY = Path("data/features/side.npy")
CATEGORIES_NPY = Path("data/features/categories.npy")
REDUCED_DIR = Path("data/reduce")
REDUCE_DIR = Path("reports/reduce")
REDUCE_SUMMARY = Path("reports/reduce/summary.json")
BEST_DIR = Path("models/best")
TUNED_DIR = Path("models/tuned")
FOLDS_DIR = Path("models/folds")
CHOICE_JSON = Path("models/choice.json")
"""Who was chosen, and nothing else: `refit` trains again only where that changes."""
SELECTED_DIR = Path("models/selected")
MODEL_ONNX = "model.onnx"
"""Name of the exported model beside `model.keras`, in models/best and in versions."""
REFERENCE = "reference.json"
"""Beside it: how its answers and its training rows were distributed, see `pipeline.monitoring.reference`."""
ENSEMBLE = "ensemble"
"""Name that the members of `select.ensemble` have together, among the candidates."""
SELECTION_JSON = Path("reports/select/selection.json")
"""Who was chosen and why: the ranking, the rows that chose, how sure the choice is."""
EVALUATE_METRICS = Path("reports/evaluate/metrics.json")
EVALUATE_DIR = Path("reports/evaluate")
EVALUATE_PICTURES_DIR = Path("reports/evaluate/pictures")
"""PNG only."""
EVALUATE_TABLES_DIR = Path("reports/evaluate/tables")
"""CSV and JSON that people, DVC plots and the register stage read."""
ACCEPTED_JSON = Path("reports/retrain/accepted.json")
"""Written and committed by `millrace retrain`: the data that new rows are compared with; no stage reads it."""
REGISTER_DECISION = Path("reports/register/decision.json")
REGISTER_SETTLED = Path("reports/register/settled")
"""A link to dvc.lock while the model is held back, so that DVC runs the stage again; see `pipeline.gate.decision`."""
DECISION_PAGE = Path("reports/register/decision.html")
RUN_REPORT = Path("reports/register/report.html")
STATE_DIR = Path(".millrace")
"""Machine-local state: locks, checkpoints, live logs, downloaded sources. Never in git, never a DVC out."""
SQLITE = "sqlite:///"


def project_root() -> Path:
    """Return the absolute folder of the project.

    Raises:
        FileNotFoundError: No `dvc.yaml` here or in any folder above.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DVC_YAML).is_file():
            return folder
    raise FileNotFoundError(
        f"No dvc.yaml in {here} or above it. Expected a Millrace project. Change into the cloned folder."
    )


def home_dir() -> Path:
    """Return the folder whose record, downloads and relative sources count: usually the project itself.

    `millrace retrain` works in a second working tree of the project and says so with `MILLRACE_HOME`, the
    absolute folder of the project; DVC works in copies and says so with `DVC_ROOT`. What belongs to a working tree
    (results, locks of stages, checkpoints) stays in it; what belongs to the project is found here. Relative to
    the working directory otherwise.
    """
    copied_from = os.environ.get("DVC_ROOT", "") if "DVC_STAGE" in os.environ else ""
    return Path(os.environ.get("MILLRACE_HOME", copied_from))


def tracking_uri(root: Path) -> str:
    """Return the URI of the MLflow store: `MLFLOW_TRACKING_URI`, or sqlite in `root`; never a relative path."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return sqlite_uri((root.absolute() / "mlflow.db").resolve())
    if not uri.startswith(SQLITE):
        return uri
    options = uri.partition("?")[1] + uri.partition("?")[2]
    return sqlite_uri((root.absolute() / sqlite_path(uri)).resolve()) + options


def sqlite_uri(path: Path) -> str:
    """Return the URI of an sqlite database as SQLAlchemy reads it: `?` would begin options, `%` a character's code."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_path(uri: str) -> Path:
    """Return the file that the URI of an sqlite database names."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def baseline_dir(candidate: str) -> Path:
    """Return the folder that `train@candidate` writes: `model.keras`, `history.json`, `metrics.json`, ..."""
    return Path("models/baseline") / candidate


def tuned_dir(candidate: str) -> Path:
    """Return the folder that `tune@candidate` writes; same files as `baseline_dir` plus `trials.json`."""
    return TUNED_DIR / candidate


def folds_dir(candidate: str) -> Path:
    """Return the folder that `folds@candidate` writes: `folds.json` and, where they are needed, answers."""
    return FOLDS_DIR / candidate


def selected_dir(candidate: str) -> Path:
    """Return where `refit` leaves a candidate: files as in `tuned_dir`, some of them of another training."""
    return SELECTED_DIR / candidate


# --- What is never shortened: the looks at the test set, and what people did to the champion.

TEST_LEDGER = STATE_DIR / "test_ledger.jsonl"
AUDIT_LOG = STATE_DIR / "audit.jsonl"


# --- Where a retrain keeps what belongs to this machine; relative to the project's root.

RETRAIN_DIR = STATE_DIR / "retrain"
TREE = RETRAIN_DIR / "tree"
"""The working tree of its own, in which everything happens."""
JOURNAL = RETRAIN_DIR / "journal.jsonl"
"""What the present retrain has finished; replaced when another begins."""
HISTORY = RETRAIN_DIR / "history.jsonl"
HISTORY_HTML = RETRAIN_DIR / "history.html"
NIGHT_ENVIRONMENT = RETRAIN_DIR / "environment.json"
"""What a schedule takes along of the environment in which it was installed; for its owner's eyes only."""
OUTBOX_DIR = RETRAIN_DIR / "outbox"
"""Notifications that nobody has taken yet."""
