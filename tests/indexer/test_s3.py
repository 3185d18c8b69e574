"""A bucket of a real S3 server: backups are complete or not there, damage is named, images are indexed from it.

Exports in a bucket: see `tests/service/test_exported_bucket.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result

from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.verify import verify
from tests.helpers.commands import indexed, opened, references, started, touchstone
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.part_folders import folder_of
from tests.helpers.s3_server import S3Server
from tests.helpers.waiting import eventually

pytestmark = pytest.mark.usefixtures("s3_credentials")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a category `disc`."""
    folder = tmp_path_factory.mktemp("taught")
    return indexed(folder / "data", folder_of(folder / "parts", ".", disc=2))


def with_each_command(url: str, tmp_path: Path, taught: Path) -> Iterator[Result]:
    """What each command says that uses a bucket."""
    for command in ("restore", "index"):
        yield touchstone(command, url, data=tmp_path / "data")
    yield touchstone("export", "disc", "--to", url, data=taught)
    yield touchstone("serve", "--from", url, "--copy", tmp_path / "copy", "--read-only", data=tmp_path / "data")


def test_a_backup_in_a_bucket_is_restored_and_its_damage_is_named_and_mended(tmp_path: Path, bucket: S3Server) -> None:
    data, restored, url = tmp_path / "data", tmp_path / "again", "s3://plant/line-4/daily"
    indexed(data, folder_of(tmp_path / "parts", ".", disc=3))
    first = touchstone("backup", url, data=data)
    assert first.exit_code == 0, first.stderr
    assert ": 4 files, 4 of them new (" in first.stdout
    indexed(data, folder_of(tmp_path / "more", ".", disc=5))
    assert ": 7 files, 3 of them new (" in touchstone("backup", f"{url}/", data=data).stdout
    assert "7 files checked, 0 problems" in touchstone("verify", "--backup", url, data=data).stdout

    damaged, missing = bucket.keys("line-4/daily/files/originals/")[:2]
    bucket.put(damaged, bucket.get(damaged)[::-1])
    bucket.client.delete_object(Bucket="plant", Key=missing)
    names = [key.removeprefix("line-4/daily/files/") for key in (damaged, missing)]
    verified = touchstone("verify", "--backup", url, data=data)
    assert verified.exit_code == 1
    assert faults_in(verified) == {f"{names[0]}: damaged", f"{names[1]}: missing"}
    partial = touchstone("restore", url, data=tmp_path / "partial")
    assert partial.exit_code == 1
    assert faults_in(partial) == faults_in(verified)
    mended = touchstone("backup", "--check", url, data=data)
    assert ": 7 files, 2 of them new (" in mended.stdout
    assert mended.exit_code == 0

    assert touchstone("restore", url, data=restored).exit_code == 0
    assert touchstone("verify", data=restored).exit_code == 0
    restored_store, reference_store = opened(restored), opened(data)
    assert references(restored_store) == references(reference_store)
    restored_store.close()
    reference_store.close()


def test_a_backup_that_was_killed_is_none_and_the_next_one_is_whole(tmp_path: Path, bucket: S3Server) -> None:
    data, url = tmp_path / "data", "s3://plant/killed"
    folder = StoreParts.open(data, f"sqlite:///{data}/catalogue.sqlite")
    folder.append("bolt", [f"image {index}".encode() for index in range(200)])
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


def faults_in(done: Result) -> set[str]:
    """The lines that are not of progress, which a slow machine prints."""
    return {line for line in done.stderr.splitlines() if not line.startswith("files: ")}


def files_checked(data: Path) -> int:
    """How many files a data folder has, all of them whole."""
    report = verify(DataFolder.existing(data, None), lambda done, total: None)
    assert report.damaged == ()
    return report.files


def test_images_in_a_bucket_become_the_references_that_they_become_from_a_folder(
    tmp_path: Path, bucket: S3Server
) -> None:
    parts, here, there = folder_of(tmp_path / "parts", ".", disc=5, plate=3), tmp_path / "here", tmp_path / "there"
    (parts / "disc" / "cut.png").write_bytes((parts / "disc" / "disc-000.png").read_bytes()[:500])

    def put(*files: Path) -> None:
        for file in files:
            bucket.put(f"parts/{file.relative_to(parts)}", file.read_bytes())

    put(*parts.glob("*/*"))
    assert touchstone("index", parts, data=here).exit_code == 1
    done = touchstone("index", "s3://plant/parts", data=there)
    assert done.exit_code == 1, done.stderr
    assert "refused: s3://plant/parts/disc/cut.png: The image is damaged or cut short" in done.stdout
    assert segments(there) == segments(here)
    later = folder_of(tmp_path / "later", ".", disc=6) / "disc" / "disc-005.png"
    (parts / "disc" / later.name).write_bytes(later.read_bytes())
    put(parts / "disc" / later.name)
    assert touchstone("index", "s3://plant/parts/", data=there).exit_code == 1
    reference_store = opened(there)
    assert later.name in references(reference_store)
    reference_store.close()


def segments(data: Path) -> set[str]:
    """The SHA-256 of the bytes of every segment."""
    return {sha256(path.read_bytes()).hexdigest() for path in data.glob("segments/*.segment")}


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("s3://nowhere/none", {}, "s3://nowhere/none: The specified bucket does not exist"),
        ("s3:///none", {}, "s3:///none cannot be used: give a folder or s3://BUCKET/PREFIX"),
        ("gs://plant/none", {}, "gs://plant/none cannot be used"),
        ("s3://plant/none", {"AWS_ACCESS_KEY_ID": "", "HOME": "/nonexistent"}, "Unable to locate credentials"),
        ("s3://plant/none", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://plant/none: Could not connect to"),
    ],
)
def test_what_cannot_be_reached_is_one_line_and_exit_code_2(
    tmp_path: Path,
    taught: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    variables: dict[str, str],
    says: str,
) -> None:
    for name, value in {"AWS_MAX_ATTEMPTS": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    for refused in with_each_command(url, tmp_path, taught):
        refused_in_one_line(refused, says)


def test_a_prefix_where_nothing_lies_is_named(tmp_path: Path) -> None:
    for command, says in (("restore", "there is no backup in"), ("index", "is not a folder")):
        refused = touchstone(command, "s3://plant/none", data=tmp_path / "data")
        refused_in_one_line(refused, says)
        assert "s3://plant/none" in refused.stderr


def refused_in_one_line(done: Result, says: str) -> None:
    assert done.exit_code == 2
    assert done.stderr.startswith("touchstone: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_credentials_that_the_server_refuses_are_one_line(tmp_path: Path, taught: Path, bucket: S3Server) -> None:
    bucket.check_credentials(True)
    try:
        refused = list(with_each_command("s3://plant/backups", tmp_path, taught))
    finally:
        bucket.check_credentials(False)
    for done in refused:
        refused_in_one_line(
            done, "s3://plant/backups: The AWS Access Key Id you provided does not exist in our records"
        )


def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for refused in with_each_command("s3://plant/backups", tmp_path, taught):
        refused_in_one_line(refused, "s3:// needs s3fs: pip install 'touchstone[s3]'")
