"""What the paper set and reported for each data set it used."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.encoders import Geometry
from indexer.evaluation.dataset import Layout
from indexer.evaluation.metrics import Figures
from indexer.scoring import ScoringSettings

PAPER_ENCODER = "DINOv3 ViT-B/16"


@dataclass(frozen=True)
class Preset:
    """K, ρ and sizes of one data set, and the multi-class figures that the paper reports with them.

    categories: how many those figures are means over, where we know.
    """

    title: str
    scoring: ScoringSettings
    geometry: Geometry
    reported: Figures | None
    categories: int | None = None


_SIZE = Geometry(512, 448)
PRESETS: dict[Layout, Preset] = {
    "mvtec-ad": Preset(
        "MVTec-AD", ScoringSettings(150, 1), _SIZE, Figures(0.996, 0.998, 0.990, 0.985, 0.756, 0.713, 0.949), 15
    ),
    "visa": Preset(
        "VisA", ScoringSettings(900, 2), _SIZE, Figures(0.975, 0.973, 0.952, 0.991, 0.553, 0.575, 0.946), 12
    ),
    "real-iad": Preset(
        "Real-IAD", ScoringSettings(900, 0), _SIZE, Figures(0.920, 0.899, 0.830, 0.991, 0.537, 0.542, 0.961), 30
    ),
    "3d-adam": Preset(
        "3D-ADAM (RGB)", ScoringSettings(48, 1), _SIZE, Figures(None, None, 0.926, None, None, 0.325, None)
    ),
    "folder": Preset("Folder", ScoringSettings(150, 1), _SIZE, None),  # MVTec-AD's, whose layout it has
}

# Few-shot on MVTec-AD, by references per category: pixel AUROC and AUPRO.
REPORTED_FEW_SHOT: dict[int, Figures] = {
    1: Figures(pixel_auroc=0.967, aupro=0.919),
    2: Figures(pixel_auroc=0.973, aupro=0.930),
    4: Figures(pixel_auroc=0.977, aupro=0.940),
}
