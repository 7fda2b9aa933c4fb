"""A model version by the name a person types."""

from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from pipeline.runtime import InputMissing, WronglyCalled
from pipeline.tracking.named_version import named_version, open_existing_store
from pipeline.tracking.store import Store


class FakeRegistry:
    """Knows model `digits` with versions 1 to 3 and two aliases."""

    def get_registered_model(self, name):
        if name != "digits":
            raise MlflowException("unknown", RESOURCE_DOES_NOT_EXIST)
        return SimpleNamespace(aliases={"champion": "3", "previous": 2})

    def get_model_version(self, name, number):
        if name != "digits" or int(number) > 3:
            raise MlflowException("unknown", RESOURCE_DOES_NOT_EXIST)
        return SimpleNamespace(version=number, model_id="", source="models:/m-7", tags={"model_sha256": "ab"})


STORE = Store(FakeRegistry(), "sqlite:///x.db", "", "")


@pytest.mark.parametrize(
    ("text", "number"), [("digits", 3), ("digits/1", 1), ("digits@previous", 2), ("digits@champion", 3)]
)
def test_a_version_has_several_names(text, number):
    """By number, by alias, or the champion."""
    name, version = named_version(STORE, text)
    assert ("digits", number, "ab", "m-7") == (name, version.number, version.model_sha256, version.model_id)


@pytest.mark.parametrize("text", ["digits/9", "digits@best", "letters", "letters/1"])
def test_what_is_not_there_is_missing(text):
    """Exit code 66, with what there is."""
    with pytest.raises(InputMissing, match=f"no such model version.*{text}"):
        named_version(STORE, text)


@pytest.mark.parametrize("text", ["", "digits/x", "digits/1/2", "digits@", "/1"])
def test_other_forms_are_refused(text):
    """Exit code 64."""
    with pytest.raises(WronglyCalled, match="Expected MODEL, MODEL/VERSION or MODEL@ALIAS"):
        named_version(STORE, text)


def test_looking_makes_no_database(tmp_path, monkeypatch):
    """Where there is no store there is none afterwards."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputMissing, match="no model registry"):
        open_existing_store(tmp_path)
    assert [] == list(tmp_path.iterdir())
