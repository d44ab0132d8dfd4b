"""The shop's tests of a server that goes away."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import TransactionTestCase

from celery_external import Count, DatabaseUnavailableError, get_external, get_job, schema
from tests.django.project.shop.tasks import ask
from tests.django.project.shop.tests import forget_others, rolled_back
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

    def test_what_would_be_dear_to_count_is_estimated(self) -> None:
        external = get_external(ask.app)
        names = ", ".join(column.name for column in schema.job.c if column.name != "id")
        with rolled_back():
            forget_others()
            ask.delay()
            assert external.count_jobs() == Count(1)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO celery_external_job (id, {names}) SELECT id || n, {names} "  # noqa: S608
                    "FROM celery_external_job, generate_series(1, 10100) AS n"
                )
                cursor.execute("ANALYZE celery_external_job")
            found = external.count_jobs(task=ask.name)
            assert (found.exact, 10_000 < found.number < 11_000) == (False, True)


def cut(wrapper: Any) -> None:
    """End the server's side of a connection."""
    conf, pid = wrapper.settings_dict, wrapper.connection.info.backend_pid
    with psycopg.connect(
        host=conf["HOST"], port=conf["PORT"], user=conf["USER"], dbname="postgres", autocommit=True
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
