"""A real server against clients that are slow, endless, broken or too many: each is answered or cut off."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

CONNECTIONS, JSON_BYTES, HEADER_BYTES = 12, 4000, 4096
PATIENCE = 60  # seconds for what should take one or two
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PATCH = b"PATCH /categories/disc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Wire:
    """A connection on which a test says exactly what it wants."""

    def __init__(self, server: ServerProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def dribble(self, piece: bytes) -> None:
        """Send a piece every now and then until the server has had enough."""
        self.socket.setblocking(False)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.socket.recv(1, socket.MSG_PEEK) is not None:
                    break
            except BlockingIOError:
                self.socket.send(piece)
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE)

    def rest(self) -> bytes:
        """Everything until the server closes; b'' is a connection closed without a word."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(65536):
                received += piece
        return received


def problem(received: bytes, status: int, kind: str) -> dict[str, str]:
    """Check that what was received ends with a problem."""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].split()[1] == str(status), received
    headers = dict(line.split(": ", 1) for line in lines[1:])
    document: dict[str, str] = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert (headers["connection"], headers["x-content-type-options"]) == ("close", "nosniff")
    assert (document["type"], document["status"]) == (f"/problems/{kind}", status)
    assert document["request_id"] == headers["x-request-id"]
    return headers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = {
        "HEADER_TIMEOUT_SECONDS": "1",
        "BODY_TIMEOUT_SECONDS": "1",
        "MIN_BODY_BYTES_PER_SECOND": "100000",
        "KEEP_ALIVE_TIMEOUT_SECONDS": "1",
        "WRITE_TIMEOUT_SECONDS": "1",
        "MAX_CONNECTIONS": str(CONNECTIONS),
        "MAX_JSON_BYTES": str(JSON_BYTES),
        "MAX_HEADER_BYTES": str(HEADER_BYTES),
        "MAX_HEADERS": "40",
        "REFRESH_INTERVAL_MS": "100",
    }
    with ServerProcess(tmp_path_factory.mktemp("slow") / "data", **limits).wait_until_live() as running:
        body = files(*(part(seed) for seed in range(3)))
        assert running.client.post("/references", data={"category": "disc"}, files=body).status_code == 200
        yield running
        assert "Traceback" not in running.log.read_text(), running.log.read_text()
        assert running.stop() == 0


@pytest.fixture(autouse=True)
def others(server: ServerProcess) -> Iterator[set[int]]:
    """While each test goes on, somebody else's parts are inspected; these are the statuses that may be answered."""
    allowed, answered, stop = {200}, list[int](), threading.Event()

    def inspect_parts() -> None:
        while not stop.is_set():
            answered.append(inspect(server))
            stop.wait(0.05)

    inspector = threading.Thread(target=inspect_parts)
    inspector.start()
    yield allowed
    stop.set()
    inspector.join()
    end = time.monotonic() + PATIENCE
    # On a busy machine the test was over before a part was inspected.
    while 200 not in answered and time.monotonic() < end:
        answered.append(inspect(server))
    assert 200 in answered
    assert set(answered) <= allowed


def inspect(server: ServerProcess, part_id: str = "any") -> int:
    """Detect over a connection of its own: one that was kept may be closed at any time."""
    url = f"{server.client.base_url}/detect"
    return httpx.post(url, data={"part_id": part_id}, files=files(part(99)), timeout=PATIENCE).status_code


def test_headers_that_are_dribbled_are_not_waited_for(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(GET)
        wire.dribble(b"X-A: 1\r\n")
        problem(wire.rest(), 408, "request-timeout")


def test_a_connection_without_a_request_is_closed_without_a_word(server: ServerProcess) -> None:
    with Wire(server) as wire:
        assert wire.rest() == b""


def test_a_kept_connection_is_closed_when_nothing_more_comes(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(GET + b"\r\n")
        assert wire.rest().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: " + b"x" * 3 * HEADER_BYTES,
        b"".join(b"X-%d: x\r\n" % index for index in range(41)) + b"\r\n",
        b"X-Long: " + b"x" * HEADER_BYTES + b"\r\n\r\n",
    ],
    ids=["without end", "too many", "too long"],
)
def test_headers_without_end_are_refused(server: ServerProcess, headers: bytes) -> None:
    with Wire(server) as wire:
        wire.send(GET + headers)
        problem(wire.rest(), 431, "headers-too-large")


