"""What the documents say of the tests is true: each that is named exists."""

from __future__ import annotations

import re

from tests.processes import REPOSITORY
from tests.test_states import LINES

DEFAULT_FILE = "tests/test_states.py"


def test_each_line_of_the_state_table_names_tests_that_exist() -> None:
    document = (REPOSITORY / "docs" / "states.md").read_text()
    lines = [line for line in document.splitlines() if line.startswith("| ")][1:]
    assert lines
    known = {str(line) for line in LINES}
    for line in lines:
        names = re.findall(r"`((?:tests/\w+\.py::)?test_[\w]+(?:\[[^\]]+\])?)`", line)
        assert names, line
        for name in names:
            file, _, test = name.rpartition("::")
            function, _, parameter = test.partition("[")
            source = (REPOSITORY / (file or DEFAULT_FILE)).read_text()
            assert f"def {function}(" in source, name
            assert not parameter or parameter.rstrip("]") in known, name


def test_each_line_of_the_suite_stands_in_the_table() -> None:
    document = (REPOSITORY / "docs" / "states.md").read_text()
    own_ends = ("save_reference", "save_meta", "set_wake", "extend", "contradict", "repeat")
    missing = [
        str(line)
        for line in LINES
        if f"[{line}]" not in document and not str(line).split("+")[1].startswith(own_ends)
    ]
    assert missing == []
