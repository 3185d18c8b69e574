"""The memory available to this process."""

from __future__ import annotations

from pathlib import Path

_MEMORY = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # of a container, version 2


def exceeds_memory(codes: int, resident: int) -> bool:
    """Whether so many bytes of codes, of which `resident` are in memory already, take more than half of what there is
    for them; False if unknown."""
    available = available_bytes()
    return available is not None and 2 * codes > available + resident


def available_bytes() -> int | None:
    """Bytes available to this process on the machine and in its container; None if unknown."""
    limits = [limit for limit in (_of_machine(), _of_container()) if limit is not None]
    return min(limits, default=None)


def _of_machine() -> int | None:
    try:
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_container() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((_CGROUP / "memory.current").read_text()) - _reclaimable()
        return max(0, int(limit) - used)
    except (OSError, ValueError):
        return None


def _reclaimable() -> int:
    """Bytes of files that the container's kernel caches and drops when memory is needed, as `MemAvailable` has it."""
    for line in (_CGROUP / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
