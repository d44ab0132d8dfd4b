"""The fake provider's signatures, looked at by the providers' own libraries and by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from standardwebhooks import Webhook, WebhookVerificationError

from celery_external import SignatureRefusedError
from celery_external.signatures import HmacHeader, Scheme, StandardWebhooks, Stripe
from celery_external.testing import FakeProvider

KEY = b"a key of the provider's"
WHSEC = f"whsec_{base64.b64encode(KEY).decode()}"
PAYLOAD = {"id": "r-1", "status": "succeeded"}
LATE = timedelta(minutes=10)


@pytest.mark.parametrize("secret", [WHSEC, WHSEC.removeprefix("whsec_")])
def test_standard_webhooks(secret: str) -> None:
    headers, body = FakeProvider.standard_webhooks(secret).sign(PAYLOAD)
    assert Webhook(WHSEC).verify(body, headers) == PAYLOAD
    assert headers["Content-Type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(body + b" ", headers)


def test_each_standard_webhook_has_an_id_of_its_own() -> None:
    provider = FakeProvider.standard_webhooks(WHSEC)
    assert len({provider.sign(PAYLOAD)[0]["webhook-id"] for _ in range(3)}) == 3


def test_stripe() -> None:
    headers, body = FakeProvider.stripe("whsec_stripe").sign(PAYLOAD)
    verify: Any = stripe.WebhookSignature.verify_header
    assert verify(body.decode(), headers["Stripe-Signature"], "whsec_stripe", 300)
    with pytest.raises(stripe.SignatureVerificationError):
        verify(body.decode(), headers["Stripe-Signature"], "whsec_other", 300)


def test_a_header_with_an_hmac() -> None:
    headers, body = FakeProvider.hmac_header("secret").sign(b'{"raw": 1}')
    digest = hmac.new(b"secret", b'{"raw": 1}', hashlib.sha256).hexdigest()
    assert (headers, body) == (
        {"Content-Type": "application/json", "X-Signature": digest}, b'{"raw": 1}',
    )  # fmt: skip


def test_a_header_with_all_options() -> None:
    provider = FakeProvider.hmac_header(
        KEY, header="X-Hub", algorithm="sha1", encoding="base64", prefix="sha1=",
        timestamp_header="X-Time",
    )  # fmt: skip
    headers, body = provider.sign(PAYLOAD, at=1234.9)
    digest = hmac.new(KEY, b"1234." + json.dumps(PAYLOAD).encode(), hashlib.sha1).digest()
    assert headers["X-Time"] == "1234"
    assert headers["X-Hub"] == f"sha1={base64.b64encode(digest).decode()}"
    assert json.loads(body) == PAYLOAD


def test_an_old_call_is_signed_with_its_time() -> None:
    provider = FakeProvider.standard_webhooks(WHSEC)
    headers, body = provider.sign(PAYLOAD, at=datetime.now(UTC) - LATE)
    assert int(headers["webhook-timestamp"]) == pytest.approx(time.time() - 600, abs=20)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(WHSEC).verify(body, headers)
    headers, body = FakeProvider.stripe("s").sign(PAYLOAD, at=time.time() - 600)
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], "s", 300)


def test_a_call_is_posted_by_whatever_sends() -> None:
    sent: list[tuple[dict[str, str], bytes]] = []

    def send(headers: dict[str, str], body: bytes) -> int:
        sent.append((headers, body))
        return 200

    assert FakeProvider.standard_webhooks(WHSEC).post(send, PAYLOAD, at=0) == 200
    ((headers, body),) = sent
    assert (headers["webhook-timestamp"], json.loads(body)) == ("0", PAYLOAD)


#: Each way to sign, and what verifies it at our own end.
SCHEMES: dict[str, tuple[FakeProvider, Scheme]] = {
    "standard-webhooks": (FakeProvider.standard_webhooks(WHSEC), StandardWebhooks(WHSEC)),
    "stripe": (FakeProvider.stripe("whsec_stripe"), Stripe("whsec_stripe")),
    "hmac": (
        FakeProvider.hmac_header(KEY, timestamp_header="X-Time"),
        HmacHeader(KEY, timestamp_header="X-Time"),
    ),
    "hmac-base64": (
        FakeProvider.hmac_header(KEY, algorithm="sha512", encoding="base64", prefix="v0="),
        HmacHeader(KEY, algorithm="sha512", encoding="base64", prefix="v0="),
    ),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_our_own_schemes_take_it_and_nothing_else(name: str) -> None:
    provider, scheme = SCHEMES[name]
    headers, body = provider.sign(PAYLOAD)
    scheme.verify(headers, body)
    with pytest.raises(SignatureRefusedError):
        scheme.verify(headers, body + b" ")


@pytest.mark.parametrize("name", ["standard-webhooks", "stripe", "hmac"])
def test_our_own_schemes_refuse_an_old_one(name: str) -> None:
    provider, scheme = SCHEMES[name]
    with pytest.raises(SignatureRefusedError, match=r"too old|more than 300 seconds off"):
        scheme.verify(*provider.sign(PAYLOAD, at=time.time() - 600))
