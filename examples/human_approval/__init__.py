"""A newsroom in Django: a machine drafts articles, people approve those that it is not sure of."""

from .celeryapp import app as celery_app

__all__ = ["celery_app"]
