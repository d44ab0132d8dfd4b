"""A user's module: what type checkers see of typed steps. Each line marked as wrong is an error."""

from typing import TypedDict, assert_type

from celery import Celery
from celery.canvas import Signature
from celery.result import AsyncResult
from pydantic import BaseModel

from celery_external import ExternalTask, Job, Receipt


class Video(BaseModel):
    url: str


class Size(TypedDict):
    width: int


app = Celery("studio")


# --- A class-based task ---


class Render(ExternalTask[[str], Video]):
    result_type = Video
    timeout = 3600

    def run(self, prompt: str) -> None:
        self.job.meta["prompt"] = prompt

    def on_timeout(self, job: Job) -> Video:
        return Video(url=f"https://example.org/{job.id}")


render = app.register_task(Render())

assert_type(render, Render)
assert_type(render.delay("a cat"), AsyncResult[Video])
assert_type(render.apply_async(("a cat",), labels=["night"], countdown=5), AsyncResult[Video])
assert_type(render.apply_async(("a cat",)).get(), Video)
assert_type(render.s("a cat"), Signature[Video])
assert_type(render.si("a cat"), Signature[Video])
video = Video(url="https://example.org/cat")
receipt = render.signal_succeeded("id", video, attempt=1, by="alice", reason="it is good")
assert_type(receipt, Receipt)
assert_type(render.signal_succeeded(reference="r-1", result=video, by="studio"), Receipt)
assert_type(render.signal_failed("id", ValueError("no"), attempt=1, by="bob"), Receipt)

render.delay()  # wrong
render.delay(5)  # wrong
render.delay("a cat", 5)  # wrong
render.si(5)  # wrong
render(5)  # wrong
number: int = render.apply_async(("a cat",)).get()  # wrong
render.signal_succeeded("id")  # wrong
render.signal_succeeded("id", "https://example.org/cat")  # wrong
render.signal_succeeded("id", None)  # wrong
render.signal_succeeded("id", video, 1)  # wrong
render.signal_succeeded("id", video, attempt="1")  # wrong
render.signal_succeeded(5, video)  # wrong
render.signal_succeeded(reference="r-1", result="a cat")  # wrong
render.signal_succeeded("id", video, reference="r-1")  # wrong
render.signal_failed("id", 5)  # wrong


# --- Functions ---


@app.task(base=ExternalTask[[str, int], Size], result_type=Size)
def measure(name: str, unit: int) -> str:
    return f"{name} in {unit}: what a trigger returns is not its job's result"


@measure.timed_out
def unmeasured(job: Job) -> Size:
    return {"width": job.attempt}


assert_type(measure.delay("cat", 1), AsyncResult[Size])
measure.signal_succeeded("id", {"width": 5})
measure.delay("cat")  # wrong
measure.signal_succeeded("id", {"width": "5"})  # wrong
measure.signal_succeeded("id", {})  # wrong


@app.task(base=ExternalTask[[str], int | None], bind=True)
def count(self: ExternalTask[[str], int | None], name: str) -> None:
    self.job.meta["name"] = name


assert_type(count.delay("cats"), AsyncResult[int | None])
count.signal_succeeded("id", None)
count.signal_succeeded("id", "7")  # wrong


# --- Without a word on types: anything ---


class Ask(ExternalTask):
    def run(self, question: str, urgency: int = 0) -> None:
        self.job.meta[question] = urgency


ask = app.register_task(Ask())
ask.delay("well?", urgency=2)
ask.signal_succeeded("id", {"any": "thing"})


@app.task(base=ExternalTask)
def approve(request_id: str) -> None: ...


approve.delay("r1").get()
approve.signal_succeeded("id", 5)
