"""The client on a plant PC: odd file names, unreadable files, proxies, byte order marks, wrong clocks."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import text as rule
from indexer.imaging.listing import IMAGE_SUFFIXES as INDEXED_SUFFIXES
from tests.clients.helpers.recording_proxy import RecordingProxy
from tests.helpers.part_images import part
from touchstone_client import (
    IMAGE_SUFFIXES,
    NO_RETRIES,
    AsyncClient,
    Client,
    ConnectionFailed,
    ImageFile,
    InspectionFilter,
    InvalidRequest,
    polling,
)
from touchstone_client.api_key import read_api_key
from touchstone_client.proxies import proxy_options
from touchstone_client.text import sanitize


def run(*arguments: object, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "touchstone_client", "--url", url, *map(os.fspath, map(str, arguments))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environment)


def test_the_clients_image_suffixes_are_the_services() -> None:
    assert IMAGE_SUFFIXES == INDEXED_SUFFIXES


ODD = st.sampled_from("\x00\n\x7f\x85\u2028\ud800\udfff\u0308o\u0958")


@given(st.text(ODD | st.characters(), max_size=300), st.integers(1, 300))
def test_sanitized_text_is_accepted_by_the_service(text: str, max_length: int) -> None:
    sanitized = sanitize(text, max_length)
    assert sanitized == rule.readable(text, max_length)
    assert rule.plain(sanitized, max_length) == sanitized


def test_a_file_name_that_is_not_utf8_is_sent_with_replacement_characters(service: str, tmp_path: Path) -> None:
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
    assert [result.filename for result in results] == ["line\ufffdfeed.png", "teil_\ufffd.png"]

    async def inspected_filename() -> str:
        async with AsyncClient(service) as client:
            return (await client.inspect(ImageFile("o\u0308\udce4.png", part(1)), category="disc")).filename

    assert asyncio.run(inspected_filename()) == "ö\ufffd.png"


def test_text_that_cannot_be_sent_is_an_invalid_request(service: str) -> None:
    with Client(service) as client:
        for send in (
            lambda: client.inspect(part(1), part_id="\udce4"),
            lambda: client.inspect(part(1), idempotency_key="two\nlines"),
            lambda: client.category("\udce4"),
            lambda: list(client.inspections(InspectionFilter(station="\udce4"))),
        ):
            with pytest.raises(InvalidRequest):
                send()


def test_an_unreadable_file_or_one_that_is_no_image_is_reported_and_the_others_are_sent(
    service: str, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "1.jfif").write_bytes(part(1))
    (folder / "2.png").symlink_to("/proc/self/mem")  # reading it is an I/O error, also for root
    (folder / "3.DIB").write_bytes(part(3))
    (folder / "4.png").symlink_to("x" * 300)  # even its type cannot be read
    (folder / "p1.xml").write_text("<part/>")
    (folder / "Thumbs.db").write_bytes(b"\0")
    done = run("detect", "--category", "disc", folder, tmp_path / "missing.png", url=service)
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["1.jfif", "3.DIB"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("touchstone-client: ")]
    assert len(errors) == 4, done.stderr
    assert "not image files: Thumbs.db, p1.xml" in errors[0]
    assert "missing.png: no such file" in errors[1]
    assert "2.png: Input/output error" in errors[2]
    assert "4.png: File name too long" in errors[3]
    done = run("onboard", "mixed", folder, url=service)
    assert done.returncode == 1
    assert "2 added, 0 duplicates, 2 rejected" in done.stdout
    assert "unreadable" in done.stdout
    with Client(service) as client:
        client.remove_category("mixed")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    """A proxy that the environment names for everything but some addresses and domains."""
    proxy = RecordingProxy()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,192.0.2.7,.plant.example")
    yield proxy
    proxy.close()


def test_loopback_addresses_and_what_no_proxy_names_are_reached_without_the_proxy(
    service: str, proxy: RecordingProxy
) -> None:
    port = service.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        with Client(f"http://{host}:{port}", retries=NO_RETRIES) as client:
            assert client.live().status == "live"
    with Client(f"http://127.1.2.3:{port}", retries=NO_RETRIES) as client, pytest.raises(ConnectionFailed):
        client.live()  # nothing listens there, and the proxy would have answered

    async def asynchronous_status() -> str:
        async with AsyncClient(service) as client:
            return (await client.live()).status

    assert asyncio.run(asynchronous_status()) == "live"
    assert proxy.requested == []

    with Client("http://touchstone.example:8000") as client:
        assert client.live().status == "from the proxy"
    assert proxy.requested == ["http://touchstone.example:8000/healthz"]
    for exempt in ("http://10.1.2.3:9", "http://192.0.2.7:9", "http://a.plant.example:9"):
        assert not proxy_options(exempt)["trust_env"]
    assert proxy_options("http://11.1.2.3:9")["trust_env"]


def test_a_key_file_may_be_utf8_or_utf16_and_its_errors_name_the_file_but_not_the_key(tmp_path: Path) -> None:
    file = tmp_path / "line.key"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_text("ts_abc_def\r\n", encoding=encoding)
        assert read_api_key(file) == "ts_abc_def"
    for data, error in (
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"ts_\xff", "save it as UTF-8"),
        ("ts_ü".encode(), "is not an API key"),
        (b"one two", "is not an API key"),
    ):
        file.write_bytes(data)
        done = run("--key-file", file, "categories", url="http://127.0.0.1:9")
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert str(file) in line
        assert error in line
        assert "one two" not in line
    done = run("categories", url="http://127.0.0.1:9", TOUCHSTONE_KEY="\ufeffts_abc")
    assert (done.returncode, "is not an API key" in done.stderr) == (2, True)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_watching_does_not_depend_on_this_machines_clock(
    service: str, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ShiftedClock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> ShiftedClock:
            return super().now(tz) + datetime.timedelta(seconds=ahead)

    monkeypatch.setattr(polling, "datetime", ShiftedClock)
    filter = InspectionFilter(station=f"clock{ahead}")
    stop = threading.Event()
    inspected: list[str] = []

    def keep_inspecting() -> None:
        with Client(service) as client:
            while not stop.wait(0.2):
                inspected.append(client.inspect(part(2), category="disc", station=filter.station).id)

    with Client(service) as client:
        client.inspect(part(1), category="disc", station=filter.station)
        watch = client.watch(filter, poll_interval=0.05)
        inspecting = threading.Thread(target=keep_inspecting)
        inspecting.start()
        timer = threading.Timer(20, client.close)  # ends a watch that finds nothing
        timer.start()
        try:
            inspection_id = next(watch).id
        finally:
            timer.cancel()
            stop.set()
            inspecting.join()
        assert inspection_id in inspected
