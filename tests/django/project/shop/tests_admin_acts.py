"""Jobs in Django's admin, decided: by whom, of which attempt, in whose transaction."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client, TestCase, TransactionTestCase

from celery_external import (
    Job,
    cancel_job,
    get_job,
    rerun_job,
    signal_failed,
    signal_succeeded,
)
from celery_external.contrib.django.admin.asking import MAX_TARGETS
from celery_external.contrib.django.admin.report import MAX_NAMED
from tests.django.project.shop.tasks import ask, judge, measure
from tests.django.project.shop.tests import sent
from tests.django.project.shop.tests_admin import LIST, fill, update

RIGHTS = {
    "approve": "decide_job",
    "decline": "decide_job",
    "cancel": "cancel_job",
    "rerun": "rerun_job",
    "extend": "extend_job",
}
ACTIONS = {name: f"{name}_jobs" for name in RIGHTS}


def log_in(client: Client, *rights: str, name: str = "alice") -> User:
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    return user


def page_of(name: str, job: Any = None, attempt: int = 1) -> str:
    """Where an act is asked about."""
    return f"{LIST}act/{name}/" + (f"?job={job.id}&attempt={attempt}" if job else "")


def form_in(response: Any) -> dict[str, Any]:
    """What the page sends as it is shown."""
    assert response.status_code == 200, response
    fields = [field for form in response.context["forms"] for field in form]
    return {field.html_name: field.value() or "" for field in fields}


def said_in(response: Any) -> list[str]:
    """The messages, each as a text."""
    return [str(one) for one in get_messages(response.wsgi_request)]


class Acting(TestCase):  # type: ignore[misc]  # Django has no types
    """By somebody who may do everything."""

    def setUp(self) -> None:
        self.user = log_in(self.client, "view_job", *RIGHTS.values())

    def act(self, name: str, job: Any, attempt: int = 1, **typed: Any) -> Any:
        """Open the page of an act and send its form."""
        shown = form_in(self.client.get(page_of(name, job, attempt)))
        said = {f"celery-external-{field}": value for field, value in typed.items()}
        return self.client.post(page_of(name), {**shown, **said})

    def select(self, name: str, *jobs: Any, **more: Any) -> Any:
        """Choose an action for jobs in the list."""
        data = {"action": ACTIONS[name], "_selected_action": [job.id for job in jobs], **more}
        return self.client.post(LIST, data)

    def log(self) -> list[tuple[str, str]]:
        """What the admin's own log has, oldest first."""
        found = LogEntry.objects.filter(user=self.user).order_by("pk")
        return [(one.object_id, one.change_message) for one in found]

    def test_approve(self) -> None:
        job = ask.delay("cup")
        response = self.act("approve", job, reason="fine", result='{"name": "cup"}')
        assert (response.status_code, response.url) == (302, f"{LIST}{job.id}/change/")
        assert said_in(response) == ["1 job was approved."]
        found = get_job(job)
        assert (found.kind, found.result) == ("succeeded", {"name": "cup"})
        assert [(one.event, one.by, one.reason) for one in found.history] == [
            ("succeeded", "alice", "fine")
        ]
        assert self.log() == [(job.id, "Approved (attempt 1). Reason: fine")]
        history = self.client.get(f"{LIST}{job.id}/history/").content.decode()
        assert "Approved (attempt 1). Reason: fine" in history

    def test_approve_without_words(self) -> None:
        job = ask.delay()
        self.act("approve", job)
        found = get_job(job)
        assert (found.kind, found.result, found.history[0].reason) == ("succeeded", None, None)
        assert self.log() == [(job.id, "Approved (attempt 1).")]

    def test_decline_needs_a_reason(self) -> None:
        job = ask.delay()
        response = self.act("decline", job)
        assert response.status_code == 200
        assert "This field is required." in response.content.decode()
        assert get_job(job).kind is None
        response = self.act("decline", job, reason="too dear")
        assert said_in(response) == ["1 job was declined."]
        found = get_job(job)
        assert (found.kind, found.reason, found.completed_by) == ("failed", "too dear", "alice")

    def test_cancel(self) -> None:
        job = ask.delay()
        self.act("cancel", job, reason="no need")
        found = get_job(job)
        assert (found.state, found.reason, found.completed_by) == ("REVOKED", "no need", "alice")

    def test_rerun(self) -> None:
        job = ask.delay()
        cancel_job(job)
        response = self.act("rerun", job, reason="once more")
        assert said_in(response) == ["1 job was started again."]
        found = get_job(job)
        assert (found.state, found.attempt) == ("PENDING", 2)
        last = found.history[-1]
        assert (last.event, last.by, last.reason) == ("rerun", "alice", "once more")
        assert self.log() == [(job.id, "Started again (attempt 1). Reason: once more")]

    def test_extend(self) -> None:
        job = ask.apply_async(timeout=60)
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({}, "Say either for how many hours, or until when."),
            ({"hours": "1", "until": "2040-07-01T14:30"}, "Say either for how many hours"),
            ({"hours": "0"}, "greater than or equal to 0.001"),
            ({"hours": "nan"}, "Enter a number."),
            ({"until": "tomorrow"}, "Enter a valid date/time."),
        )
        for typed, words in wrong:
            response = self.act("extend", job, **typed)
            assert words in response.content.decode(), typed
        self.act("extend", job, until="2040-07-01T14:30:00")
        # Of Django's own zone.
        is_utc = settings.TIME_ZONE == "UTC"
        deadline = get_job(job).deadline
        assert deadline is not None
        if is_utc:
            assert deadline == datetime(2040, 7, 1, 14, 30, tzinfo=UTC)
        assert deadline.astimezone().replace(tzinfo=None) == datetime(2040, 7, 1, 14, 30)  # noqa: DTZ001
        self.act("extend", job, hours="2.5", reason="on holiday")
        found = get_job(job)
        assert found.deadline is not None
        left = found.deadline - datetime.now(UTC)
        assert timedelta(hours=2, minutes=29) < left < timedelta(hours=2, minutes=31)
        last = found.history[-1]
        assert (last.event, last.by, last.reason) == ("extended", "alice", "on holiday")

    def test_a_result_that_is_none(self) -> None:
        job, kind = ask.delay(), measure.delay()
        response = self.act("approve", job, result="{")
        assert "This is not JSON" in response.content.decode()
        # What the task's result_type refuses may be typed anew.
        response = self.act("approve", kind, result='{"stars": 9}')
        assert "the result is not of the type that" in response.content.decode()
        assert (get_job(job).kind, get_job(kind).kind) == (None, None)
        self.act("approve", kind, result='{"note": "x", "stars": 4}')
        assert get_job(kind).result == {"note": "x", "stars": 4}

    def test_a_get_changes_nothing(self) -> None:
        job = ask.delay()
        for name in RIGHTS:
            page = self.client.get(page_of(name, job))
            assert page.status_code == 200
            self.client.get(page_of(name), form_in(page))
        assert get_job(job).history == ()

    # --- Attempts ---

    def test_it_counts_for_the_attempt_that_was_shown(self) -> None:
        for name in RIGHTS:
            job = ask.delay("cup")
            cancel_job(job)
            page = self.client.get(page_of(name, job))
            typed = {"celery-external-reason": "x"}
            if name == "extend":
                typed["celery-external-hours"] = "1"
            rerun_job(job)
            response = self.client.post(page_of(name), {**form_in(page), **typed})
            (said,) = said_in(response)
            assert said == (f"Job {job.id}: attempt 1 was named, but attempt 2 is the open one"), (
                name
            )
            found = get_job(job)
            assert (found.state, found.attempt, found.kind) == ("PENDING", 2, None), name
            assert (found.history[-1].event, found.history[-1].by) == ("refused", "alice")
        assert self.log() == []

    def test_a_link_to_an_attempt_that_is_over(self) -> None:
        job = ask.delay()
        cancel_job(job)
        rerun_job(job)
        response = self.client.get(page_of("approve", job, 1))
        assert response.url == f"{LIST}{job.id}/change/"
        assert "is at attempt 2 by now" in said_in(response)[0]

    def test_whoever_comes_second_is_told(self) -> None:
        job = ask.delay()
        page, other = (self.client.get(page_of("approve", job)) for _ in range(2))
        signal_failed(job, "no", by="bob")
        response = self.client.post(page_of("approve"), form_in(page))
        assert "cannot be completed: it was already failed by bob" in said_in(response)[0]
        job = ask.delay()
        page, other = (self.client.get(page_of("approve", job)) for _ in range(2))
        self.client.post(page_of("approve"), form_in(page))
        response = self.client.post(page_of("approve"), form_in(other))
        assert said_in(response)[-1] == "1 job was approved before, with the same words."
        assert len(self.log()) == 1

    # --- Several ---

    def test_a_selection(self) -> None:
        jobs = [ask.delay(str(number)) for number in range(4)]
        page = self.select("decline", *jobs)
        assert "Decline 4 jobs" in page.content.decode()
        signal_succeeded(jobs[1], by="bob")
        cancel_job(jobs[2])
        rerun_job(jobs[2])
        response = self.client.post(
            page_of("decline"), {**form_in(page), "celery-external-reason": "too dear"}
        )
        assert response.url == LIST
        said = said_in(response)
        assert said[0] == "2 jobs were declined."
        stale = f"Job {jobs[2].id}: attempt 1 was named, but attempt 2 is the open one"
        assert sorted(said[1:]) == sorted([get_refusal(jobs[1]), stale])
        kinds = [get_job(job).kind for job in jobs]
        assert kinds == ["failed", "succeeded", None, "failed"]
        assert {job_id for job_id, _ in self.log()} == {jobs[0].id, jobs[3].id}

    def test_everything_that_the_list_has(self) -> None:
        jobs = [ask.apply_async(labels=("these",)) for _ in range(60)]
        other = ask.delay()
        page = self.client.post(
            f"{LIST}?q=these",
            {"action": "cancel_jobs", "_selected_action": [jobs[0].id], "select_across": "1"},
        )
        response = self.client.post(
            page_of("cancel") + "?_changelist_filters=q%3Dthese", form_in(page)
        )
        assert said_in(response) == ["60 jobs were cancelled."]
        # Back to where the list was.
        assert response.url == f"{LIST}?q=these"
        assert {get_job(job).kind for job in jobs} == {"cancelled"}
        assert get_job(other).kind is None

    def test_too_many(self) -> None:
        job = ask.delay()
        fill(job, MAX_TARGETS)
        response = self.select("cancel", job, select_across="1")
        assert said_in(response) == [f"Select at most {MAX_TARGETS:,} jobs; nothing was done."]
        ids = json.dumps([[f"copy-{number}", 1] for number in range(MAX_TARGETS + 1)])
        response = self.client.post(page_of("cancel"), {"celery-external-targets": ids})
        assert said_in(response)[-1].endswith("nothing was done.")
        assert get_job(job).kind is None

    def test_many_refusals_are_counted(self) -> None:
        jobs = [ask.delay() for _ in range(MAX_NAMED + 2)]
        page = self.select("cancel", *jobs)
        for job in jobs:
            signal_succeeded(job)
        response = self.client.post(page_of("cancel"), form_in(page))
        said = said_in(response)
        assert (len(said), said[-1]) == (MAX_NAMED + 1, "2 jobs were refused likewise.")

    def test_what_is_no_selection(self) -> None:
        job = ask.delay()
        for targets in (
            "", "x", "[]", "{}", "[[1, 1]]", f'[["{job.id}"]]', f'[["{job.id}", "1"]]',
            f'[["{job.id}", true]]', '[["\\u0000", 1]]', "[" * 5000, '[["nobody", 1]]',
        ):  # fmt: skip
            response = self.client.post(page_of("cancel"), {"celery-external-targets": targets})
            assert response.url == LIST, targets
            assert said_in(response)[-1].startswith("There "), targets
        too_large = f'[["{job.id}", {1 << 40}]]'
        response = self.client.post(page_of("cancel"), {"celery-external-targets": too_large})
        assert said_in(response)[-1].startswith("attempt: must be a number")
        for query in (
            "",
            "?job=x",
            f"?job={job.id}",
            f"?job={job.id}&attempt=x",
            "?job=%00&attempt=1",
        ):
            assert self.client.get(page_of("cancel") + query).url == LIST
        assert self.client.get(page_of("nothing", job)).status_code == 404
        assert get_job(job).kind is None

    # --- What a task asks ---

    def test_a_question(self) -> None:
        job = judge.delay("cup")
        page = self.client.get(page_of("approve", job))
        text = page.content.decode()
        for words in (
            'value="good"', 'value="bad"', 'name="note"', 'maxlength="20"',
            'name="stars" value="3"', "In a few &lt;words&gt;.",
        ):  # fmt: skip
            assert words in text, words
        # What it returns is the answer, and nothing that is typed beside it.
        assert "celery-external-result" not in text
        shown = form_in(page)
        for typed, problem in (
            ({"choice": "good", "note": ""}, None),
            ({"choice": "good", "note": "x" * 21}, "String should have at most 20 characters"),
            ({"choice": "good", "note": "x", "stars": "9"}, "less than or equal to 5"),
            ({"choice": "best", "note": "x"}, "choice: must be one of good, bad"),
            ({"note": "x"}, "choice: must be one of good, bad"),
        ):
            response = self.client.post(page_of("approve"), {**shown, **typed})
            assert response.status_code == 200
            assert problem is None or problem in response.content.decode(), typed
            assert get_job(job).kind is None
        answer = {"choice": "bad", "note": "<dull>", "stars": "1", "celery-external-reason": "why"}
        response = self.client.post(page_of("approve"), {**shown, **answer})
        assert said_in(response) == ["1 job was approved."]
        found = get_job(job)
        assert found.result == {"choice": "bad", "note": "<dull>", "stars": 1}
        assert found.history[0].reason == "why"

    def test_a_question_is_answered_alone(self) -> None:
        one, asked, other = ask.delay(), judge.delay("cup"), ask.delay()
        page = self.select("approve", one, asked, other)
        assert "its task asks a question" in page.content.decode()
        response = self.client.post(page_of("approve"), form_in(page))
        assert said_in(response)[-1] == "2 jobs were approved."
        # Nor by whoever makes up the form.
        made_up = json.dumps([[asked.id, 1], [judge.delay("x").id, 1]])
        response = self.client.post(page_of("approve"), {"celery-external-targets": made_up})
        assert response.status_code == 302
        assert get_job(asked).kind is None
        # It can be declined with the others.
        page = self.select("decline", asked, ask.delay())
        self.client.post(page_of("decline"), {**form_in(page), "celery-external-reason": "no"})
        assert get_job(asked).kind == "failed"

    def test_a_task_that_is_not_known_here(self) -> None:
        job = ask.delay()
        update(job, "task = 'elsewhere.ask'")
        response = self.client.get(page_of("approve", job))
        assert "does not know what its task asks" in said_in(response)[0]
        page = self.client.get(page_of("decline", job))
        self.client.post(page_of("decline"), {**form_in(page), "celery-external-reason": "no"})
        assert get_job(job).kind == "failed"


