"""The code in an example's README is the example's own, and what it names is there."""

from __future__ import annotations

import re

import pytest

from tests.processes import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NAMES = ("flask_webhook", "gpu_render", "payment")


def words_of(text: str) -> str:
    """The text whatever its indentation and line ends."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_its_code_is_the_examples(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text("utf-8")
    code = [words_of(path.read_text("utf-8")) for path in (EXAMPLES / name).glob("*.py")]
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) > 1
    for block in blocks:
        assert any(words_of(block) in one for one in code), block


@pytest.mark.parametrize("name", NAMES)
def test_what_it_names_is_there(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text("utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", readme):
        assert (EXAMPLES / name / link).is_file(), link
    for module in re.findall(rf"examples\.({name}\.\w+)", readme):
        assert (EXAMPLES / module.replace(".", "/")).with_suffix(".py").is_file(), module
