"""The shop's web app: where the render service and the reviewers complete jobs.

It has the Celery app, for the broker and the jobs' table, but not the tasks' code.
Run it with ``python -m examples.demo.web``.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from celery_external import (
    Job,
    JobAlreadyCompletedError,
    JobNotFoundError,
    Page,
    Receipt,
    StaleAttemptError,
    find_jobs,
    get_job,
    signal_failed,
    signal_succeeded,
)

from . import httpjson, links, pages
from .celeryapp import app


class ShopWeb(httpjson.Handler):
    """The webhook, the reviewers' list as JSON and as a page, and what was published."""

    def get(self, path: list[str]) -> httpjson.Reply:
        match path:
            case []:
                published = sorted(Path("pages").glob("*.html"))
                return httpjson.Reply(pages.approvals_page(pending_approvals(), published))
            case ["approvals"]:
                items = [
                    {"id": job.id, "attempt": job.attempt, "product": job.meta["product"]}
                    for job in pending_approvals()
                ]
                return httpjson.json_reply(items)
            case ["pictures" | "pages" as folder, name] if Path(folder, name).is_file():
                kind = "image/svg+xml" if folder == "pictures" else "text/html; charset=utf-8"
                return httpjson.Reply(Path(folder, name).read_text("utf-8"), content_type=kind)
        return super().get(path)

    def post(self, path: list[str], fields: dict[str, Any]) -> httpjson.Reply:
        try:
            receipt = complete(path, fields)
        except PermissionError as error:
            return httpjson.problem(HTTPStatus.FORBIDDEN, str(error))
        except JobNotFoundError:
            return httpjson.problem(HTTPStatus.NOT_FOUND, "no such job")
        except (JobAlreadyCompletedError, StaleAttemptError) as error:
            return httpjson.problem(HTTPStatus.CONFLICT, str(error))
        except (KeyError, ValueError) as error:
            return httpjson.problem(HTTPStatus.BAD_REQUEST, repr(error))
        if receipt is None:
            return super().post(path, fields)
        back = httpjson.Reply("", HTTPStatus.SEE_OTHER, location="/")
        return back if self.is_form else httpjson.json_reply({"status": receipt.status})


def complete(path: list[str], fields: dict[str, Any]) -> Receipt | None:
    """Hand a request to the one that it is for."""
    match path:
        case ["webhooks", "render", job_id, attempt, signature]:
            links.check_signature(job_id, int(attempt), signature)
            return take_render(job_id, int(attempt), fields)
        case ["approvals", job_id, "approve" | "decline" as verb]:
            return decide(get_job(job_id, app=app), verb, fields)
    return None


def take_render(job_id: str, attempt: int, outcome: dict[str, Any]) -> Receipt:
    """The render service's word on a `render` job."""
    by = "render service"
    if outcome["status"] == "failed":
        return signal_failed(job_id, outcome["error"], attempt=attempt, by=by, app=app)
    picture = Path("pictures", f"{job_id}-{attempt}.svg")
    picture.write_text(outcome["svg"], encoding="utf-8")
    return signal_succeeded(job_id, str(picture), attempt=attempt, by=by, app=app)


def pending_approvals() -> Page:
    """What waits for a person, the oldest first."""
    return find_jobs(state="PARKED", labels=["approval"], order="parked", app=app)


def decide(job: Job, verb: str, fields: dict[str, Any]) -> Receipt:
    """A person's word on an `await_approval` job: its picture goes on, or the chain ends here."""
    if "approval" not in job.labels:
        message = f"{job.id} waits for no person"
        raise ValueError(message)
    by, attempt = fields["by"], int(fields["attempt"])
    if verb == "decline":
        return signal_failed(job.id, fields["reason"], attempt=attempt, by=by, app=app)
    approval = {"picture": job.meta["picture"], "by": by}
    return signal_succeeded(job.id, approval, attempt=attempt, by=by, app=app)


if __name__ == "__main__":
    httpjson.serve(ShopWeb)