def get_refusal(job: Any) -> str:
    """What whoever fails a job that is over is told."""
    with pytest.raises(Exception, match="already succeeded") as raised:
        signal_failed(job, "again")
    return str(raised.value)


class Rights(TestCase):  # type: ignore[misc]  # Django has no types
    """Each right on and off."""

    def test_each_act_needs_its_own_right_and_to_see(self) -> None:
        for name, right in RIGHTS.items():
            allowed = {one for one, needed in RIGHTS.items() if needed == right}
            log_in(self.client, "view_job", right, name=f"may-{name}")
            job = self.job_for(name)
            assert self.offered(job) <= allowed
            assert name in self.offered(job)
            actions = dict(self.client.get(LIST).context["action_form"].fields["action"].choices)
            assert actions.keys() - {""} == {ACTIONS[one] for one in allowed}
            for other in RIGHTS:
                expected = 200 if other in allowed else 403
                assert self.client.get(page_of(other, job)).status_code == expected
            page = self.client.get(page_of(name, job))
            typed = {"celery-external-reason": "x"}
            if name == "extend":
                typed["celery-external-hours"] = "1"

            # Off: by the page that was open, by the list, and by a made-up form.
            log_in(self.client, "view_job", *(set(RIGHTS.values()) - {right}), name=f"may-{name}")
            before = get_job(job)
            assert name not in self.offered(job)
            assert self.client.post(page_of(name), {**form_in(page), **typed}).status_code == 403
            data = {"action": ACTIONS[name], "_selected_action": [job.id]}
            response = self.client.post(LIST, data)
            assert said_in(response)[-1] == "No action selected."
            log_in(self.client, right, name=f"may-{name}")
            assert self.client.get(page_of(name, job)).status_code == 403
            assert self.client.post(page_of(name), {**form_in(page), **typed}).status_code == 403
            assert get_job(job) == before

            # On again.
            log_in(self.client, "view_job", right, name=f"may-{name}")
            response = self.client.post(page_of(name), {**form_in(page), **typed})
            assert response.status_code == 302
            assert get_job(job).history[-1].by == f"may-{name}"

    def job_for(self, name: str) -> Any:
        """One that the act may count for."""
        job = ask.delay()
        if name == "rerun":
            cancel_job(job)
        return job

    def offered(self, job: Any) -> set[str]:
        """The buttons of its page."""
        acts = self.client.get(f"{LIST}{job.id}/change/").context["acts"]
        return {name for name in RIGHTS for act in acts if f"/act/{name}/" in act["url"]}

    def test_the_buttons_are_those_that_the_state_allows(self) -> None:
        log_in(self.client, "view_job", *RIGHTS.values())
        job = ask.delay()
        is_open = {"approve", "decline", "cancel", "extend"}
        assert self.offered(job) == is_open
        update(job, "state = 'PARKED'")
        assert self.offered(job) == {*is_open, "rerun"}
        signal_failed(job, "no")
        assert self.offered(job) == {"rerun"}
        job = ask.delay()
        signal_succeeded(job)
        assert self.offered(job) == set()

    def test_without_djangos_csrf_token_nothing_is_done(self) -> None:
        client = Client(enforce_csrf_checks=True)
        log_in(client, "view_job", *RIGHTS.values())
        job = ask.delay()
        page = client.get(page_of("cancel", job))
        assert client.post(page_of("cancel"), form_in(page)).status_code == 403
        data = {"action": "cancel_jobs", "_selected_action": [job.id]}
        assert client.post(LIST, data).status_code == 403
        assert get_job(job).kind is None
        token = client.cookies["csrftoken"].value
        client.post(page_of("cancel"), {**form_in(page), "csrfmiddlewaretoken": token})
        assert get_job(job).kind == "cancelled"

    def test_nobody_who_is_no_staff(self) -> None:
        job = ask.delay()
        user = log_in(self.client, "view_job", *RIGHTS.values())
        User.objects.filter(pk=user.pk).update(is_staff=False)
        response = self.client.get(page_of("cancel", job))
        assert response.url.startswith("/admin/login/")
        response = self.client.post(page_of("cancel"), {"celery-external-targets": "[]"})
        assert response.url.startswith("/admin/login/")


