"""What keeps retrains of several machines apart, and on what others did."""

from tests.mutants.mutant import Mutant

MACHINES = "tests/retraining/test_retrain_other_machines.py"
ACCEPTED = "tests/retraining/test_accepted.py"

MUTANTS = (
    Mutant(
        "beginning anew after a lost race",
        "pipeline/retraining/retrain.py",
        "            run.begin_again(str(error))\n",
        "",
        ("tests/retraining/test_retrain.py::test_somebody_else_was_first_and_all_is_judged_anew",),
    ),
    Mutant(
        "results that others went past",
        "pipeline/retraining/retrain.py",
        "    if not moved and worktree.superseded(children, branches):",
        "    if moved and worktree.superseded(children, branches):",
        (f"{MACHINES}::test_results_that_others_went_past_are_not_judged_any_more",),
    ),
    Mutant(
        "the branch that a small clone does not fetch",
        "pipeline/retraining/worktree.py",
        '    command = ("fetch", "--quiet", branches.remote, *wanted)',
        '    command = ("fetch", "--quiet", branches.remote)',
        (f"{MACHINES}::test_a_clone_of_one_branch_learns_what_others_pushed",),
    ),
    Mutant(
        "the registry's word on what was judged",
        "pipeline/retraining/triggers.py",
        "    return not found, f",
        "    return not made, f",
        ("tests/retraining/test_triggers_registered.py",),
    ),
    Mutant(
        "rows that changed or are gone",
        "pipeline/retraining/triggers.py",
        "    enough = new_rows + changed_rows + lost_rows >= min_new_rows\n",
        "    enough = new_rows >= min_new_rows\n",
        ("tests/retraining/test_triggers.py::test_what_fires_a_trigger",),
    ),
    Mutant(
        "a DVC remote that gives nothing",
        "pipeline/retraining/retrain.py",
        '    if found.get("asked_remote"):',
        '    if found.get("nobody"):',
        ("tests/retraining/test_new_rows_drift_unknown.py",),
    ),
    Mutant(
        "a torn dvc.lock",
        "pipeline/runtime/repository.py",
        "    except DvcException:\n        return True\n",
        "    except DvcException:\n        return False\n",
        ("tests/runtime/test_repository.py",),
    ),
    Mutant(
        "the data that somebody vouches for",
        "pipeline/retraining/new_rows.py",
        "    earlier = bring(children, accepted.files) if accepted and accepted.files != recorded else None\n",
        "    earlier = None\n",
        (f"{ACCEPTED}::test_a_source_that_rots_below_every_bound_is_refused_once_it_has_rotted_beyond_them",),
    ),
    Mutant(
        "a person who looked since drift was accepted",
        "pipeline/retraining/accepted.py",
        "        if then == followed:\n",
        "        if then is not None:\n",
        (f"{ACCEPTED}::test_whoever_merges_the_results_vouches_for_their_data",),
    ),
    Mutant(
        "the accepted data of a branch",
        "pipeline/runtime/leftovers.py",
        ", paths.SOURCE_JSON.as_posix(), paths.ACCEPTED_JSON.as_posix())",
        ", paths.SOURCE_JSON.as_posix())",
        ("tests/runtime/test_leftovers.py::test_accepted_data_stays",),
    ),
    Mutant(
        "most of a small class",
        "pipeline/retraining/new_rows.py",
        "    findings = relabelled_findings(known.samples, now.samples, bounds.report, min_rows)\n",
        "    findings: list[DriftFinding] = []\n",
        ("tests/retraining/test_new_rows.py::test_most_of_a_small_class_is_much_though_it_is_little_of_all",),
    ),
)
