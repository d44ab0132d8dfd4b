"""The app of docs/flask.md, with Flask-Login, and Flask-WTF which came after it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user
from flask_wtf import CSRFProtect
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from celery_external.contrib.flask import CeleryExternal
from tests.adapters.hosts.away import make_receiver


class User(UserMixin):  # type: ignore[misc]  # it has no types
    """Whoever says so."""

    def __init__(self, name: str) -> None:
        self.id = name


def login(name: str) -> str:
    """Log somebody in."""
    login_user(User(name))
    return name


def guarded() -> str:
    """A view of the host's own, which Flask-WTF guards."""
    return "done"


app: Flask = importlib.import_module("web").create_app()
app.secret_key = os.environ["SHOP_SECRET"]
login_manager: Any = LoginManager(app)
login_manager.user_loader(User)
app.get("/login/<name>")(login)
app.post("/guarded")(guarded)
CSRFProtect(app)

away = Flask("away")
CeleryExternal(away, make_receiver(os.environ["AWAY_URL"]), url_prefix="/")
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/away": away})  # type: ignore[method-assign]
