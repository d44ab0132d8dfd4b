"""What every command has: the app's External, and problems in one line each, on stderr."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from celery_external.errors import ExternalError, OptionError
from celery_external.extension import External, get_external

from .texts import one_line

if TYPE_CHECKING:
    from celery import Celery

P = ParamSpec("P")
R = TypeVar("R")

#: Of a warning: some name every job that they are about.
MAX_WARNING = 300

logger = logging.getLogger("celery_external")


#: For what is shown to people, and to programs.
text_or_json = click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write it.",
)


class Command(click.Command):
    """A command whose errors are one line: 1 for what was refused or failed, 2 for its usage."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group; arguments stand in the first line."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                group = getattr(option, "help_group", None) or "Options"
                groups.setdefault(group, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _showing_warnings():
            try:
                return super().invoke(ctx)
            except OptionError as exc:
                raise click.UsageError(one_line(exc), ctx) from exc
            except ExternalError as exc:
                raise click.ClickException(one_line(exc)) from exc


def pass_external(function: Callable[Concatenate[External, P], R]) -> Callable[P, R]:
    """The function's first argument is the External of the app that ``-A`` names."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        app: Celery = click.get_current_context().obj.app
        # As in a worker: receivers of our signals are there, and Django is set up.
        app.loader.import_default_modules()
        return function(get_external(app), *args, **kwargs)

    return call


@contextmanager
def _showing_warnings() -> Iterator[None]:
    """What the library logs is shown, unless the app has set up logging for it."""
    if logger.hasHandlers():
        yield
        return
    handler = _ToStderr(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.module == "refusal":
            return  # the command itself says what was refused
        text = one_line(record.getMessage())
        if len(text) > MAX_WARNING:
            text = f"{text[:MAX_WARNING]}…"
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text} ({one_line(record.exc_info[1])})"
        click.echo(f"{record.levelname.title()}: {text}", err=True)
