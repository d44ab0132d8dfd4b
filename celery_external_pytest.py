"""The pytest plugin of celery-external: the fixture ``external_kit``.

pytest loads it wherever the package is installed, for tests of whatever. So it stands outside of
the package, which nobody imports who does not ask for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from celery import Celery

    from celery_external.testing import Kit


@pytest.fixture(scope="session")
def external_config() -> Mapping[str, Any]:
    """Redefine this fixture to give ``external_kit`` more settings of the app, or others."""
    return {}


@pytest.fixture
def external_kit(celery_app: Celery, external_config: Mapping[str, Any]) -> Iterator[Kit]:
    """The test kit of the app that the fixture ``celery_app`` gives, in memory for this test."""
    from celery_external.testing import in_memory  # noqa: PLC0415 - see above

    with in_memory(celery_app, **external_config) as kit:
        yield kit
