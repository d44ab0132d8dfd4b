"""A provider's call from end to end: signed, received, and the chain goes on."""

from __future__ import annotations

import json
from typing import Any

from celery import chain

from celery_external import Succeeded
from celery_external.signatures import StandardWebhooks
from celery_external.testing import FakeProvider, in_memory
from celery_external.webhooks import Provider, Receiver, Request, Response
from tests.kit.conftest import start
from tests.systems import System

SECRET = "whsec_c2VjcmV0"  # noqa: S105 - the test's own


def read(body: Any) -> Succeeded:
    return Succeeded(body["output"])


def test_a_signed_call_brings_the_chain_on(shop: System) -> None:
    render = shop.task("ask_bound")
    # Made with the app, long before the test.
    receiver = Receiver(
        shop.app,
        providers={
            "studio": Provider(
                task=render,
                scheme=StandardWebhooks(SECRET),
                reference=lambda body: body["id"],
                mapping=read,
            )
        },
    )

    def receive(headers: dict[str, str], body: bytes) -> Response:
        return receiver.receive_from("studio", Request("POST", headers, body))

    call = {"id": "ref-cat", "output": "a video"}
    with in_memory(shop.app) as kit:
        result = start(kit, chain(render.s("cat"), shop.task("wrap").s("end")))
        kit.assert_parked(render, reference="ref-cat")
        stranger = FakeProvider.standard_webhooks("whsec_c3RyYW5nZXI=")
        assert stranger.post(receive, call).status == 401
        provider = FakeProvider.standard_webhooks(SECRET)
        assert provider.post(receive, call, at=0).status == 401
        answers = [provider.post(receive, call) for _ in range(2)]
        assert [json.loads(answer.body)["status"] for answer in answers] == ["applied", "duplicate"]
        kit.drain()
        assert result.get(timeout=1) == ["end", "a video"]
