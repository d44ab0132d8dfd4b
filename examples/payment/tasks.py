"""The tasks: a payment, what it pays for, and a refund for who paid too late."""

from __future__ import annotations

import logging
import os
from typing import Any

import stripe
from celery import chain
from celery.result import AsyncResult

from celery_external import ExternalTask, Failed, Job, Succeeded, current_job

from .celeryapp import app

log = logging.getLogger(__name__)


def connect() -> stripe.StripeClient:
    """Stripe's own client; STRIPE_API_URL is for a stand-in."""
    return stripe.StripeClient(
        os.environ["STRIPE_API_KEY"],
        base_addresses={"api": os.environ.get("STRIPE_API_URL", "https://api.stripe.com")},
        max_network_retries=0,  # to try again is Celery's
    )


@app.task(
    base=ExternalTask,
    labels=("payment",),
    timeout=30 * 60,
    autoretry_for=(stripe.APIConnectionError,),
    retry_backoff=True,
)
def pay(order_id: str, cents: int) -> None:
    """Make a checkout session. The result, what was paid, comes to the receiver in web.py."""
    shop = os.environ["SHOP_URL"]
    session = connect().v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": "eur",
                        "unit_amount": cents,
                        "product_data": {"name": order_id},
                    },
                }
            ],
            "success_url": f"{shop}/orders/{order_id}",
            "client_reference_id": order_id,
        },
        # However often this runs, after a crash or for a rerun: one session, to be paid once.
        {"idempotency_key": current_job.id},
    )
    current_job.meta["order"] = order_id
    current_job.meta["checkout_url"] = session.url
    # What the webhook will name. If it has been faster than this line, it counts now.
    current_job.reference = session.id


@pay.late_signal
def give_back(job: Job, outcome: Succeeded | Failed) -> None:
    """Refund what was paid too late. It is called once at least, hence the key."""
    intent = outcome.result["payment_intent"] if isinstance(outcome, Succeeded) else None
    if intent is None:
        return  # nothing was paid
    if job.kind == "succeeded" and job.result["payment_intent"] == intent:
        return  # what counts stays
    refund = connect().v1.refunds.create(
        {"payment_intent": intent, "metadata": {"job": job.id}},
        {"idempotency_key": f"refund-{intent}"},
    )
    log.warning("%s was paid too late: refund %s", job.meta["order"], refund.id)


@app.task
def ship(payment: dict[str, Any], order_id: str) -> str:
    """What was paid for."""
    return f"{order_id} is on its way, {payment['amount'] / 100:.2f} {payment['currency']} paid"


def buy(order_id: str, cents: int, **options: Any) -> AsyncResult[str]:
    """Have an order paid and shipped; ``options`` are of the payment, such as its timeout."""
    return chain(pay.s(order_id, cents).set(**options), ship.s(order_id)).apply_async()
