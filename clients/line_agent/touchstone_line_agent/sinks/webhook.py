"""Records posted to a URL."""

from __future__ import annotations

import httpx

from touchstone_line_agent import payloads
from touchstone_line_agent.config import WebhookSink
from touchstone_line_agent.parts import Record
from touchstone_line_agent.sinks import SinkFailed

_TIMEOUT_S = 10.0


class Webhook:
    """Posts each record as JSON until it is answered 2xx. `Idempotency-Key` is the part's key."""

    def __init__(self, config: WebhookSink) -> None:
        self._url = config.url
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S)
        self.name = f"webhook:{config.url}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Post it. SinkFailed."""
        try:
            headers = {"Idempotency-Key": record.part.key}
            answer = await self._http.post(self._url, json=payloads.record(record), headers=headers)
        except httpx.HTTPError as error:
            raise SinkFailed(f"{self._url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise SinkFailed(f"{self._url} answered {answer.status_code}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
