"""What examples/deploy says: its files fit the project, its commands are understood, and its image's packages answer."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline.cli import parsers
from pipeline.serving.scorer import Scorer
from tests.e2e.clones import ROOT
from tests.helpers.served_models import DIGITS, write_model
from tests.serving.test_server import png

DEPLOY = ROOT / "examples/deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
MADE = ("models/best",)
"""What is copied into the image and made by the pipeline."""


def listed(instruction):
    """Return the words of an instruction of the Dockerfile that is written as JSON."""
    return json.loads(re.search(rf"^{instruction} (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])


def manifests():
    """Return the containers of both manifests, each with its arguments and probes."""
    for name in ("kubernetes", "kserve"):
        for document in yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text()):
            spec = document["spec"].get("template", {}).get("spec") or document["spec"].get("predictor")
            yield from (spec or {}).get("containers", ())


def probes():
    """Return every path that is asked whether the server is well."""
    paths = {re.search(r"127\.0\.0\.1:8000(/[\w/]+)", DOCKERFILE)[1]}
    for container in manifests():
        paths |= {probe["httpGet"]["path"] for key, probe in container.items() if key.endswith("Probe")}
    return sorted(paths)


def copied():
    """Return the paths that the image takes from the project."""
    return [
        word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]


def test_the_image_takes_what_is_in_the_project_and_nothing_is_kept_from_it():
    """Every COPY names a file that git has, or that the pipeline makes; the ignore file lets each of them in."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().split("\n")
    for path in copied():
        assert path in MADE or any(name == path or name.startswith(f"{path}/") for name in tracked), path
        assert f"!{path}" in allowed, path
    assert "python:3.11" in DOCKERFILE  # the lock holds for it


@pytest.mark.parametrize("arguments", [listed("CMD"), *(container["args"] for container in manifests())])
def test_the_command_of_every_container_is_understood(arguments):
    """The entry point of the image, with the options of each manifest."""
    entry = listed("ENTRYPOINT")
    assert entry[:3] == ["python", "-m", "pipeline.cli"]
    options = parsers()[0].parse_args([*entry[3:], *arguments])
    assert options.host == "0.0.0.0"
    assert options.tokens is not None  # reached from outside, so it asks for them
    assert options.port == 8000


def test_the_unit_runs_a_command_that_is_understood():
    """And is no root service: it belongs to a person."""
    unit = (DEPLOY / "millrace-serve.service").read_text()
    program, *words = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    assert program.endswith("/.venv/bin/millrace")
    assert parsers()[0].parse_args(words).command == "serve"


def test_compose_opens_no_port_to_others_and_writes_no_secret():
    """Every port is bound to this machine; every password comes from the environment."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    for service in services.values():
        secrets = {
            name: value
            for name, value in service.get("environment", {}).items()
            if re.search("PASSWORD|SECRET", name)
        }
        assert all(value.startswith("${") for value in secrets.values()), secrets


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_packages_of_the_image_answer_with_its_command_and_its_probes(tmp_path):
    """requirements-serve.lock in an environment of its own; the files of the image and no others; tokens asked for."""
    environment = tmp_path / "environment"
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "-q", "pip", "install", "--python", environment / "bin/python", "--require-hashes"]
    subprocess.run([uv, "-q", "venv", "--python", sys.executable, environment], check=True)
    subprocess.run([*install, "-r", ROOT / "requirements-serve.lock"], check=True, env=dict(os.environ))
    image = tmp_path / "image"
    for path in copied():
        if path in MADE:
            write_model(image / path, DIGITS)
        elif (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, image / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (image / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, image / path)
    (tmp_path / "tokens").write_text("a-token-of-a-test\n")
    expected = Scorer(image / "models/best").answers([png(100)])
    before = set(image.rglob("*"))
    words = [str(tmp_path / "tokens") if word == "/run/tokens" else word for word in listed("CMD")]
    command = [
        str(environment / "bin/python"),
        *listed("ENTRYPOINT")[1:],
        *words,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command, cwd=image, env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, process.communicate(timeout=10)[1]
        assert [200] * len(probes()) == [httpx.get(found[0] + path).status_code for path in probes()]
        body = {"records": [png(100)]}
        assert 401 == httpx.post(f"{found[0]}/predict", json=body).status_code
        reply = httpx.post(
            f"{found[0]}/predict", json=body, headers={"authorization": "Bearer a-token-of-a-test"}
        )
        assert json.loads(json.dumps(expected)) == reply.json()["answers"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert 0 == process.returncode
    assert before == set(image.rglob("*"))  # a read-only file system will do
