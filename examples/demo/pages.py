"""The HTML: a product's page, and the list of pictures that wait for a person."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from celery_external import Job

from .products import Product

STYLE = """\
body { font: 16px/1.5 Georgia, serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid #ccc; border-radius: 8px; padding: 1rem; margin: 1rem 0 }
img, svg { width: 100%; height: auto }
form { display: inline-flex; gap: .5rem; margin-right: 1rem }
"""


def product_page(product: Product, picture: str, approved_by: str) -> str:
    """The page that customers see."""
    body = f"""\
<h1>{escape(product["title"])}</h1>
{picture}
<p>{escape(product["description"])}</p>
<p><strong>{escape(product["price"])}</strong></p>
<p><small>Picture approved by {escape(approved_by)}.</small></p>
"""
    return _page(product["title"], body)


def approvals_page(pending: Iterable[Job], published: Iterable[Path]) -> str:
    """The page that reviewers see: what waits for them, and what is out."""
    waiting = "".join(map(_approval, pending)) or "<p>Nothing waits for you now.</p>"
    links = "".join(f'<li><a href="/{path}">{escape(path.stem)}</a></li>' for path in published)
    return _page("Approvals", f"<h1>Approvals</h1>{waiting}<h2>Published</h2><ul>{links}</ul>")


def _approval(job: Job) -> str:
    title = escape(job.meta["product"]["title"])
    until = f"{job.deadline:%H:%M:%S} UTC" if job.deadline else "any time"
    hidden = f'<input type="hidden" name="attempt" value="{job.attempt}">'
    you = '<input type="hidden" name="by" value="you">'
    return f"""\
<article>
<img src="/{escape(job.meta["picture"])}" alt="{title}">
<p>Decide until {until}.</p>
<form method="post" action="/approvals/{job.id}/approve">{hidden}{you}
<button>Approve</button></form>
<form method="post" action="/approvals/{job.id}/decline">{hidden}{you}
<input name="reason" placeholder="Why?" required>
<button>Decline</button></form>
</article>
"""


def _page(title: str, body: str) -> str:
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
{body}
</html>
"""
