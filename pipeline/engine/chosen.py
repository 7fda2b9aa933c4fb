"""Which engine the user chose: outside params.yaml, because where work runs may not move a result.

`MILLRACE_ENGINE=ray://host:port`, or a line `address: ray://host:port` in engine.yaml, which git does not hold: it is a
matter of who works, and not of what is worked on. The variable goes before the file.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.engine.local import Local
from pipeline.engine.work import Engine
from pipeline.runtime.addresses import shown
from pipeline.runtime.errors import Misconfigured
from pipeline.runtime.strict_yaml import read_yaml

VARIABLE = "MILLRACE_ENGINE"
ENGINE_YAML = Path("engine.yaml")


def chosen_engine() -> Engine:
    """Return the engine that the environment or engine.yaml in the working directory names, else this machine.

    Raises:
        Misconfigured: What is named is no engine.
    """
    where, address = _named()
    if address == Local.address:
        return Local()
    return engine_at(address, where)


def engine_at(address: str, where: str) -> Engine:
    """Return the cluster at an address.

    Args:
        address: `ray://host:port`.
        where: What the user wrote it in, for messages.

    Raises:
        Misconfigured: It is none.
    """
    from pipeline.engine.ray import Ray

    try:
        parts = urlsplit(address)
        right = (parts.scheme, parts.path, parts.query) == ("ray", "", "") and parts.hostname and parts.port
    except ValueError:  # a port beyond 65535, half an IPv6 address
        right = False
    if not right or "@" in address:
        raise Misconfigured(
            f"{where} names no engine. Expected local, or ray://host:port (the client server of a Ray cluster, port "
            f"10001 unless it was given another). Received: {shown(address)}. Correct or remove it."
        )
    return Ray(address)


def _named() -> tuple[str, str]:
    """Return where an engine is named and as what."""
    if address := os.environ.get(VARIABLE, ""):
        return VARIABLE, address
    if not ENGINE_YAML.is_file():
        return "", Local.address
    content = read_yaml(ENGINE_YAML)
    if list(content) != ["address"] or not isinstance(content["address"], str):
        raise Misconfigured(
            f"{ENGINE_YAML} does not say where work runs. Expected one line `address: ray://host:port`. Received: "
            f"{', '.join(map(str, content)) or 'nothing'}. Correct or remove the file."
        )
    return str(ENGINE_YAML), content["address"]
