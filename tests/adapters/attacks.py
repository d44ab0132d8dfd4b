"""What an attacker does to a site; each returns whether it has done harm."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from celery import chain

from tests.adapters import raw
from tests.adapters.site import FORM, JSON, Site
from tests.callers import STRANGE_KEY
from tests.markup import Page

Attack = Callable[[Site], bool]

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
#: More than the receiver takes.
SIZE = 2 << 20


def is_done(site: Site, job_id: str) -> bool:
    """Whether the job has been completed."""
    return site.shop.get(job_id).kind == "succeeded"


# --- Tokens ---------------------------------------------------------------------------------------


def forge(site: Site) -> bool:
    """Sign with a key of one's own."""
    job_id = site.shop.started()
    site.post(site.shop.token(job_id, key=STRANGE_KEY), "eve's")
    return is_done(site, job_id)


def forge_without_signature(site: Site) -> bool:
    """Sign with nothing."""
    job_id = site.shop.started()
    said = site.shop.token(job_id).partition(".")[0]
    for token in (f"{said}.", said, f"{said}.{'A' * 43}"):
        site.post(token, "eve's")
    return is_done(site, job_id)


def tamper(site: Site) -> bool:
    """Have a token of one's own job say another job's id."""
    own, job_id = site.shop.started(), site.shop.started()
    signature = site.shop.token(own).partition(".")[2]
    said = site.shop.token(job_id).partition(".")[0]
    site.post(f"{said}.{signature}", "eve's")
    return is_done(site, job_id)


def truncate(site: Site) -> bool:
    """Leave all but the beginning of the signature away: few letters are soon guessed."""
    job_id = site.shop.started()
    said, _, signature = site.shop.token(job_id).partition(".")
    for length in (1, len(signature) - 1):
        site.post(f"{said}.{signature[:length]}", "eve's")
    return is_done(site, job_id)


def come_too_late(site: Site) -> bool:
    """Use a link out of an old mail."""
    job_id = site.shop.started()
    site.post(site.shop.token(job_id, expires_at=int(time.time()) - 1), "eve's")
    return is_done(site, job_id)


def use_an_old_attempt(site: Site) -> bool:
    """Use what was handed out for an attempt that has failed."""
    job_id = site.shop.started()
    token = site.shop.token(job_id)
    site.shop.external.signal_failed(job_id, "no")
    site.shop.wait_state(job_id, "FAILURE")
    site.shop.rerun(job_id)
    site.post(token, "eve's")
    return is_done(site, job_id)


def do_more_than_allowed(site: Site) -> bool:
    """Complete a job with tokens to look at it and to fail it."""
    job_id = site.shop.started()
    for action in ("view", "fail"):
        site.post(site.shop.token(job_id, action), {"outcome": "succeeded", "by": "eve"})
    return is_done(site, job_id)


def name_another_job(site: Site) -> bool:
    """Use the token of one's own job, and name another's."""
    own, job_id = site.shop.started(), site.shop.started()
    site.post(site.shop.token(own), {"job": job_id, "job_id": job_id, "id": job_id})
    return is_done(site, job_id)


def come_from_another_app(site: Site) -> bool:
    """Use a token of another app that has the same key."""
    job_id = site.shop.started()
    site.post(site.shop.token(job_id, namespace="other"), "eve's")
    return is_done(site, job_id)


# --- Calls ----------------------------------------------------------------------------------------


def start_chain(site: Site) -> tuple[str, Callable[[], int]]:
    """Start a job with a next step; gives its id, and how often there is a next step."""
    label, shop = uuid4().hex, site.shop
    first = shop.render.s(uuid4().hex).set(labels=[label])
    following = shop.approve.si("a text").set(labels=[f"next-{label}"])
    result: Any = chain(first, following).apply_async()
    shop.wait_state(result.parent.id, "PARKED")

    def count() -> int:
        if shop.get(result.parent.id).kind is not None:
            shop.wait_state(result.parent.id, "SUCCESS")
            shop.wait_state(result.id, "PARKED")
        return len(shop.external.find_jobs(labels=[f"next-{label}"], order="created"))

    return result.parent.id, count


def replay(site: Site) -> bool:
    """Send again what was overheard."""
    job_id, count = start_chain(site)
    for _ in range(3):
        site.post(site.shop.token(job_id), 1)
    return count() > 1


def come_at_once(site: Site) -> bool:
    """Say it twice at the same moment."""
    job_id, count = start_chain(site)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: site.post(site.shop.token(job_id), number), range(2)))
    return count() > 1


def send_much(site: Site) -> bool:
    """Have the database filled."""
    job_id = site.shop.started()
    body = json.dumps("x" * SIZE).encode()
    site.http.post(site.url(site.shop.token(job_id)), content=body, headers=JSON)
    return is_done(site, job_id)


def send_much_in_chunks(site: Site) -> bool:
    """Do not say how much it is."""
    job_id = site.shop.started()
    body = json.dumps("x" * SIZE).encode()
    parts = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    site.http.post(site.url(site.shop.token(job_id)), content=parts, headers=JSON)
    return is_done(site, job_id)


def send_without_end(site: Site) -> bool:
    """Have the memory filled: harm is done when thirty times as much is taken as is allowed."""
    path = f"/external/jobs/{site.shop.token(site.shop.started())}"
    start = raw.head("POST", path, Content_Type="application/json", Transfer_Encoding="chunked")
    parts = [raw.chunk(b" " * 100_000)] * 320
    _, sent = raw.send_until_answered(site.base, start, [*parts, raw.chunk(b"")])
    return sent > len(parts) * 100_000


