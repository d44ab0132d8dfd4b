"""An app with an option of its own, as Celery's documentation shows."""

from __future__ import annotations

import os

import click
from celery import Celery
from celery.signals import user_preload_options

app = Celery("options", broker=os.environ["BROKER_URL"])
app.conf.external_database_url = os.environ["DATABASE_URL"]
app.user_options["preload"].add(click.Option(["--flavour"], default="vanilla"))


@user_preload_options.connect
def show(options: dict[str, str], **_kwargs: object) -> None:
    """Say what was given."""
    click.echo(f"flavour: {options['flavour']}")
