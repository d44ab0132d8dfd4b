"""docs/webhooks.md: its code runs, and is answered as it says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import stripe

from celery_external import get_external, webhooks
from celery_external.installation import installation_of
from celery_external.webhooks import Receiver
from tests.callers import JSON
from tests.markup import Page
from tests.processes import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "webhooks.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SERVERS = 'broker="redis://localhost:6379/0", backend="redis://localhost:6379/1"'
SECRETS = {
    "STRIPE_WEBHOOK_SECRET": "whsec_stripe",
    "GITHUB_SECRET": "github",
    "NEW_SECRET": "whsec_bmV3",
    "OLD_SECRET": "whsec_b2xk",
}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[dict[str, Any]]:
    """What the document's code defines, with a database and a broker of the test's."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    made: dict[str, Any] = {"__name__": "shop"}
    receivers: list[Receiver] = []
    for number, original in enumerate(CODE):
        # No server, and nothing that other tests' apps would see.
        code = original.replace(SERVERS, 'broker="memory://", set_as_current=False')
        code = code.replace("@app.task(", "@app.task(shared=False, ")
        exec(compile(code, f"docs/webhooks.md, block {number + 1}", "exec"), made)  # noqa: S102 - ours
        if number == 0:
            made["app"].conf.external_database_url = sqlite_url
        if made.get("receiver") not in (None, *receivers):
            receivers.append(made["receiver"])
    made["receivers"] = receivers
    with closing(made["app"]):
        yield made
    installation_of(made["app"]).database.dispose()


def call(shop: dict[str, Any], path: str, body: Any, headers: Any = JSON) -> tuple[int, Any]:
    """Send JSON to the document's last receiver."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, answer = shop["handle"]("POST", path, headers, io.BytesIO(data))
    return status, json.loads(answer)


def test_a_provider_that_signs(shop: dict[str, Any]) -> None:
    external = get_external(shop["app"])
    job = shop["pay"].apply_async(("o1",))
    token = external.token(job, "succeed")
    body = {"type": "payment_intent.succeeded"}
    body |= {"data": {"object": {"id": "pi_1", "amount_received": 5}}}  # type: ignore[dict-item]
    data = json.dumps(body).encode()
    sign: Any = stripe.WebhookSignature.generate_signature_header
    signed = {**JSON, "Stripe-Signature": sign(data.decode(), SECRETS["STRIPE_WEBHOOK_SECRET"])}
    assert call(shop, "/external/providers/stripe", data) == (401, {"error": "signature"})
    assert call(shop, "/external/providers/stripe", data, signed) == (200, {"status": "kept"})
    assert call(shop, f"/external/jobs/{token}", 1)[0] == 202


def test_a_mapping(shop: dict[str, Any]) -> None:
    external = get_external(shop["app"])
    job = shop["render"].apply_async(("a cat",))
    shop["receiver"] = shop["receivers"][0]
    path = f"/external/jobs/{external.token(job, 'decide')}"
    assert call(shop, path, {"status": "starting"}) == (200, {"status": "ignored"})
    assert call(shop, path, {"status": "processing"}) == (200, {"status": "applied"})
    assert call(shop, path, {"status": "canceled", "error": None})[0] == 202
    assert external.get_job(job).reason == "canceled"


def test_a_review(shop: dict[str, Any]) -> None:
    external = get_external(shop["app"])
    job = shop["review"].apply_async(("The sky is blue",))
    path = f"/external/jobs/{external.token(job, 'decide')}"
    _, _, page = shop["handle"]("GET", path, {}, io.BytesIO())
    assert [value for _, value in Page(page).buttons] == ["approve", "decline"]
    answer = {"choice": "approve", "stars": 5, "by": "bot"}
    assert f"`{json.dumps(answer)}`" in DOCUMENT
    assert call(shop, path, answer)[0] == 202
    assert external.get_job(job).result == {"choice": "approve", "stars": 5, "remark": ""}


def test_every_answer_stands_in_the_table() -> None:
    """Each status and word that the receiver's code has, but for those of providers."""
    package = REPOSITORY / "celery_external" / "webhooks"
    code = "".join(path.read_text() for path in sorted(package.glob("*.py")))
    found = set(re.findall(r"(?:Answer|RefusedError)\(\s*(\d{3}), \"(\w+)\"", code))
    assert len(found) > 12
    listed = set(
        re.findall(r"^\| (\d{3}) \| `{\"(?:status|error)\": \"(\w+)\"", DOCUMENT, re.MULTILINE)
    )
    assert found - listed == {("401", "signature"), ("200", "refused"), ("403", "form_key")}


def test_every_public_name_stands_there() -> None:
    names = webhooks.__all__
    assert names == sorted(names)
    assert [name for name in names if not re.search(rf"\b{name}\b", DOCUMENT)] == []
