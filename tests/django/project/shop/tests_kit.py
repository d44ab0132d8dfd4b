"""The shop's tests with the test kit, for Django's test runner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import chain
from django.db import transaction
from django.test import Client, TestCase, TransactionTestCase

from celery_external import OptionError, Succeeded, get_external, signal_succeeded, testing
from celery_external.testing import Kit
from tests.django.project.celeryapp import app
from tests.django.project.shop.models import Order
from tests.django.project.shop.tasks import ask, publish


class WithTheKit(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """The jobs are in Django's database."""

    def setUp(self) -> None:
        self.kit: Kit = self.enterContext(testing.in_memory(app))
        assert get_external().database_name.startswith("django://default")

    def test_an_order_is_published_after_its_approval(self) -> None:
        with transaction.atomic():
            Order.objects.create(name="cup")
            result: Any = chain(ask.s("cup"), publish.s()).apply_async()
        assert self.kit.drain() == 1
        job = self.kit.assert_parked(ask, meta={"asked": "cup"})
        assert self.kit.shift(timedelta(days=2)) == 0
        with transaction.atomic():
            signal_succeeded(job, {"name": "cup"})
        assert self.kit.drain() == 2
        assert Order.objects.get().job_id == "published"
        assert result.get(timeout=1) == {"name": "cup"}

    def test_a_view_starts_it(self) -> None:
        Client().post("/order/cup/")
        self.kit.drain()
        job = self.kit.assert_parked(ask)
        assert self.kit.signal(job, Succeeded({"name": "cup"})).settled

    def test_an_open_transaction_is_refused(self) -> None:
        with transaction.atomic():
            ask.delay()
            with pytest.raises(OptionError) as raised:
                self.kit.drain()
        assert str(raised.value) == (
            "atomic: what is signalled or started in an open atomic() is sent after its commit: "
            "drain after it, and in a TransactionTestCase (pytest: django_db(transaction=True))"
        )
        assert self.kit.drain() == 1

    def test_one_test_sees_nothing_of_another(self) -> None:
        self.kit.assert_not_parked()
        ask.delay()
        self.kit.drain()
        self.kit.assert_parked()

    test_and_the_other_way_round = test_one_test_sees_nothing_of_another


class InATestCase(TestCase):  # type: ignore[misc]  # Django has no types
    """Nothing is ever committed here."""

    def test_it_is_said_at_once(self) -> None:
        with pytest.raises(OptionError, match="TransactionTestCase"), testing.in_memory(app):
            pass
        assert "external_namespace" not in app.conf
