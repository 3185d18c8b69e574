"""Categories exported into a bucket, and served from a copy that each start renews."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import indexed, touchstone
from tests.helpers.http_service import files
from tests.helpers.part_folders import folder_of
from tests.helpers.part_images import part
from tests.helpers.s3_server import S3Server
from tests.helpers.server_process import ServerProcess

_OF_THE_ANSWER = {"id", "at", "timings"}
_NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}


pytestmark = pytest.mark.usefixtures("s3_credentials")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a category `disc`."""
    taught(tmp_path / "data", disc=4)
    return tmp_path / "data"


@pytest.fixture
def url(data: Path, request: pytest.FixtureRequest) -> str:
    """Where an export of it lies in the bucket."""
    url = f"s3://plant/{request.node.name}"
    exported(data, url, "disc")
    return url


def taught(data: Path, **counts: int) -> None:
    indexed(data, folder_of(data.parent / f"parts-{'-'.join(counts)}", ".", **counts))


def exported(data: Path, to: str | Path, *categories: str) -> str:
    """The line that the command prints."""
    done = touchstone("export", *categories, "--to", to, data=data)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def serving(source: str | Path, copy: Path | None, folder: Path) -> ServerProcess:
    """A service of an export, which is live."""
    of_bucket = () if copy is None else ("--copy", str(copy))
    return ServerProcess(folder / "unused", "--from", str(source), *of_bucket, "--read-only").wait_until_live()


def answers(server: ServerProcess) -> list[dict[str, Any]]:
    server.wait_until_calibrated("disc")  # which nothing was when it was exported
    response = server.client.post("/detect", data={"map": "raw"}, files=files(part(40), part(41, scratched=True)))
    assert response.status_code == 200, response.text
    return [
        {key: value for key, value in result.items() if key not in _OF_THE_ANSWER}
        for result in response.json()["results"]
    ]


def categories(server: ServerProcess) -> list[str]:
    return [category["name"] for category in server.client.get("/categories").json()["categories"]]


