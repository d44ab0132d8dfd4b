"""Providers that call: their signature, their own ids, and what they are answered."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import stripe
from pydantic import BaseModel

from celery_external import Failed, OptionError, Progress, Succeeded, references
from celery_external.webhooks import HmacHeader, Provider, Request, Response, Stripe
from tests.callers import JSON, Callers

SECRET = "whsec_test"  # noqa: S105 - the tests'
APPLIED, REFUSED, IGNORED, KEPT, DUPLICATE = (
    (200, {"status": word}) for word in ("applied", "refused", "ignored", "kept", "duplicate")
)
PAID = {"type": "paid", "id": "pi_1", "amount": 5}


def read_event(body: Any) -> Any:
    """As a user writes one."""
    match body["type"]:
        case "paid":
            return Succeeded(body["amount"])
        case "failed":
            return Failed(body["reason"])
        case "pending":
            return Progress(message="pending")
        case "nonsense":
            return body
    return None


PAY = Provider("rows.ask", HmacHeader(SECRET), lambda body: body.get("id"), read_event)


class Caller:
    """A provider that calls."""

    def __init__(self, make: Callable[..., Callers], provider: Provider = PAY) -> None:
        self.callers = make(providers={"pay": provider})
        self.rows = self.callers.rows

    def parked(self, reference: str = "pi_1", **options: Any) -> str:
        job_id = self.rows.parked(**options)
        self.rows.write(job_id, reference=reference)
        return job_id

    def send(
        self, body: bytes, headers: Mapping[str, str] = JSON, *, secret: str = SECRET
    ) -> Response:
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        request = Request("POST", {**headers, "x-signature": signature}, body)
        return self.callers.receiver.receive_from("pay", request)

    def say(self, body: Any, **how: Any) -> tuple[int, Any]:
        response = self.send(json.dumps(body).encode(), **how)
        return response.status, json.loads(response.body)


@pytest.fixture
def caller(make_callers: Callable[..., Callers]) -> Caller:
    return Caller(make_callers)


# --- What is recorded is answered 200 -------------------------------------------------------------


def test_a_success_by_the_providers_own_id(caller: Caller) -> None:
    job_id = caller.parked()
    assert caller.say(PAID) == APPLIED
    job = caller.rows.external.get_job(job_id)
    assert (job.kind, job.result, job.completed_by) == ("succeeded", 5, "pay")
    assert caller.say(PAID) == DUPLICATE
    assert caller.rows.sent() == [(job_id, 1)]


def test_a_failure_and_progress(caller: Caller) -> None:
    job_id = caller.parked()
    assert caller.say({"type": "pending", "id": "pi_1"}) == APPLIED
    progress = caller.rows.external.get_job(job_id).progress
    assert progress is not None
    assert progress.message == "pending"
    assert caller.say({"type": "failed", "id": "pi_1", "reason": "poor"}) == APPLIED
    assert caller.rows.external.get_job(job_id).reason == "poor"


@pytest.mark.parametrize("body", [{"type": "created", "id": "pi_1"}, {"type": "paid"}])
def test_what_does_not_matter_is_ignored(caller: Caller, body: Any) -> None:
    job_id = caller.parked()
    assert caller.say(body) == IGNORED
    assert caller.rows.get(job_id)["kind"] is None


@pytest.mark.parametrize(("amount", "answer"), [(1, DUPLICATE), (5, REFUSED)])
def test_a_job_that_is_over(caller: Caller, amount: int, answer: Any) -> None:
    job_id = caller.rows.owed()
    caller.rows.write(job_id, reference="pi_1")
    assert caller.say({**PAID, "amount": amount}) == answer
    assert caller.rows.events(job_id)[1:] == (["refused"] if answer == REFUSED else [])


class Amount(BaseModel):
    """What the task declares."""

    cents: int


def test_a_result_of_another_type_is_refused_and_noted(caller: Caller) -> None:
    caller.callers.declare(result_type=Amount)
    job_id = caller.parked()
    assert caller.say(PAID) == REFUSED
    assert caller.rows.events(job_id) == ["refused"]
    assert caller.rows.get(job_id)["kind"] is None


def test_a_webhook_may_be_faster_than_the_trigger(caller: Caller) -> None:
    assert caller.say(PAID) == KEPT
    job_id = caller.parked()
    assert caller.rows.get(job_id)["kind"] is None
    # What the trigger's assignment does.
    references.claim(caller.rows.installation, "rows.ask", "pi_1")
    assert caller.rows.get(job_id)["completed_by"] == "pay"


# --- What is not ----------------------------------------------------------------------------------


def test_only_the_provider_may_call(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    job_id = caller.parked()
    before = caller.rows.get(job_id)
    answer = (401, {"error": "signature"})
    assert caller.say(PAID, secret="another") == answer  # noqa: S106 - the tests'
    # A signature over another body, or none, and whatever else may be wrong with the call.
    for body, headers in ((b"{}", {}), (b"{}", JSON), (b"{", {"X-Signature": "0" * 64})):
        request = Request("POST", headers, body)
        response = caller.callers.receiver.receive_from("pay", request)
        assert (response.status, json.loads(response.body)) == answer
    assert caller.callers.receiver.forged == 4
    assert caller.rows.get(job_id) == before
    assert caller.rows.history(job_id) == []
    assert "a call in the name of provider pay" in caplog.text
    assert SECRET not in caplog.text


def test_a_call_is_for_a_provider_that_is_known(caller: Caller) -> None:
    request = Request("POST", JSON, b"{}")
    assert caller.callers.receiver.receive_from("nobody", request).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_other_methods(caller: Caller, method: str) -> None:
    response = caller.callers.receiver.receive_from("pay", Request(method, {}))
    assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 422),
        (b'{"id": "pi_1", "id": "pi_2"}', JSON, 422),
        (b"id=pi_1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}" + b" " * (1 << 20), JSON, 413),
    ],
)
def test_what_cannot_be_read(caller: Caller, body: bytes, headers: Any, status: int) -> None:
    job_id = caller.parked()
    assert caller.send(body, headers).status == status
    assert caller.rows.get(job_id)["kind"] is None


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"type": "failed", "reason": "\x00"}, "must not contain NUL characters"),
        ({"id": ""}, "must have 1 to 255 characters"),
        ({"id": "x" * 256}, "must have 1 to 255 characters"),
        ({"amount": {"__type__": 1, "__value__": 2}}, "__type__ and __value__ are kombu's keys"),
    ],
    ids=["reason", "no reference", "long reference", "result"],
)
def test_what_can_never_be_kept_is_not_sent_again(
    caller: Caller, caplog: pytest.LogCaptureFixture, said: Any, problem: str
) -> None:
    job_id = caller.parked()
    assert caller.say({**PAID, **said}) == REFUSED
    assert caller.rows.get(job_id)["kind"] is None
    reference = said.get("id", "pi_1")[:255]
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert line.getMessage().startswith(
        f"Provider pay: what it says of {reference!r} is lost, because it can never be kept: "
        f"{problem}"
    )


class Broken:
    """A scheme with a bug."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Fail."""
        raise ZeroDivisionError(headers, body)


