"""An app that is watched by OpenTelemetry and by Sentry, both at once; ``TRACES`` turns them on.

What they would send goes to the files ``spans`` and ``transactions`` of the directory ``SCRATCH``.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

from celery.signals import worker_process_init

from celery_external import ExternalJobFailed, ExternalTask
from tests.apps.making import make_app
from tests.apps.scratch import Scratch

app = make_app("traced")

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)
scratch = Scratch(os.environ.get("SCRATCH", "."))


@task(base=ExternalTask, name="traced.ask")
def ask() -> None:
    """Park."""


@task(
    base=ExternalTask,
    name="traced.again",
    autoretry_for=(ExternalJobFailed,),
    max_retries=1,
    retry_kwargs={"countdown": 0},
)
def again() -> None:
    """Park, and be retried once."""


@task(base=ExternalTask, name="traced.hurry", timeout=0.3)
def hurry() -> None:
    """Park, and time out."""


@task(name="traced.echo")
def echo(value: Any = None) -> Any:
    """A next step."""
    return value


def trace_with_opentelemetry() -> Any:
    """Have each span written as it ends; returns the provider of tracers."""
    from opentelemetry import trace  # noqa: PLC0415 - only who is traced needs it
    from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        SimpleSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            for span in spans:
                scratch.write_line("spans", json.dumps(_describe(span)))
            return SpanExportResult.SUCCESS

    def _describe(span: ReadableSpan) -> dict[str, Any]:
        attributes = dict(span.attributes or {})
        return {
            "name": span.name,
            "trace": f"{span.context.trace_id:032x}",
            "job": attributes.get("messaging.message.id"),
            "status": span.status.status_code.name,
            "took": ((span.end_time or 0) - (span.start_time or 0)) / 1e9,
        }

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    trace.set_tracer_provider(provider)
    instrumentor: Any = CeleryInstrumentor
    instrumentor().instrument()
    return provider


def trace_with_sentry() -> None:
    """Have each transaction and error written in place of sent."""
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.envelope import Envelope  # noqa: PLC0415
    from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415
    from sentry_sdk.transport import Transport  # noqa: PLC0415

    class Recorder(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            for item in envelope.items:
                event = item.payload.json or {}
                trace = event.get("contexts", {}).get("trace", {})
                told = {
                    "type": item.type,
                    "name": event.get("transaction"),
                    "trace": trace.get("trace_id"),
                    "status": trace.get("status"),
                    "job": event.get("tags", {}).get("celery_task_id"),
                    "latency": [
                        span["data"]["messaging.message.receive.latency"]
                        for span in event.get("spans", ())
                        if "messaging.message.receive.latency" in span.get("data", {})
                    ],
                }
                scratch.write_line("transactions", json.dumps(told))

    sentry_sdk.init(
        dsn="https://key@sentry.example/1",
        traces_sample_rate=1.0,
        transport=Recorder,
        default_integrations=False,
        integrations=[CeleryIntegration()],
    )


if "TRACES" in os.environ:
    trace_with_sentry()
    if os.environ["TRACES"] == "worker":
        worker_process_init.connect(lambda **_: trace_with_opentelemetry(), weak=False)