def in_copy(copy: Path) -> dict[str, int]:
    """The files of a copy, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (copy / "files").iterdir()}


def refused(source: str, copy: Path | None, tmp_path: Path) -> str:
    """The line with which `serve` ends."""
    of_bucket = () if copy is None else ("--copy", copy)
    done = touchstone("serve", "--from", source, *of_bucket, "--read-only", data=tmp_path / "unused")
    assert done.exit_code == 2, done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("files: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_an_export_in_a_bucket_answers_as_one_in_a_folder_and_is_renewed_at_the_next_start(
    tmp_path: Path, data: Path, url: str, bucket: S3Server
) -> None:
    copy = tmp_path / "copy"
    exported(data, tmp_path / "folder", "disc")
    with serving(tmp_path / "folder", None, tmp_path) as server:
        expected = answers(server)
    with serving(url, copy, tmp_path) as server:
        assert answers(server) == expected
        reference = server.client.get("/references").json()["references"][0]["id"]
        assert server.client.get(f"/references/{reference}/image").status_code == 200
        assert "another process serves the copy" in refused(url, copy, tmp_path)
        assert server.stop() == 0
    first = in_copy(copy)
    assert copy.stat().st_mode & 0o77 == 0

    taught(data, disc=4, plate=2)
    sent = set(bucket.keys(url.removeprefix("s3://plant/")))
    exported(data, url, "disc", "plate")
    assert len(set(bucket.keys(url.removeprefix("s3://plant/"))) - sent) == 4  # a catalogue, a segment, two images
    with serving(url, copy, tmp_path) as server:
        assert categories(server) == ["disc", "plate"]
    second = in_copy(copy)
    [gone] = first.keys() - second.keys()  # the catalogue of before
    assert len(second.keys() - first.keys()) == 4
    assert all(second[name] == written for name, written in first.items() if name != gone)  # not fetched again


def test_without_network_a_complete_copy_is_served_and_a_damaged_one_is_refused(
    tmp_path: Path, data: Path, url: str, monkeypatch: pytest.MonkeyPatch, bucket: S3Server
) -> None:
    copy = tmp_path / "copy"
    with serving(url, copy, tmp_path) as server:
        expected = answers(server)
    with monkeypatch.context() as without:
        for name, value in _NOWHERE.items():
            without.setenv(name, value)
        with serving(url, copy, tmp_path) as server:
            assert answers(server) == expected
            log = server.log.read_text()
            assert f"{url}: Could not connect to" in log
            assert f"the copy in {copy} is served, exported at 20" in log
        [segment] = (path for path in (copy / "files").iterdir() if path.read_bytes().startswith(b"TOUCH"))
        content = bytearray(segment.read_bytes())
        content[-1] ^= 1
        segment.write_bytes(content)
        line = refused(url, copy, tmp_path)
        assert "Could not connect to" in line
        assert f"{segment} (segments/" in line
        assert line.endswith("): damaged")
        assert "Could not connect to" in refused(url, tmp_path / "new", tmp_path)
    with serving(url, copy, tmp_path) as server:  # which fetches the damaged file again
        assert answers(server) == expected


def test_a_copy_that_was_cut_off_is_completed(tmp_path: Path, data: Path, url: str) -> None:
    copy = tmp_path / "copy"
    with serving(url, copy, tmp_path) as server:
        expected = answers(server)
    (copy / "manifest.json").unlink()
    left, *others = sorted((copy / "files").iterdir())
    for file in others:
        file.unlink()
    others[0].with_name(f"{others[0].name}.tmp").write_bytes(b"cut off")
    written = left.stat().st_mtime_ns
    with serving(url, copy, tmp_path) as server:
        assert answers(server) == expected
    assert left.stat().st_mtime_ns == written
    assert in_copy(copy).keys() == {file.name for file in (left, *others)}


def test_a_changed_file_or_an_unfinished_export_in_the_bucket_is_named_and_the_copy_is_served(
    tmp_path: Path, data: Path, url: str, bucket: S3Server
) -> None:
    copy, prefix = tmp_path / "copy", url.removeprefix("s3://plant/")
    with serving(url, copy, tmp_path):
        pass
    manifest = bucket.get(f"{prefix}/manifest.json")
    bucket.client.delete_object(Bucket="plant", Key=f"{prefix}/manifest.json")  # as before the end of an upload
    assert f"{url} holds no manifest.json: it is no export, or one that was cut off" in refused(
        url, tmp_path / "new", tmp_path
    )
    bucket.put(f"{prefix}/manifest.json", manifest.replace(b"segments/", b"../segments/"))
    assert f"{url}/manifest.json cannot be read (it names ../segments/" in refused(url, tmp_path / "new", tmp_path)
    bucket.put(f"{prefix}/manifest.json", manifest.replace(b'"format": 1', b'"format": 99'))
    assert "exported by a newer version" in refused(url, tmp_path / "new", tmp_path)
    with serving(url, copy, tmp_path) as server:
        assert categories(server) == ["disc"]
        assert "exported by a newer version of Touchstone: serve it with that; the copy in" in server.log.read_text()

    bucket.put(f"{prefix}/manifest.json", manifest)
    changed, missing = bucket.keys(f"{prefix}/files/")[:2]
    bucket.put(changed, bucket.get(changed)[::-1])
    assert f"s3://plant/{changed} (" in (line := refused(url, tmp_path / "new", tmp_path))
    assert line.endswith("): damaged; export again with --check")
    assert ", 0 of them new" in exported(data, url, "disc")  # since its size is right
    assert refused(url, tmp_path / "new", tmp_path) == line
    assert ", 1 of them new" in exported(data, url, "disc", "--check")
    bucket.client.delete_object(Bucket="plant", Key=missing)
    # Into another folder: the first may have had this file before the damaged one ended it.
    assert refused(url, tmp_path / "newer", tmp_path).endswith("): missing; export again with --check")
    assert ", 1 of them new" in exported(data, url, "disc")  # which sends what is missing
    with serving(url, tmp_path / "newer", tmp_path) as server:
        assert categories(server) == ["disc"]


def test_a_copy_is_of_one_export_and_a_folder_holds_nothing_else(tmp_path: Path, data: Path, url: str) -> None:
    exported(data, f"{url}-2", "disc")
    with serving(url, tmp_path / "copy", tmp_path):
        pass
    assert f"holds a copy of {url}: give {url}-2 a folder of its own" in refused(
        f"{url}-2", tmp_path / "copy", tmp_path
    )
    assert "is not empty, and holds no copy of an export" in refused(url, data, tmp_path)
    assert "add --copy FOLDER" in refused(url, None, tmp_path)
    assert "is a folder, which is served as it is" in refused(str(data), tmp_path / "copy", tmp_path)
    shutil.rmtree(tmp_path / "copy")
    with serving(f"{url}-2", tmp_path / "copy", tmp_path) as server:
        assert categories(server) == ["disc"]
