"""All mutants."""

from tests.mutants import data, files, gate, models, nights, operation, registry, stages

MUTANTS = (
    *files.MUTANTS,
    *models.MUTANTS,
    *stages.MUTANTS,
    *data.MUTANTS,
    *gate.MUTANTS,
    *registry.MUTANTS,
    *nights.MUTANTS,
    *operation.MUTANTS,
)
