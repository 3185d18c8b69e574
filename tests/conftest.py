"""Where there is no CUDA device, Triton's kernels are interpreted: this must be said before Triton is imported."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
