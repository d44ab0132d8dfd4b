"""What the documents say of the tests is true: each that is named exists."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.kills.points import OUTLIVED, POINTS
from tests.kills.test_callers import CALLERS
from tests.processes import REPOSITORY
from tests.test_states import LINES

#: The documents with tables of tests, and the parameters of these.
PARAMETERS: dict[str, set[str]] = {
    "states.md": {str(line) for line in LINES},
    "races.md": set(),
    "crashes.md": {str(one) for one in (*POINTS, *OUTLIVED, *CALLERS)},
}
DEFAULT_FILE = "tests/test_states.py"


def rows_of(document: str) -> list[str]:
    """The lines of a document's tables, without their heads."""
    lines = (REPOSITORY / "docs" / document).read_text().splitlines()
    return [
        line
        for line, below in itertools.pairwise([*lines, ""])
        if line.startswith("| ") and not below.startswith("|---")
    ]


@pytest.mark.parametrize("document", PARAMETERS)
def test_each_line_of_a_table_names_tests_that_exist(document: str) -> None:
    rows = rows_of(document)
    assert rows
    for row in rows:
        names = re.findall(r"`((?:tests/[\w/]+\.py::)?test_[\w]+(?:\[[^\]]+\])?)`", row)
        assert names, row
        for name in names:
            file, _, test = name.rpartition("::")
            function, _, parameter = test.partition("[")
            source = (REPOSITORY / (file or DEFAULT_FILE)).read_text()
            assert f"def {function}(" in source, name
            assert not parameter or parameter.rstrip("]") in PARAMETERS[document], name


def test_each_point_of_a_kill_stands_in_the_table() -> None:
    table = "".join(rows_of("crashes.md"))
    assert [one for one in PARAMETERS["crashes.md"] if f"[{one}]`" not in table] == []


def test_each_line_of_the_suite_stands_in_the_table() -> None:
    document = (REPOSITORY / "docs" / "states.md").read_text()
    own_ends = ("save_reference", "save_meta", "set_wake", "extend", "contradict", "repeat")
    missing = [
        str(line)
        for line in LINES
        if f"[{line}]" not in document and not str(line).split("+")[1].startswith(own_ends)
    ]
    assert missing == []
