"""Spans of authors' code, as OpenTelemetry exports them."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.runtime import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a tracer provider of this test exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_a_span_is_in_the_trace_of_the_run_and_an_inner_one_in_that_span(exported: InMemorySpanExporter) -> None:
    with tracing.span("outer", PARENT, {"order": 7, "odd": ["a"]}), tracing.span("inner", PARENT, {}):
        pass

    inner, outer = exported.get_finished_spans()
    assert f"{outer.context.trace_id:032x}" == f"{inner.context.trace_id:032x}" == TRACE
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == "b7ad6b7169203331"
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert {"order": 7, "odd": "['a']"} == dict(outer.attributes or {})


def test_an_exception_is_recorded_and_goes_on(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ZeroDivisionError), tracing.span("fails", PARENT, {}):
        raise ZeroDivisionError

    [span] = exported.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


def test_without_opentelemetry_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_api", lambda: None)
    done = []
    with tracing.span("any", PARENT, {}):
        done.append(1)

    assert done == [1]
