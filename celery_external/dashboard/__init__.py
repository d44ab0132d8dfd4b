"""The dashboard, without a framework: see the jobs, and decide them, in a browser.

``celery_external.contrib`` has it in Flask, Django and FastAPI; :func:`wsgi_app` and
:func:`asgi_app` serve it anywhere else, ``celery -A proj external dashboard`` alone.
"""

from __future__ import annotations

from .access import Access
from .asgi import asgi_app
from .exchange import Request, Response
from .site import Dashboard
from .wsgi import wsgi_app

__all__ = ["Access", "Dashboard", "Request", "Response", "asgi_app", "wsgi_app"]
