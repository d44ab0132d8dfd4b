"""The shop's tests of a server that goes away."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import TransactionTestCase

from celery_external import DatabaseUnavailableError, get_job
from tests.django.project.shop.tasks import ask
from tests.waiting import wait_for


class OnAServer(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """What SQLite has not."""

    def test_a_connection_that_was_cut_costs_nothing(self) -> None:
        job = ask.delay()
        cut(connection)
        with pytest.raises(DatabaseUnavailableError):
            get_job(job)
        # The next call has a new one, without the end of a request in between.
        assert get_job(job).id == job.id
        cut(connection)
        then = time.monotonic()
        wait_for(lambda: time.monotonic() > then + 1.1, what="the connection to have rested")
        assert get_job(job).id == job.id


def cut(wrapper: Any) -> None:
    """End the server's side of a connection."""
    conf, pid = wrapper.settings_dict, wrapper.connection.info.backend_pid
    with psycopg.connect(
        host=conf["HOST"], port=conf["PORT"], user=conf["USER"], dbname="postgres", autocommit=True
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
