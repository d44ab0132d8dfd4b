"""``python -m examples.human_approval``: a web server, a worker and beat; three people at work.

An author orders articles, two reviewers decide about them, and one article is forgotten.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from examples.stage import Stage, check, play

from .visitor import Visitor

APP = "examples.human_approval"
#: Who is there, and what they may do.
PEOPLE = {"erin": "add_article", "mona": "decide_article", "ken": "decide_article"}


def main() -> int:
    """Start everything, play, stop everything."""
    with play("human_approval") as stage, ExitStack() as stack:
        address, mails = stage.reserve("web"), Path.cwd() / "mails"
        os.environ.update(
            DJANGO_SETTINGS_MODULE=f"{APP}.settings",
            DJANGO_SECRET_KEY=secrets.token_urlsafe(),
            EXTERNAL_SECRET_KEYS=secrets.token_urlsafe(),
            PLAIN_HTTP="1",
            BASE_URL=address,
            DATABASE=str(Path.cwd() / "newsroom.sqlite3"),
            EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
            EMAIL_FILE_PATH=str(mails),
            SWEEP_SECONDS="0.5",
            URGENT_REVIEW_SECONDS="1",
        )
        django.setup()
        call_command("migrate", verbosity=0)
        stage.serve("web", f"{APP}.wsgi")
        stage.start_celery(APP)
        erin, mona, ken = (
            stack.enter_context(Visitor(address, name, register(name, permission)))
            for name, permission in PEOPLE.items()
        )
        run(stage, erin, mona, ken, mails)
    return 0


def run(stage: Stage, erin: Visitor, mona: Visitor, ken: Visitor, mails: Path) -> None:
    """What three people do, and what comes of it."""
    # Imported here: models need Django's set-up.
    from .articles.models import Article  # noqa: PLC0415

    def article(title: str, status: str) -> Any:
        found = Article.objects.filter(title=title, status=status)
        return stage.wait(found.first, f"{title} to be {status}")

    def waiting(path: str = "/reviews/") -> list[str]:
        return re.findall("<h2>(.*)</h2>", mona.look(path))

    erin.send("/", title="The harbour reopens", section="town")
    sure = article("The harbour reopens", "published")
    print("published at once, because its writer was sure:", sure)

    rumour, cure, war = "A rumour about the mayor", "A miracle cure", "A trade war"
    for title, section in ((rumour, "politics"), (cure, "health")):
        erin.send("/", title=title, section=section)
        stage.wait(lambda title=title: title in waiting(), f"{title} to wait")  # type: ignore[misc]
    check(waiting() == [cure, rumour], "the newest to be first")
    print("waiting, the newest first:", ", ".join(waiting()))
    check(waiting("/reviews/?label=politics") == [rumour], "one with the label")
    print("waiting with the label politics:", *waiting("/reviews/?label=politics"))

    desk = find(r'action="(/reviews/[^"]+)"', mona.look("/reviews/?label=politics"))
    mona.send(desk, choice="approve", remark="Two sources", attempt="1")
    approved = article(rumour, "published")
    check((approved.decided_by, bool(approved.text)) == ("mona", True), "mona's word to be kept")
    print(f"approved at the desk: {rumour}, by {approved.decided_by}")
    check("Too late" in ken.send(desk, choice="decline", attempt="1"), "the first to count")
    print("too late: ken declines what mona has approved")

    mail = next(path.read_text() for path in mails.iterdir() if cure in path.read_text())
    ken.confirm(find(r"^(http\S+)$", mail), choice="decline", remark="Not a word is true")
    declined = article(cure, "declined")
    check((declined.decided_by, declined.text) == ("ken", ""), "ken's word to be kept")
    print(f"declined by the mailed link: {cure}, by {declined.decided_by}")

    erin.send("/", title=war, section="politics", urgent="on")
    forgotten = article(war, "declined")
    check(forgotten.decided_by == "", "nobody to have decided")
    print(f"declined, because {forgotten.remark}: {war}")
    check(waiting() == [], "nothing to be left")


def register(name: str, permission: str) -> str:
    """Make a user who may do one thing; returns the password."""
    from django.contrib.auth.models import Permission, User  # noqa: PLC0415 - as above

    password = secrets.token_urlsafe()
    user = User.objects.create_user(name, f"{name}@example.org", password)
    user.user_permissions.add(Permission.objects.get(codename=permission))
    return password


def find(pattern: str, text: str) -> str:
    """What the pattern's group matches."""
    found = re.search(pattern, text, re.MULTILINE)
    check(found, f"{pattern} to be found")
    return found[1] if found else ""


if __name__ == "__main__":
    sys.exit(main())
