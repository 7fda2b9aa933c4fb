"""What is watched while a model trains: which direction is better."""


def lower_is_better(monitor: str) -> bool:
    """Return whether less of a monitored value is better, read off its name as Keras gives it."""
    return monitor.endswith(("loss", "error"))
