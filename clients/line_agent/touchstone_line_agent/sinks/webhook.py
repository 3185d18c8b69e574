"""Posts records to a URL."""

from __future__ import annotations

import asyncio

import httpx

from touchstone_client.proxies import proxy_options
from touchstone_line_agent.config import WebhookSink
from touchstone_line_agent.part import Record
from touchstone_line_agent.payloads import record_payload
from touchstone_line_agent.sinks.base import RecordFailed, RecordRejected, SinkFailed

_TIMEOUT_S = 10.0  # for the whole response
_MAX_TEXT_BYTES = 4 << 10  # read of it
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
            async with asyncio.timeout(_TIMEOUT_S):
                headers = {"Idempotency-Key": record.part.key}
                posting = self._http.stream("POST", self._url, json=record_payload(record), headers=headers)
                async with posting as response:
                    text = await _beginning(response)
        except TimeoutError as error:
            raise SinkFailed(f"{self._url}: no whole response within {_TIMEOUT_S:g} s") from error
        except httpx.HTTPError as error:
            raise SinkFailed(f"{self._url}: {str(error) or type(error).__name__}") from error
        if not response.is_success:
            kind = RecordRejected if response.status_code in _REJECTING_STATUSES else SinkFailed
            kind = RecordFailed if response.status_code == 500 else kind
            raise kind(f"{self._url} returned {response.status_code}: {' '.join(text.split())[:200]}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _beginning(response: httpx.Response) -> str:
    """The text of a response, as much of it as is ever shown."""
    data = b""
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) >= _MAX_TEXT_BYTES:
            break
    return data.decode(errors="replace")
