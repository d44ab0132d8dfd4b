"""A shop and its manager."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from celery_external import signal_succeeded
from tests.django.project.shop.models import Order
from tests.django.project.shop.tasks import ask


@csrf_exempt  # type: ignore[untyped-decorator]
def order(request: Any, name: str) -> HttpResponse:
    """Somebody orders; with ``?fail`` something goes wrong after all was done."""
    made = Order.objects.create(name=name)
    made.job_id = ask.delay(name).id
    made.save()
    if "fail" in request.GET:
        raise ValueError(name)
    return HttpResponse(made.job_id)


@csrf_exempt  # type: ignore[untyped-decorator]
def approve(request: Any, name: str) -> HttpResponse:
    """The manager approves likewise."""
    made = Order.objects.get(name=name)
    receipt = signal_succeeded(made.job_id, {"name": name}, using="default")
    made.delete()
    if "fail" in request.GET:
        raise ValueError(name)
    return HttpResponse(receipt.status)
