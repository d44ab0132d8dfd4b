"""Receivers as people write them in a hurry: each lacks one thing that ours has."""

from __future__ import annotations

import html
import json
import posixpath
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, unquote

from itsdangerous import Signer
from itsdangerous.encoding import base64_decode

from celery_external import tokens
from celery_external.errors import TokenRefusedError
from celery_external.tokens import Claims
from tests.adapters.site import VIDEOS_SECRET, Shop, sign
from tests.callers import KEY


@dataclass(frozen=True)
class Call:
    """A request, as a weak receiver sees it."""

    shop: Shop
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    #: Callers who have looked, and have not acted yet.
    together: threading.Barrier

    @property
    def token(self) -> str:
        """What the path ends with."""
        return self.path.removeprefix("/external/jobs/")

    @property
    def is_json(self) -> bool:
        """Whether it says so."""
        return self.headers.get("Content-Type") == "application/json"

    @property
    def user(self) -> str | None:
        """Whom the cookie says."""
        cookie = SimpleCookie(self.headers.get("Cookie", ""))
        return cookie["user"].value if "user" in cookie else None

    @property
    def typed(self) -> dict[str, str]:
        """A form."""
        return dict(parse_qsl(self.body.decode()))

    def claims(self) -> Claims:
        """What the token says, checked as it ought to be, but for what it says."""
        return tokens.verify([KEY], self.token)


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Weak = Callable[[Call], Answer]
MAX_BODY = 1 << 20


# --- Machines -------------------------------------------------------------------------------------


def careless(lacks: str) -> Weak:
    """A receiver that does what it ought to, but for one thing."""

    def receive(call: Call) -> Answer:
        claims = read_token(call, lacks)
        refusals: dict[str, Callable[[], bool]] = {
            "method": lambda: call.method != "POST",
            "type": lambda: call.method == "POST" and not call.is_json,
            "size": lambda: len(call.body) > MAX_BODY,
            "expiry": lambda: claims.expires_at <= time.time(),
            "namespace": lambda: claims.namespace != "default",
            "action": lambda: claims.action != "succeed",
        }
        if any(is_refused() for name, is_refused in refusals.items() if name != lacks):
            return Answer(400)
        said = json.loads(call.body or b"null")
        job_id = said["job"] if lacks == "job" else claims.job_id
        return answer_for(call, lacks, job_id, claims.attempt, said)

    receive.__name__ = f"lacks_{lacks}"
    return receive


def read_token(call: Call, lacks: str) -> Claims:
    """What a token says."""
    said, _, given = call.token.partition(".")
    if lacks == "path":
        path = posixpath.normpath(unquote(unquote(call.path)).partition(";")[0].replace("\0", ""))
        return tokens.verify([KEY], path.removeprefix("/external/jobs/"))
    if lacks == "whole signature":
        signer = Signer(
            [KEY], salt=b"celery-external.token", key_derivation="hmac", digest_method=sha256
        )
        # As a loop over what was given does.
        if not signer.get_signature(said).decode().startswith(given):
            raise TokenRefusedError
    elif lacks != "signature":
        return tokens.verify([KEY], call.token)
    return Claims(*json.loads(base64_decode(said)))


def answer_for(call: Call, lacks: str, job_id: str, attempt: int, said: Any) -> Answer:
    """Complete the job, or go on with the next step by hand."""
    if lacks in {"outcome", "guard"}:
        job = call.shop.get(job_id)
        if lacks == "guard" and job.kind is not None:
            return Answer(409)
        if lacks == "guard":
            # Both have looked, and none has acted.
            call.together.wait(20)
        options = {"labels": [f"next-{job.labels[-1]}"], "queue": "nobody's"}
        call.shop.approve.apply_async(("by hand",), **options)
        return Answer()
    by = call.headers.get("X-Remote-User") if lacks == "user" else call.user
    call.shop.external.signal_succeeded(
        job_id, said, attempt=None if lacks in {"attempt", "job"} else attempt, by=by
    )
    return Answer()


# --- Pages ----------------------------------------------------------------------------------------


def has_no_key(call: Call) -> Answer:
    if call.method == "GET":
        return Answer(body="<form><input type='hidden' name='key' value=''></form>")
    result = {"choice": call.typed["choice"]}
    call.shop.external.signal_succeeded(call.claims().job_id, result, by=call.user)
    return Answer()


def writes_what_it_has(call: Call) -> Answer:
    job = call.shop.get(call.claims().job_id)
    shown = "".join(f"<p>{key}: {value}</p>" for key, value in job.meta.items())
    return Answer(body=f"<p>{html.escape(job.task)}</p>{shown}")


def thanks_in_a_header(call: Call) -> Answer:
    if call.method == "GET":
        return Answer(body="<form><input type='hidden' name='key' value=''></form>")
    return Answer(headers={"X-Decided-By": call.typed.get("by", "")})


# --- Providers ------------------------------------------------------------------------------------


def asks_no_provider(call: Call) -> Answer:
    return _take_video(call)


def has_no_window(call: Call) -> Answer:
    moment = float(call.headers["webhook-timestamp"])
    if sign(call.body, at=moment)["webhook-signature"] != call.headers["webhook-signature"]:
        return Answer(401)
    return _take_video(call)


def signs_only_the_reference(call: Call) -> Answer:
    body = json.loads(call.body)
    signed = json.dumps({"id": body["id"], "status": "processing"}).encode()
    moment = float(call.headers["webhook-timestamp"])
    expected = sign(signed, secret=VIDEOS_SECRET, at=moment)
    if expected["webhook-signature"] != call.headers["webhook-signature"]:
        return Answer(401)
    return _take_video(call)


# --- What they have in common ---------------------------------------------------------------------


def _take_video(call: Call) -> Answer:
    body = json.loads(call.body)
    if body["status"] == "succeeded":
        (job,) = call.shop.external.find_jobs(reference=body["id"])
        call.shop.external.signal_succeeded(job, body["output"])
    return Answer()
