import textwrap

from fault_catalogue import REASONS, REMARKS, ROWS
from fault_table import TABLE, find_tests, render_table


def test_the_table_of_faults_is_up_to_date():
    assert TABLE.read_text() == render_table(), "run `make faults`"


def test_every_row_has_a_test_or_a_written_reason():
    held, excused = set(find_tests()), set(REASONS)
    assert held | excused == {row.number for row in ROWS}
    assert not held & excused
    assert set(REMARKS) <= held


def test_the_catalogue_is_numbered_through():
    assert [row.number for row in ROWS] == list(range(1, 71))


def test_marks_are_found_on_modules_classes_functions_and_cases(tmp_path):
    source = '''
    import pytest
    pytestmark = [pytest.mark.dcmtk, pytest.mark.fault(1)]

    @pytest.mark.fault(2, 3)
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.fault(4)), 2])
    def test_one_thing(x):
        """Say it.

        At length.
        """

    @pytest.mark.fault(5)
    class TestGroup:
        def test_another_thing(self): ...

    def build_nothing(): ...
    '''
    (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
    found = {number: [test.expectation for test in tests] for number, tests in find_tests(tmp_path).items()}
    assert found == {
        1: ["Say it.", "another thing"],
        2: ["Say it."],
        3: ["Say it."],
        4: ["Say it."],
        5: ["another thing"],
    }