@pytest.mark.parametrize(
    ("provider", "body", "said"),
    [
        (Provider("rows.ask", Broken(), lambda _: "r", read_event), PAID, "ZeroDivisionError"),
        (Provider("rows.ask", PAY.scheme, lambda _: 5, read_event), PAID, "not int"),  # type: ignore[arg-type,return-value]
        (Provider("rows.ask", PAY.scheme, lambda b: b["x"], read_event), PAID, "KeyError"),
        (PAY, {"id": "pi_1"}, "KeyError"),
        (PAY, {"id": "pi_1", "type": "nonsense"}, "not dict"),
    ],
)
def test_a_bug_is_logged_and_not_shown(
    make_callers: Callable[..., Callers],
    caplog: pytest.LogCaptureFixture,
    provider: Provider,
    body: Any,
    said: str,
) -> None:
    caller = Caller(make_callers, provider)
    assert caller.say(body) == (500, {"error": "internal"})
    assert caplog.records[-1].getMessage().startswith("Provider pay: ")
    assert said in caplog.text


# --- What a provider is made of -------------------------------------------------------------------


def test_the_task_may_be_given_itself(make_callers: Callable[..., Callers]) -> None:
    callers = make_callers()
    assert Provider(callers.rows.task, PAY.scheme, str, read_event).task == "rows.ask"


@pytest.mark.parametrize(
    ("name", "given"),
    [("task", None), ("scheme", SECRET), ("reference", "id"), ("mapping", None)],
)
def test_what_cannot_be_used_is_refused_at_once(name: str, given: Any) -> None:
    good: dict[str, Any] = {
        "task": "t", "scheme": PAY.scheme, "reference": str, "mapping": read_event
    }  # fmt: skip
    with pytest.raises(OptionError, match=f"^{name}: "):
        Provider(**{**good, name: given})


def test_stripes_own_signature_is_taken(make_callers: Callable[..., Callers]) -> None:
    provider = Provider("rows.ask", Stripe(SECRET), lambda body: body["id"], read_event)
    caller = Caller(make_callers, provider)
    job_id = caller.parked()
    body = json.dumps(PAID)
    sign: Any = stripe.WebhookSignature.generate_signature_header
    headers = {**JSON, "Stripe-Signature": sign(body, SECRET)}
    request = Request("POST", headers, body.encode())
    assert caller.callers.receiver.receive_from("pay", request).status == 200
    assert caller.rows.get(job_id)["kind"] == "succeeded"
