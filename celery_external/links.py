"""Links to a job: signed tokens, and callback URLs that carry them."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .checks import check_deadline, check_seconds
from .errors import SettingsError
from .job import Job
from .naming import JobLike, known_id, require_row

if TYPE_CHECKING:
    from .installation import Installation
    from .tokens import Action, Expires


def _attempt_of(installation: Installation, job: JobLike | tuple[str, int]) -> tuple[str, int]:
    if isinstance(job, tuple):
        return job
    if isinstance(job, Job):
        return job.id, job.attempt
    row = require_row(installation, installation.database, known_id(installation, job))
    return row["id"], row["attempt"]


def token(
    installation: Installation,
    job: JobLike | tuple[str, int],
    action: Action,
    expires: Expires = None,
) -> str:
    """A token that allows the action for one attempt of the job, or for the one that is given.

    Of a Job that is the one that it shows, otherwise the present one.
    """
    # Only who makes links needs itsdangerous.
    from . import tokens  # noqa: PLC0415

    job_id, attempt = _attempt_of(installation, job)
    claims = tokens.Claims(
        namespace=installation.namespace,
        job_id=job_id,
        attempt=attempt,
        action=tokens.check_action(action),
        expires_at=_expiry(tokens.DEFAULT_LIFETIME if expires is None else expires),
    )
    return tokens.sign(installation.settings.secret_keys, claims)


def callback_url(
    installation: Installation,
    job: JobLike | tuple[str, int],
    action: Action,
    expires: Expires = None,
) -> str:
    """Where the receiver takes such a token."""
    base_url = installation.settings.base_url
    if base_url is None:
        raise SettingsError(
            "external_base_url",
            "callback URLs need it: set it to where the receiver is, such as "
            "https://shop.example/external",
        )
    return f"{base_url}/jobs/{token(installation, job, action, expires)}"


def _expiry(expires: float | timedelta | datetime) -> int:
    if isinstance(expires, datetime):
        moment = check_deadline(expires, "expires")
        assert moment is not None  # noqa: S101 - it is a datetime
        return math.ceil(moment.timestamp())
    seconds = check_seconds("expires", expires)
    assert seconds is not None  # noqa: S101 - it is no None
    return math.ceil(time.time() + seconds)
