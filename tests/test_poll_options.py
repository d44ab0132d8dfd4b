"""The options of a task that is polled are checked where it is defined."""

from __future__ import annotations

from typing import Any

import pytest

from celery_external import ExternalTask, OptionError
from tests.rows import Rows, ask

POSITIVE = "must be more than 0 and at most 100 years, not 0"
WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no seconds": ({"poll_interval": "5"}, "poll_interval: must be a number of seconds, not '5'"),
    "no time": ({"poll_interval": 0}, f"poll_interval: {POSITIVE}"),
    "no limit": ({"poll_interval": 5, "poll_interval_max": 0}, f"poll_interval_max: {POSITIVE}"),
    "less": (
        {"poll_interval": 5, "poll_interval_max": 4},
        "poll_interval_max: must not be less than poll_interval, 5: 4",
    ),
    **{
        f"backoff {backoff}": (
            {"poll_interval": 5, "poll_backoff": backoff},
            f"poll_backoff: must be a number from 1 to 1000, not {backoff!r}",
        )
        for backoff in (0.5, 2000, "2", True, None, float("nan"))
    },
}


@pytest.mark.parametrize("wrong", WRONG_OPTIONS)
def test_wrong_options_are_refused_where_the_task_is_defined(rows: Rows, wrong: str) -> None:
    options, problem = WRONG_OPTIONS[wrong]
    make: Any = rows.app.task(base=ExternalTask, name="rows.wrong", shared=False, **options)
    with pytest.raises(OptionError) as caught:
        make(ask).name  # noqa: B018 - tasks are made when they are first used
    assert str(caught.value) == problem


def test_a_class_with_an_interval_needs_a_poller() -> None:
    with pytest.raises(OptionError) as caught:

        class Silent(ExternalTask):
            poll_interval = 5

            def run(self) -> None:
                """Park."""

    assert str(caught.value) == "poll_interval: needs a poller: define poll(self, jobs)"


@pytest.mark.parametrize("option", ["poll_interval", "poll_backoff", "poll_interval_max"])
def test_they_are_the_tasks_and_not_one_calls(rows: Rows, option: str) -> None:
    step = rows.task.s().set(**{option: 5})
    for start in (lambda: rows.task.apply_async(**{option: 5}), step.apply_async):
        with pytest.raises(OptionError) as caught:
            start()
        assert str(caught.value) == f"{option}: is an option of the task, not of one call"
    assert rows.count() == 0
