"""For gunicorn: ``gunicorn examples.human_approval.wsgi``."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.human_approval.settings")

application = get_wsgi_application()
