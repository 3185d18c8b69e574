"""How much memory there is: what the kernel caches of files counts as free."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.memory import capacity

GIB = 1 << 30


@pytest.mark.parametrize(("limit", "expected"), [(f"{8 * GIB}", 3 * GIB), ("max", 100 * GIB), (f"{GIB}", 0)])
def test_a_containers_cache_of_files_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{7 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon {4 * GIB}\nfile {3 * GIB}\ninactive_file {2 * GIB}\n")
    (tmp_path / "meminfo").write_text(f"MemAvailable: {100 * GIB // 1024} kB\n")
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)
    monkeypatch.setattr(capacity, "_MEMORY", tmp_path / "meminfo")
    assert capacity.available_bytes() == expected


def test_without_a_container_the_machine_decides_and_without_either_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)
    monkeypatch.setattr(capacity, "_MEMORY", tmp_path / "meminfo")
    assert capacity.available_bytes() is None
    assert not capacity.exceeds_memory(1 << 60, 0)
    (tmp_path / "meminfo").write_text("MemAvailable: 1024 kB\n")
    assert capacity.available_bytes() == 1 << 20
    assert capacity.exceeds_memory((1 << 19) + 1, 0)
    assert not capacity.exceeds_memory(1 << 19, 0)
