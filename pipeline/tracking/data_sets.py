"""The data sets of a run, named by the md5 that stands in dvc.lock.

MLflow's own digests of arrays and tables look at a sample of rows: a changed row in the middle keeps the
digest. DVC's md5 covers every byte and is known already.
"""

from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag

CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}
"""Name of a split to the context under which MLflow shows it."""


class DvcSource(DatasetSource):  # type: ignore[misc]  # MLflow has no types
    """Outputs of DVC stages as the source of a data set.

    Args:
        outputs: Path to md5, as in dvc.lock.
    """

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    def load(self) -> Any:
        """Refuse: `dvc checkout` brings the files back."""
        raise NotImplementedError("Run `dvc checkout` at the recorded commit.")

    @staticmethod
    def _can_resolve(_raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DvcSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the outputs."""
        return dict(self.outputs)

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> "DvcSource":
        """Return the source with these outputs."""
        return cls(dict(source_dict))


def data_set_inputs(kind: str, split_md5: str, outputs: dict[str, str]) -> list[DatasetInput]:
    """Return train, val and test as inputs of a run.

    Args:
        kind: Kind of the source, part of the name.
        split_md5: md5 of the split, which says who is in which set: the digest.
        outputs: Path to md5 of all files that hold the samples.
    """
    source = DvcSource(outputs)
    return [
        DatasetInput(
            Dataset(**MetaDataset(source, name=f"{kind}-{split}", digest=split_md5).to_dict()),
            [InputTag("mlflow.data.context", context)],
        )
        for split, context in CONTEXTS.items()
    ]
