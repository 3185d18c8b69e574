"""Backups in a bucket of a real S3 server: complete or not there, and damage is detected and named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.verify import verify
from tests.helpers.commands import opened, references, started, touchstone
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.part_folders import folder_of
from tests.helpers.s3_server import S3Server
from tests.helpers.waiting import eventually


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)


def test_a_backup_in_a_bucket_is_restored_and_its_damage_is_named_and_mended(tmp_path: Path, bucket: S3Server) -> None:
    data, again, url = tmp_path / "data", tmp_path / "again", "s3://plant/line-4/daily"
    assert touchstone("index", folder_of(tmp_path / "parts", ".", disc=3), data=data).exit_code == 0
    first = touchstone("backup", url, data=data)
    assert first.exit_code == 0, first.stderr
    assert ": 4 files, 4 of them new (" in first.stdout
    assert touchstone("index", folder_of(tmp_path / "more", ".", disc=5), data=data).exit_code == 0
    assert ": 7 files, 3 of them new (" in touchstone("backup", f"{url}/", data=data).stdout
    assert "7 files checked, 0 problems" in touchstone("verify", "--backup", url, data=data).stdout

    damaged, missing = bucket.keys("line-4/daily/files/originals/")[:2]
    bucket.put(damaged, bucket.get(damaged)[::-1])
    bucket.client.delete_object(Bucket="plant", Key=missing)
    names = [key.removeprefix("line-4/daily/files/") for key in (damaged, missing)]
    verified = touchstone("verify", "--backup", url, data=data)
    assert verified.exit_code == 1
    assert set(verified.stderr.splitlines()) == {f"{names[0]}: damaged", f"{names[1]}: missing"}
    partial = touchstone("restore", url, data=tmp_path / "partial")
    assert partial.exit_code == 1
    assert set(partial.stderr.splitlines()) == set(verified.stderr.splitlines())
    mended = touchstone("backup", "--check", url, data=data)
    assert ": 7 files, 2 of them new (" in mended.stdout
    assert mended.exit_code == 0

    assert touchstone("restore", url, data=again).exit_code == 0
    assert touchstone("verify", data=again).exit_code == 0
    restored, library = opened(again), opened(data)
    assert references(restored) == references(library)
    restored.close()
    library.close()


def test_a_backup_that_was_killed_is_none_and_the_next_one_is_whole(tmp_path: Path, bucket: S3Server) -> None:
    data, url = tmp_path / "data", "s3://plant/killed"
    folder = StoreParts.open(data, f"sqlite:///{data}/catalogue.sqlite")
    folder.append("bolt", [f"image {number}".encode() for number in range(200)])
    folder.catalogue.close()
    process = started("backup", url, data=data)
    eventually(lambda: len(bucket.keys("killed/files/")) > 20, "nothing was saved", 60)
    process.kill()
    process.wait()
    assert len(bucket.keys("killed/files/")) < 201
    refused = touchstone("restore", url, data=tmp_path / "again")
    assert (refused.exit_code, refused.stderr) == (2, "touchstone: there is no backup in s3://plant/killed\n")
    assert ": 201 files, 201 of them new (" in touchstone("backup", url, data=data).stdout
    assert touchstone("restore", url, data=tmp_path / "again").exit_code == 0
    assert files_checked(tmp_path / "again") == 201


def test_files_of_several_parts_arrive_as_they_are(tmp_path: Path, bucket: S3Server) -> None:
    data = tmp_path / "data"
    folder = StoreParts.open(data, f"sqlite:///{data}/catalogue.sqlite")
    folder.append("bolt", [bytes(range(256)) * (110 << 12)])
    folder.catalogue.close()
    assert touchstone("backup", "s3://plant/large", data=data).exit_code == 0
    assert touchstone("restore", "s3://plant/large", data=tmp_path / "again").exit_code == 0
    assert files_checked(tmp_path / "again") == 2


def files_checked(data: Path) -> int:
    """How many files a data folder has, all of them whole."""
    report = verify(DataFolder.existing(data, None), lambda done, total: None)
    assert report.damaged == ()
    return report.files


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("s3://nowhere/backups", {}, "s3://nowhere/backups: The specified bucket does not exist"),
        ("s3://plant/none", {}, "there is no backup in s3://plant/none"),
        ("s3:///none", {}, "s3:///none is no place for backups: give a folder or s3://BUCKET/PREFIX"),
        ("gs://plant/none", {}, "gs://plant/none is no place for backups"),
        ("s3://plant/none", {"AWS_ACCESS_KEY_ID": "", "HOME": "/nonexistent"}, "Unable to locate credentials"),
        ("s3://plant/none", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://plant/none: Could not connect to"),
    ],
)
@pytest.mark.parametrize("command", [["restore"], ["verify", "--backup"]], ids=" ".join)
def test_what_cannot_be_reached_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], url: str, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused_in_one_line(touchstone(*command, url, data=tmp_path / "data"), says)


def refused_in_one_line(done: Result, says: str) -> None:
    assert done.exit_code == 2
    assert done.stderr.startswith("touchstone: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_credentials_that_the_server_refuses_are_one_line(tmp_path: Path, bucket: S3Server) -> None:
    bucket.check_credentials(True)
    try:
        refused = touchstone("restore", "s3://plant/backups", data=tmp_path / "data")
    finally:
        bucket.check_credentials(False)
    refused_in_one_line(refused, "s3://plant/backups: The AWS Access Key Id you provided does not exist in our records")


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    refused = touchstone("restore", "s3://plant/backups", data=tmp_path / "data")
    refused_in_one_line(refused, "s3:// needs s3fs: pip install 'touchstone[s3]'")
