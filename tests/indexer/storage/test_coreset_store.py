"""What the store promises about coreset files: durable, verified, and mapped where only some codes are needed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from indexer.domain.coreset import CoresetContent, CoresetFile
from indexer.domain.errors import CorruptSegmentError
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.lock import StoreLock

ROOT = Path(__file__).parents[3]

_METADATA = {"fingerprint": "ab" * 32, "codec": "pq", "rows": "2", "columns": "3"}


@pytest.fixture
def store(tmp_path: Path) -> CoresetStore:
    return CoresetStore(tmp_path / "coresets", StoreLock(tmp_path / "append.lock"))


def content(patches: int = 3, layers: int = 2, grid: tuple[int, int] = (2, 3), size: int = 7) -> CoresetContent:
    random = np.random.default_rng(patches)
    shape = (patches, layers, grid[0] * grid[1])
    references = np.cumsum(random.integers(1, 1 << 40, 5), dtype=np.int64)
    codes = random.integers(0, 256, (*shape, size), dtype=np.uint8)
    return CoresetContent("ab" * 32, "pq", grid, references, random.integers(0, 5, shape, dtype=np.int32), codes)


def check_same(read: CoresetContent, written: CoresetContent) -> None:
    assert (read.fingerprint, read.codec, read.grid) == (written.fingerprint, written.codec, written.grid)
    for name in ("references", "owners", "codes"):
        assert getattr(read, name).dtype == getattr(written, name).dtype
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def recorded(path: Path) -> CoresetFile:
    """A file as the catalogue would name it."""
    data = path.read_bytes()
    return CoresetFile(path.name, hashlib.sha256(data).hexdigest(), len(data))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patches=st.integers(1, 4),
    layers=st.integers(1, 4),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    size=st.integers(1, 9),
)
def test_a_coreset_reads_back_exactly_as_it_was_written(
    store: CoresetStore, patches: int, layers: int, rows: int, columns: int, size: int
) -> None:
    written = content(patches, layers, (rows, columns), size)
    file = store.write(written)
    check_same(store.read(file), written)


def test_a_coreset_knows_its_size_and_checksum(store: CoresetStore, tmp_path: Path) -> None:
    file = store.write(content())
    [path] = (tmp_path / "coresets").iterdir()
    assert recorded(path) == file


def test_arrays_that_are_not_contiguous_are_written_as_they_look(store: CoresetStore) -> None:
    whole = content(patches=4)
    half = replace(whole, owners=whole.owners[::2], codes=whole.codes[::2])
    check_same(store.read(store.write(half)), half)


WRONG: list[tuple[str, Callable[[CoresetContent], dict[str, object]]]] = [
    ("int64 with 1 axes", lambda right: {"references": right.references.astype(np.int32)}),
    ("int32 with 3 axes", lambda right: {"owners": right.owners.astype(np.int64)}),
    ("uint8 with 4 axes", lambda right: {"codes": right.codes[0]}),
    ("owners of shape", lambda right: {"owners": right.owners[:-1]}),
    ("owners of shape", lambda right: {"codes": right.codes[..., :0]}),
    ("owners of shape", lambda right: {"owners": right.owners[:0], "codes": right.codes[:0]}),
    ("does not have 6 cells", lambda right: {"grid": (2, 4)}),
    ("does not have 6 cells", lambda right: {"grid": (-2, -3)}),
    ("do not ascend", lambda right: {"references": right.references[::-1]}),
    ("do not ascend", lambda right: {"references": np.zeros(5, np.int64)}),
    ("is none of 1 references", lambda right: {"references": right.references[:1]}),
    ("is none of 0 references", lambda right: {"references": right.references[:0]}),
    ("is none of 5 references", lambda right: {"owners": right.owners - 5}),
]


@pytest.mark.parametrize(("message", "wrong"), WRONG)
def test_arrays_that_do_not_fit_are_neither_written_nor_read(
    store: CoresetStore, tmp_path: Path, message: str, wrong: Callable[[CoresetContent], dict[str, object]]
) -> None:
    changed = wrong(content())
    with pytest.raises(ValueError, match=message):
        store.write(replace(content(), **changed))  # type: ignore[arg-type]
    store.write(content())
    [path] = (tmp_path / "coresets").iterdir()
    rows, columns = changed.pop("grid", (2, 3))
    arrays = load_file(path) | {name: np.ascontiguousarray(array) for name, array in changed.items()}
    save_file(arrays, path, {**_METADATA, "rows": str(rows), "columns": str(columns)})
    with pytest.raises(CorruptSegmentError, match="bad header"):
        store.read(recorded(path))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a coreset"),
        lambda path: save_file(load_file(path), path),
        lambda path: save_file(load_file(path), path, _METADATA | {"rows": "two"}),
        lambda path: save_file({"codes": load_file(path)["codes"]}, path, _METADATA),
        lambda path: path.write_bytes(path.read_bytes() + b"."),
    ],
)
def test_what_is_no_coreset_is_not_read_though_its_checksum_is_right(
    store: CoresetStore, tmp_path: Path, rewrite: Callable[[Path], object]
) -> None:
    path = tmp_path / "coresets" / store.write(content()).name
    rewrite(path)
    with pytest.raises(CorruptSegmentError, match="bad header"):
        store.read(recorded(path))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes() + b"."), "checksum"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"abab", b"abac", 1)), "checksum"),
    ],
)
def test_a_damaged_coreset_is_named_with_the_reason(
    store: CoresetStore, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    file = store.write(content())
    damage(tmp_path / "coresets" / file.name)
    with pytest.raises(CorruptSegmentError, match=f"{file.name} is damaged: {reason}"):
        store.read(file)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_and_no_cut_goes_unnoticed(store: CoresetStore, tmp_path: Path, data: st.DataObject) -> None:
    file = store.write(content())
    path = tmp_path / "coresets" / file.name
    damaged = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, file.size - 1))
    if data.draw(st.booleans()):
        damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[position:]
    path.write_bytes(damaged)
    with pytest.raises(CorruptSegmentError):
        store.read(file)


def test_reading_a_coreset_loads_no_torch(store: CoresetStore, tmp_path: Path) -> None:
    file = store.write(content())
    program = f"""
import sys
from pathlib import Path
from indexer.domain.coreset import CoresetFile
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.lock import StoreLock
root = Path({str(tmp_path)!r})
CoresetStore(root / "coresets", StoreLock(root / "append.lock")).read({file!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_a_full_disk_leaves_nothing_of_a_coreset_behind(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    mount = f"mount -t tmpfs -o size=3m none '{tmp_path}'"
    try:
        subprocess.run([*namespace, "sh", "-c", mount], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no small file system can be mounted here")
    command = f"{mount} && exec '{sys.executable}' -m tests.indexer.storage.test_coreset_store '{tmp_path}'"
    done = subprocess.run([*namespace, "sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _fill_disk(root: Path) -> None:
    store = CoresetStore(root / "coresets", StoreLock(root / "append.lock"))
    small = store.write(content())
    with pytest.raises(OSError, match="no space left") as caught:
        store.write(content(size=1 << 20))
    assert type(caught.value).__name__ == "StorageFull"
    assert [path.name for path in (root / "coresets").iterdir()] == [small.name]
    store.read(small)


if __name__ == "__main__":
    _fill_disk(Path(sys.argv[1]))
