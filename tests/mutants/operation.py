"""What people run it with: receivers, secrets, schedules, stores, hooks, terminals, memory."""

from tests.mutants.mutant import Mutant

RETRAIN = "tests/retraining/test_retrain.py"
NOTIFY = "tests/retraining/test_notifications.py"
ADDRESS = "tests/runtime/test_addresses.py"
WEB = "tests/runtime/test_web.py"
CAUSES = "tests/tracking/test_causes.py"
SECRETS = "tests/checks/test_secrets.py"
SCHEDULES = "tests/retraining/test_schedules.py"
CHECKED = "tests/checks/test_store.py"
TERMINAL = "tests/runtime/test_terminal.py"
FILES = "tests/runtime/test_files.py"
STAGE = "tests/runtime/test_stage.py"
LOG = "tests/monitoring/test_log.py"
WATCH = "tests/monitoring/test_watch.py"

MUTANTS = (
    Mutant(
        "parts of a log that are whole or absent",
        "pipeline/monitoring/log.py",
        "with atomic_path(self._next_part(), mode=PRIVATE) as draft:",
        "if draft := self._next_part():",
        (f"{LOG}::test_a_full_disk_costs_rows_and_no_request",),
    ),
    Mutant(
        "a category that nobody knows, which may be anything that somebody typed",
        "pipeline/monitoring/rows.py",
        "known = None if keep_records else model.categories[full]",
        "known = None",
        (f"{LOG}::test_texts_and_columns_are_kept_only_where_somebody_asked_for_it",),
    ),
    Mutant(
        "a drift that is told apart from chance over all comparisons",
        "pipeline/monitoring/drift.py",
        "p_values = holm([one.p_value for one in raw])",
        "p_values = [one.p_value for one in raw]",
        (
            "tests/monitoring/test_drift.py::test_a_thousand_logs_of_equal_rows_raise_as_few_alarms_as_is_said",
        ),
    ),
    Mutant(
        "a metric that fell only if chance does not do that",
        "pipeline/monitoring/watch.py",
        'fallen = now["high"] < before["low"] if higher',
        'fallen = now["value"] < before["low"] if higher',
        (f"{WATCH}::test_a_metric_that_fell_is_told_and_one_that_may_be_chance_is_not",),
    ),
    Mutant(
        "a retrain that is ended before anybody is told",
        "pipeline/retraining/retrain.py",
        "    run.end()\n    _tell(settings)\n    return entry",
        "    _tell(settings)\n    run.end()\n    return entry",
        (f"{RETRAIN}::test_a_kill_while_somebody_is_told_repeats_nothing",),
    ),
    Mutant(
        "a redirect that is no delivery",
        "pipeline/retraining/notifications.py",
        "    if not 200 <= status < 300:",
        "    if status >= 400:",
        (f"{NOTIFY}::test_a_redirect_to_a_login_page_is_no_delivery",),
    ),
    Mutant(
        "redirects that nobody follows",
        "pipeline/runtime/web.py",
        "build_opener(_NoRedirect())",
        "build_opener()",
        (f"{WEB}::test_every_answer_of_a_server_is_an_answer",),
    ),
    Mutant(
        "one deadline for an answer that drips",
        "pipeline/runtime/web.py",
        "    thread.join(seconds)",
        "    thread.join()",
        (f"{NOTIFY}::test_an_answer_that_drips_has_one_deadline",),
    ),
    Mutant(
        "one deadline for all deliveries",
        "pipeline/retraining/notifications.py",
        "            if time.monotonic() - began > timeout_seconds:",
        "            if time.monotonic() - began < 0:",
        (f"{NOTIFY}::test_slow_deliveries_do_not_hold_the_lock",),
    ),
    Mutant(
        "a webhook whose path is its secret",
        "pipeline/retraining/notifications.py",
        "            said = said.replace(part, HIDDEN) if len(part) >= SHORTEST_SECRET else said\n",
        "            pass\n",
        (f"{NOTIFY}::test_an_address_that_is_none_costs_nothing_and_is_not_told",),
    ),
    Mutant(
        "passwords with letters of addresses",
        "pipeline/runtime/addresses.py",
        '    if found is None or "@" in (found["rest"] or ""):',
        "    if found is None:",
        (f"{ADDRESS}::test_what_tells_where_it_is_stays",),
    ),
    Mutant(
        "secrets in errors that nobody foresaw",
        "pipeline/runtime/stage.py",
        "        message = without_secrets(str(error) or type(error).__name__)",
        "        message = str(error) or type(error).__name__",
        (f"{ADDRESS}::test_secrets_of_the_environment_reach_no_message_no_status_and_no_traceback",),
    ),
    Mutant(
        "the address that MLflow prints",
        "pipeline/tracking/__init__.py",
        '    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",\n',
        "",
        (f"{CAUSES}::test_the_end_of_a_run_shows_no_address",),
    ),
    Mutant(
        "signed addresses that are refused",
        "pipeline/commands/init.py",
        "        problems = [secret]",
        "        problems += []",
        (f"{SECRETS}::test_a_signed_address_is_no_source",),
    ),
    Mutant(
        "secrets that the next commit would hold",
        "pipeline/checks/secrets.py",
        "        if committed is not None and value.encode() in committed:",
        "        if committed is None or value.encode() in committed:",
        (f"{SECRETS}::test_a_secret_is_refused_before_it_is_committed_and_told_afterwards",),
    ),
    Mutant(
        "the environment of a night",
        "pipeline/retraining/schedules.py",
        "        os.environ.setdefault(name, value)",
        "        os.environ.get(name, value)",
        (f"{SCHEDULES}::test_a_night_has_what_was_set_when_it_was_installed",),
    ),
    Mutant(
        "an environment for its owner's eyes",
        "pipeline/retraining/schedules.py",
        "mode=0o600",
        "mode=0o644",
        (f"{SCHEDULES}::test_a_night_has_what_was_set_when_it_was_installed",),
    ),
    Mutant(
        "line ends of other people's jobs",
        "pipeline/retraining/schedules.py",
        '    return done.out.removesuffix("\\n").split("\\n") if',
        "    return done.out.splitlines() if",
        (f"{SCHEDULES}::test_the_crontab_keeps_unusual_line_ends_of_others",),
    ),
    Mutant(
        "CR in what other programs print",
        "pipeline/runtime/processes.py",
        '    return (said or b"").decode("utf-8", "surrogateescape")',
        '    return (said or b"").decode("utf-8", "surrogateescape").replace("\\r\\n", "\\n")',
        (f"{SCHEDULES}::test_the_crontab_keeps_unusual_line_ends_of_others",),
    ),
    Mutant(
        "names that end a line of a unit",
        "pipeline/retraining/schedules.py",
        "    if path.isprintable() and",
        "    if path or",
        (f"{SCHEDULES}::test_what_no_schedule_can_name_is_refused",),
    ),
    Mutant(
        "the store that is asked first",
        "pipeline/stages/check.py",
        "    told += ask_store(Path.cwd(), params.register.experiment)\n",
        "",
        (f"{CHECKED}::test_the_stage_refuses_a_server_that_the_last_stage_could_not_use",),
    ),
    Mutant(
        "a server of before MLflow 3",
        "pipeline/tracking/causes.py",
        "int(found[1]) < OLDEST",
        "int(found[1]) < 1",
        (f"{CAUSES}::test_each_answer_of_a_server_has_its_code_and_cure",),
    ),
    Mutant(
        "answers that are about the server",
        "pipeline/tracking/store.py",
        " or error.error_code in UNUSABLE or unknown",
        " or unknown",
        (f"{CAUSES}::test_each_answer_of_a_server_has_its_code_and_cure",),
    ),
    Mutant(
        "a folder of runs that is no store",
        "pipeline/runtime/addresses.py",
        '    if uri.startswith(("sqlite:", "file:")) or not',
        '    if uri.startswith("sqlite:") or not',
        (f"{CAUSES}::test_an_address_that_is_none_is_refused",),
    ),
    Mutant(
        "hooks that are for people",
        "pipeline/retraining/children.py",
        '        if not self._wants("hooks"):',
        '        if self._wants("hooks"):',
        (f"{RETRAIN}::test_hooks_and_signatures_of_people_are_not_asked_of_a_machine",),
    ),
    Mutant(
        "signatures that are for people",
        "pipeline/retraining/children.py",
        '        if not self._wants("sign"):',
        '        if self._wants("sign"):',
        (f"{RETRAIN}::test_hooks_and_signatures_of_people_are_not_asked_of_a_machine",),
    ),
    Mutant(
        "class names that move a terminal",
        "pipeline/runtime/terminal.py",
        "text if control else visible(text)",
        "text",
        (f"{TERMINAL}::test_bars_still_move",),
    ),
    Mutant(
        "texts that a spreadsheet would calculate",
        "pipeline/runtime/files.py",
        '        return f"\'{text}"',
        "        return text",
        (f"{FILES}::test_no_text_in_a_csv_is_a_formula",),
    ),
    Mutant(
        "an older ok after a kill",
        "pipeline/runtime/stage.py",
        "        _write_status(name, KILLED, _BEGUN.format(name=name, pid=os.getpid()))",
        "        str(_BEGUN)",
        (f"{STAGE}::test_a_killed_stage_leaves_no_older_ok",),
    ),
    Mutant(
        "memory that ran out and is no bug",
        "pipeline/runtime/stage.py",
        "    return isinstance(error, MemoryError) or",
        "    return isinstance(error, BufferError) or",
        (f"{STAGE}::test_memory_that_ran_out_is_no_bug",),
    ),
    Mutant(
        "a champion that reigned already",
        "pipeline/retraining/retrain.py",
        'last_run.get("reigned") and not again',
        'last_run.get("reigns")',
        (f"{RETRAIN}::test_a_champion_that_reigned_already_became_nothing",),
    ),
    Mutant(
        "a champion that a stopped call made",
        "pipeline/retraining/retrain.py",
        " and not again:",
        ":",
        (f"{RETRAIN}::test_a_champion_that_a_stopped_call_made_is_told_as_new",),
    ),
)
