"""What keeps a stage alone, and its inputs the same."""

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "the lock of a stage",
        "pipeline/runtime/processes.py",
        "    while not lock_descriptor(file.fileno(), blocking=False):\n",
        "    while False:\n",
        ("tests/runtime/test_stage.py::test_a_second_writer_is_refused",),
    ),
    Mutant(
        "death with the parent",
        "pipeline/runtime/processes.py",
        "        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)\n",
        "        return\n",
        ("tests/runtime/test_stage.py::test_a_stage_dies_with_the_process_that_started_it",),
    ),
    Mutant(
        "comparison of inputs at the end of a stage",
        "pipeline/runtime/stage.py",
        "        changed = snapshot.changed()\n",
        "        changed: list[str] = []\n",
        ("tests/runtime/test_stage.py::test_an_input_edited_during_the_run_fails_the_stage",),
    ),
    Mutant(
        "comparison of inputs with dvc.lock",
        "pipeline/runtime/stage.py",
        'damaged = snapshot.differing_from_lock() if "DVC_STAGE" in os.environ else []',
        "damaged: list[str] = []",
        ("tests/runtime/test_stage.py::test_a_damaged_cache_object_is_noticed",),
    ),
    Mutant(
        "notice of code edited while a stage starts",
        "pipeline/runtime/stage.py",
        "        edited = snapshot.edited_since(_started())\n",
        "        edited: list[str] = []\n",
        ("tests/runtime/test_stage.py::test_code_edited_while_the_stage_starts_is_noticed",),
    ),
)
