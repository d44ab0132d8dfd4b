"""The web app: where Stripe's events come in."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from celery_external import Failed, Succeeded
from celery_external.contrib.flask import CeleryExternal
from celery_external.webhooks import Provider, Receiver, Stripe

from .celeryapp import app
from .tasks import pay


def create_app() -> Flask:
    """Answers at /external/providers/stripe, to whom knows STRIPE_WEBHOOK_SECRET."""
    receiver = Receiver(
        app,
        providers={
            "stripe": Provider(
                task=pay,
                scheme=Stripe(os.environ["STRIPE_WEBHOOK_SECRET"]),
                reference=session_of,
                mapping=read_event,
            ),
        },
    )
    web = Flask(__name__)
    CeleryExternal(web, receiver)
    return web


def session_of(event: dict[str, Any]) -> str | None:
    """The checkout session that an event is about; None: it is about something else."""
    is_session = event["type"].startswith("checkout.session.")
    return event["data"]["object"]["id"] if is_session else None


def read_event(event: dict[str, Any]) -> Succeeded | Failed | None:
    """What an event says of its session. The same event again must say exactly the same."""
    session = event["data"]["object"]
    match event["type"]:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            if session["payment_status"] == "unpaid":
                return None  # a bank is slow: the word comes later
            names = ("payment_intent", "currency")
            return Succeeded(
                {"amount": session["amount_total"], **{name: session[name] for name in names}}
            )
        case "checkout.session.async_payment_failed":
            return Failed("the bank refused the payment")
        case "checkout.session.expired":
            return Failed("the customer did not pay")
    return None
