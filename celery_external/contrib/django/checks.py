"""Django's system check: whether the admin can show the jobs, and what to do if not."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core import checks

from celery_external.errors import OptionError, SettingsError
from celery_external.installation import installation_of

from .jobs import alias_of_jobs, is_app_known

_NO_APP = (
    "Make the project's app as Celery's \"First steps with Django\" has it, and import it in the "
    "project's __init__.py. Of several, app.set_default() says which is meant."
)
_NO_ALIAS = (
    "Add their database to DATABASES and set CELERY_EXTERNAL_DATABASE_URL = "
    '"django://<its alias>". (If it is there already under an alias: a URL of another kind must '
    "spell host, port and name as DATABASES does.)"
)


def check_admin(app_configs: Any = None, **_options: Any) -> list[checks.CheckMessage]:
    """Say why the admin shows no jobs, where it does not. Nothing else stands still for that."""
    is_asked = app_configs is None or apps.get_app_config("celery_external") in app_configs
    if not is_asked or not apps.is_installed("django.contrib.admin"):
        return []
    found = _find_problem()
    return [found] if found else []


def _find_problem() -> checks.CheckMessage | None:
    if not is_app_known():
        return _warning("W002", "no Celery app is there as Django starts", _NO_APP)
    try:
        of = installation_of()
        is_reached = alias_of_jobs(of) is not None
    except SettingsError as exc:
        return checks.Error(str(exc), id="celery_external.E001")
    except OptionError as exc:
        return _warning("W002", str(exc), _NO_APP)
    if is_reached:
        return None
    where = f"they are in {of.database_name}, which is not in DATABASES"
    return _warning("W001", where, _NO_ALIAS)


def _warning(number: str, problem: str, hint: str) -> checks.CheckMessage:
    text = f"The admin does not show the jobs of celery-external: {problem}."
    return checks.Warning(text, hint=hint, id=f"celery_external.{number}")
