"""Which Celery app's jobs Django shows, and by which of its databases."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from celery import current_app
from django.db import connections

from celery_external.errors import OptionError, SettingsError
from celery_external.installation import Installation, installation_of
from celery_external.store.url import Address, address_of

from .database import alias_in

logger = logging.getLogger("celery_external")


def is_app_known() -> bool:
    """Whether the project has made an app of its own so far."""
    # Celery makes one up, by this name, where there is none.
    return current_app.main != "default"


def alias_of_jobs(of: Installation) -> str | None:
    """The alias in DATABASES by which Django itself reaches the jobs; None: by none."""
    url = of.settings.database_url
    if url.startswith("django:"):
        return alias_in(url)
    address = address_of(url)
    return next((alias for alias in connections if _address_in(alias) == address), None)


def find_alias() -> str | None:
    """The same of the project's app; None as well where there is none or its settings are wrong.

    The system check says why.
    """
    try:
        # Celery's own fix-up for Django makes the project's app the default one.
        return alias_of_jobs(installation_of())
    except (OptionError, SettingsError) as exc:
        logger.warning("Django shows no jobs: %s", exc)
        return None


def _address_in(alias: str) -> Address | None:
    conf: dict[str, Any] = connections[alias].settings_dict
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        return Address(vendor, "", "", str(Path(conf["NAME"]).absolute()))
    if vendor == "postgresql":
        return Address(vendor, conf["HOST"] or "", str(conf["PORT"] or 5432), str(conf["NAME"]))
    return None
