"""Mail, as files in MAIL_DIRECTORY; a product uses smtplib or its framework."""

from __future__ import annotations

import os
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4


def send_mail(*, to: str, subject: str, text: str) -> None:
    """Write one mail; only its owner may read the file, for who has a link may use it."""
    mail = EmailMessage()
    mail["To"], mail["Subject"] = to, subject
    mail.set_content(text)
    path = Path(os.environ["MAIL_DIRECTORY"], f"{uuid4().hex}.eml")
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(bytes(mail))
