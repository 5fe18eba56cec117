"""Spans of `ctx.step.trace`, by OpenTelemetry where it is installed: in the trace of the run, so of its events.

Headgate configures no exporter: whoever runs a worker under `opentelemetry-instrument`, or sets a tracer provider in
the module of the workflows, sees the spans. Without the extra `tracing` a span is a line in the log alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

_PLAIN = (bool, str, int, float)


@contextmanager
def span(name: str, traceparent: str, attributes: Mapping[str, object]) -> Iterator[None]:
    """Enter a span whose parent, if no other span is entered, is `traceparent` (W3C). Exceptions are recorded."""
    api = _api()
    if api is None:
        yield
        return
    inside = api.get_current_span().get_span_context().is_valid
    context = None if inside else _propagator().extract({"traceparent": traceparent})
    plain = {key: value if isinstance(value, _PLAIN) else repr(value) for key, value in attributes.items()}
    with api.get_tracer("headgate").start_as_current_span(name, context=context, attributes=plain):
        yield


@cache
def _api() -> Any:
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    return trace


@cache
def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
