"""Where work runs is said outside params.yaml, and a wrong word is refused before anything starts."""

import socket

import pytest

from pipeline.engine.chosen import chosen_engine
from pipeline.engine.local import Local
from pipeline.engine.ray import Ray
from pipeline.runtime.errors import InputMissing, Misconfigured, NotPermitted, ServiceDown


def test_nothing_said_is_this_machine(folder, monkeypatch):
    """Neither a variable nor a file: processes here."""
    monkeypatch.delenv("MILLRACE_ENGINE", raising=False)
    assert isinstance(chosen_engine(), Local)


def test_the_variable_goes_before_the_file(folder, monkeypatch):
    """`local` in the variable keeps a single run here."""
    (folder / "engine.yaml").write_text("address: ray://10.0.0.5:10001\n")
    monkeypatch.delenv("MILLRACE_ENGINE", raising=False)
    assert "ray://10.0.0.5:10001" == chosen_engine().address
    monkeypatch.setenv("MILLRACE_ENGINE", "ray://head:2")
    assert "ray://head:2" == chosen_engine().address
    monkeypatch.setenv("MILLRACE_ENGINE", "local")
    assert "local" == chosen_engine().address


@pytest.mark.parametrize(
    "address",
    ["dask://a:1", "ray://a", "ray://:1", "ray://a:70000", "ray://a:1/b", "ray://u:secret@a:1", "10.0.0.5:1"],
)
def test_what_is_no_engine_is_refused(folder, monkeypatch, address):
    """With 78, naming the variable, and without a password that was written into it."""
    monkeypatch.setenv("MILLRACE_ENGINE", address)
    with pytest.raises(
        Misconfigured, match=r"MILLRACE_ENGINE names no engine\. Expected local, or ray://"
    ) as error:
        chosen_engine()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("text", ["{}", "where: ray://a:1", "address: 5", "address: ray://a:1\nworkers: 3"])
def test_a_file_that_says_something_else_is_refused(folder, monkeypatch, text):
    """One line and no other."""
    monkeypatch.delenv("MILLRACE_ENGINE", raising=False)
    (folder / "engine.yaml").write_text(text)
    with pytest.raises(Misconfigured, match=r"engine\.yaml does not say where work runs"):
        chosen_engine()


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    """66, as for every extra."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputMissing, match=r"Received: no ray\. `make setup` installs them") as error:
        Ray("ray://127.0.0.1:9").everywhere(str, "")
    assert 1 == len(str(error.value).splitlines())


def test_nobody_there_is_told_at_once():
    """69 within seconds, and not after the half minute that Ray waits."""
    pytest.importorskip("ray")
    with pytest.raises(ServiceDown, match=r"ray://127\.0\.0\.1:9 does not answer"):
        Ray("ray://127.0.0.1:9").everywhere(str, "")


def test_another_version_of_ray_is_refused(monkeypatch):
    """77, and not a bug of ours."""
    ray = pytest.importorskip("ray")

    def init(*_arguments, **_settings):
        raise RuntimeError("Version mismatch: The cluster was started with Ray 2.1.\nmore")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"ray://127.0.0.1:{there.getsockname()[1]}"
        with pytest.raises(
            NotPermitted, match=r"Received: Version mismatch: The cluster was started with Ray 2\.1"
        ):
            Ray(address).everywhere(str, "")


@pytest.mark.parametrize(
    ("said", "times"),
    [("Initialization failure from server:\nTimed out", 3), ("ray client connection timeout", 1)],
)
def test_a_busy_head_is_asked_again_and_a_silent_one_is_not(monkeypatch, said, times):
    """Three times where it did not start what serves us; once where nobody speaks, which takes half a minute."""
    ray = pytest.importorskip("ray")
    asked = []

    def init(*_arguments, **_settings):
        asked.append(said)
        raise ConnectionError(said)

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as there:
        with pytest.raises(ServiceDown, match="does not answer"):
            Ray(f"ray://127.0.0.1:{there.getsockname()[1]}").everywhere(str, "")
    assert times == len(asked)
