"""What keeps broken data and leaks out."""

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "digest of a download",
        "pipeline/fetching/download.py",
        "            if sha256 is not None and digest != sha256.lower():",
        "            if not digest:",
        ("tests/fetching/test_download.py::test_trouble_ends_soon_with_a_message_and_leaves_the_old_file",),
    ),
    Mutant(
        "the ratio of an archive's members",
        "pipeline/fetching/archives.py",
        "            _check_ratio(member.filename, member.file_size, member.compress_size)\n",
        "",
        ("tests/fetching/test_archives.py::test_a_decompression_bomb_is_refused_while_it_goes_off",),
    ),
    Mutant(
        "the count of Great Expectations' results",
        "pipeline/validation/suites.py",
        "    if len(validation.results) != len(expectations) or sorted(results) != list(range(len(expectations))):",
        "    if not expectations:",
        ("tests/validation/test_suites.py::test_missing_results_are_noticed",),
    ),
    Mutant(
        "failure of an expectation that raised",
        "pipeline/validation/suites.py",
        "    if error:\n",
        "    if not result.exception_info:\n",
        ("tests/validation/test_suites.py::test_an_expectation_that_raised_has_failed",),
    ),
    Mutant(
        "near duplicates in one split",
        "pipeline/duplicates/images.py",
        "        found.append(likely[_differences(images, rows[likely]) <= limit])\n",
        "        found.append(likely[_differences(images, rows[likely]) == 0])\n",
        ("tests/duplicates/test_images.py",),
    ),
    Mutant(
        "groups in one split",
        "pipeline/splits/by_hash.py",
        "            parent[first] = second",
        "            parent[first] = first",
        ("tests/splits/test_by_hash.py::test_a_unit_is_what_clusters_and_groups_connect",),
    ),
    Mutant(
        "exclusion of copies of judging samples",
        "pipeline/splits/by_hash.py",
        "    return np.where(leaks, EXCLUDED, splits)\n",
        "    return splits\n",
        ("tests/splits/test_by_hash.py::test_copies_across_given_splits_are_excluded_towards_train",),
    ),
    Mutant(
        "refusal by the leak gate",
        "pipeline/stages/leaks.py",
        '    if not summary["passed"]:',
        '    if "passed" not in summary:',
        ("tests/stages/test_leaks.py::test_reports_are_written_where_the_split_is_refused",),
    ),
)
