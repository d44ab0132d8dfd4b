"""A small Django project, for processes of its own: the test run itself has no Django settings."""

from .celeryapp import app

__all__ = ["app"]
