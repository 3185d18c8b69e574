"""The paper's settings for each of its data sets."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import InputGeometry
from indexer.evaluation.dataset import Layout


@dataclass(frozen=True)
class Preset:
    """K, ρ and sizes of one data set. whole: its categories, references and test images in all, where we know."""

    title: str
    scoring: ScoringSettings
    geometry: InputGeometry
    whole: tuple[int, int, int] | None = None


_SIZE = InputGeometry.paper(512, 448)
PRESETS: dict[Layout, Preset] = {
    "mvtec-ad": Preset("MVTec-AD", ScoringSettings(150, 1), _SIZE, (15, 3629, 1725)),
    "visa": Preset("VisA", ScoringSettings(900, 2), _SIZE, (12, 8659, 2162)),
    "real-iad": Preset("Real-IAD", ScoringSettings(900, 0), _SIZE, (30, 36465, 114585)),
    "3d-adam": Preset("3D-ADAM (RGB)", ScoringSettings(48, 1), _SIZE),
    "folder": Preset("Folder", ScoringSettings(150, 1), _SIZE),  # MVTec-AD's, whose layout it has
}
