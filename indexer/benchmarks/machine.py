"""The machine a figure belongs to: a description without names, and the rates that bound every search on it."""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import torch

_STATM = Path("/proc/self/statm")
_COPIED = 256 << 20  # bytes: far more than any cache holds
_SIDE = 2048
FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX", "f16c": "F16C"}


def describe() -> str:
    """Cores, instruction sets, accelerator and versions; no host names, no paths."""
    information = Path("/proc/cpuinfo")
    words = set(information.read_text().split()) if information.exists() else set[str]()
    flags = [label for flag, label in FLAGS.items() if flag in words]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    parts = [f"{platform.machine()}, {cores} cores{', ' if flags else ''}{', '.join(flags)}"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "FAISS": faiss.__version__,
        "NumPy": np.__version__,
    }
    return "; ".join([*parts, ", ".join(f"{name} {version}" for name, version in versions.items())])


def resident_bytes() -> int | None:
    """The resident set of this process; None where the system does not report it."""
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _STATM.exists() else None


def copying(device: torch.device) -> tuple[Callable[[], object], int]:
    """A copy of a large buffer, and the bytes it reads and writes."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return _waited(lambda: target.copy_(source), device), 2 * _COPIED


def multiplying(device: torch.device) -> tuple[Callable[[], object], int]:
    """A float32 product of large matrices, and its floating-point operations."""
    left = torch.ones((_SIDE, _SIDE), device=device)
    return _waited(lambda: left @ left, device), 2 * _SIDE**3


def _waited(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run
