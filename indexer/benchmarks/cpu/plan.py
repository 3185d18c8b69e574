"""The sizes a benchmark runs at."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Vit:
    """The shape of a DINOv3 vision transformer, patch size 16, four registers."""

    name: str
    dim: int
    heads: int
    depth: int


@dataclass(frozen=True)
class CpuPlan:
    """k, rho: of the method. references: in the memory that is searched; many: in the one that must cost no more.

    vits: largest first. small_dim: values per patch where `references` and `many` are compared. append: sizes of the
    memories that one reference is added to. growth: references whose resident memory is measured. grids: (rows,
    columns) whose cost is held against that of the first. served: encoders of the servers that are measured, None
    for the built-in one; onboarded: references of each; image_sides: of the images that it is sent (pixels), clients:
    that send them at once, detections: of each kind. started: references of the server whose start is measured.
    """

    k: int = 150
    rho: int = 1
    resize: int = 512
    crop: int = 448
    references: int = 400
    many: int = 4000
    vits: tuple[Vit, ...] = (Vit("ViT-B", 768, 12, 12), Vit("ViT-S", 384, 6, 12))
    small_dim: int = 64
    append: tuple[int, int] = (100, 2000)
    growth: int = 200
    served: tuple[Vit | None, ...] = (None, Vit("ViT-B", 768, 12, 12), Vit("ViT-S", 384, 6, 12))
    onboarded: int = 50
    image_sides: tuple[int, ...] = (512, 1024, 2240, 4480)
    clients: tuple[int, ...] = (1, 8)
    detections: int = 16
    started: int = 1000
    grids: tuple[tuple[int, int], ...] = ((28, 28), (28, 56), (56, 56), (56, 112), (112, 112))
    rounds: int = 5
    quick_rounds: int = 15  # of what takes little time

    @property
    def side(self) -> int:
        """Cells along one side of the grid."""
        return self.crop // 16

    @property
    def candidates(self) -> int:
        """Pairs of a cell and one of its neighbours, clipped at the border."""
        along = sum(min(at + self.rho, self.side - 1) - max(at - self.rho, 0) + 1 for at in range(self.side))
        return along * along


FULL = CpuPlan()
QUICK = replace(
    FULL,
    k=8,
    resize=72,
    crop=64,
    references=12,
    many=40,
    vits=(Vit("ViT-B", 64, 2, 4), Vit("ViT-S", 32, 2, 4)),
    small_dim=16,
    append=(4, 40),
    growth=20,
    served=(None,),
    onboarded=3,
    image_sides=(96,),
    clients=(1, 2),
    detections=2,
    started=3,
    grids=((4, 4), (4, 8)),
    rounds=1,
    quick_rounds=1,
)
