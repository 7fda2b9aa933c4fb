"""The guide tells every case."""

from tests.wrong_pass.table import GUIDE, cases, guide


def test_the_guide_is_the_table_of_these_tests():
    """A case that nobody wrote down.

    Plain: nothing compares a guide with what was measured.
    Millrace: the guide is made from the tests, and a case without its three parts is an error.
    """
    assert [case for case in cases() if not all(case)] == []
    assert guide() == GUIDE.read_text()