def test_a_body_that_is_dribbled_is_not_waited_for(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(POST + b"Content-Length: 100000\r\n\r\n--b\r\n")
        wire.dribble(b"x")
        problem(wire.rest(), 408, "request-timeout")


@pytest.mark.parametrize("asked", [POST, PATCH], ids=["images", "json"])
@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_never_arrives_times_out(server: ServerProcess, asked: bytes, length: bytes) -> None:
    with Wire(server) as wire:
        wire.send(asked + length)
        problem(wire.rest(), 408, "request-timeout")


def test_an_unread_body_does_not_keep_the_connection_open(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(GET + b"Content-Length: 4000\r\n\r\n")
        wire.dribble(b"x")
        assert wire.rest().startswith(b"HTTP/1.1 200")


def test_json_may_not_be_as_large_as_images(server: ServerProcess) -> None:
    large = json.dumps({"k": 3, "more": "x" * JSON_BYTES})
    # A connection that is kept might be closed, as the limits have it, while the next request is on its way.
    singly = {"Connection": "close"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60, headers=singly) as client:
        for content in (large, iter([large.encode()])):  # with its length declared, and in chunks without
            response = client.patch(
                "/categories/disc",
                content=content,
                headers={"Content-Type": "application/json"},  # type: ignore[arg-type]
            )
            assert (response.status_code, response.json()["type"]) == (413, "/problems/request-too-large"), (
                response.text
            )
        assert client.patch("/categories/disc", json={"k": 3}).status_code == 200
        image = part(7) + bytes(JSON_BYTES)
        assert client.post("/detect", files=files(image)).status_code == 200


LARGE = 8 << 20  # more than the buffers between two sockets hold


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: %d\r\n\r\n" % LARGE, bytes(LARGE)),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, bytes(LARGE))),
    ],
    ids=["refused by its length", "refused while it grows"],
)
def test_a_client_that_still_sends_is_read_until_it_sees_the_answer(
    server: ServerProcess, headers: bytes, body: bytes
) -> None:
    with Wire(server) as wire:
        ours = wire.socket.getsockname()[1]
        wire.send(PATCH + headers + body)  # a reset connection would end this, and lose the answer
        problem(wire.rest(), 413, "request-too-large")
        end = time.monotonic() + PATIENCE
        while any(
            connection.raddr and connection.raddr.port == ours
            for connection in psutil.Process(server.process.pid).net_connections()
        ):
            assert time.monotonic() < end, "a client that stays for ever is waited for"
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (PATCH + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (PATCH + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused(server: ServerProcess, sent: bytes, status: int) -> None:
    with Wire(server) as wire:
        wire.send(sent)
        problem(wire.rest(), status, "malformed-request")


def test_requests_may_be_sent_ahead_but_not_half(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(GET + b"\r\n" + GET + b"\r\n" + GET)
        first, second, third = re.split(rb"(?<=.)(?=HTTP/1\.1 )", wire.rest(), flags=re.DOTALL)
        assert first.startswith(b"HTTP/1.1 200")
        assert second.startswith(b"HTTP/1.1 200")
        problem(third, 408, "request-timeout")


def test_idle_connections_make_room_for_those_with_requests(server: ServerProcess, others: set[int]) -> None:
    others.add(503)
    with contextlib.ExitStack() as crowd:
        first, *_ = [crowd.enter_context(Wire(server)) for _ in range(4 * CONNECTIONS)]
        first.send(GET)  # it comes too late, but must not meet a reset
        problem(first.rest(), 503, "too-many-connections")
        for _ in range(3):
            with Wire(server) as wire:
                wire.send(GET + b"Connection: close\r\n\r\n")
                assert wire.rest().startswith(b"HTTP/1.1 200")
        assert open_connections(server) <= CONNECTIONS + 1


def test_streams_outlive_timeouts_and_count_towards_the_connection_limit(
    server: ServerProcess, others: set[int]
) -> None:
    others.add(503)
    ask = b"GET /inspections/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as crowd:
        streams: list[Wire] = []
        while len(streams) < CONNECTIONS:
            wire = crowd.enter_context(Wire(server))
            wire.send(ask)
            if wire.socket.recv(12) == b"HTTP/1.1 200":
                streams.append(wire)
        with Wire(server) as wire:
            assert problem(wire.rest(), 503, "too-many-connections")["retry-after"] == "1"
        time.sleep(3)  # three times what headers, bodies, idling and stalling may take
        streams.pop().socket.close()
        end = time.monotonic() + PATIENCE
        while inspect(server, "late") != 200:
            assert time.monotonic() < end
        for stream in streams:
            heard = b""
            while b'"late"' not in heard:
                heard += stream.socket.recv(65536)


def test_an_unread_response_times_out(server: ServerProcess) -> None:
    with Wire(server) as wire:
        ours = wire.socket.getsockname()[1]
        wire.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        end = time.monotonic() + PATIENCE
        while any(connection.raddr and connection.raddr.port == ours for connection in connections(server)):
            assert time.monotonic() < end
            time.sleep(0.1)


def connections(server: ServerProcess) -> list[psutil._ntuples.pconn]:
    """The server's connections to its clients."""
    sockets = psutil.Process(server.process.pid).net_connections("tcp")
    return [
        socket_
        for socket_ in sockets
        if socket_.status == psutil.CONN_ESTABLISHED and socket_.laddr.port == server.port
    ]


def open_connections(server: ServerProcess) -> int:
    return len(connections(server))
