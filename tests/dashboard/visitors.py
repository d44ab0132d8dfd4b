"""Those who come to the dashboard, without a framework between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from celery_external.dashboard import Access, Dashboard, Request, Response
from tests.callers import FORM, KEY, OLD_KEY
from tests.dashboard.sheet import Form, Sheet, sheet_of
from tests.rows import Rows

ADA = Access("ada", may_decide=True)
#: Somebody who may only look.
BOB = Access("bob")
ROOT = "/where/it is"
HOST = "shop.example"


class Visitors:
    """Rows, a dashboard for them, and what people do there."""

    def __init__(self, database_url: str, *, keys: Any = (KEY, OLD_KEY), **options: Any) -> None:
        self.rows = Rows(database_url, external_secret_keys=keys)
        self.external = self.rows.external
        options = {"authorize": lambda: None, **options}
        self.dashboard = Dashboard(self.rows.app, **options)

    def declare(self, name: str = "rows.ask", **options: Any) -> Any:
        """Have the app know another task; of the rows' own name: in its place."""
        return self.rows.declare(name, **options)

    def ask(self, url: str, access: Access | None = ADA, **how: Any) -> Response:
        """Any request; the URL is below the dashboard."""
        parts = urlsplit(url)
        request = Request(
            how.pop("method", "GET"), how.pop("headers", {}), how.pop("body", b""),
            path=parts.path, query=parts.query, root=quote(ROOT), host=HOST, **how,
        )  # fmt: skip
        return self.dashboard.respond(request, access)

    def see(self, url: str, access: Access | None = ADA, status: int = 200) -> Sheet:
        """Look at a page."""
        return sheet_of(self.ask(url, access), status)

    def job(self, job_id: str, access: Access | None = ADA) -> Sheet:
        """Look at a job's page."""
        return self.see(job_url(job_id), access)

    def post(
        self,
        url: str,
        fields: Mapping[str, str] | Iterable[tuple[str, str]],
        access: Access | None = ADA,
        **headers: str,
    ) -> Response:
        """Send fields to a URL below the dashboard."""
        body = urlencode(list(fields.items() if isinstance(fields, Mapping) else fields)).encode()
        given = {**FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.ask(url, access, method="POST", headers=given, body=body)

    def send(
        self,
        form: Form,
        button: tuple[str, str] = ("send", "yes"),
        *,
        access: Access = ADA,
        picks: Iterable[str] = (),
        **typed: Any,
    ) -> Response:
        """Type into a form and press a button of it."""
        assert (form.method, button in form.buttons) == ("post", True), form
        names = {name for name, _ in form.fields}
        typed = {name.replace("external_reason", "external-reason"): v for name, v in typed.items()}
        fields = [(name, typed.get(name, value)) for name, value in form.fields]
        # What is ticked is sent only then.
        fields += [(name, value) for name, value in typed.items() if name not in names]
        fields += [("pick", pick) for pick in picks]
        assert form.action.startswith(quote(ROOT))
        return self.post(form.action.removeprefix(quote(ROOT)), [*fields, button], access)

    def decide(self, job_id: str, action: str, button: str = "yes", **typed: Any) -> Response:
        """Use one of the forms of a job's page, by its title."""
        form = self.job(job_id).form(action)
        name = next(name for name, value in form.buttons if value == button)
        return self.send(form, (name, button), **typed)

    def select(
        self, action: str, job_ids: Iterable[str], url: str = "/jobs", **typed: Any
    ) -> Response:
        """Tick jobs in the list and press a button."""
        form = self.see(url).form("Selected jobs")
        picks = [f"{self.rows.get(job_id)['attempt']}:{job_id}" for job_id in job_ids]
        return self.send(form, ("do", action), picks=picks, **typed)

    def shown(self, url: str) -> list[str]:
        """The ids of the jobs that a list shows."""
        sheet = self.see(url)
        picks = [g for t, g in sheet.tags if t == "input" and g.get("name") == "pick"]
        return [(given["value"] or "").partition(":")[2] for given in picks]

    def history(self, job_id: str) -> list[tuple[str, str | None, str | None]]:
        """What its history says was said, by whom and why."""
        return [(one["event"], one["by"], one["reason"]) for one in self.rows.history(job_id)]


def job_url(job_id: str, **query: str) -> str:
    """Where a job's page is."""
    return f"/job?{urlencode({'id': job_id, **query})}"
