"""``dashboard``: the pages, served to whoever started it."""

from __future__ import annotations

import importlib

import click

from celery_external.extension import External
from celery_external.login import login_name

from .command import Command, pass_external


@click.command("dashboard", cls=Command)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Listen on this address; only this machine reaches the default one.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5556,
    show_default=True,
    help="Listen on this port; 0: any that is free.",
)
@click.option("--read-only", is_flag=True, help="Nobody may decide, only look.")
@click.option(
    "--by",
    default=login_name,
    show_default="your login name",
    metavar="TEXT",
    help="Who decides, for the history.",
)
@click.option("--open", "is_opened", is_flag=True, help="Have this machine's browser open it.")
@pass_external
def dashboard(
    external: External,
    /,
    *,
    host: str,
    port: int,
    read_only: bool,
    by: str | None,
    is_opened: bool,
) -> None:
    """Serve the dashboard to one browser, until Ctrl-C; the URL is printed.

    For more than a look, mount it in your web application. Needs the extra "dashboard".
    """
    # Not before it is wanted: the other commands need no jinja2.
    server = importlib.import_module("celery_external.dashboard.server")
    try:
        server.serve(external.app, host, port, read_only=read_only, by=by, open_browser=is_opened)
    except OSError as exc:
        raise click.ClickException(f"Cannot listen on {host}, port {port}: {exc}") from exc
