"""The client on a plant PC: odd file names, unreadable files, proxies, editors' byte order marks, wrong clocks."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import text as rule
from indexer.folders import IMAGE_SUFFIXES as INDEXED_SUFFIXES
from tests.service.pictures import part
from touchstone_client import (
    IMAGE_SUFFIXES,
    NO_RETRIES,
    AsyncClient,
    Client,
    InspectionQuery,
    InvalidRequest,
    Picture,
    Unreachable,
    client,
)
from touchstone_client.access_key import read_key
from touchstone_client.text import readable


def run(*arguments: object, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "touchstone_client", "--url", url, *map(os.fspath, map(str, arguments))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def unreadable(path: Path) -> Path:
    """A file that is there and whose bytes are an I/O error, also for root."""
    path.symlink_to("/proc/self/mem")
    return path


def test_the_clients_suffixes_are_those_that_the_service_side_reads() -> None:
    assert IMAGE_SUFFIXES == INDEXED_SUFFIXES


ODD = st.sampled_from("\x00\n\x7f\x85\u2028\ud800\udfff\u0308o\u0958")


@given(st.text(ODD | st.characters(), max_size=300), st.integers(1, 300))
def test_text_made_readable_is_what_the_service_takes(text: str, longest: int) -> None:
    made = readable(text, longest)
    assert made == rule.readable(text, longest)
    assert rule.plain(made, longest) == made


def test_a_file_name_that_is_not_utf8_is_inspected_under_a_readable_one(service: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in (b"teil_\xe4.png", b"line\nfeed.png"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(part(1))
    done = run("detect", "--category", "disc", folder, url=service)
    assert done.returncode in (0, 1), done.stderr
    assert "teil_\ufffd.png" in done.stdout
    assert "line\ufffdfeed.png" in done.stdout
    with Client(service) as client:
        results = client.onboard("odd", sorted(folder.iterdir())).results
        client.remove_category("odd")
    assert [each.filename for each in results] == ["line\ufffdfeed.png", "teil_\ufffd.png"]

    async def the_same() -> str:
        async with AsyncClient(service) as client:
            return (await client.inspect(Picture("o\u0308\udce4.png", part(1)), category="disc")).filename

    assert asyncio.run(the_same()) == "ö\ufffd.png"


def test_text_that_cannot_be_sent_is_an_invalid_request(service: str) -> None:
    with Client(service) as client:
        for send in (
            lambda: client.inspect(part(1), part_id="\udce4"),
            lambda: client.inspect(part(1), key="two\nlines"),
            lambda: client.category("\udce4"),
            lambda: list(client.inspections(InspectionQuery(station="\udce4"))),
        ):
            with pytest.raises(InvalidRequest):
                send()


def test_what_cannot_be_read_or_is_no_image_is_named_and_the_others_go_on(service: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "1.jfif").write_bytes(part(1))
    unreadable(folder / "2.png")
    (folder / "3.DIB").write_bytes(part(3))
    (folder / "p1.xml").write_text("<part/>")
    (folder / "Thumbs.db").write_bytes(b"\0")
    done = run("detect", "--category", "disc", folder, tmp_path / "missing.png", url=service)
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["1.jfif", "3.DIB"]
    said = done.stderr.splitlines()
    assert len(said) == 3, said
    assert "not image files: Thumbs.db, p1.xml" in said[0]
    assert "missing.png: no such file" in said[1]
    assert "2.png: Input/output error" in said[2]
    done = run("onboard", "mixed", folder, url=service)
    assert done.returncode == 1
    assert "2 added, 0 there already, 1 refused" in done.stdout
    assert "unreadable" in done.stdout
    with Client(service) as client:
        client.remove_category("mixed")


class Proxy:
    """An HTTP proxy that answers every request itself, and remembers for which URLs it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"status": "from the proxy"}')

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    found = Proxy()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, found.url)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,192.0.2.7,.plant.example")
    yield found
    found.server.shutdown()
    found.thread.join()
    found.server.server_close()


def test_this_machine_and_what_no_proxy_names_are_asked_without_a_proxy(service: str, proxy: Proxy) -> None:
    port = service.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "127.1.2.3"):
        with Client(f"http://{name}:{port}", retries=NO_RETRIES) as client:
            if name == "127.1.2.3":  # nobody listens there, and that is what is said
                with pytest.raises(Unreachable):
                    client.live()
            else:
                assert client.live().status == "live"

    async def the_same() -> None:
        async with AsyncClient(service) as client:
            assert (await client.live()).status == "live"

    asyncio.run(the_same())
    assert proxy.asked == []
    with Client("http://touchstone.example:8000") as client:
        assert client.live().status == "from the proxy"
    assert proxy.asked == ["http://touchstone.example:8000/healthz"]
    for excepted in ("http://10.1.2.3:9", "http://192.0.2.7:9", "http://a.plant.example:9"):
        assert not client_asks_a_proxy(excepted)
    assert client_asks_a_proxy("http://11.1.2.3:9")


def client_asks_a_proxy(url: str) -> bool:
    with Client(url) as found:
        return bool(found._http._mounts)


def test_a_key_is_read_whatever_editor_wrote_it_and_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "line.key"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_text("ts_abc_def\r\n", encoding=encoding)
        assert read_key(file) == "ts_abc_def"
    for data, said in (
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"ts_\xff", "save it as UTF-8"),
        ("ts_ü".encode(), "holds more than a key"),
        (b"one two", "holds more than a key"),
    ):
        file.write_bytes(data)
        done = run("--key-file", file, "categories", url="http://127.0.0.1:9")
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert str(file) in line
        assert said in line
        assert "one two" not in line
    done = run("categories", url="http://127.0.0.1:9", TOUCHSTONE_KEY="\ufeffts_abc")
    assert (done.returncode, "more than a key" in done.stderr) == (2, True)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_watching_does_not_depend_on_this_machines_clock(
    service: str, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Wrong:
            return super().now(tz) + datetime.timedelta(seconds=ahead)

    monkeypatch.setattr(client, "datetime", Wrong)
    station = f"clock{ahead}"
    with Client(service) as asking:
        asking.inspect(part(1), category="disc", station=station)
        watching = asking.watch(InspectionQuery(station=station), every=0.05)
        made: list[str] = []

        def inspect_on() -> None:
            with Client(service) as inspecting:
                while not stop.wait(0.2):
                    made.append(inspecting.inspect(part(2), category="disc", station=station).id)

        stop = threading.Event()
        inspector = threading.Thread(target=inspect_on)
        inspector.start()
        timer = threading.Timer(20, asking.close)  # ends a watch that sees nothing
        timer.start()
        try:
            seen = next(watching).id
        finally:
            timer.cancel()
            stop.set()
            inspector.join()
        assert seen in made
