"""The Django project, as web servers and ``celery -A`` take it."""

from __future__ import annotations

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from tests.django.project.celeryapp import app

__all__ = ["app", "asgi", "wsgi"]

wsgi = get_wsgi_application()
asgi = get_asgi_application()
