"""Write the table of faults: `make faults`. It is read from the catalogue and from the marks in the tests' source."""

import ast
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fault_catalogue import REASONS, REMARKS, SECTIONS, Row

TESTS = Path(__file__).resolve().parent
TABLE = TESTS / "faults" / "README.md"

HEAD = """\
# What can go wrong, and what holds it

Made by `make faults` from `tests/fault_catalogue.py` and the marks of the tests. "A700" and the like are statuses of a
C-STORE response; RJ (result, source, reason) is an A-ASSOCIATE-RJ; "not analysed" is a result that the study gets,
with the reason in it. What is wholly about such a fault lies in this folder; where a module's own tests, or those of a
whole process, hold a row as well, they stay where that module or process is tested, and are marked with the row.
"""


@dataclass(frozen=True)
class FaultTest:
    """A test that holds one or more rows."""

    path: Path
    name: str
    line: int
    expectation: str
    """The first sentence of its docstring, else its name."""


def find_tests(folder: Path = TESTS) -> dict[int, list[FaultTest]]:
    """Find the tests of every row, by the row's number."""
    found: dict[int, list[FaultTest]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for number, test in _walk(path, tree.body, _numbers_of_module(tree)):
            found[number].append(test)
    return found


def _numbers_of_module(body: ast.Module | ast.ClassDef) -> set[int]:
    return {
        number
        for statement in body.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
        for number in _numbers(statement.value)
    }


def _walk(path: Path, body: list[ast.stmt], inherited: set[int]) -> Iterator[tuple[int, FaultTest]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            marks = inherited | {number for one in node.decorator_list for number in _numbers(one)}
            yield from _walk(path, node.body, marks | _numbers_of_module(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            own = {number for one in node.decorator_list for number in _numbers(one)}
            for number in sorted(inherited | own):
                yield number, FaultTest(path, node.name, node.lineno, _expectation(node))


def _numbers(expression: ast.expr) -> Iterator[int]:
    """Find the arguments of `pytest.mark.fault(…)` anywhere in an expression, parametrised cases included."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in node.args)


def _expectation(test: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    said = (ast.get_docstring(test) or "").partition("\n\n")[0]
    return " ".join(said.split()) or test.name.removeprefix("test_").replace("_", " ")


def render_table() -> str:
    """Render the whole table as Markdown."""
    tests = find_tests()
    lines = [HEAD]
    for title, rows in SECTIONS.items():
        lines += [f"## {title}\n", "| | fault | answer | test |", "|---|---|---|---|"]
        lines += [f"| {row.number} | {row.fault} | {_answer(row)} | {_held_by(row, tests)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def _answer(row: Row) -> str:
    return f"{row.answer}. {REMARKS[row.number]}" if row.number in REMARKS else row.answer


def _held_by(row: Row, tests: dict[int, list[FaultTest]]) -> str:
    if row.number in tests:
        return "<br>".join(_link(test) for test in tests[row.number])
    return REASONS[row.number]


def _link(test: FaultTest) -> str:
    words = test.expectation.replace("|", "\\|").rstrip(".")
    return f"[{words}]({os.path.relpath(test.path, TABLE.parent)})"


if __name__ == "__main__":
    TABLE.write_text(render_table())
