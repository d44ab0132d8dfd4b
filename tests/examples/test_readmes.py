"""What an example's README shows is the example's own code."""

from __future__ import annotations

import re

import pytest

from tests.processes import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
#: The examples that show code; the demo only says where it is.
NAMES = sorted({path.parent.name for path in EXAMPLES.glob("*/README.md")} - {"demo"})


def without_indents(code: str) -> str:
    """A README's code begins at the left, wherever it stands in its module."""
    return "".join(line.strip() + "\n" for line in code.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_code_is_the_examples(name: str) -> None:
    directory = EXAMPLES / name
    sources = [without_indents(path.read_text()) for path in directory.rglob("*.py")]
    readme = without_indents((directory / "README.md").read_text())
    shown = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert shown
    assert [code for code in shown if not any(code in source for source in sources)] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    directory = EXAMPLES / name
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (directory / "README.md").read_text())
    assert links
    assert [link for link in links if not (directory / link).exists()] == []
