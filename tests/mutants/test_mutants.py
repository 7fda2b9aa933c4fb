"""The list of mutants keeps up with the code; `make mutants` runs them."""

import pytest

from tests.conftest import ROOT
from tests.mutants.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_text_of_a_mutant_stands_in_the_code_once(mutant):
    """A mutant whose text is gone or stands twice changes nothing, and would say nothing about the tests."""
    assert 1 == (ROOT / mutant.file).read_text().count(mutant.old)
    assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_python(mutant):
    """One that does not parse fails every test, and proves nothing."""
    changed = (ROOT / mutant.file).read_text().replace(mutant.old, mutant.new)
    if mutant.file.endswith(".py"):
        compile(changed, mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_tests_of_a_mutant_exist(mutant):
    """The file is there, and the function in it."""
    for test in mutant.tests:
        path, _, function = test.partition("::")
        assert f"def {function.partition('[')[0]}" in (ROOT / path).read_text()