def go_around(site: Site) -> bool:
    """Come by a path that a proxy in front, which guards ``/external``, does not know."""
    job_id = site.shop.started()
    token = site.shop.token(job_id)
    paths = (
        f"/public/../external/jobs/{token}",
        f"/public/%2e%2e/external/jobs/{token}",
        f"/external/jobs/x%2F..%2F{token}",
        f"/external/jobs/x%252F..%252F{token}",
        f"/external/jobs/{token}%2F.",
        f"/external/jobs/{token}%00",
        f"/external/jobs/{token};x",
        f"/external%2Fjobs%2F..%2Fjobs%2F{token}",
    )
    for path in paths:
        start = raw.head("POST", path, Content_Type="application/json", Content_Length=1)
        raw.request(site.base, start, b"1")
        if is_done(site, job_id):
            return True
    return False


def have_a_link_followed(site: Site) -> bool:
    """Have a program that looks at links decide, or whoever loads a picture."""
    job_id = site.shop.started()
    url = site.url(site.shop.token(job_id))
    for query in ("", "?_method=POST", "?outcome=succeeded"):
        for override in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            site.http.get(url + query, headers={override: "POST"})
    return is_done(site, job_id)


def disguise_json(site: Site) -> bool:
    """From another site, in the name of who is logged in: a form may send any text."""
    job_id = site.shop.started()
    with site.browser("ada") as browser:
        browser.post(
            site.url(site.shop.token(job_id)),
            content=b'{"a": "=b"}',
            headers={"Content-Type": "text/plain", "Origin": "https://evil.example"},
        )
    return is_done(site, job_id) and site.shop.get(job_id).completed_by == "ada"


def be_somebody_by_header(site: Site) -> bool:
    """Say in a header who one is."""
    job_id = site.shop.started()
    names = ("X-Remote-User", "Remote-User", "X-Forwarded-User", "REMOTE_USER")
    site.http.post(site.url(site.shop.token(job_id)), json=1, headers=dict.fromkeys(names, "ada"))
    return site.shop.get(job_id).completed_by == "ada"


# --- Pages ----------------------------------------------------------------------------------------


def decide_for_another(site: Site) -> bool:
    """Have the browser of who is logged in send a form with the key of one's own page."""
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    typed = {"key": site.page(token).fields["key"], "choice": "approve", "by": "eve"}
    with site.browser("eve") as browser:
        own = {**typed, "key": site.page(token, browser).fields["key"]}
    with site.browser("ada") as browser:
        for fields in (typed, own, {**typed, "key": ""}):
            site.send(token, fields, browser)
    return site.shop.get(job_id).completed_by == "ada"


def write_a_script(site: Site) -> bool:
    """Have a script in what is to be judged."""
    job_id = site.shop.started(site.shop.approve, SCRIPT)
    page = site.get(site.shop.token(job_id, "decide"))
    return "script" in [tag for tag, _ in Page(re.sub(rb"<img[^>]*>", b"", page.content)).tags]


def break_a_header(site: Site) -> bool:
    """Be called something that ends a header and begins another."""
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    key = site.page(token).fields["key"]
    names = ("eve\r\nSet-Cookie: session=eve", "eve\nSet-Cookie: session=eve")
    found = [site.send(token, {"key": key, "choice": "x", "by": name}) for name in names]
    found.append(site.post(f"{token}%0d%0aSet-Cookie:%20session=eve"))
    return any("session=eve" in one.headers.get("set-cookie", "") for one in found)


# --- Providers ------------------------------------------------------------------------------------


def started_video(site: Site) -> tuple[str, str]:
    """A job, and its reference."""
    prompt = uuid4().hex
    return site.shop.started(site.shop.render, prompt), f"video-{prompt}"


def be_the_provider(site: Site) -> bool:
    """Call in its name."""
    job_id, reference = started_video(site)
    body = json.dumps({"id": reference, "status": "succeeded", "output": "eve's"}).encode()
    site.provide(body, secret="whsec_ZXZl")  # noqa: S106 - eve's
    site.http.post(f"{site.base}/external/providers/videos", content=body, headers=JSON)
    return is_done(site, job_id)


def repeat_the_provider(site: Site) -> bool:
    """Send an hour later what the provider had said."""
    job_id, reference = started_video(site)
    body = json.dumps({"id": reference, "status": "succeeded", "output": "old"}).encode()
    site.provide(body, at=time.time() - 3600)
    return is_done(site, job_id)


def change_what_the_provider_says(site: Site) -> bool:
    """Take the provider's signature of another call."""
    job_id, reference = started_video(site)
    said = json.dumps({"id": reference, "status": "processing"}).encode()
    changed = json.dumps({"id": reference, "status": "succeeded", "output": "eve's"}).encode()
    headers = site.provide(said).request.headers
    signed = {name: value for name, value in headers.items() if name.startswith("webhook-")}
    url = f"{site.base}/external/providers/videos"
    site.http.post(url, content=changed, headers={**JSON, **signed})
    return is_done(site, job_id)


def be_no_json(site: Site) -> bool:
    """Say it in a form, of which no part is signed by a page of ours."""
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    with site.browser("ada") as browser:
        browser.post(site.url(token), content=b"choice=approve", headers=FORM)
    return is_done(site, job_id)
