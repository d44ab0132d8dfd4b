"""``python -m examples.payment``: an order paid in time, one too late, and a thief, all checked."""

from __future__ import annotations

import os
import secrets
import sys
from http import HTTPStatus

import httpx
from celery.result import AsyncResult

from examples.stage import Stage, check, play


def main() -> int:
    """Start everything, buy, pay, look at it, stop everything."""
    with play("payment") as stage:
        stripe_url, web_url = stage.reserve("stripe"), stage.reserve("web")
        os.environ.update(
            STRIPE_API_URL=stripe_url,
            STRIPE_API_KEY=f"sk_test_{secrets.token_hex()}",
            STRIPE_WEBHOOK_SECRET=f"whsec_{secrets.token_hex()}",
            STRIPE_WEBHOOK_URL=f"{web_url}/external/providers/stripe",
            SHOP_URL=web_url,
        )
        stage.serve("stripe", "examples.payment.fake_stripe:create_app()")
        stage.serve("web", "examples.payment.web:create_app()")
        stage.start_celery("examples.payment.celeryapp")
        pay_in_time(stage)
        pay_too_late(stage)
        steal()
    return 0


def pay_in_time(stage: Stage) -> None:
    """The customer pays; Stripe says so twice, and it counts once."""
    from .tasks import buy  # noqa: PLC0415 - only now: the app reads the environment

    result = buy("A mug", 1250)
    answers = pay(checkout_url(stage, result))
    print(f"paid: Stripe's event was {answers[0]}, and once more {answers[1]}")
    check(answers == ["applied", "duplicate"], "the event to count once")
    print("shipped:", result.get(timeout=30))
    check(result.get() == "A mug is on its way, 12.50 eur paid", "the mug to be shipped")


def pay_too_late(stage: Stage) -> None:
    """The customer pays when the order is off: nothing is shipped, and the money goes back."""
    from .tasks import buy, connect  # noqa: PLC0415

    result = buy("A hat", 4900, timeout=1)
    url = checkout_url(stage, result)
    stage.wait(result.ready, "the order to time out")
    print(f"not paid: {result.result!r}")
    answers = pay(url)
    print(f"paid too late: Stripe's event was {answers[0]}, and once more {answers[1]}")
    check(answers == ["refused", "refused"], "the event to come too late")
    refunds = stage.wait(lambda: connect().v1.refunds.list().data, "a refund")
    check(len(refunds) == 1, "one refund")
    check(not result.successful(), "nothing to be shipped")
    print(f"refunded: {len(refunds)} time, nothing shipped")


def steal() -> None:
    """Somebody else says that something was paid."""
    event = {"type": "checkout.session.completed", "data": {"object": {"id": "cs_1"}}}
    answer = httpx.post(os.environ["STRIPE_WEBHOOK_URL"], json=event)
    print(f"without a signature: {answer.status_code} {answer.json()['error']}")
    check(answer.status_code == HTTPStatus.UNAUTHORIZED, "the thief to be refused")


def checkout_url(stage: Stage, result: AsyncResult[str]) -> str:
    """Where the shop sends its customer; it is in the job's meta as soon as the job is parked."""
    from celery_external import get_job  # noqa: PLC0415

    from .celeryapp import app  # noqa: PLC0415

    # Celery's rule: a chain's result is its last step's, and the others stand behind it.
    payment = str(result.as_list()[-1])

    def look() -> str | None:
        job = get_job(payment, app=app)
        return job.meta.get("checkout_url") if job.parked_at else None

    return str(stage.wait(look, "the checkout page"))


def pay(url: str) -> list[str]:
    """What a customer does there; returns what the shop answered to Stripe."""
    answers = httpx.post(url, timeout=30).raise_for_status().json()["answers"]
    return [answer["status"] for answer in answers]


if __name__ == "__main__":
    sys.exit(main())
