"""Jobs in Django's admin, looked at: what is asked of the database, and what is shown."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import NotSupportedError, connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from celery_external import (
    cancel_job,
    extend_job,
    find_jobs,
    get_external,
    signal_failed,
    signal_progress,
    signal_succeeded,
)
from celery_external.contrib.django.admin.listing import MAX_LISTED, MAX_SAMPLE
from celery_external.contrib.django.models import Job
from celery_external.glance import MAX_LINES
from tests.django.project.shop.tasks import ask, judge

LIST = "/admin/celery_external/job/"
PAYLOADS = re.compile(r'"(body|envelope|outcome|outcome_type|trigger_result|meta)"')
#: Copies of a job, by the thousand, each a second older than the one before.
FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %(count)s)
INSERT INTO celery_external_job ({columns}) SELECT {values} FROM celery_external_job, numbers
WHERE id = %(id)s
"""


def update(job: Any, assignments: str) -> None:
    """Have a row that would take long to come about."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE celery_external_job SET {assignments} WHERE id = %s",  # noqa: S608 - ours
            [job.id],
        )


def fill(job: Any, count: int, **values: str) -> None:
    """Have many like it, with ids that begin with copy-."""
    values = {"id": "'copy-' || n", **values}
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM celery_external_job WHERE 1 = 0")
        names = [column[0] for column in cursor.description]
        columns, taken = ", ".join(names), ", ".join(values.get(name, name) for name in names)
        cursor.execute(FILL.format(columns=columns, values=taken), {"count": count, "id": job.id})


class Looking(TestCase):  # type: ignore[misc]  # Django has no types
    """By somebody who may look, and no more."""

    def setUp(self) -> None:
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename="view_job"))
        self.client.force_login(viewer)

    def listed(self, query: str = "") -> list[str]:
        """The ids in the list."""
        response = self.client.get(LIST + query)
        assert response.status_code == 200, response
        return [row.pk for row in response.context["cl"].result_list]

    def page(self, job: Any) -> str:
        """The text of a job's page."""
        response = self.client.get(f"{LIST}{job.id}/change/")
        assert response.status_code == 200, response
        text: str = response.content.decode()
        return text

    def test_the_list_asks_five_questions_and_for_no_payload(self) -> None:
        for number in range(30):
            ask.apply_async((number,), labels=("all", f"label-{number}"))
        self.listed()
        with CaptureQueriesContext(connection) as found:
            assert len(self.listed()) == 30
        asked = [one["sql"] for one in found if one["sql"].startswith("SELECT")]
        # Session, user, rights (two), tasks, number, rows.
        assert len(asked) == 7, asked
        ours = [sql for sql in asked if "celery_external_job" in sql]
        assert len(ours) == 3
        assert not [sql for sql in ours if PAYLOADS.search(sql)]
        tasks, number, _rows = ours
        assert tasks.endswith(f"LIMIT {MAX_SAMPLE}")
        assert f"LIMIT {MAX_LISTED}" in number

    def test_the_list_shows_what_people_look_for(self) -> None:
        job = ask.apply_async(("cup",), labels=("eu", "<b>"), shadow="Ask for a cup", timeout=60)
        update(job, "state = 'PARKED', parked_at = created_at, reference = 'ref-1'")
        text = self.client.get(LIST).content.decode()
        for words in (ask.name, "Ask for a cup", "PARKED", "eu, &lt;b&gt;", "ref-1"):
            assert words in text, words
        signal_succeeded(job, by="alice")
        text = self.client.get(LIST).content.decode()
        assert "SUCCESS, owed to Celery" in text
        assert ">alice<" in text

    def test_filters(self) -> None:
        waiting, owed, over, late, stuck = (ask.delay() for _ in range(5))
        judged = judge.delay("cup")
        signal_succeeded(owed)
        cancel_job(over)
        update(over, "wake_at = NULL")
        update(late, "wake_at = created_at")
        update(stuck, "sends = 4")
        for query, expected in {
            "state=PENDING": {waiting, late, stuck, judged},
            "state=REVOKED": {over},
            "state=NONE": set(),
            f"task={judge.name}": {judged},
            "task=%00": set(),
            "progress=open": {waiting, late, stuck, judged},
            "progress=overdue": {late},
            "progress=owed": {owed},
            "progress=settled": {over},
            "progress=stuck": {stuck},
            f"state=PENDING&task={judge.name}&progress=open": {judged},
        }.items():
            assert set(self.listed(f"?{query}")) == {job.id for job in expected}, query
        # They are the words of find_jobs.
        for name in ("owed", "overdue", "settled", "stuck"):
            flag: dict[str, Any] = {name: True}
            found = find_jobs(order="created", **flag)
            assert set(self.listed(f"?progress={name}")) == {job.id for job in found}, name

    def test_the_task_filter_offers_what_is_known_and_what_is_new(self) -> None:
        job = ask.delay()
        update(job, "task = 'elsewhere.seen'")
        text = self.client.get(LIST).content.decode()
        assert "?task=elsewhere.seen" in text
        assert f"?task={judge.name}" in text

    def test_what_a_url_asks_for_beside_the_filters_is_refused(self) -> None:
        for query in ("reason__icontains=x", "attempt=1", "created_at__gt=2020-01-01"):
            assert self.client.get(f"{LIST}?{query}").status_code == 400
        # A subclass may have columns as filters.
        job = ask.delay()
        signal_succeeded(job, by="alice")
        User.objects.update(is_superuser=True)
        own = "/own/celery_external/job/"
        assert self.client.get(f"{own}?completed_by=alice").context["cl"].result_count == 1
        assert self.client.get(f"{own}?reason__icontains=x").status_code == 400

    def test_the_search_is_exact(self) -> None:
        one = ask.apply_async(labels=("blue moon", "100%"))
        other = ask.apply_async(root_id=one.id, labels=('quo"te',))
        update(other, "reference = 'video-7'")
        for term, expected in {
            one.id: {one, other},
            other.id: {other},
            "video-7": {other},
            " video-7 ": {other},
            "blue+moon": {one},
            "100%25": {one},
            'quo"te': {other},
            "moon": set(),
            "video": set(),
            one.id[:8]: set(),
        }.items():
            assert set(self.listed(f"?q={term}")) == {job.id for job in expected}, term

    def test_the_order_is_by_times_alone(self) -> None:
        first, second, third = (ask.delay() for _ in range(3))
        update(first, "parked_at = created_at, completed_at = created_at")
        names = list(self.client.get(LIST).context["cl"].list_display)
        assert self.listed() == [third.id, second.id, first.id]

        def by(column: str, direction: str = "") -> list[str]:
            return self.listed(f"?o={direction}{names.index(column)}")

        assert by("created_at") == [first.id, second.id, third.id]
        assert by("parked_at") == by("completed_at", "-") == [first.id]
        # No other column has an index that would serve.
        assert by("state_and_rest") == by("attempt") == [third.id, second.id, first.id]

    def test_nobody_counts_a_million(self) -> None:
        job = ask.delay()
        fill(job, MAX_LISTED + 5)
        response = self.client.get(LIST)
        assert response.context["cl"].result_count == MAX_LISTED
        assert f"There are more jobs than {MAX_LISTED}" in response.content.decode()
        last = MAX_LISTED // 50
        assert len(self.listed(f"?p={last}")) == 50
        assert self.client.get(f"{LIST}?p={last + 1}").status_code == 302
        # Few enough are counted.
        response = self.client.get(f"{LIST}?q=copy-1")
        assert response.context["cl"].result_count == 1
        assert "There are more" not in response.content.decode()

    def test_only_the_namespace_of_the_app(self) -> None:
        job = ask.delay()
        fill(job, 1, namespace="'other'", id="id")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM celery_external_job")
            assert cursor.fetchone() == (2,)
        assert self.listed() == [job.id]
        assert Job.objects.get(pk=job.id).namespace == "default"
        # What was not loaded is looked up in the same.
        assert Job.objects.only("id").get(pk=job.id).task == ask.name

    # --- A job's page ---

    def test_a_page_shows_everything_escaped(self) -> None:
        evil = "<script>alert(1)</script>"
        job = ask.apply_async(
            (evil,), labels=("eu",), shadow=evil,
            meta={"draft": evil, "deep": [{"ü": None}], "long": "x" * 5000},
        )  # fmt: skip
        update(job, "state = 'STARTED', reference = '<i>'")
        signal_progress(job, 2, 8, evil)
        extend_job(job, timeout=timedelta(hours=1), by="<bob>", reason=evil)
        signal_failed(job, evil, by="alice")
        with pytest.raises(Exception, match="already failed"):
            signal_succeeded(job, {"x": evil}, by="late")
        text = self.page(job)
        assert evil not in text
        assert "<bob>" not in text
        for words in (
            "&lt;script&gt;alert(1)", "&lt;bob&gt;", "2 of 8", "&quot;ü&quot;: null", "extended",
            "refused", "failed", job.id, "eu", "(5,", "<details>",
        ):  # fmt: skip
            assert words in text, words

    def test_a_page_shows_the_result(self) -> None:
        job = ask.delay("cup")
        signal_succeeded(job, {"name": "cup"}, by="alice", reason="well done")
        text = self.page(job)
        for words in ("&quot;name&quot;: &quot;cup&quot;", "well done", "&#x27;cup&#x27;"):
            assert words in text, words
        assert f'href="{LIST}?q={job.id}"' in text

    def test_times_are_those_of_django(self) -> None:
        job = ask.apply_async(deadline=find_deadline())
        row = Job.objects.get(pk=job.id)
        exact = get_external().get_job(job).deadline
        if settings.USE_TZ:
            assert row.deadline == exact
        else:
            assert exact is not None
            assert row.deadline == exact.astimezone().replace(tzinfo=None)
        assert "July 1, 2040, 2:30 p.m." in self.page(job)
        assert "July 1, 2040, 2:30 p.m." in self.client.get(LIST).content.decode()

    def test_of_a_long_history_a_page_reads_the_end(self) -> None:
        job = ask.delay()
        extend_job(job, timeout=3600)
        number = 5 * MAX_LINES
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers "  # noqa: S608 - a number
                f"WHERE n < {number}) INSERT INTO celery_external_history "
                "(namespace, job_id, attempt, event, at, reason) SELECT namespace, job_id, "
                "attempt, event, at, 'line ' || n || '.' FROM celery_external_history, numbers "
                "ORDER BY n"
            )
        with CaptureQueriesContext(connection) as asked:
            text = self.page(job)
        ours = [one["sql"] for one in asked if "celery_external_history" in one["sql"]]
        # The end, and how many there are; neither is the history.
        assert len(ours) >= 2
        assert f"LIMIT {MAX_LINES}" in ours[0]
        assert all("LIMIT" in sql for sql in ours)
        words = f"the last {MAX_LINES} of {number:,} lines; earlier lines are not shown"
        assert words in text
        shown = [n for n in range(1, number + 1) if f"line {n}." in text]
        assert shown == list(range(number - MAX_LINES + 1, number + 1))
        assert "earlier lines" not in self.page(ask.delay())
        # Nor does the page that asks about it read more.
        user = User.objects.get(username="viewer")
        user.user_permissions.add(*Permission.objects.filter(codename="cancel_job"))
        with CaptureQueriesContext(connection) as asked:
            assert self.client.get(f"{LIST}act/cancel/?job={job.id}&attempt=1").status_code == 200
        ours = [one["sql"] for one in asked if "celery_external_history" in one["sql"]]
        assert [sql for sql in ours if "LIMIT" not in sql] == []

    def test_what_is_no_job(self) -> None:
        for name in ("nothing", "_00", "a/b", "x" * 300):
            assert self.client.get(f"{LIST}{name}/change/").status_code == 302

    def test_whoever_may_only_look_changes_nothing(self) -> None:
        job = ask.delay()
        text = self.page(job)
        assert "act/" not in text
        assert 'name="action"' not in self.client.get(LIST).content.decode()
        for path in (f"{LIST}{job.id}/change/", f"{LIST}{job.id}/delete/", f"{LIST}add/"):
            assert self.client.post(path, {"state": "SUCCESS"}).status_code == 403
        User.objects.update(is_superuser=True)
        for path in (f"{LIST}{job.id}/change/", f"{LIST}{job.id}/delete/", f"{LIST}add/"):
            assert self.client.post(path, {"state": "SUCCESS"}).status_code == 403
        # What has happened in the admin is a page of its own.
        assert self.client.get(f"{LIST}{job.id}/history/").status_code == 200

    def test_nobody_sees_them_without_the_right(self) -> None:
        job = ask.delay()
        User.objects.get().user_permissions.clear()
        for path in (LIST, f"{LIST}{job.id}/change/"):
            assert self.client.get(path).status_code == 403
        assert LIST not in self.client.get("/admin/").content.decode()
        anonymous = Client()
        assert anonymous.get(LIST).url.startswith("/admin/login/")


def find_deadline() -> Any:
    """A moment in summer, which clocks in Europe show two hours later."""
    return timezone.make_aware(datetime(2040, 7, 1, 14, 30))  # noqa: DTZ001 - of Django's own zone


class Writing(TestCase):  # type: ignore[misc]  # Django has no types
    """The ORM writes no job."""

    def test_it_is_refused(self) -> None:
        job = ask.delay()
        row = Job.objects.get(pk=job.id)
        row.state = "SUCCESS"
        jobs = Job.objects.all()
        for write in (
            row.save,
            row.delete,
            jobs.delete,
            lambda: jobs.update(state="SUCCESS"),
            lambda: Job.objects.create(id="new"),
            lambda: Job.objects.bulk_create([row]),
            lambda: Job.objects.bulk_update([row], ["state"]),
        ):
            with pytest.raises(NotSupportedError, match="signal_succeeded, signal_failed"):
                write()
        assert Job.objects.get(pk=job.id).state == "PENDING"

    def test_a_dump_has_no_jobs(self) -> None:
        ask.delay()
        said = io.StringIO()
        call_command("dumpdata", stdout=said)
        assert "celery_external.job" not in said.getvalue()
