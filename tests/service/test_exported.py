"""Exported categories, served elsewhere by a process of their own, without a database."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import touchstone
from tests.helpers.http_service import check_problem, files, wait_until_calibrated
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

# What differs between two answers to the same request: who answered it when, and whether it is kept.
_OF_THE_ANSWER = {"id", "at", "timings", "recorded", "image_availability"}
_PARTS = (part(40), part(41, scratched=True), part(42, kind=1))


def answers(server: ServerProcess) -> list[dict[str, Any]]:
    """What it says of some parts, each with and without its category being named, but for `_OF_THE_ANSWER`."""
    results = []
    for image, category in zip((*_PARTS, *_PARTS), ("disc", "disc", "ring", None, None, None), strict=True):
        fields = {"map": "raw"} | ({"category": category} if category else {})
        response = server.client.post("/detect", data=fields, files=files(image))
        assert response.status_code == 200, response.text
        results += [{key: value for key, value in response.json()["results"][0].items() if key not in _OF_THE_ANSWER}]
    return results


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that was taught three products, one of which is not exported."""
    with ServerProcess(tmp_path_factory.mktemp("original") / "data").wait_until_live() as server:
        for category, kind in (("disc", 0), ("ring", 1), ("secret", 2)):
            server.teach(category, *(part(seed, kind=kind) for seed in range(8)))
            server.client.patch(f"/categories/{category}", json={"false_reject_rate": 0.2})
            wait_until_calibrated(server.client, category)
        server.client.post("/detect", files=files(_PARTS[0]))
        yield server


@pytest.fixture(scope="module")
def exported(original: ServerProcess) -> Path:
    target = original.data.parent / "press-4"
    done = touchstone("export", "disc", "ring", "--to", str(target), data=original.data)
    assert done.exit_code == 0, done.stderr
    assert "disc (8 references), ring (8 references)" in done.stdout
    return target


def test_an_export_answers_as_the_original_does_records_nothing_and_stays_as_it_is(
    original: ServerProcess, exported: Path, tmp_path: Path
) -> None:
    original.client.delete("/categories/secret")  # which the export never had
    before = digests(exported)
    with ServerProcess(tmp_path / "unused", "--from", str(exported), "--read-only").wait_until_live() as server:
        expected = answers(original)
        for inspected in expected:
            inspected["version"] -= 1  # the deletion
        assert answers(server) == expected
        result = server.client.post("/detect", files=files(_PARTS[0])).json()["results"][0]
        assert result["recorded"] is False
        assert server.client.get("/inspections").json()["inspections"] == []
        names = [category["name"] for category in server.client.get("/categories").json()["categories"]]
        assert names == ["disc", "ring"]
        version, ready = server.client.get("/version").json(), server.client.get("/readyz").json()
        assert (version["read_only"], version["recording_enabled"]) == (True, False)
        assert (ready["read_only"], ready["recording_enabled"]) == (True, False)
        reference = server.client.get("/references").json()["references"][0]["id"]
        assert server.client.get(f"/references/{reference}/image").status_code == 200
        for method, path in (
            ("POST", "/references"),
            ("DELETE", f"/references/{reference}"),
            ("PATCH", "/categories/disc"),
            ("DELETE", "/categories/disc"),
            ("POST", f"/inspections/{result['id']}/feedback"),
            ("POST", "/keys"),
        ):
            check_problem(server.client.request(method, path), 405, "read-only")
        assert "touchstone_unrecorded_inspections_total 0.0" in server.client.get("/metrics").text
        assert server.stop() == 0
    assert digests(exported) == before
    assert not (tmp_path / "unused").exists()


def test_an_export_holds_nothing_of_other_categories_or_of_the_history(exported: Path) -> None:
    assert b"secret" not in (exported / "catalogue.sqlite").read_bytes()
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["references"] == {"disc": 8, "ring": 8}
    assert manifest["files"].keys() == digests(exported).keys() - {"manifest.json"}
    assert {path.split("/")[0] for path in manifest["files"]} == {"catalogue.sqlite", "segments", "originals"}


@pytest.mark.parametrize("damage", ["segments", "originals", "catalogue.sqlite"])
def test_a_damaged_export_is_refused_with_the_name_of_the_file(exported: Path, tmp_path: Path, damage: str) -> None:
    copied = Path(shutil.copytree(exported, tmp_path / "copied"))
    file = next(path for path in sorted(copied.rglob("*")) if path.is_file() and damage in str(path))
    if damage == "originals":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    done = touchstone("serve", "--from", str(copied), "--read-only", data=tmp_path / "unused")
    assert done.exit_code == 2
    assert file.name in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_served_as_an_export_is_said_in_one_line(exported: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    manifest = json.loads((exported / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    for arguments, said in (
        (("--from", str(exported)), "add --read-only"),
        (("--from", str(exported), "--read-only", "--data", "elsewhere"), "in place of --data"),
        (("--from", str(tmp_path), "--read-only"), "holds no manifest.json"),
        (("--from", str(newer), "--read-only"), "by a newer version"),
        (("--from", str(exported), "--read-only", "--encoder", "builtin"), "made by encoder touchstone-filterbank"),
    ):
        done = touchstone("serve", *arguments, data=tmp_path / "unused")
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_what_cannot_be_exported_is_said_in_one_line_and_leaves_nothing(
    original: ServerProcess, exported: Path, tmp_path: Path
) -> None:
    for arguments, said in (
        (("disc", "gone", "--to", str(tmp_path / "new")), "no category 'gone'"),
        (("disc", "--to", str(exported)), "is not empty"),
        (("disc", "--to", str(tmp_path / "new"), "--check"), "--check is for a bucket"),
        (("disc", "--to", str(tmp_path / "new"), "--encoder", "builtin"), "export with its own encoder"),
    ):
        done = touchstone("export", *arguments, data=original.data)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []
