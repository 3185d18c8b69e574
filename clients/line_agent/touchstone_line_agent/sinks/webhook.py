"""Posts records to a URL."""

from __future__ import annotations

import httpx

from touchstone_client.proxies import proxy_options
from touchstone_line_agent.config import WebhookSink
from touchstone_line_agent.part import Record
from touchstone_line_agent.payloads import record_payload
from touchstone_line_agent.sinks.base import RecordFailed, RecordRejected, SinkFailed

_TIMEOUT_S = 10.0
_REJECTING_STATUSES = frozenset({400, 413, 415, 422})  # this record would always get the same response


class WebhookRecords:
    """Posts each record as JSON until the response is 2xx or rejects it. `Idempotency-Key` is the part's key."""

    def __init__(self, config: WebhookSink) -> None:
        self._url = config.url
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, **proxy_options(config.url))
        self.name = f"webhook:{config.url}"

    async def deliver(self, record: Record, image: bytes | None) -> None:
        """Post a record. RecordRejected, RecordFailed, SinkFailed."""
        try:
            headers = {"Idempotency-Key": record.part.key}
            response = await self._http.post(self._url, json=record_payload(record), headers=headers)
        except httpx.HTTPError as error:
            raise SinkFailed(f"{self._url}: {error or type(error).__name__}") from error
        if not response.is_success:
            kind = RecordRejected if response.status_code in _REJECTING_STATUSES else SinkFailed
            kind = RecordFailed if response.status_code == 500 else kind
            text = " ".join(response.text.split())[:200]
            raise kind(f"{self._url} returned {response.status_code}: {text}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
