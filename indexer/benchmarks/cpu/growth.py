"""Resident memory as references are added, read in a process that does nothing else."""

from __future__ import annotations

import subprocess
import sys

from indexer.benchmarks.cpu.plan import FULL, QUICK
from indexer.benchmarks.cpu.subjects import filled_bank, grow, space_of
from indexer.benchmarks.machine import resident_bytes

_FIRST = 20  # references before the first reading: buffers that come once are then there


def resident_growth(dim: int, quick: bool) -> float | None:
    """Growth of the resident set over the codes added, at fp16; None where the system does not report it."""
    if resident_bytes() is None:
        return None
    command = [sys.executable, "-m", "indexer.benchmarks.cpu.growth", str(dim), "quick" if quick else "full"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _main(dim: int, size: str) -> None:
    plan = QUICK if size == "quick" else FULL
    memory = filled_bank(space_of(plan, dim), "fp16", _FIRST)
    codes, before = memory.code_bytes, resident_bytes()
    memory = grow(memory, plan.growth)
    after = resident_bytes()
    if before is not None and after is not None:  # `resident_growth` has asked
        print((after - before) / (memory.code_bytes - codes))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
