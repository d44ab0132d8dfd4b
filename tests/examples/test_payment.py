"""The example payment: counted once, given back when late."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from flask.testing import FlaskClient

from celery_external import ExternalJobFailed, ExternalJobTimedOut
from celery_external.testing import FakeProvider, Kit, in_memory
from examples.payment import fake_stripe, web
from examples.payment.celeryapp import app
from examples.payment.fake_stripe import FakeStripe
from examples.payment.tasks import buy, connect, pay
from tests.examples.running import run_example, serve

SECRET = f"whsec_{secrets.token_hex()}"
HALF_AN_HOUR = 30 * 60
#: Seconds after which a hook that raised is called again, and more.
LATER = 3600


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """Stripe, whose customers pay when the test says so."""
    made = FakeStripe()
    with serve(fake_stripe.create_app(made)) as url:
        monkeypatch.setenv("STRIPE_API_URL", url)
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("SHOP_URL", "https://shop.example")
        yield made


@pytest.fixture
def kit(fake: FakeStripe) -> Iterator[Kit]:
    """The app in memory."""
    assert fake.sessions == {}
    with in_memory(app) as kit:
        yield kit


@pytest.fixture
def client(kit: Kit) -> FlaskClient:
    """The web app that Stripe calls."""
    assert kit.app is app
    return web.create_app().test_client()


def tell(client: FlaskClient, event: Any, secret: str = SECRET, late: float = 0) -> tuple[int, str]:
    """Stripe says something; returns what is answered."""
    headers, body = FakeProvider.stripe(secret).sign(event, at=time.time() - late)
    answer = client.post("/external/providers/stripe", data=body, headers=headers)
    return answer.status_code, next(iter(json.loads(answer.data).values()))


def event_of(kind: str, session: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"type": f"checkout.session.{kind}", "data": {"object": {**session, **changes}}}


def test_a_payment_counts_once(kit: Kit, fake: FakeStripe, client: FlaskClient) -> None:
    result = buy("A mug", 1250)
    kit.drain()
    job = kit.assert_parked(pay, labels=["payment"])
    session = fake.sessions[str(job.reference)]
    assert job.meta == {"order": "A mug", "checkout_url": session["url"]}
    assert (session["amount_total"], session["client_reference_id"]) == (1250, "A mug")
    event = fake.pay(session["id"])
    assert tell(client, event) == (200, "applied")
    assert tell(client, event) == (200, "duplicate")
    assert kit.drain() > 0
    assert result.get(timeout=1) == "A mug is on its way, 12.50 eur paid"
    assert tell(client, event) == (200, "duplicate")
    kit.drain()
    assert fake.refunds == []
    assert kit.external.get_job(job).completed_by == "stripe"


def test_a_payment_that_comes_too_late_is_given_back(
    kit: Kit, fake: FakeStripe, client: FlaskClient
) -> None:
    result = buy("A hat", 4900)
    kit.drain()
    job = kit.assert_parked(pay)
    kit.shift(HALF_AN_HOUR)
    event = fake.pay(str(job.reference))
    assert tell(client, event) == (200, "refused")
    assert tell(client, event) == (200, "refused")
    kit.drain()
    assert [refund["payment_intent"] for refund in fake.refunds] == [
        event["data"]["object"]["payment_intent"]
    ]
    with pytest.raises(ExternalJobTimedOut):
        result.get(timeout=1)


def test_a_refund_whose_answer_got_lost_is_asked_for_again_and_made_once(
    kit: Kit, fake: FakeStripe, client: FlaskClient
) -> None:
    buy("A hat", 4900)
    kit.drain()
    job = kit.expire(kit.assert_parked(pay))
    fake.answers_to_lose = 1
    tell(client, fake.pay(str(job.reference)))
    kit.drain()
    assert (len(fake.refunds), fake.answers_to_lose) == (1, 0)
    fake.refunds_asked_for = 0
    kit.shift(LATER)
    assert (len(fake.refunds), fake.refunds_asked_for) == (1, 1)
    kit.shift(LATER)
    assert fake.refunds_asked_for == 1


def test_a_rerun_has_the_same_session(kit: Kit, fake: FakeStripe, client: FlaskClient) -> None:
    result = buy("A hat", 4900)
    kit.drain()
    job = kit.expire(kit.assert_parked(pay))
    kit.external.rerun_job(job, by="alice")
    kit.drain()
    again = kit.assert_parked(pay, attempt=2)
    assert [again.reference] == [job.reference] == list(fake.sessions)
    assert tell(client, fake.pay(str(job.reference))) == (200, "applied")
    kit.drain()
    assert result.successful()


def test_what_counts_is_never_given_back(kit: Kit, fake: FakeStripe, client: FlaskClient) -> None:
    buy("A hat", 4900)
    kit.drain()
    job = kit.assert_parked(pay)
    event = fake.pay(str(job.reference))
    tell(client, event)
    kit.drain()
    session = event["data"]["object"]
    assert tell(client, event_of("async_payment_succeeded", session, currency="EUR")) == (
        200, "refused",
    )  # fmt: skip
    kit.drain()
    assert fake.refunds == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("async_payment_failed", "the bank refused the payment"),
        ("expired", "the customer did not pay"),
    ],
)
def test_without_a_payment_nothing_is_shipped(
    kind: str, reason: str, kit: Kit, fake: FakeStripe, client: FlaskClient
) -> None:
    result = buy("A hat", 4900)
    kit.drain()
    session = fake.sessions[str(kit.assert_parked(pay).reference)]
    assert tell(client, event_of(kind, session)) == (200, "applied")
    kit.drain()
    with pytest.raises(ExternalJobFailed, match=reason):
        result.get(timeout=1)


@pytest.mark.parametrize(
    ("kind", "status"), [("expired", "unpaid"), ("completed", "no_payment_required")]
)
def test_without_a_payment_nothing_is_given_back(
    kind: str, status: str, kit: Kit, fake: FakeStripe, client: FlaskClient
) -> None:
    buy("A hat", 4900)
    kit.drain()
    job = kit.expire(kit.assert_parked(pay))
    event = event_of(kind, fake.sessions[str(job.reference)], payment_status=status)
    assert tell(client, event) == (200, "refused")
    kit.drain()
    # Nor would it be tried again later.
    kit.shift(LATER)
    assert fake.refunds_asked_for == 0


def test_a_bank_may_be_slow(kit: Kit, fake: FakeStripe, client: FlaskClient) -> None:
    result = buy("A mug", 1250)
    kit.drain()
    number = str(kit.assert_parked(pay).reference)
    unpaid = event_of("completed", fake.sessions[number])
    assert tell(client, unpaid) == (200, "ignored")
    kit.assert_parked(pay)
    session = fake.pay(number)["data"]["object"]
    assert tell(client, event_of("async_payment_succeeded", session)) == (200, "applied")
    kit.drain()
    assert result.successful()


def test_events_about_something_else(client: FlaskClient) -> None:
    event = {"type": "balance.available", "data": {"object": {"available": []}}}
    assert tell(client, event) == (200, "ignored")


@pytest.mark.parametrize(
    ("secret", "late"), [("whsec_other", 0), (SECRET, 600)], ids=["forged", "replayed"]
)
def test_nobody_else_pays(
    secret: str, late: float, kit: Kit, fake: FakeStripe, client: FlaskClient
) -> None:
    buy("A mug", 1250)
    kit.drain()
    event = fake.pay(str(kit.assert_parked(pay).reference))
    assert tell(client, event, secret, late) == (401, "signature")
    kit.assert_parked(pay)


def test_the_api_is_for_who_has_the_key(fake: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake.refunds == []
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_2")
    client = connect()
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    with pytest.raises(stripe.StripeError):
        client.v1.refunds.list()


def test_run() -> None:
    assert run_example("payment") == [
        "paid: Stripe's event was applied, and once more duplicate",
        "shipped: A mug is on its way, 12.50 eur paid",
        "not paid: ExternalJobTimedOut('The deadline has passed')",
        "paid too late: Stripe's event was refused, and once more refused",
        "refunded: 1 time, nothing shipped",
        "without a signature: 401 signature",
    ]
