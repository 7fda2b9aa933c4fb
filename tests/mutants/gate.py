"""What keeps a model that is no better from becoming champion."""

from tests.mutants.mutant import Mutant

REGISTER = "tests/stages/test_register.py"

MUTANTS = (
    Mutant(
        "the interval's lower bound in the gate",
        "pipeline/gate/opponents.py",
        "    beaten = interval.low > needed\n",
        "    beaten = interval.value > needed\n",
        ("tests/gate/test_decision_simulation.py::test_what_is_not_better_passes_no_oftener_than_stated",),
    ),
    Mutant(
        "the loss that no example shows",
        "pipeline/gate/opponents.py",
        '"unseen_loss": loss.cost if loss else 0.0,',
        '"unseen_loss": 0.0,',
        ("tests/gate/test_decision_simulation.py::test_what_is_not_better_passes_no_oftener_than_stated",),
    ),
    Mutant(
        "every baseline in the gate",
        "pipeline/gate/decision.py",
        "all(item.beaten for item in compared)",
        "any(item.beaten for item in compared)",
        ("tests/gate/test_decision.py::test_first_model_that_beats_only_one_baseline_is_refused",),
    ),
    Mutant(
        "the threshold in what is counted",
        "pipeline/evaluation/measures.py",
        'offered | ({"at": at} if at else {})',
        "offered",
        (
            "tests/evaluation/test_measures.py::test_what_counts_answers_counts_them_at_the_threshold",
            "tests/e2e/test_one_operating_point.py",
        ),
    ),
    Mutant(
        "the threshold in the table of confusions",
        "pipeline/evaluation/results.py",
        "        return said_at(self.classes, self.answers, self.chosen.point)\n",
        "        return said_at(self.classes, self.answers, {})\n",
        ("tests/e2e/test_one_operating_point.py",),
    ),
    Mutant(
        "a majority that measures right answers",
        "pipeline/evaluation/measures.py",
        "if blind and self.select_by in COUNT_EVERY_CLASS",
        "if False and self.select_by in COUNT_EVERY_CLASS",
        ("tests/evaluation/test_measures.py::test_who_says_the_same_of_all_measures_what_chooses",),
    ),
    Mutant(
        "the fewest rows of a comparison",
        "pipeline/gate/checks.py",
        "    if len(y_true) < rules.rows:",
        "    if len(y_true) < 1:",
        ("tests/gate/test_decision.py::test_too_few_rows_are_refused",),
    ),
    Mutant(
        "whole groups in a resample",
        "pipeline/evaluation/measures.py",
        "        blocks = groups_of(rows.groups)\n",
        "        blocks = None\n",
        ("tests/evaluation/test_measures.py::test_rows_of_one_person_are_drawn_together",),
    ),
    Mutant(
        "the fewest groups of a comparison",
        "pipeline/gate/checks.py",
        "few_groups(question.blocks)",
        "few_groups(None)",
        ("tests/gate/test_decision.py::test_too_few_groups_are_refused_however_many_rows",),
    ),
    Mutant(
        "the same examples for both",
        "pipeline/gate/checks.py",
        "        if list(model.sample_ids) != list(challenger.sample_ids):",
        "        if len(model.sample_ids) != len(challenger.sample_ids):",
        ("tests/gate/test_decision.py::test_what_cannot_be_compared_is_refused",),
    ),
    Mutant(
        "refusal of what was revoked",
        "pipeline/gate/promotion.py",
        "    if revoked is not None:",
        "    if revoked == {}:",
        (f"{REGISTER}::test_revoked_model_never_becomes_champion_again",),
    ),
    Mutant(
        "the wait for a commit",
        "pipeline/gate/decision.py",
        '    return {**decision, "decision": HELD, "reasons": reasons}\n',
        '    return {**decision, "reasons": reasons}\n',
        (f"{REGISTER}::test_model_that_no_commit_leads_back_to_is_held_until_there_is_one",),
    ),
    Mutant(
        "the wait after a rollback to nothing",
        "pipeline/stages/register.py",
        "first = champion is None and not champions(store, model_name)",
        "first = champion is None",
        (f"{REGISTER}::test_who_was_champion_before_makes_the_next_one_wait",),
    ),
    Mutant(
        "the code of the commit that is said to hold a result",
        "pipeline/provenance/origin.py",
        "if not _other_files(made, commit) and not _other_params(made, commit):",
        "if not _other_params(made, commit):",
        (
            "tests/provenance/test_origin.py::test_a_commit_of_other_code_or_parameters_does_not_hold_a_result",
        ),
    ),
)
