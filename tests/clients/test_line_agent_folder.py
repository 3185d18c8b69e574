"""What the agent takes from a watched folder: image files that are whole, each once, whatever else lies there."""

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

from tests.clients.plant.machines import Agent, wait_until
from tests.service.pictures import part
from touchstone_client import IMAGE_SUFFIXES
from touchstone_line_agent.config import FolderSource
from touchstone_line_agent.sources import Taken
from touchstone_line_agent.sources.folder import Folder
from touchstone_line_agent.sources.whole import is_whole

QUICK = {"every_ms": 10, "settle_ms": 30, "incomplete_ms": 400}


def saved(kind: str, size: tuple[int, int] = (75, 61), **options: object) -> bytes:
    """A picture with some noise, as Pillow writes it."""
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def by_opencv(suffix: str, *options: int, grey16: bool = False) -> bytes:
    """The same as OpenCV writes it, which puts a TIFF's directory at its end."""
    noise = np.random.default_rng(1).integers(0, 256, (61, 75, 3), np.uint8)
    image = noise[..., 0].astype(np.uint16) * 257 if grey16 else noise
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


FILES = {
    "JPEG": saved("JPEG"),
    "progressive JPEG": saved("JPEG", progressive=True, exif=b"Exif\0\0" + bytes(500)),
    "PNG": saved("PNG"),
    "BMP": saved("BMP"),
    "WebP": saved("WEBP"),
    "lossless WebP": saved("WEBP", lossless=True),
    "TIFF": saved("TIFF"),
    "TIFF with LZW": saved("TIFF", compression="tiff_lzw"),
    "BigTIFF": saved("TIFF", big_tiff=True),
    "TIFF of libtiff": by_opencv(".tiff"),
    "TIFF of libtiff, raw": by_opencv(".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 1),
    "TIFF of 16 bits": by_opencv(".tiff", grey16=True),
    "BMP of OpenCV": by_opencv(".bmp"),
    "JPEG of OpenCV": by_opencv(".jpg"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_whole_with_its_last_byte_and_not_before(name: str) -> None:
    data = FILES[name]
    assert is_whole(data)
    assert is_whole(data + bytes(100)), "what some cameras add"
    # Some programs pad what they write: up to three bytes may be missing without a loss.
    for length in [*range(0, len(data) - 3, 37), len(data) - 4, len(data) // 2]:
        assert not is_whole(data[:length]), f"{length} of {len(data)} bytes"
        assert not is_whole(data[:length] + bytes(len(data) - length)) or name.startswith(
            ("BMP", "WebP", "lossless", "TIFF", "BigTIFF")
        )


def test_what_is_no_image_is_never_whole() -> None:
    assert not is_whole(b"")
    assert not is_whole(bytes(5000))
    assert not is_whole(b"<xml/>")
    assert not is_whole(b"II\x2a\0" + bytes(4)), "a TIFF whose directory is still to come"
    cycle = b"II\x2a\0" + struct.pack("<IHI", 8, 0, 8)
    assert is_whole(cycle), "a directory that points to itself ends"


class Watching:
    """A folder source at work, and what it brings."""

    def __init__(self, path: Path, **more: object) -> None:
        self.source = Folder(FolderSource.model_validate({"kind": "folder", "path": path, **QUICK, **more}))
        self.offered = 0
        self.taken: list[Taken] = []
        self.known: set[str] = set()
        self.forgotten: list[str] = []
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def names(self) -> list[str]:
        return [each.filename for each in self.taken]

    def _run(self) -> None:
        self._task = self._loop.create_task(self.source.run(self._take, self._forget))
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _take(self, taken: Taken) -> None:
        self.offered += 1
        await asyncio.sleep(self.delay)
        if taken.origin not in self.known:
            self.known.add(taken.origin)
            self.taken.append(taken)

    async def _forget(self, origin: str) -> None:
        self.known.discard(origin)
        self.forgotten.append(origin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "incoming"
    made.mkdir()
    return made


def put(path: Path, data: bytes, at: float | None = None) -> None:
    """A file that appears whole."""
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_bytes(data)
    if at is not None:
        os.utime(hidden, (at, at))
    hidden.rename(path)


def test_image_files_of_every_suffix_are_parts_and_nothing_else_is(folder: Path) -> None:
    suffixes = sorted(IMAGE_SUFFIXES)
    for number, suffix in enumerate(suffixes):
        put(folder / f"p{number}{suffix if number % 2 else suffix.upper()}", part(number))
    for name in ("p1.xml", "Thumbs.db", "desktop.ini", "p2.png.part", "notes"):
        (folder / name).write_text("no image")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "._p1.png").write_bytes(part(1))
    with Watching(folder) as watching:
        wait_until(lambda: len(watching.taken) == len(suffixes), "every image", 20)
        time.sleep(0.5)
        assert sorted(Path(name).suffix.lower() for name in watching.names()) == suffixes
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
                "taken",
            ]
        )
        said = "; ".join(watching.source.ignored)
        assert "5 not images by their suffix: Thumbs.db, desktop.ini, notes, p1.xml, p2.png.part" in said
        assert "3 not files: dangling.png, folder.png, pipe.png" in said
        assert watching.source.count_ignored("hidden") == 1
        assert watching.source.trouble == ""


def test_a_pattern_chooses_among_image_files_whatever_their_case(folder: Path) -> None:
    for name in ("cam1_a.png", "CAM1_B.PNG", "cam2_a.png", "cam1_a.xml"):
        put(folder / name, part(1))
    with Watching(folder, pattern="Cam1_*") as watching:
        wait_until(lambda: len(watching.taken) == 2, "both", 20)
        assert sorted(watching.names()) == ["CAM1_B.PNG", "cam1_a.png"]
        assert watching.source.count_ignored("not as the pattern") == 1


def test_images_of_one_name_size_and_time_are_parts_of_their_own(folder: Path) -> None:
    clock = 1_700_000_000  # FAT's clock moves every two seconds
    same_size = [bytes([number]).join([saved("BMP")[:-1], b""]) + bytes([number]) for number in range(2)]
    with Watching(folder, then="delete") as watching:
        for number in range(6):
            put(folder / "image.bmp", same_size[number % 2], clock)
            wait_until(lambda: not (folder / "image.bmp").exists() and len(watching.taken) == number + 1, "taken", 20)  # noqa: B023
        # A camera with its lens covered sends the same bytes again and again: each is a part.
        for number in range(3):
            put(folder / "image.bmp", same_size[0], clock)
            wait_until(lambda: not (folder / "image.bmp").exists() and len(watching.taken) == number + 7, "taken", 20)  # noqa: B023
    assert [each.data for each in watching.taken] == [*same_size * 3, *[same_size[0]] * 3]


def test_the_same_name_again_does_not_replace_what_was_moved(folder: Path) -> None:
    with Watching(folder) as watching:
        for number in range(3):
            put(folder / "image.png", part(number))
            wait_until(lambda: len(watching.taken) == number + 1 and not (folder / "image.png").exists(), "taken", 20)  # noqa: B023
    assert sorted(path.read_bytes() for path in (folder / "taken").iterdir()) == sorted(part(n) for n in range(3))


def test_a_file_that_is_replaced_while_it_is_taken_is_taken_too(folder: Path) -> None:
    with Watching(folder) as watching:
        watching.delay = 0.3  # the store is slow
        put(folder / "image.png", part(1))
        wait_until(lambda: watching.offered, "the first is being taken", 20)
        put(folder / "image.png", part(2))
        wait_until(lambda: len(watching.taken) == 2, "both", 20)
    assert [each.data for each in watching.taken] == [part(1), part(2)]


def test_a_file_is_taken_when_it_is_whole_however_slowly_it_comes(folder: Path) -> None:
    data = part(3)
    with Watching(folder, incomplete_ms=60_000) as watching:
        with (folder / "slow.png").open("wb") as file:
            for piece in (data[:1000], data[1000:-4], data[-4:]):
                assert watching.taken == []
                file.write(piece)
                file.flush()
                time.sleep(0.4)  # far longer than it takes to settle
        wait_until(lambda: watching.taken, "the file", 20)
        # A copy whose size is reserved before its content comes.
        with (folder / "reserved.png").open("wb") as file:
            file.truncate(len(data))
            file.flush()
            os.fsync(file.fileno())
            time.sleep(0.4)
            assert len(watching.taken) == 1
            file.write(data)
        wait_until(lambda: len(watching.taken) == 2, "the copy", 20)
    assert [each.data for each in watching.taken] == [data, data]


def test_a_file_that_never_becomes_whole_is_taken_as_it_is_and_does_not_hold_the_others(folder: Path) -> None:
    cut = part(3)[:2000]
    with Watching(folder) as watching:
        (folder / "1-cut.png").write_bytes(cut)
        (folder / "2-empty.png").write_bytes(b"")
        put(folder / "3.png", part(4))
        wait_until(lambda: watching.names()[:1] == ["3.png"], "the whole one first", 20)
        wait_until(lambda: len(watching.taken) == 3, "the others", 20)
    assert [each.data for each in watching.taken[1:]] == [cut, b""]


def test_a_file_that_cannot_be_read_is_a_part_without_an_image_and_does_not_hold_the_others(folder: Path) -> None:
    with Watching(folder) as watching:
        (folder / "1.png").symlink_to("/proc/self/mem")  # reading it is an I/O error
        put(folder / "2.png", part(2))
        wait_until(lambda: watching.names() == ["2.png"], "the other", 20)
        wait_until(lambda: "1.png cannot be read: Input/output error" in watching.source.trouble, "it is named", 20)
        wait_until(lambda: len(watching.taken) == 2, "given up", 20)
        wait_until(lambda: watching.source.trouble == "", "it is out of the way", 20)
        missing = watching.taken[1].missing
        assert missing is not None
        assert (missing.outcome, missing.detail) == ("no-picture", "the file cannot be read: Input/output error")
        assert [path.name for path in (folder / "unreadable").iterdir()] == ["1.png"]


def test_a_file_that_cannot_be_moved_is_taken_once_and_does_not_hold_the_others(folder: Path) -> None:
    (folder / "taken").write_text("somebody's file, where a folder should be")
    with Watching(folder) as watching:
        for number in range(3):
            put(folder / f"{number}.png", part(number))
        wait_until(lambda: len(watching.taken) == 3, "all", 20)
        wait_until(lambda: "2.png is taken and cannot be moved" in watching.source.trouble, "named", 20)
        time.sleep(0.3)
        assert len(watching.taken) == 3
        (folder / "taken").unlink()
        wait_until(lambda: not list(folder.glob("*.png")), "moved", 20)
        wait_until(lambda: watching.source.trouble == "", "well again", 20)


def test_a_missing_folder_is_said_and_waited_for(folder: Path) -> None:
    folder.rmdir()
    with Watching(folder) as watching:
        wait_until(lambda: "No such file or directory" in watching.source.trouble, "said", 20)
        folder.write_text("a file")
        wait_until(lambda: "Not a directory" in watching.source.trouble, "said", 20)
        folder.unlink()
        folder.mkdir()
        put(folder / "1.png", part(1))
        wait_until(lambda: watching.names() == ["1.png"], "taken", 20)
        assert watching.source.trouble == ""


@pytest.fixture
def mounted(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mounts a file system at the folder, and unmounts it."""

    def do(what: str) -> None:
        command = ["mount", "-t", "tmpfs", "none"] if what == "mount" else ["umount", "--lazy"]
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr}")

    do("mount")
    yield do
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@pytest.mark.parametrize("named", [False, True])
def test_an_unmounted_share_is_said_and_what_is_under_its_mount_point_is_not_taken(
    folder: Path, mounted: Callable[[str], None], named: bool
) -> None:
    (folder / "camera").mkdir()
    more = {"mounted_at": folder} if named else {}
    if named:  # also for an agent that starts while the share is away
        mounted("umount")
    (folder / "camera").mkdir(exist_ok=True)
    with Watching(folder / "camera", **more) as watching:
        if not named:
            put(folder / "camera" / "1.png", part(1))
            wait_until(lambda: watching.names() == ["1.png"], "taken", 20)
            mounted("umount")
            (folder / "camera").mkdir(exist_ok=True)
        put(folder / "camera" / "local.png", part(2))
        wait_until(lambda: "mounted" in watching.source.trouble, "said", 20)
        time.sleep(0.3)
        assert "local.png" not in watching.names()
        mounted("mount")
        (folder / "camera").mkdir()
        put(folder / "camera" / "2.png", part(3))
        wait_until(lambda: watching.names()[-1:] == ["2.png"], "taken", 20)
        assert watching.source.trouble == ""


def test_odd_files_do_not_end_an_agent_and_are_accounted_for(service: str, tmp_path: Path) -> None:
    incoming, results = tmp_path / "incoming", tmp_path / "results.csv"
    agent = Agent(tmp_path, f"""
[service]
url = "{service}"
[[station]]
name = "odd"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{incoming}", every_ms = 20, settle_ms = 20, incomplete_ms = 500 }}
sink = [{{ kind = "csv", path = "{results}" }}]
[[station]]
name = "other"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{tmp_path}/other", every_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "csv", path = "{tmp_path}/other.csv" }}]
""")  # fmt: skip

    def lines() -> list[dict[str, str]]:
        return list(csv.DictReader(results.read_text().splitlines())) if results.exists() else []

    with agent.start():
        wait_until(lambda: "No such file" in agent.trouble()["odd"].get("source", ""), "the folder is missing")
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
        wait_until(lambda: agent.trouble() == {"odd": {}, "other": {}}, "all is well")
        assert agent.metric("files_passed_over", station="odd", why="not images by their suffix") == 1
        page = httpx.get(f"http://127.0.0.1:{agent.port}/").text
        assert "p1.xml" in page
        assert "1-teil_\ufffd" in page
        assert "passed over, since not images by their suffix: p1.xml" in agent.log.read_text()
    found = {line["part_id"]: (line["outcome"], line["decision"]) for line in lines()}
    assert found.keys() == {"1-teil_\ufffd", "2-control\ufffd\ufffd", "3-mem", "4", "5"}
    assert found["3-mem"] == ("no-picture", "reject")
    assert found["4"] == ("refused", "reject")
    assert {found[name][0] for name in found.keys() - {"3-mem", "4"}} == {"inspected"}
