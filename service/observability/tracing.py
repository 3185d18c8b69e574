"""OpenTelemetry traces: a span per request, with a child span per stage of each image; off unless configured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.types import Scope

from service.loopback import is_loopback

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span


@dataclass(frozen=True)
class Stage:
    """What an image went through, from `begin` to `end` (monotonic seconds). images: that went through it together."""

    name: str
    begin: float
    end: float
    images: int = 1

    @property
    def seconds(self) -> float:
        """One image's share of the time."""
        return (self.end - self.begin) / self.images


class TracingUnavailable(RuntimeError):
    """Traces are configured, but OpenTelemetry is not installed."""


class Tracing:
    """Sends spans to an OTLP/HTTP collector from a thread of its own; a collector that is away costs no answer.

    endpoint: the collector's URL for traces; None traces nothing. TracingUnavailable without the `tracing` extra.
    """

    def __init__(self, endpoint: str | None) -> None:
        self._provider: TracerProvider | None = None
        if endpoint is None:
            return
        try:
            import requests
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise TracingUnavailable(
                "TOUCHSTONE_TRACES_ENDPOINT is set, without OpenTelemetry: pip install 'touchstone[tracing]'"
            ) from None
        about = Resource.create({"service.name": "touchstone", "service.version": version("touchstone")})
        self._provider = TracerProvider(resource=about)
        session = requests.Session()
        session.trust_env = not is_loopback(urlsplit(endpoint).hostname or "")  # else it would ask HTTP_PROXY for it
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, session=session)))

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span | None]:
        """A span around a request, below the caller's when it sent a `traceparent`; None when nothing is traced."""
        if self._provider is None:
            yield None
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        tracer = self._provider.get_tracer("touchstone")
        with tracer.start_as_current_span(scope["method"], extract(headers), SpanKind.SERVER) as span:
            yield span

    def stages(self, stages: Iterable[Stage]) -> None:
        """A span for each stage of an image, when it really was, below the present request's span."""
        if self._provider is None:
            return
        tracer = self._provider.get_tracer("touchstone")
        wall = time.time_ns() - time.monotonic_ns()
        for stage in stages:
            tracer.start_span(stage.name, start_time=wall + int(stage.begin * 1e9)).end(wall + int(stage.end * 1e9))

    def close(self) -> None:
        """Flush remaining spans."""
        if self._provider is not None:
            self._provider.shutdown()


def describe(span: Span | None, facts: Mapping[str, Any]) -> None:
    """Put attributes on a request's span, named as OpenTelemetry's conventions have them."""
    if span is not None:
        span.set_attributes({name: value for name, value in facts.items() if value is not None})
        span.update_name(f"{facts['http.request.method']} {facts['http.route']}")
