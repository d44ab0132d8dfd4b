"""Stands for Stripe: as much of its API as Stripe's own library needs here, and signed events.

For the show and the tests; nothing of it goes into a product.
"""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import uuid4

import httpx
from flask import Flask, abort, request
from flask.typing import ResponseReturnValue

from celery_external.testing import FakeProvider


class FakeStripe:
    """Stripe's memory."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.refunds_asked_for = 0
        #: How many answers get lost on their way, with the work done.
        self.answers_to_lose = 0
        self._answers: dict[str, dict[str, Any]] = {}

    def once(self, key: str, made: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The answer to the first request with this idempotency key, and whether that is this."""
        is_new = key not in self._answers
        return self._answers.setdefault(key, made), is_new

    def pay(self, session_id: str) -> dict[str, Any]:
        """A customer pays; returns the event."""
        session = self.sessions[session_id]
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": _id("pi")}
        return {
            "id": _id("evt"),
            "object": "event",
            "created": int(time.time()),
            "type": "checkout.session.completed",
            "data": {"object": dict(session)},
        }


def create_app(fake: FakeStripe | None = None) -> Flask:
    """The API, and a page on which customers pay."""
    fake = fake or FakeStripe()
    web = Flask(__name__)

    @web.before_request
    def check_key() -> None:
        key = f"Bearer {os.environ['STRIPE_API_KEY']}"
        if request.path.startswith("/v1/") and request.headers.get("Authorization") != key:
            abort(401)

    @web.post("/v1/checkout/sessions")
    def create_session() -> ResponseReturnValue:
        number = _id("cs")
        price = "line_items[0][price_data]"
        session, _ = fake.once(
            request.headers["Idempotency-Key"],
            {
                "id": number,
                "object": "checkout.session",
                "url": f"{request.host_url}pay/{number}",
                "status": "open",
                "payment_status": "unpaid",
                "payment_intent": None,
                "amount_total": int(request.form[f"{price}[unit_amount]"]),
                "currency": request.form[f"{price}[currency]"],
                "client_reference_id": request.form["client_reference_id"],
            },
        )
        fake.sessions[session["id"]] = session
        return session

    @web.post("/v1/refunds")
    def create_refund() -> ResponseReturnValue:
        fake.refunds_asked_for += 1
        intent = request.form["payment_intent"]
        made = {"id": _id("re"), "object": "refund", "payment_intent": intent}
        refund, is_new = fake.once(request.headers["Idempotency-Key"], made)
        if is_new:
            fake.refunds.append(refund)
        if fake.answers_to_lose:
            fake.answers_to_lose -= 1
            abort(503)
        return refund

    @web.get("/v1/refunds")
    def list_refunds() -> ResponseReturnValue:
        return {"object": "list", "url": "/v1/refunds", "has_more": False, "data": fake.refunds}

    @web.post("/pay/<session_id>")
    def pay(session_id: str) -> ResponseReturnValue:
        # Stripe delivers at least once; here it is twice.
        signed = FakeProvider.stripe(os.environ["STRIPE_WEBHOOK_SECRET"]).sign(fake.pay(session_id))
        answers = [_tell(*signed) for _ in range(2)]
        return {"answers": answers}

    return web


def _tell(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    url = os.environ["STRIPE_WEBHOOK_URL"]
    answer: dict[str, Any] = httpx.post(url, headers=headers, content=body).json()
    return answer


def _id(kind: str) -> str:
    return f"{kind}_{uuid4().hex}"
