"""Jobs in Django's admin, while the database goes away in the middle of a selection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.models.signals import post_save
from django.test import TransactionTestCase

from celery_external import get_job
from celery_external.contrib.django.admin.report import MAX_NAMED
from tests.django.project.shop.tasks import ask
from tests.django.project.shop.tests_admin_acts import page_of, said_in
from tests.django.project.shop.tests_postgresql import cut


class Selection(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """Each job is a transaction by itself; what was committed before the outage counts."""

    def setUp(self) -> None:
        User.objects.create_superuser("root")
        self.client.force_login(User.objects.get())
        conf = connections.settings["default"]
        self.addCleanup(conf.update, ATOMIC_REQUESTS=conf["ATOMIC_REQUESTS"])
        conf["ATOMIC_REQUESTS"] = False
        self.jobs = [ask.delay() for _ in range(4)]

    def at(self, number: int, do: Callable[[], object]) -> None:
        """Have something happen when the admin has written its log of a job, the last it does."""

        def receive(instance: LogEntry, **_said: Any) -> None:
            if instance.object_id == self.jobs[number].id:
                do()

        post_save.connect(receive, sender=LogEntry)
        self.addCleanup(post_save.disconnect, receive, sender=LogEntry)

    def cancel(self) -> list[str]:
        """Cancel all; what is told."""
        targets = json.dumps([[job.id, 1] for job in self.jobs])
        response = self.client.post(page_of("cancel"), {"celery-external-targets": targets})
        assert response.status_code == 302
        return said_in(response)

    def check(self, *kinds: str | None) -> None:
        """What has become of the jobs; the admin's log agrees."""
        assert tuple(get_job(job).kind for job in self.jobs) == kinds
        logged = set(LogEntry.objects.values_list("object_id", flat=True))
        done = {job.id for job, kind in zip(self.jobs, kinds, strict=True) if kind}
        assert logged == done

    def refuse(self) -> None:
        """Have no transaction begin any more."""
        if connection.vendor == "sqlite":
            # Somebody else writes, for longer than anybody waits.
            connection.connection.execute("PRAGMA busy_timeout = 1")
            # The next test is as patient as ever.
            self.addCleanup(connection.close)
            other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
            self.addCleanup(other.close)
            other.execute("BEGIN IMMEDIATE")
            return
        name = connection.settings_dict["NAME"]
        self.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self.addCleanup(self.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        connection.close()

    def execute(self, statement: Any) -> None:
        """Run a statement where no test is."""
        conf = connection.settings_dict
        address = {"host": conf["HOST"], "port": conf["PORT"], "user": conf["USER"]}
        with closing(psycopg.connect(dbname="postgres", autocommit=True, **address)) as other:
            other.execute(statement)


class Outages(Selection):
    """No transaction begins any more."""

    def test_at_a_beginning(self) -> None:
        first, second, third, fourth = (job.id for job in self.jobs)
        self.at(1, lambda: transaction.on_commit(self.refuse))
        said = self.cancel()
        assert said[0] == f"2 jobs were cancelled: {first}, {second}."
        assert said[1].startswith(f"Job {third} was not cancelled: the database is not available: ")
        assert said[2:] == [f"1 job was not tried: {fourth}."]
        self.doCleanups()
        self.check("cancelled", "cancelled", None, None)

    def test_many_that_were_not_tried_are_counted(self) -> None:
        self.jobs += [ask.delay() for _ in range(MAX_NAMED)]
        self.at(0, lambda: transaction.on_commit(self.refuse))
        said = self.cancel()
        number = MAX_NAMED + 2
        assert said[-1].startswith(f"{number} jobs were not tried: {self.jobs[2].id}, ")
        assert said[-1].endswith(" and 2 more.")


class OnAServer(Selection):
    """The connection is cut, which nobody does to a file."""

    def test_at_a_commit(self) -> None:
        first, second, third, fourth = (job.id for job in self.jobs)
        self.at(1, lambda: cut(connection))
        said = self.cancel()
        assert len(said) == 3
        assert said[0] == f"1 job was cancelled: {first}."
        assert said[1].startswith(
            f"It is not known whether job {second} was cancelled, please look at it: "
            "the database is not available: "
        )
        assert said[2] == f"2 jobs were not tried: {third}, {fourth}."
        self.check("cancelled", None, None, None)

    def test_at_a_statement(self) -> None:
        first, second, third, fourth = (job.id for job in self.jobs)
        self.at(1, lambda: transaction.on_commit(lambda: cut(connection)))
        said = self.cancel()
        assert said[0] == f"2 jobs were cancelled: {first}, {second}."
        assert said[1].startswith(f"Job {third} was not cancelled: the database is not available: ")
        assert said[2:] == [f"1 job was not tried: {fourth}."]
        self.check("cancelled", "cancelled", None, None)
