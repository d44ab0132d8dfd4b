"""Every command has help, and stands in docs/cli.md with it."""

from __future__ import annotations

import re

import click
import pytest

from celery_external.cli import external
from tests.cli.document import DOCUMENT, make_document
from tests.cli.shell import Shell

COMMANDS = ["cancel", "current", "dashboard", "doctor", "export", "extend", "fail", "list",
            "purge", "rerun", "show", "stats", "succeed", "sweep", "upgrade"]  # fmt: skip


def test_the_commands() -> None:
    assert sorted(external.commands) == COMMANDS


def test_the_document_is_what_help_says() -> None:
    before = DOCUMENT.read_text()
    assert make_document(before) == before, "run python -m tests.cli.document"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_option_has_help(name: str) -> None:
    command = external.commands[name]
    assert len((command.help or "").split()) > 5
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not (one.help or "").strip()] == []


def test_help_of_the_executable(on_sqlite: Shell) -> None:
    """It is the document's, but for the name of the program and the terminal's width."""
    for words in ([], ["purge"]):
        said = on_sqlite.run(*words, "--help")
        assert (said.code, said.err) == (0, "")
        name = "".join(f"## {word}\n" for word in words)
        document = DOCUMENT.read_text().split(name or "\n\n```text\n")[-1 if name else 1]
        shown = re.sub(r"^.*?external", "", " ".join(said.out.split()))
        assert shown.split("Commands:")[0] in " ".join(document.split())


def test_an_app_with_an_option_of_its_own(sqlite_url: str) -> None:
    shell = Shell(sqlite_url, app="tests.cli.options_app")
    said = shell.run("--flavour", "mint", "current")
    assert (said.code, said.err) == (0, "")
    assert "flavour: mint\n" in said.out


def test_an_option_by_the_environment(on_sqlite: Shell) -> None:
    said = on_sqlite.run("list", CELERY_EXTERNAL_LIST_LIMIT="5000")
    assert said.code == 2
    assert "5000 is not in the range" in said.err
