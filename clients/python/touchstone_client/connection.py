"""Sends calls over HTTP and repeats them after transient failures: `Connection` blocks, `AsyncConnection` awaits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import httpx

from touchstone_client.api_key import validate_api_key
from touchstone_client.endpoints import Call
from touchstone_client.errors import ConnectionFailed, TouchstoneError
from touchstone_client.proxies import ProxyOptions, proxy_options
from touchstone_client.retry import NO_RETRIES, Attempts, Retries, Timeouts

T = TypeVar("T")


class Connection:
    """A pool of connections to one service. ValueError when the URL or the API key cannot be one."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        timeouts: Timeouts,
        retries: Retries,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._timeouts = timeouts
        self._retries = retries
        self._http = httpx.Client(**_client_options(url, api_key), transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Make a call. TouchstoneError."""
        attempts = Attempts(self._timeouts, self._retries if call.repeatable else NO_RETRIES)
        while True:
            try:
                return self._attempt(call, attempts)
            except TouchstoneError as error:
                time.sleep(attempts.wait_after(error))

    def download(self, call: Call[bytes], target: Path) -> None:
        """Make a call, and write the body of its response to a file, once it is whole. TouchstoneError, OSError."""
        attempts = Attempts(self._timeouts, self._retries)
        while True:
            try:
                return self._download(call, attempts, target)
            except TouchstoneError as error:
                time.sleep(attempts.wait_after(error))

    def _download(self, call: Call[bytes], attempts: Attempts, target: Path) -> None:
        part = target.with_name(f"{target.name}.part")
        with ExitStack() as files:
            request = call.build_request(self._http, attempts.next_timeout(), files)
            try:
                response = self._begin(request, attempts, files)
                if not response.is_success:
                    response.read()
                    call.parse_response(response)  # which raises the problem
                with part.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                part.replace(target)
            except httpx.RequestError as error:
                raise _connection_failed(request, error) from error
            finally:
                part.unlink(missing_ok=True)

    def _attempt(self, call: Call[T], attempts: Attempts) -> T:
        with ExitStack() as files:
            request = call.build_request(self._http, attempts.next_timeout(), files)
            try:
                response = self._begin(request, attempts, files)
                response.read()
            except httpx.RequestError as error:
                raise _connection_failed(request, error) from error
            return call.parse_response(response)

    def _begin(self, request: httpx.Request, attempts: Attempts, open_: ExitStack) -> httpx.Response:
        """A response whose body is still to be read, within the call's total time."""
        response = self._http.send(request, stream=True)
        open_.callback(response.close)
        response.stream = _Bounded(response.stream, attempts)
        return response


class _Bounded(httpx.SyncByteStream):
    """A body that is read no longer than a call may take: httpx bounds the wait for each chunk only."""

    def __init__(self, body: object, attempts: Attempts) -> None:
        assert isinstance(body, httpx.SyncByteStream)
        self._body, self._attempts = body, attempts

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            if self._attempts.remaining() <= 0:
                raise httpx.ReadTimeout("timed out")
            yield chunk

    def close(self) -> None:
        self._body.close()


class AsyncConnection:
    """`Connection` for one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        timeouts: Timeouts,
        retries: Retries,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._timeouts = timeouts
        self._retries = retries
        self._http = httpx.AsyncClient(**_client_options(url, api_key), transport=transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Make a call. TouchstoneError."""
        attempts = Attempts(self._timeouts, self._retries if call.repeatable else NO_RETRIES)
        while True:
            timeout, remaining = attempts.next_timeout(), attempts.remaining()
            try:
                async with asyncio.timeout(None if remaining == float("inf") else remaining):
                    return await self._attempt(call, timeout)
            except TimeoutError:
                error: TouchstoneError = ConnectionFailed(f"{call.method} {call.route}: timed out")
            except TouchstoneError as failure:
                error = failure
            await asyncio.sleep(attempts.wait_after(error))

    async def download(self, call: Call[bytes], target: Path) -> None:
        """Make a call, and write the body of its response to a file, once it is whole. TouchstoneError, OSError."""
        attempts = Attempts(self._timeouts, self._retries)
        while True:
            timeout, remaining = attempts.next_timeout(), attempts.remaining()
            try:
                async with asyncio.timeout(None if remaining == float("inf") else remaining):
                    return await self._download(call, timeout, target)
            except TimeoutError:
                error: TouchstoneError = ConnectionFailed(f"{call.method} {call.route}: timed out")
            except TouchstoneError as failure:
                error = failure
            await asyncio.sleep(attempts.wait_after(error))

    async def _download(self, call: Call[bytes], timeout: httpx.Timeout, target: Path) -> None:
        part = target.with_name(f"{target.name}.part")
        with ExitStack() as files:
            request = call.build_request(self._http, timeout, files)
            try:
                response = await self._http.send(request, stream=True)
                try:
                    if not response.is_success:
                        await response.aread()
                        call.parse_response(response)  # which raises the problem
                    with part.open("wb") as file:
                        async for chunk in response.aiter_bytes():
                            file.write(chunk)
                finally:
                    await response.aclose()
                part.replace(target)
            except httpx.RequestError as error:
                raise _connection_failed(request, error) from error
            finally:
                part.unlink(missing_ok=True)

    async def _attempt(self, call: Call[T], timeout: httpx.Timeout) -> T:
        with ExitStack() as files:
            request = call.build_request(self._http, timeout, files)
            try:
                response = await self._http.send(request)
            except httpx.RequestError as error:
                raise _connection_failed(request, error) from error
            return call.parse_response(response)


class _ClientOptions(ProxyOptions):
    """Arguments of httpx's two clients."""

    base_url: str
    headers: dict[str, str]
    follow_redirects: bool


def _client_options(url: str, api_key: str | None) -> _ClientOptions:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not a service URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not a service URL: use one like http://127.0.0.1:8000")
    headers = {"User-Agent": f"touchstone-client/{version('touchstone-client')}", "Accept": "application/json, */*"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {validate_api_key(api_key)}"
    return _ClientOptions(base_url=url, headers=headers, follow_redirects=False, **proxy_options(url))


def _connection_failed(request: httpx.Request, error: httpx.RequestError) -> ConnectionFailed:
    url = f"{request.method} {request.url.copy_with(query=None)}"
    cause = "timed out" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return ConnectionFailed(f"{url}: {cause}")
