"""The webhook receiver, without a framework: headers and body in, a response out.

``celery_external.contrib`` has it in Flask, Django and FastAPI.
"""

from __future__ import annotations

from celery_external.signatures import HmacHeader, Scheme, StandardWebhooks, Stripe

from .exchange import Request, Response
from .providers import Provider
from .receiver import Receiver

__all__ = [
    "HmacHeader",
    "Provider",
    "Receiver",
    "Request",
    "Response",
    "Scheme",
    "StandardWebhooks",
    "Stripe",
]
