"""Django: the jobs on its own connection, their tables by ``manage.py migrate``.

Put ``celery_external.contrib.django`` into INSTALLED_APPS.
"""

from .task import DjangoExternalTask

__all__ = ["DjangoExternalTask"]
