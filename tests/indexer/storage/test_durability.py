"""What the store promises about files: durable and verified."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.domain.errors import CorruptSegmentError, OriginalUnreadable
from indexer.domain.snapshot import SegmentFile
from indexer.storage.image_store import ImageStore
from indexer.storage.lock import StoreLock
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lock(tmp_path: Path) -> StoreLock:
    return StoreLock(tmp_path / "append.lock")


@pytest.fixture
def store(tmp_path: Path, lock: StoreLock) -> SegmentStore:
    return SegmentStore(tmp_path / "segments", lock)


@pytest.fixture
def originals(tmp_path: Path, lock: StoreLock) -> ImageStore:
    return ImageStore(tmp_path / "originals", lock)


def header(count: int, layers: int = 2, cells: int = 5, code_size: int = 7, global_dim: int = 3) -> SegmentHeader:
    return SegmentHeader("ab" * 32, "fp16", layers, 1, cells, code_size, global_dim, count)


def arrays(shape: SegmentHeader, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (shape.count, shape.layers, shape.cells, shape.code_size), dtype=np.uint8)
    return random.standard_normal((shape.count, shape.global_dim), dtype=np.float32), codes


def written(store: SegmentStore, count: int = 4) -> SegmentFile:
    return store.write(*arrays(header(count)), header(count))


@pytest.mark.parametrize("damage", [b"another image", b"an imagE"], ids=["length", "content"])
def test_an_image_that_comes_again_replaces_a_damaged_file(originals: ImageStore, damage: bytes) -> None:
    sha256 = originals.write(b"an image", ".png")
    originals.path(sha256, ".png").write_bytes(damage)
    assert originals.write(b"an image", ".png") == sha256
    assert originals.read(sha256, ".png") == b"an image"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 4),
    layers=st.integers(1, 4),
    cells=st.integers(1, 9),
    size=st.integers(1, 9),
    dim=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_a_segment_reads_back_exactly_as_it_was_written(
    store: SegmentStore, count: int, layers: int, cells: int, size: int, dim: int, seed: int
) -> None:
    shape = header(count, layers, cells, size, dim)
    global_descriptors, codes = arrays(shape, seed)
    file = store.write(global_descriptors, codes, shape)
    segment = store.read(file.name, file.sha256)
    assert segment.header == shape
    assert np.array_equal(segment.global_descriptors, global_descriptors)
    assert segment.global_descriptors.dtype == np.float32
    assert np.array_equal(segment.codes, codes)


def test_a_segment_knows_its_size_count_and_checksum(store: SegmentStore, tmp_path: Path) -> None:
    file = written(store)
    data = (tmp_path / "segments" / file.name).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest(), 4) == (file.size, file.sha256, file.count)


def test_a_segment_of_the_first_format_has_a_square_grid(store: SegmentStore, tmp_path: Path) -> None:
    shape = SegmentHeader("ab" * 32, "fp16", 2, 3, 3, 7, 3, 4)
    descriptors, codes = arrays(shape)
    described = json.dumps(
        {
            "fingerprint": "ab" * 32,
            "codec": "fp16",
            "layers": 2,
            "cells": 9,
            "code_size": 7,
            "global_dim": 3,
            "count": 4,
        }
    ).encode()
    data = struct.pack("<8sII", b"TOUCHSEG", 1, len(described)) + described + descriptors.tobytes() + codes.tobytes()
    (tmp_path / "segments" / "old.segment").write_bytes(data)
    read = store.read("old.segment", hashlib.sha256(data).hexdigest())
    assert read.header == shape
    assert store.grid_of("old.segment") == (3, 3)
    np.testing.assert_array_equal(read.codes, codes)


def test_arrays_that_are_not_what_the_header_says_are_refused(store: SegmentStore, tmp_path: Path) -> None:
    global_descriptors, codes = arrays(header(4))
    for wrong in (
        (global_descriptors[:3], codes),
        (global_descriptors, codes[:, :1]),
        (global_descriptors, codes.astype(np.int16)),
    ):
        with pytest.raises(ValueError, match="do not match"):
            store.write(*wrong, header(4))
    assert list((tmp_path / "segments").iterdir()) == []


def test_arrays_that_are_not_contiguous_are_written_as_they_look(store: SegmentStore) -> None:
    global_descriptors, codes = arrays(header(8))
    file = store.write(global_descriptors[::2], codes[::2], header(4))
    assert np.array_equal(store.read(file.name, file.sha256).codes, codes[::2])


def _rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "missing"),
        (_rewrite(lambda data: b""), "truncated"),
        (_rewrite(lambda data: data[:10]), "truncated"),
        (_rewrite(lambda data: data[:40]), "truncated"),
        (_rewrite(lambda data: data[:-1]), "truncated"),
        (_rewrite(lambda data: data[:-1] + bytes([data[-1] ^ 1])), "checksum"),
        (_rewrite(lambda data: data.replace(b"abab", b"abac", 1)), "checksum"),
        (_rewrite(lambda data: data + b"."), "bad header"),
        (_rewrite(lambda data: b"X" + data[1:]), "bad header"),
        (_rewrite(lambda data: data[:8] + b"\x09" + data[9:]), "bad header"),
        (_rewrite(lambda data: data[:12] + b"\xff\xff\xff\xff" + data[16:]), "bad header"),
        (_rewrite(lambda data: data.replace(b'"count": 4', b'"count":-4', 1)), "bad header"),
        (_rewrite(lambda data: data.replace(b'"count"', b'"coumt"', 1)), "bad header"),
        (_rewrite(lambda data: data.replace(b'{"c', b'["c', 1)), "bad header"),
    ],
)
def test_a_damaged_segment_is_named_with_the_reason(
    store: SegmentStore, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    file = written(store)
    damage(tmp_path / "segments" / file.name)
    with pytest.raises(CorruptSegmentError, match=f"segment {file.name} is damaged: {reason}") as caught:
        store.read(file.name, file.sha256)
    assert (caught.value.name, caught.value.reason) == (file.name, reason)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_and_no_cut_goes_unnoticed(store: SegmentStore, tmp_path: Path, data: st.DataObject) -> None:
    file = written(store)
    path = tmp_path / "segments" / file.name
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, file.size - 1))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[position:]
    path.write_bytes(content)
    with pytest.raises(CorruptSegmentError):
        store.read(file.name, file.sha256)


def test_a_segment_that_is_gone_is_missing(store: SegmentStore, tmp_path: Path) -> None:
    file = written(store)
    (tmp_path / "segments" / file.name).unlink()
    with pytest.raises(CorruptSegmentError, match="missing"):
        store.read(file.name, file.sha256)


def test_an_original_lies_under_its_digest_and_reads_back(originals: ImageStore, tmp_path: Path) -> None:
    digest = originals.write(b"image", ".png")
    assert digest == hashlib.sha256(b"image").hexdigest()
    path = tmp_path / "originals" / digest[:2] / digest[2:4] / f"{digest}.png"
    assert originals.path(digest, ".png") == path
    assert path.read_bytes() == originals.read(digest, ".png") == b"image"


def test_writing_an_original_again_keeps_one_file_and_mends_a_cut_one(originals: ImageStore) -> None:
    digest = originals.write(b"image", ".png")
    inode = originals.path(digest, ".png").stat().st_ino
    assert originals.write(b"image", ".png") == digest
    assert originals.path(digest, ".png").stat().st_ino == inode
    originals.path(digest, ".png").write_bytes(b"im")
    assert originals.write(b"image", ".png") == digest
    assert originals.read(digest, ".png") == b"image"


def test_an_original_that_changed_or_went_is_named(originals: ImageStore) -> None:
    digest = originals.write(b"image", ".png")
    originals.path(digest, ".png").write_bytes(b"other")
    with pytest.raises(OriginalUnreadable, match=f"{digest} is unreadable: checksum"):
        originals.read(digest, ".png")
    originals.path(digest, ".png").unlink()
    with pytest.raises(OriginalUnreadable, match=f"{digest} is unreadable: missing"):
        originals.read(digest, ".png")


@pytest.mark.parametrize(
    ("digest", "suffix"),
    [
        ("../../../etc/passwd", ".png"),
        ("a" * 63, ".png"),
        ("A" * 64, ".png"),
        ("a" * 64, "/../x"),
        ("a" * 64, "png"),
        ("a" * 64, ".PNG"),
        ("a" * 64, ""),
    ],
)
def test_no_name_leads_out_of_the_folder_of_originals(originals: ImageStore, digest: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="not the name of an original"):
        originals.path(digest, suffix)


def test_a_full_disk_fails_what_is_being_written_and_nothing_else(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    mount = f"mount -t tmpfs -o size=3m none '{tmp_path}'"
    try:
        subprocess.run([*namespace, "sh", "-c", mount], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no small file system can be mounted here")
    command = f"{mount} && exec '{sys.executable}' -m tests.helpers.data_folder_process fill '{tmp_path}'"
    done = subprocess.run([*namespace, "sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
