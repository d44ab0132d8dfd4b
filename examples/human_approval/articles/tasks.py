"""The steps of every article: the review, which parks unless the writer is sure, and the end."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import transaction
from pydantic import BaseModel, Field

from celery_external import Succeeded, current_job, get_job
from celery_external.contrib.django import DjangoExternalTask

from .models import Article
from .writer import draft

CHOICES = ("approve", "decline")
#: A draft that its writer is so sure of needs nobody.
SURE = 0.95


class Remark(BaseModel):
    """What a reviewer may say beside the choice."""

    remark: str = Field("", max_length=1000)


@shared_task(
    base=DjangoExternalTask,
    labels=("review",),
    choices=CHOICES,
    form=Remark,
    timeout=settings.REVIEW_SECONDS,
    timeout_result={"choice": "decline", "remark": "nobody decided in time"},
)
def review(title: str) -> Succeeded | None:
    """Draft the article; ask people only if the writer is not sure."""
    written = draft(title)
    # What is to be decided about is the job's: no table has it before it is approved.
    with transaction.atomic():
        current_job.meta["title"] = title
        current_job.meta["content"] = written.content
        current_job.meta["confidence"] = written.confidence
    if written.confidence >= SURE:
        return Succeeded({"choice": "approve", "remark": "the writer was sure"})
    mail_reviewers(title, current_job.callback_url(action="decide"))
    return None


def mail_reviewers(title: str, link: str) -> None:
    """Send everybody who may decide the link to a page that asks."""
    reviewers = get_user_model().objects.with_perm("articles.decide_article")
    for address in reviewers.exclude(email="").values_list("email", flat=True):
        send_mail(f"Please review: {title}", link, None, [address])


@shared_task(bind=True)
def conclude(self: Any, decision: dict[str, str], article_id: int) -> str:
    """Publish the article, or file the decline. Whatever may come twice changes nothing more."""
    with transaction.atomic():
        article = Article.objects.select_for_update().get(pk=article_id)
        if article.status == Article.Status.ORDERED:
            # Decided by the mailed link, by the writer itself or by nobody, and not at the desk.
            job = get_job(self.request.parent_id)
            article.decide(decision, job.meta["content"], job.completed_by or "")
        if article.status == Article.Status.APPROVED:
            article.status = Article.Status.PUBLISHED
            article.save()
        return str(article.status)
