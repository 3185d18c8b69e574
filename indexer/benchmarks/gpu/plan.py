"""The sizes that the card's benchmark runs at."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.benchmarks.cpu.plan import Vit

_VIT_B = Vit("ViT-B", 768, 12, 12)


@dataclass(frozen=True)
class GpuPlan:
    """references: in the memory. ks, rhos, codecs: of patch search for one image; k, rho: of everything else.

    batches: encoded at once. micro_batch: images that are searched together. descriptors: in the memory that is
    searched globally. clients, image_sides: of the closed loop over HTTP (clients, sides in pixels), `seconds`
    long.
    square: side of the product that measures the matmul rate; copied: bytes of the copy. compiled: whether the encoder
    is measured compiled too. decode_threads: of the served process.
    """

    vit: Vit = _VIT_B
    resize: int = 512
    crop: int = 448
    dtype: str = "bfloat16"
    references: int = 2400
    descriptors: int = 4000
    k: int = 150
    rho: int = 1
    ks: tuple[int, ...] = (48, 150, 900)
    rhos: tuple[int, ...] = (0, 1, 2)
    codecs: tuple[str, ...] = ("fp16", "bf16", "int8")
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    micro_batch: int = 16
    repeats: int = 50
    few_repeats: int = 3
    square: int = 8192
    copied: int = 4 << 30
    compiled: bool = True
    clients: tuple[int, ...] = (1, 8, 32, 128)
    image_sides: tuple[int, ...] = (512, 1024, 2048)
    seconds: float = 3.0
    onboarded: int = 160
    decode_threads: int = 16

    @property
    def side(self) -> int:
        """Cells along one side of the grid."""
        return self.crop // 16


FULL = GpuPlan()
QUICK = GpuPlan(
    vit=Vit("ViT-B", 32, 2, 8),
    resize=56,
    crop=48,
    references=24,
    descriptors=40,
    k=6,
    ks=(6,),
    rhos=(0, 1),
    batches=(1, 2),
    micro_batch=3,
    repeats=1,
    few_repeats=1,
    square=128,
    copied=1 << 20,
    compiled=False,
    clients=(1, 2),
    image_sides=(64,),
    seconds=0.2,
    onboarded=4,
    decode_threads=2,
)
