"""The newsroom's own tests, for Django's test runner: without a broker or a worker."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from celery import shared_task
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core import mail
from django.test import Client, TransactionTestCase, override_settings
from django.urls import reverse

from celery_external import Job, OptionError, find_jobs, get_job, testing
from celery_external.contrib.django import DjangoExternalTask
from celery_external.testing import Kit
from examples.human_approval.articles.models import Article
from examples.human_approval.articles.tasks import review
from examples.human_approval.articles.views import order
from examples.human_approval.celeryapp import app


@shared_task(base=DjangoExternalTask)
def pay() -> None:
    """An external task that is no review."""


def client_of(name: str, *permissions: str) -> Client:
    """A browser in which somebody is logged in who may do this."""
    user = get_user_model().objects.create_user(name, f"{name}@example.org")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


class Newsroom(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """One author, two reviewers, no worker."""

    def setUp(self) -> None:
        self.kit: Kit = self.enterContext(testing.in_memory(app))
        self.author = client_of("erin", "add_article")
        self.mona = client_of("mona", "decide_article")
        self.ken = client_of("ken", "decide_article")

    def order(self, title: str, section: str = "town", **more: str) -> Article:
        """Order an article on the page, and have it drafted."""
        answer = self.author.post("/", {"title": title, "section": section, **more})
        assert answer.status_code == 302, answer.content
        self.kit.drain()
        article: Article = Article.objects.get(title=title)
        return article

    def wait_for_review(self, title: str = "A scandal", **more: str) -> tuple[Article, Job]:
        """Order one that its writer is not sure of."""
        return self.order(title, **more), self.kit.assert_parked(review, meta={"title": title})

    def decide(self, client: Client, job: Job, choice: str, **more: Any) -> Any:
        """Decide at the desk, whose page follows."""
        given = {"choice": choice, "attempt": job.attempt, **more}
        return client.post(reverse("decide", args=[job.id]), given, follow=True)

    def assert_article(self, title: str, status: str, by: str, remark: str) -> None:
        article = Article.objects.get(title=title)
        assert (article.status, article.decided_by, article.remark) == (status, by, remark)
        # What was not approved is not kept.
        assert article.text == (f"{title}. More about it tomorrow." if status != "declined" else "")

    def test_the_writer_is_sure(self) -> None:
        self.order("A fair")
        self.assert_article("A fair", "published", "", "the writer was sure")
        assert mail.outbox == []
        assert [entry.event for entry in get_job(find_jobs(order="created")[0]).history] == [
            "succeeded"
        ]

    def test_the_list(self) -> None:
        for title, section in (("A scandal", "town"), ("A rumour", "sports"), ("A war", "town")):
            self.order(title, section)
        shown = self.mona.get("/reviews/")
        assert re.findall("<h2>(.*)</h2>", shown.text) == ["A war", "A rumour", "A scandal"]
        self.assertContains(shown, "A war. More about it tomorrow.")
        self.assertContains(shown, "confidence 0.55")
        shown = self.mona.get("/reviews/?label=town")
        assert re.findall("<h2>(.*)</h2>", shown.text) == ["A war", "A scandal"]
        assert self.mona.get("/reviews/?after=nonsense").status_code == 400

    def test_approved_in_one_transaction_with_the_article(self) -> None:
        article, job = self.wait_for_review()
        assert (article.status, article.text) == ("ordered", "")
        self.decide(self.mona, job, "approve", remark="Well done")
        # The worker has yet to hear of it.
        self.assert_article("A scandal", "approved", "mona", "Well done")
        assert get_job(job).completed_by == "mona"
        self.kit.drain()
        self.assert_article("A scandal", "published", "mona", "Well done")

    def test_declined(self) -> None:
        self.decide(self.mona, self.wait_for_review()[1], "decline", remark="Not true")
        self.kit.drain()
        self.assert_article("A scandal", "declined", "mona", "Not true")

    def test_the_first_counts(self) -> None:
        job = self.wait_for_review()[1]
        self.decide(self.mona, job, "approve")
        self.assertContains(self.decide(self.ken, job, "decline"), "Too late")
        self.assertNotContains(self.decide(self.ken, job, "approve"), "Too late")  # the same again
        self.kit.drain()
        self.assert_article("A scandal", "published", "mona", "")
        assert [entry.event for entry in get_job(job).history] == ["succeeded", "refused"]

    def test_another_draft_than_the_one_on_the_page(self) -> None:
        job = self.wait_for_review()[1]
        self.kit.external.rerun_job(job)
        self.kit.drain()
        self.assertContains(self.decide(self.mona, job, "approve"), "Too late")
        assert self.kit.assert_parked(review).attempt == 2

    def test_the_signal_is_not_without_the_article(self) -> None:
        article, job = self.wait_for_review()
        article.delete()
        with pytest.raises(Article.DoesNotExist):
            self.decide(self.mona, job, "approve")
        assert get_job(job).state == "PARKED"

    def test_the_article_is_not_without_its_review(self) -> None:
        user = get_user_model().objects.get(username="erin")
        article = Article(title="A fair", section="town", ordered_by=user)
        with override_settings(URGENT_REVIEW_SECONDS=-1), pytest.raises(OptionError):
            order(article, is_urgent=True)
        assert not Article.objects.exists()

    def test_nobody_decides(self) -> None:
        self.wait_for_review()
        self.wait_for_review("A war", urgent="on")
        self.kit.shift(timedelta(hours=1))
        self.assert_article("A war", "declined", "", "nobody decided in time")
        self.kit.assert_parked(review, meta={"title": "A scandal"})
        self.kit.shift(timedelta(days=2))
        self.assert_article("A scandal", "declined", "", "nobody decided in time")

    def test_a_mailed_link(self) -> None:
        job = self.wait_for_review()[1]
        assert {address for sent in mail.outbox for address in sent.to} == {
            "mona@example.org",
            "ken@example.org",
        }
        path = mail.outbox[0].body.removeprefix("http://localhost:8000")
        assert Client().get(path)["Location"].startswith("/login/")
        assert self.author.get(path).status_code == 403
        page = self.ken.get(path)
        self.assertContains(page, "A scandal. More about it tomorrow.")
        assert get_job(job).state == "PARKED"
        key = re.search(r'name="key" value="([^"]+)"', page.text)
        assert key
        answer = self.ken.post(
            path,
            f"key={key[1]}&choice=decline&remark=Not+true",
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status_code == 200
        self.kit.drain()
        self.assert_article("A scandal", "declined", "ken", "Not true")

    def test_who_may_not(self) -> None:
        job = self.wait_for_review()[1]
        for path in ("/", "/reviews/", reverse("decide", args=[job.id])):
            assert Client().get(path)["Location"] == f"/login/?next={path}"
        assert self.author.get("/reviews/").status_code == 403
        assert self.decide(self.author, job, "approve").status_code == 403
        assert self.mona.post("/", {"title": "A fair", "section": "town"}).status_code == 403
        careful = Client(enforce_csrf_checks=True)
        careful.force_login(get_user_model().objects.get(username="mona"))
        assert self.decide(careful, job, "approve").status_code == 403
        assert get_job(job).state == "PARKED"

    def test_what_the_desk_cannot_decide(self) -> None:
        job = self.wait_for_review()[1]
        assert self.decide(self.mona, job, "burn").status_code == 400
        pay.delay()
        self.kit.drain()
        payment = self.kit.assert_parked(pay)
        assert self.decide(self.mona, payment, "approve").status_code == 404
        assert get_job(payment).state == "PARKED"
        unknown = reverse("decide", args=["00000000-0000-4000-8000-000000000000"])
        assert self.mona.post(unknown, {"choice": "approve", "attempt": 1}).status_code == 404
