"""The least that each step could take: bytes that must be read and operations that must be done, at a card's rates."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.benchmarks.cpu.plan import Vit
from indexer.memory import Codec

LAYERS = 4
REGISTERS = 4


@dataclass(frozen=True)
class Work:
    """Bytes read or written at least once, and floating-point operations (a product and a sum are two)."""

    bytes: float
    operations: float


@dataclass(frozen=True)
class Rates:
    """What the card does, measured in the same run: bytes copied (read + written) and bf16 operations a second."""

    copy: float
    matmul: float

    def floor(self, work: Work) -> float:
        """Seconds: the longer of the two, as if both overlapped perfectly."""
        return max(work.bytes / self.copy, work.operations / self.matmul)


def pairs(side: int, rho: int) -> int:
    """Pairs of a cell and one of its neighbours, itself included, clipped at the border of a square grid."""
    along = sum(min(at + rho, side - 1) - max(at - rho, 0) + 1 for at in range(side))
    return along * along


def patch_search(
    side: int, dim: int, codec: str, k: int, rho: int, images: int = 1, distinct: int | None = None
) -> Work:
    """Every one of `distinct` references (default k) is read once; each image is multiplied with its own k."""
    reference = LAYERS * side * side * Codec.from_name(codec, dim).code_size
    return Work((distinct or k) * reference, 2.0 * images * LAYERS * k * pairs(side, rho) * dim)


def global_search(descriptors: int, dim: int) -> Work:
    """One read of float32 descriptors."""
    return Work(4 * descriptors * dim, 2 * descriptors * dim)


def encode(vit: Vit, side: int, images: int) -> Work:
    """The matrix products of a transformer with four times as wide an MLP; one read of its 16-bit weights."""
    tokens = side * side + 1 + REGISTERS
    weights = vit.depth * 12 * vit.dim**2 + 3 * 16 * 16 * vit.dim
    attention = 4 * tokens**2 * vit.dim * vit.depth
    return Work(2 * weights, images * (2.0 * tokens * weights + attention))
