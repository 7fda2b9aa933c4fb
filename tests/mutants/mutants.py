"""All mutants."""

from tests.mutants import (
    data,
    files,
    gate,
    learning,
    models,
    nights,
    numbers,
    operation,
    reading,
    registry,
    stages,
)

MUTANTS = (
    *files.MUTANTS,
    *models.MUTANTS,
    *stages.MUTANTS,
    *data.MUTANTS,
    *gate.MUTANTS,
    *registry.MUTANTS,
    *nights.MUTANTS,
    *numbers.MUTANTS,
    *reading.MUTANTS,
    *learning.MUTANTS,
    *operation.MUTANTS,
)
