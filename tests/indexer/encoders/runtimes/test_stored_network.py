"""A converted network is read only while it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.encoders.runtimes.stored_network import SUMS, is_whole, stored_network


@pytest.mark.parametrize("damage", [f"{SUMS} empty", f"{SUMS} gone", "network empty", "network gone"])
def test_what_a_power_failure_leaves_is_written_anew(tmp_path: Path, damage: str) -> None:
    written: list[Path] = []

    def write(folder: Path) -> None:
        written.append(folder)
        (folder / "network").write_bytes(b"weights")

    with stored_network(tmp_path, "vit", write) as folder:
        assert is_whole(folder)
    with stored_network(tmp_path, "vit", write):
        assert len(written) == 1
    name, what = damage.split()
    if what == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"")
    with stored_network(tmp_path, "vit", write) as rewritten:
        assert (rewritten / "network").read_bytes() == b"weights"
        assert len(written) == 2
