"""What keeps the registry complete and its champion single."""

from tests.mutants.mutant import Mutant

REGISTER = "tests/stages/test_register.py"

MUTANTS = (
    Mutant(
        "files of a version against its manifest",
        "pipeline/tracking/registry.py",
        '    if told:\n        raise StorageFailed(\n            f"The files of model version',
        '    if None in told:\n        raise StorageFailed(\n            f"The files of model version',
        (f"{REGISTER}::test_damaged_champion_is_never_compared",),
    ),
    Mutant(
        "files that arrived against those that were sent",
        "pipeline/tracking/registry.py",
        "            require_same_files(folder, arrived)\n",
        "",
        (f"{REGISTER}::test_files_that_change_on_the_way_make_no_version",),
    ),
    Mutant(
        "golden predictions",
        "pipeline/evaluation/golden.py",
        "    within = (apart <= tolerance * wide",
        "    within = (apart <= 1e9 + tolerance * wide",
        (f"{REGISTER}::test_other_answers_in_a_fresh_process_make_no_version",),
    ),
    Mutant(
        "the champion that a decision was made against",
        "pipeline/tracking/registry.py",
        '        if found != decision["champion_before"]:',
        "        if found is None:",
        (f"{REGISTER}::test_champion_of_another_machine_is_not_overwritten",),
    ),
    Mutant(
        "the champion that a promotion expects",
        "pipeline/tracking/champions.py",
        "    if (last.number if last and last.version else 0) != (expected.number if expected else 0):",
        "    if last is None and expected:",
        ("tests/tracking/test_champions.py::test_promotion_against_a_champion_of_yesterday_loses",),
    ),
    Mutant(
        "whose entry stands in the list of champions",
        "pipeline/tracking/champions.py",
        "    return _read(store, name, run_id)[len(listed)].nonce == entry.nonce\n",
        "    return True\n",
        (
            "tests/tracking/test_champions.py::test_a_slower_writer_of_the_same_place_loses_though_it_looked_before",
        ),
    ),
    Mutant(
        "`previous` before `champion`",
        "pipeline/tracking/champions.py",
        "        if entry.before and entry.before != entry.version:",
        "        if entry.before == entry.version:",
        ("tests/tracking/test_champions.py::test_champions_stand_in_the_order_in_which_they_were_promoted",),
    ),
    Mutant(
        "the version that is there already",
        "pipeline/tracking/registry.py",
        "    return found[0] if found else None\n",
        "    return None\n",
        (f"{REGISTER}::test_registering_again_changes_nothing",),
    ),
    Mutant(
        "an upload of one's own",
        "pipeline/tracking/registry.py",
        "model.status == status and not alive:",
        "model.status == status:",
        ("tests/tracking/test_registry_races.py",),
    ),
    Mutant(
        "one version of a model",
        "pipeline/tracking/registry.py",
        "item.number not in named and DECISION not in item.tags]",
        "item.number in named]",
        ("tests/tracking/test_registry_races.py",),
    ),
    Mutant(
        "a revocation while it was judged",
        "pipeline/tracking/champions.py",
        "    if revocation(store, name, model_sha256) is not None:",
        "    if revocation(store, name, model_sha256) is None and champions is None:",
        (
            "tests/tracking/test_champions.py::test_a_version_that_was_taken_back_while_it_was_judged_stays_out",
        ),
    ),
)
