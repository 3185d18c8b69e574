"""The watched folder: complete image files are parts, each once, and other files are ignored."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.clients.helpers.machines import Agent, wait_until
from tests.helpers.part_images import part
from touchstone_client import IMAGE_SUFFIXES
from touchstone_line_agent.config import FolderSource
from touchstone_line_agent.sources import CapturedImage
from touchstone_line_agent.sources.completeness import is_complete
from touchstone_line_agent.sources.folder import FolderFeed

QUICK = {"poll_interval_ms": 10, "settle_ms": 30, "incomplete_ms": 400}


def by_pillow(kind: str, size: tuple[int, int] = (75, 61), **options: object) -> bytes:
    """A noise image, as Pillow writes it."""
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def by_opencv(suffix: str, *options: int, grey16: bool = False) -> bytes:
    """The same image as OpenCV writes it, which puts a TIFF's directory at its end."""
    noise = np.random.default_rng(1).integers(0, 256, (61, 75, 3), np.uint8)
    image = noise[..., 0].astype(np.uint16) * 257 if grey16 else noise
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


FILES = {
    "JPEG": by_pillow("JPEG"),
    "progressive JPEG": by_pillow("JPEG", progressive=True, exif=b"Exif\0\0" + bytes(500)),
    "PNG": by_pillow("PNG"),
    "BMP": by_pillow("BMP"),
    "WebP": by_pillow("WEBP"),
    "lossless WebP": by_pillow("WEBP", lossless=True),
    "TIFF": by_pillow("TIFF"),
    "TIFF with LZW": by_pillow("TIFF", compression="tiff_lzw"),
    "BigTIFF": by_pillow("TIFF", big_tiff=True),
    "TIFF of libtiff": by_opencv(".tiff"),
    "TIFF of libtiff, raw": by_opencv(".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 1),
    "TIFF of 16 bits": by_opencv(".tiff", grey16=True),
    "BMP of OpenCV": by_opencv(".bmp"),
    "JPEG of OpenCV": by_opencv(".jpg"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_complete_with_its_last_byte_and_not_before(name: str) -> None:
    data = FILES[name]
    assert is_complete(data)
    assert is_complete(data + bytes(100)), "some cameras append zeros"
    # Some programs pad files: up to three bytes may be missing without loss.
    for length in [*range(0, len(data) - 3, 37), len(data) - 4, len(data) // 2]:
        assert not is_complete(data[:length]), f"{length} of {len(data)} bytes"
        assert not is_complete(data[:length] + bytes(len(data) - length)) or name.startswith(
            ("BMP", "WebP", "lossless", "TIFF", "BigTIFF")
        )


@pytest.mark.parametrize("offset", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_tiff_that_points_beyond_every_file_is_not_complete(offset: int) -> None:
    header = b"II\x2b\0" + struct.pack("<HH", 8, 0)
    assert not is_complete(header + struct.pack("<Q", offset) + bytes(64))
    assert not is_complete(header + struct.pack("<QQQ", 16, 0, offset) + bytes(64)), "in its second directory"


def test_other_content_is_never_complete() -> None:
    assert not is_complete(b"")
    assert not is_complete(bytes(5000))
    assert not is_complete(b"<xml/>")
    assert not is_complete(b"II\x2a\0" + bytes(4)), "a TIFF without its directory"
    cycle = b"II\x2a\0" + struct.pack("<IHI", 8, 0, 8)
    assert is_complete(cycle), "a directory that points to itself terminates"


class RunningFeed:
    """A running folder feed, and the images that it delivers."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.source = FolderFeed(FolderSource.model_validate({"kind": "folder", "path": path, **QUICK, **settings}))
        self.offered = 0
        self.accepted: list[CapturedImage] = []
        self.known: set[str] = set()
        self.released: list[str] = []
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> RunningFeed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def names(self) -> list[str]:
        return [part.filename for part in self.accepted]

    def _run(self) -> None:
        self._task = self._loop.create_task(self.source.run(self._accept, self._release))
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _accept(self, image: CapturedImage) -> None:
        self.offered += 1
        await asyncio.sleep(self.delay)
        if image.origin not in self.known:
            self.known.add(image.origin)
            self.accepted.append(image)

    async def _release(self, origin: str) -> None:
        self.known.discard(origin)
        self.released.append(origin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.mkdir()
    return path


def put(path: Path, data: bytes, timestamp: float | None = None) -> None:
    """Put a complete file into the folder at once."""
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_bytes(data)
    if timestamp is not None:
        os.utime(hidden, (timestamp, timestamp))
    hidden.rename(path)


def test_image_files_of_every_suffix_are_parts_and_others_are_ignored(folder: Path) -> None:
    suffixes = sorted(IMAGE_SUFFIXES)
    for index, suffix in enumerate(suffixes):
        put(folder / f"p{index}{suffix if index % 2 else suffix.upper()}", part(index))
    for name in ("p1.xml", "Thumbs.db", "desktop.ini", "p2.png.part", "notes"):
        (folder / name).write_text("no image")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "._p1.png").write_bytes(part(1))
    with RunningFeed(folder) as feed:
        wait_until(lambda: len(feed.accepted) == len(suffixes), "every image", 20)
        time.sleep(0.5)
        assert sorted(Path(name).suffix.lower() for name in feed.names()) == suffixes
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [
                "p1.xml",
                "Thumbs.db",
                "desktop.ini",
                "p2.png.part",
                "notes",
                "folder.png",
                "pipe.png",
                "dangling.png",
                "._p1.png",
                "done",
            ]
        )
        ignored = "; ".join(feed.source.ignored)
        assert "5 not an image suffix: Thumbs.db, desktop.ini, notes, p1.xml, p2.png.part" in ignored
        assert "3 not a file: dangling.png, folder.png, pipe.png" in ignored
        assert feed.source.count_ignored("hidden") == 1
        assert feed.source.error == ""


def test_the_pattern_is_case_insensitive(folder: Path) -> None:
    for name in ("cam1_a.png", "CAM1_B.PNG", "cam2_a.png", "cam1_a.xml"):
        put(folder / name, part(1))
    with RunningFeed(folder, pattern="Cam1_*") as feed:
        wait_until(lambda: len(feed.accepted) == 2, "both", 20)
        assert sorted(feed.names()) == ["CAM1_B.PNG", "cam1_a.png"]
        assert feed.source.count_ignored("pattern does not match") == 1


def taken(feed: RunningFeed, file: Path, parts: int) -> Callable[[], bool]:
    """Whether a file has gone from the folder, and so many parts came of it."""
    return lambda: not file.exists() and len(feed.accepted) == parts


def test_images_of_the_same_name_size_and_time_are_separate_parts(folder: Path) -> None:
    clock = 1_700_000_000  # FAT's clock moves every two seconds
    same_size = [bytes([index]).join([by_pillow("BMP")[:-1], b""]) + bytes([index]) for index in range(2)]
    with RunningFeed(folder, after_read="delete") as feed:
        for index in range(6):
            put(folder / "image.bmp", same_size[index % 2], clock)
            wait_until(taken(feed, folder / "image.bmp", index + 1), "read", 20)
        # A camera with a covered lens sends the same bytes repeatedly: each file is a part.
        for index in range(3):
            put(folder / "image.bmp", same_size[0], clock)
            wait_until(taken(feed, folder / "image.bmp", index + 7), "read", 20)
    assert [accepted.data for accepted in feed.accepted] == [*same_size * 3, *[same_size[0]] * 3]


def test_a_moved_file_is_not_replaced_by_a_later_one_of_the_same_name(folder: Path) -> None:
    with RunningFeed(folder) as feed:
        for index in range(3):
            put(folder / "image.png", part(index))
            wait_until(taken(feed, folder / "image.png", index + 1), "read", 20)
    assert sorted(path.read_bytes() for path in (folder / "done").iterdir()) == sorted(part(n) for n in range(3))


def test_a_file_that_is_replaced_while_it_is_stored_is_a_part_too(folder: Path) -> None:
    with RunningFeed(folder) as feed:
        feed.delay = 0.3  # the store is slow
        put(folder / "image.png", part(1))
        wait_until(lambda: feed.offered, "the first is being stored", 20)
        put(folder / "image.png", part(2))
        wait_until(lambda: len(feed.accepted) == 2, "both", 20)
    assert [accepted.data for accepted in feed.accepted] == [part(1), part(2)]


def test_a_file_is_read_when_it_is_complete_however_slowly_it_is_written(folder: Path) -> None:
    data = part(3)
    with RunningFeed(folder, incomplete_ms=60_000) as feed:
        with (folder / "slow.png").open("wb") as file:
            for chunk in (data[:1000], data[1000:-4], data[-4:]):
                assert feed.accepted == []
                file.write(chunk)
                file.flush()
                time.sleep(0.4)  # much longer than settle_ms
        wait_until(lambda: feed.accepted, "the file", 20)
        # A copy whose size is reserved before its content is written.
        with (folder / "reserved.png").open("wb") as file:
            file.truncate(len(data))
            file.flush()
            os.fsync(file.fileno())
            time.sleep(0.4)
            assert len(feed.accepted) == 1
            file.write(data)
        wait_until(lambda: len(feed.accepted) == 2, "the copy", 20)
    assert [accepted.data for accepted in feed.accepted] == [data, data]


def test_a_file_that_stays_incomplete_is_read_as_it_is_and_does_not_block_the_others(folder: Path) -> None:
    cut = part(3)[:2000]
    with RunningFeed(folder) as feed:
        (folder / "1-cut.png").write_bytes(cut)
        (folder / "2-empty.png").write_bytes(b"")
        put(folder / "3.png", part(4))
        wait_until(lambda: feed.names()[:1] == ["3.png"], "the complete one first", 20)
        wait_until(lambda: len(feed.accepted) == 3, "the others", 20)
    assert [accepted.data for accepted in feed.accepted[1:]] == [cut, b""]


def test_an_unreadable_file_is_a_part_without_an_image_and_does_not_block_the_others(folder: Path) -> None:
    with RunningFeed(folder) as feed:
        (folder / "1.png").symlink_to("/proc/self/mem")  # reading it is an I/O error
        put(folder / "2.png", part(2))
        wait_until(lambda: feed.names() == ["2.png"], "the other", 20)
        wait_until(lambda: "1.png cannot be read: Input/output error" in feed.source.error, "the error", 20)
        wait_until(lambda: len(feed.accepted) == 2, "the part without an image", 20)
        wait_until(lambda: feed.source.error == "", "no error any more", 20)
        fallback = feed.accepted[1].fallback
        assert fallback is not None
        assert (fallback.outcome, fallback.detail) == ("no-image", "the file cannot be read: Input/output error")
        assert [path.name for path in (folder / "unreadable").iterdir()] == ["1.png"]


def test_a_file_that_cannot_be_moved_is_one_part_and_does_not_block_the_others(folder: Path) -> None:
    (folder / "done").write_text("a file where the subfolder should be")
    with RunningFeed(folder) as feed:
        for index in range(3):
            put(folder / f"{index}.png", part(index))
        wait_until(lambda: len(feed.accepted) == 3, "all", 20)
        wait_until(lambda: "2.png cannot be moved" in feed.source.error, "the error", 20)
        time.sleep(0.3)
        assert len(feed.accepted) == 3
        (folder / "done").unlink()
        wait_until(lambda: not list(folder.glob("*.png")), "moved", 20)
        wait_until(lambda: feed.source.error == "", "no error any more", 20)


def test_a_missing_folder_is_an_error_until_it_appears(folder: Path) -> None:
    folder.rmdir()
    with RunningFeed(folder) as feed:
        wait_until(lambda: "No such file or directory" in feed.source.error, "the error", 20)
        folder.write_text("a file")
        wait_until(lambda: "Not a directory" in feed.source.error, "the error", 20)
        folder.unlink()
        folder.mkdir()
        put(folder / "1.png", part(1))
        wait_until(lambda: feed.names() == ["1.png"], "read", 20)
        assert feed.source.error == ""


@pytest.fixture
def mounted(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mounts a file system at the folder, and unmounts it."""

    def run(action: str) -> None:
        command = ["mount", "-t", "tmpfs", "none"] if action == "mount" else ["umount", "--lazy"]
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no permission to mount: {done.stderr}")

    run("mount")
    yield run
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@pytest.mark.parametrize("named", [False, True])
def test_an_unmounted_share_is_an_error_and_files_under_its_mount_point_are_not_read(
    folder: Path, mounted: Callable[[str], None], named: bool
) -> None:
    (folder / "camera").mkdir()
    settings = {"mount_point": folder} if named else {}
    if named:  # also for an agent that starts while the share is away
        mounted("umount")
    (folder / "camera").mkdir(exist_ok=True)
    with RunningFeed(folder / "camera", **settings) as feed:
        if not named:
            put(folder / "camera" / "1.png", part(1))
            wait_until(lambda: feed.names() == ["1.png"], "read", 20)
            mounted("umount")
            (folder / "camera").mkdir(exist_ok=True)
        put(folder / "camera" / "local.png", part(2))
        wait_until(lambda: "mounted" in feed.source.error, "the error", 20)
        time.sleep(0.3)
        assert "local.png" not in feed.names()
        mounted("mount")
        (folder / "camera").mkdir()
        put(folder / "camera" / "2.png", part(3))
        wait_until(lambda: feed.names()[-1:] == ["2.png"], "read", 20)
        assert feed.source.error == ""


def test_unusual_files_do_not_stop_the_agent_and_have_records(service: str, tmp_path: Path) -> None:
    incoming, results = tmp_path / "incoming", tmp_path / "results.csv"
    config = f"""
[service]
url = "{service}"
[[station]]
name = "odd"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{incoming}", poll_interval_ms = 20, settle_ms = 20, incomplete_ms = 500 }}
sink = [{{ kind = "csv", path = "{results}" }}]
[[station]]
name = "other"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{tmp_path}/other", poll_interval_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "csv", path = "{tmp_path}/other.csv" }}]
"""
    agent = Agent(tmp_path, config)

    def lines() -> list[dict[str, str]]:
        return list(csv.DictReader(results.read_text().splitlines())) if results.exists() else []

    with agent.start():
        wait_until(lambda: "No such file" in agent.errors()["odd"].get("source", ""), "the folder is missing")
        assert httpx.get(f"http://127.0.0.1:{agent.port}/readyz").status_code == 503
        incoming.mkdir()
        (tmp_path / "other").mkdir()
        name = os.path.join(os.fsencode(incoming), b"1-teil_\xe4.png")
        with open(name, "wb") as file:
            file.write(part(1))
        wait_until(lambda: len(lines()) == 1, "a name that is not UTF-8")
        (incoming / "2-control\n\x07.png").write_bytes(part(2))
        wait_until(lambda: len(lines()) == 2, "a name with control characters")
        (incoming / "3-mem.png").symlink_to("/proc/self/mem")
        (incoming / "p1.xml").write_text("<part/>")
        (incoming / "4.png").write_bytes(part(4)[:2000])
        (incoming / "5.jfif").write_bytes(part(5))
        (tmp_path / "other" / "1.png").write_bytes(part(6))
        wait_until(lambda: len(lines()) == 5, "all five")
        wait_until(lambda: (tmp_path / "other.csv").exists(), "the other station")
        wait_until(lambda: agent.errors() == {"odd": {}, "other": {}}, "no errors")
        assert agent.metric("files_ignored", station="odd", reason="not an image suffix") == 1
        page = httpx.get(f"http://127.0.0.1:{agent.port}/").text
        assert "p1.xml" in page
        assert "1-teil_\ufffd" in page
        assert "ignored, not an image suffix: p1.xml" in agent.log.read_text()
    outcomes = {line["part_id"]: (line["outcome"], line["decision"]) for line in lines()}
    assert outcomes.keys() == {"1-teil_\ufffd", "2-control\ufffd\ufffd", "3-mem", "4", "5"}
    assert outcomes["3-mem"] == ("no-image", "reject")
    assert outcomes["4"] == ("refused", "reject")
    assert {outcomes[name][0] for name in outcomes.keys() - {"3-mem", "4"}} == {"inspected"}
