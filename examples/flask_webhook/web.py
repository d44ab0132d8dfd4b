"""The web app: orders and the list of what waits for the staff, and the receiver for everybody."""

from __future__ import annotations

import hmac
import os

from flask import Blueprint, Flask, Response, abort, current_app, request
from flask.typing import ResponseReturnValue

from celery_external import find_jobs
from celery_external.contrib.flask import CeleryExternal

from .tasks import app, order

staff = Blueprint("staff", __name__)


def create_app() -> Flask:
    """The app; the receiver answers at /external/jobs/<token>, and its tokens guard themselves."""
    web = Flask(__name__)
    web.config["STAFF_PASSWORD"] = os.environ["STAFF_PASSWORD"]
    web.extensions["celery"] = app
    web.register_blueprint(staff)
    CeleryExternal(web)
    return web


@staff.before_request
def check_password() -> None:
    """The staff's own pages are for the staff; use your own login instead."""
    given = request.authorization.password if request.authorization else None
    expected = current_app.config["STAFF_PASSWORD"]
    if not given or not hmac.compare_digest(given.encode(), expected.encode()):
        abort(Response("Who are you?", 401, {"WWW-Authenticate": 'Basic realm="staff"'}))


@staff.post("/orders")
def create_order() -> ResponseReturnValue:
    """Start the chain; returns at once."""
    match request.get_json():
        case {"text": str(text)}:
            return {"id": order(text).id}, 202
        case _:
            return {"error": "an object with a text, please"}, 422


@staff.get("/parked")
def list_parked() -> ResponseReturnValue:
    """What waits outside, the newest first. No list ever shows a token."""
    jobs = find_jobs(state="PARKED", order="-parked", app=app)
    return [
        {"id": job.id, "task": job.task, "labels": job.labels, "meta": job.meta} for job in jobs
    ]