class InTransactions(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """A decision and what the admin logs of it are one; the message follows."""

    def setUp(self) -> None:
        User.objects.create_superuser("root")
        self.client.force_login(User.objects.get())
        self.client.raise_request_exception = False
        self.jobs = [ask.delay(), ask.delay()]
        sent()

    def post(self, site: str) -> Any:
        """Cancel both."""
        path = f"/{site}/celery_external/job/act/cancel/"
        targets = json.dumps([[job.id, 1] for job in self.jobs])
        return self.client.post(path, {"celery-external-targets": targets})

    def test_all_is_one(self) -> None:
        assert self.post("admin").status_code == 302
        assert sent() == [job.id for job in self.jobs]
        assert [get_job(job).kind for job in self.jobs] == ["cancelled", "cancelled"]
        assert LogEntry.objects.count() == 2

    def test_what_is_not_logged_has_not_happened(self) -> None:
        assert self.post("own").status_code == 500
        assert sent() == []
        assert [get_job(job) for job in self.jobs] == [self.unchanged(job) for job in self.jobs]
        assert LogEntry.objects.count() == 0

    def unchanged(self, job: Any) -> Job:
        """The job, which nothing has happened to."""
        found = get_job(job)
        assert (found.kind, found.history) == (None, ())
        return found
