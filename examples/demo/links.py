"""Signed webhook links: only who was given one can complete its job.

A few lines by hand with a secret made for this run; signed tokens will come with the library.
"""

from __future__ import annotations

import hashlib
import hmac
import os


def webhook_url(job_id: str, attempt: int) -> str:
    """The address at which the render service reports on this attempt, and on no other."""
    return f"{os.environ['WEB_URL']}/webhooks/render/{job_id}/{attempt}/{_sign(job_id, attempt)}"


def check_signature(job_id: str, attempt: int, signature: str) -> None:
    """Raise PermissionError unless we made this link ourselves."""
    if not hmac.compare_digest(_sign(job_id, attempt).encode(), signature.encode()):
        message = "this is no link of ours"
        raise PermissionError(message)


def _sign(job_id: str, attempt: int) -> str:
    secret = os.environ["WEBHOOK_SECRET"].encode()
    return hmac.new(secret, f"render:{job_id}:{attempt}".encode(), hashlib.sha256).hexdigest()
