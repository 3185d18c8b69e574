"""Records posted to a URL."""

from __future__ import annotations

import httpx

from touchstone_client.proxies import proxy_options
from touchstone_line_agent import payloads
from touchstone_line_agent.config import WebhookSink
from touchstone_line_agent.parts import Record
from touchstone_line_agent.sinks import RecordFailed, RecordRefused, SinkFailed

_TIMEOUT_S = 10.0
_REFUSALS = frozenset({400, 413, 415, 422})  # what this record is answered now, it will always be answered


class Webhook:
    """Posts each record as JSON until it is answered 2xx, or refused for good. `Idempotency-Key` is the part's key."""

    def __init__(self, config: WebhookSink) -> None:
        self._url = config.url
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, **proxy_options(config.url))
        self.name = f"webhook:{config.url}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Post it. RecordRefused, RecordFailed, SinkFailed."""
        try:
            headers = {"Idempotency-Key": record.part.key}
            answer = await self._http.post(self._url, json=payloads.record(record), headers=headers)
        except httpx.HTTPError as error:
            raise SinkFailed(f"{self._url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            kind = RecordRefused if answer.status_code in _REFUSALS else SinkFailed
            kind = RecordFailed if answer.status_code == 500 else kind
            raise kind(f"{self._url} answered {answer.status_code}: {' '.join(answer.text.split())[:200]}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
