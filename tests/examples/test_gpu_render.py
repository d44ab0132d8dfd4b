"""The example gpu_render: pictures by a poller, and by webhooks."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from celery_external import ExternalJobFailed, ExternalJobTimedOut, Failed, Progress, Succeeded
from celery_external.testing import FakeProvider, Kit, in_memory
from examples.gpu_render import fake_replicate, web
from examples.gpu_render.celeryapp import app
from examples.gpu_render.fake_replicate import FakeReplicate
from examples.gpu_render.jobs import list_jobs
from examples.gpu_render.replicate import download, read_prediction
from examples.gpu_render.tasks import order, render_polled, render_told
from tests.examples.running import run_example, serve

SECRET = f"whsec_{base64.b64encode(b'a secret of this test alone').decode()}"
#: Longer than the poller waits between two polls.
LATER = 120


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    """A provider whose predictions end when the test says so."""
    made = FakeReplicate(seconds=None)
    with serve(fake_replicate.create_app(made)) as url:
        monkeypatch.setenv("REPLICATE_API_URL", url)
        monkeypatch.setenv("REPLICATE_FILES_URL", f"{url}/files")
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_test")
        monkeypatch.setenv("REPLICATE_VERSION", "5c7d")
        monkeypatch.setenv("REPLICATE_WEBHOOK_SECRET", SECRET)
        yield made


@pytest.fixture
def kit(fake: FakeReplicate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """The app in memory, and its web app for the provider to call."""
    assert fake.predictions == {}
    monkeypatch.chdir(tmp_path)
    with serve(web.create_app()) as url, in_memory(app, external_base_url=f"{url}/external") as kit:
        yield kit


def test_a_picture_is_asked_for_until_it_is_there(kit: Kit, fake: FakeReplicate) -> None:
    result = order("a <cat>", "zoo", render_polled)
    kit.drain()
    job = kit.assert_parked(render_polled, labels=["render", "customer:zoo"])
    kit.shift(LATER)
    assert [*list_jobs("PARKED", "render")] == [
        "PARKED   render_polled  a <cat>          1  rendering"
    ]
    assert job.reference is not None
    fake.finish(job.reference)
    assert not result.ready()
    kit.shift(LATER)
    page = Path(result.get(timeout=1))
    assert "<h1>a &lt;cat&gt;</h1>" in page.read_text("utf-8")
    picture = page.with_suffix(".svg").read_text("utf-8")
    assert job.reference in picture
    small = page.with_name(f"{page.stem}-small.svg").read_text("utf-8")
    assert small == picture.replace("<svg ", '<svg width="64" ')


def test_a_prediction_that_cannot_be_looked_at_holds_up_no_other(
    kit: Kit, fake: FakeReplicate
) -> None:
    for prompt in ("a cat", "a dog", "an owl"):
        order(prompt, "zoo", render_polled)
    kit.drain()
    cat, dog, owl = (str(job.reference) for job in kit.assert_parked(render_polled, count=3))
    fake.finish(cat)
    lost = fake.predictions.pop(dog)
    fake.finish(owl)
    kit.shift(LATER)
    assert kit.assert_parked(render_polled).reference == dog
    fake.predictions[dog] = lost
    fake.finish(dog)
    kit.shift(LATER)
    kit.assert_not_parked()


def test_a_prediction_that_failed_is_made_anew(kit: Kit, fake: FakeReplicate) -> None:
    result = order("an unlucky dog", "zoo", render_polled)
    kit.drain()
    first = kit.assert_parked(render_polled)
    fake.finish(str(first.reference))
    kit.shift(LATER)
    second = kit.assert_parked(render_polled)
    assert (second.id, second.attempt) == (first.id, 2)
    assert second.reference != first.reference
    fake.finish(str(second.reference))
    kit.shift(LATER)
    assert result.successful()


def test_a_picture_is_told_by_a_webhook(kit: Kit, fake: FakeReplicate) -> None:
    result = order("an unlucky dog", "zoo")
    kit.drain()
    for attempt in (1, 2):
        job = kit.assert_parked(render_told, attempt=attempt)
        fake.finish(str(job.reference))
        kit.drain()
    assert "an unlucky dog" in Path(result.get(timeout=1)).read_text("utf-8")
    assert kit.external.get_job(job.id).completed_by == "replicate"


def test_after_four_failures_nothing_is_published(kit: Kit, tmp_path: Path) -> None:
    result = order("a cat", "zoo")
    kit.drain()
    for _ in range(4):
        kit.external.signal_failed(kit.assert_parked(render_told), "NSFW content detected")
        kit.drain()
    with pytest.raises(ExternalJobFailed, match="NSFW content detected"):
        result.get(timeout=1)
    assert [*tmp_path.iterdir()] == []


def test_an_hour_is_too_long(kit: Kit) -> None:
    order("a cat", "zoo")
    kit.drain()
    for attempt in (1, 2, 3, 4):
        job = kit.expire(kit.assert_parked(render_told, attempt=attempt))
    with pytest.raises(ExternalJobTimedOut):
        app.AsyncResult(job.id).get(timeout=1)


@pytest.mark.parametrize(("secret", "late"), [(f"{SECRET[:-4]}AAAA", 0), (SECRET, 600)])
def test_nobody_else_completes_a_job(
    secret: str, late: float, kit: Kit, fake: FakeReplicate
) -> None:
    order("a cat", "zoo")
    kit.drain()
    job = kit.assert_parked(render_told)
    prediction = fake.predictions[str(job.reference)] | {"status": "succeeded", "output": ["x"]}
    headers, body = FakeProvider.standard_webhooks(secret).sign(prediction, at=time.time() - late)
    url = f"{app.conf.external_base_url}/providers/replicate"
    answer = httpx.post(url, headers=headers, content=body)
    assert (answer.status_code, answer.json()) == (401, {"error": "signature"})
    kit.assert_parked(render_told)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"status": "starting"}, None),
        ({"status": "processing"}, Progress(message="rendering")),
        ({"status": "succeeded", "output": ["1.svg", "2.svg"]}, Succeeded("1.svg")),
        ({"status": "succeeded", "output": "1.svg"}, Succeeded("1.svg")),
        ({"status": "failed", "error": "CUDA out of memory"}, Failed("CUDA out of memory")),
        ({"status": "canceled", "error": None}, Failed("canceled")),
    ],
)
def test_what_a_prediction_says(said: dict[str, Any], outcome: object) -> None:
    assert read_prediction(said) == outcome


def test_nothing_is_fetched_from_elsewhere(fake: FakeReplicate) -> None:
    assert fake.predictions == {}
    with pytest.raises(ValueError, match="not a file of the provider's"):
        download("http://169.254.169.254/latest")


def test_jobs_are_listed_by_state_and_label(kit: Kit) -> None:
    order("a cat", "zoo")
    order("a car", "garage")
    kit.drain()
    kit.signal(kit.assert_parked(labels=["customer:garage"]), Succeeded("x"))
    assert [*list_jobs("PARKED", "render")] == ["PARKED   render_told    a cat            1"]
    assert [*list_jobs(None, "customer:garage")] == ["SUCCESS  render_told    a car            1"]
    assert [*list_jobs("PARKED", "customer:garage")] == []


def test_run() -> None:
    assert run_example("gpu_render") == [
        "Parked for the zoo, and no worker is held:",
        "PARKED   render_told    an unlucky dog   1",
        "PARKED   render_polled  an unlucky dog   1",
        "PARKED   render_told    a cat            1",
        "PARKED   render_polled  a cat            1",
        "published: a cat, by poller, attempt 1",
        "published: a cat, by replicate, attempt 1",
        "published: an unlucky dog, by poller, attempt 2",
        "published: an unlucky dog, by replicate, attempt 2",
        "published: a car, by poller, attempt 1",
        "published: a car, by replicate, attempt 1",
    ]
