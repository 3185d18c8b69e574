"""`python -m tests.parity`: the authors' released program and ours on the same images with the same weights.

Needs a checkout of that program and what it imports (torchvision, scikit-image, pandas). Nothing of it is part of this
repository. docs/parity.md tells what came out. Weights are random ones of DINOv3, or a checkpoint of DINOv2's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder
from indexer.evaluation.dataset import Dataset, Sample
from indexer.evaluation.encoding import ImageGroup, LocalEncoding, of_each_image
from indexer.evaluation.features import FeatureCache
from indexer.evaluation.masks import read_mask
from indexer.evaluation.metrics import FIGURES, Figures, measure
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.tally import PixelTally
from indexer.scoring.scoring import score_image
from indexer.search import choose_engine

_LAYERS = (3, 6, 9, 11)  # theirs count from 0


@dataclass(frozen=True)
class Judged:
    """One program's maps, masks and figures of one category, by the images' names under it."""

    maps: dict[str, NDArray[np.float32]]
    masks: dict[str, NDArray[np.bool_]]
    figures: Figures


@dataclass(frozen=True)
class Comparison:
    """Largest differences between the two programs over a data set.

    aupro_exact: ours unsampled against theirs. aupro_codec: ours unsampled against ours with fp32 codes.
    """

    k: int
    rho: int
    codec: str
    images: int
    maps: float
    masks: int
    figures: dict[str, float]
    aupro_exact: float
    aupro_codec: float


def main(
    program: Annotated[Path, typer.Option(help="Checkout of the released program.")],
    data: Annotated[Path, typer.Option(help="A data set in MVTec-AD's layout, with masks.")],
    work: Annotated[Path, typer.Option(help="Folder for what both programs write.")],
    setting: Annotated[list[str], typer.Option(help="K,ρ; several times.")],
    good_tests: Annotated[int, typer.Option(help="Good test images kept; the rest become references.")] = 10,
    defective_tests: Annotated[int, typer.Option(help="Defective test images kept of each kind.")] = 10,
    views: Annotated[
        int, typer.Option(min=1, max=8, help="References made of each: quarter turns and their mirror images.")
    ] = 1,
    resize: Annotated[int, typer.Option(help="Side images are resized to.")] = 512,
    crop: Annotated[int, typer.Option(help="Side of the centre that is judged.")] = 448,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights of a DINOv2 ViT-S/14 under its authors' names [random ones of DINOv3].")
    ] = None,
) -> None:
    """Compare anomaly maps, masks and figures, and print the largest differences as JSON lines."""
    sys.path.insert(0, str(program.resolve()))
    work.mkdir(parents=True, exist_ok=True)
    boards = work / "data"
    if not boards.exists():
        _lay_out(read_dataset(data), boards, good_tests, defective_tests, views)
    dataset = read_dataset(boards)
    weights = checkpoint or work / "dinov3_vits16_random.pth"
    if not weights.exists():
        torch.save(_random_weights(), weights)
    if checkpoint is not None:
        _give_them_dinov2()
    encoder = load_encoder(EncoderSettings(model=str(weights), resize=resize, crop=crop, device="cpu"))
    images = ImageGroup(tuple(sample.path for sample in dataset.samples), encoder.space.global_geometry)
    ours = list(of_each_image(LocalEncoding(encoder).features([images])))
    bank = work / "bank.pth"
    if not bank.exists():
        _build_their_bank(boards, dataset, weights, bank, (resize, crop))
    for given in setting:
        k, rho = map(int, given.split(","))
        theirs = _run_theirs(boards, dataset, weights, bank, k, rho, work, (resize, crop))
        by_codec = {
            codec: _run_ours(dataset, encoder, ours, ScoringSettings(k, rho), codec, work / "cache")
            for codec in ("fp32", "fp16")
        }
        for codec, outcome in by_codec.items():
            moved = _moved_by_codec(outcome, by_codec["fp32"])
            print(json.dumps(asdict(_compare(outcome, theirs, ScoringSettings(k, rho), codec, moved))), flush=True)


def _lay_out(source: Dataset, target: Path, good_tests: int, defective_tests: int, views: int) -> None:
    """Copy as PNG, which both programs read, and turn spare good test images into references."""
    for reference in source.references:
        _copy_reference(
            reference.path, target / reference.category / "train" / "good" / f"{reference.path.stem}.png", views
        )
    stored: dict[tuple[str, str], int] = {}
    for sample in source.samples:
        name = f"{sample.path.stem}.png"
        position = stored[sample.category, sample.kind] = stored.get((sample.category, sample.kind), 0) + 1
        place = target / sample.category
        if not sample.defective and position > good_tests:
            _copy_reference(sample.path, place / "train" / "good" / f"test_{name}", views)
        elif not sample.defective or position <= defective_tests:
            _copy(sample.path, place / "test" / sample.kind / name)
            if sample.mask is not None:
                _copy(sample.mask, place / "ground_truth" / sample.kind / f"{sample.path.stem}_mask.png")


def _copy_reference(source: Path, target: Path, views: int) -> None:
    """The image, and as further references the same pixels turned by quarters, then mirrored and turned."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        for index in range(views):
            mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if index >= 4 else image
            turned = mirrored.rotate(90 * (index % 4), expand=True)
            turned.save(target if index == 0 else target.with_stem(f"{target.stem}_view{index}"))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.save(target)


def _random_weights() -> dict[str, torch.Tensor]:
    """A state of their ViT-S/16 in which every parameter matters: as built, layer scales all but close the blocks."""
    from dinov3.hub.backbones import load_dinov3_model

    torch.manual_seed(20260130)
    state: dict[str, torch.Tensor] = load_dinov3_model("dinov3_vits16").state_dict()
    for name, tensor in state.items():
        if name.endswith("bias_mask"):  # as in the released weights: keys have no bias
            state[name] = torch.ones(3, len(tensor) // 3).index_fill(0, torch.tensor(1), 0.0).flatten()
            continue
        if name.endswith("periods"):
            continue
        centre, spread = (1.0, 0.2) if ("norm" in name and name.endswith("weight")) or "gamma" in name else (0.0, 0.04)
        state[name] = centre + spread * torch.randn_like(tensor)
    return state


class _Layers(nn.Module):
    """Their DINOv2 with the call that their program makes to DINOv3, which theirs of DINOv2 does not have."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def get_intermediate_layers(
        self, images: torch.Tensor, n: list[int], **_: bool
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Patch and CLS tokens, (B, cells, dim) and (B, dim), after the final norm, of these layers from 0."""
        tokens, outputs = self.model.prepare_tokens_with_masks(images), []
        for index, block in enumerate(self.model.blocks):
            tokens = block(tokens)
            if index in n:
                normed = self.model.norm(tokens)
                outputs.append((normed[:, 1:], normed[:, 0]))
        return outputs


def _give_them_dinov2() -> None:
    """Have their program load DINOv2 ViT-S/14, made as its authors make it, where it loads DINOv3."""
    import build_bank_multilayer
    import rad_mvtec_visa_3dadam
    from dinov2.models.vision_transformer import vit_small

    def load(_name: str, pretrained_weight_path: str) -> nn.Module:
        model = vit_small(
            patch_size=14,
            img_size=518,
            block_chunks=0,
            init_values=1.0,
            interpolate_antialias=False,
            interpolate_offset=0.1,
        )
        model.load_state_dict(torch.load(pretrained_weight_path, weights_only=True), strict=False)
        return _Layers(model)

    for module in (build_bank_multilayer, rad_mvtec_visa_3dadam):
        module.load_dinov3_model = load


def _call(module_main: Any, *arguments: str) -> None:
    """Run another program's main with a command line of its own."""
    before = sys.argv
    sys.argv = ["program", *arguments]
    try:
        module_main()
    finally:
        sys.argv = before


def _build_their_bank(boards: Path, dataset: Dataset, weights: Path, bank: Path, sizes: tuple[int, int]) -> None:
    import build_bank_multilayer as theirs

    _call(
        theirs.main,
        "--data_path",
        str(boards),
        "--item_list",
        *dataset.categories,
        "--encoder_name",
        "dinov3_vits16",
        "--encoder_weight",
        str(weights),
        "--image_size",
        str(sizes[0]),
        "--crop_size",
        str(sizes[1]),
        "--batch_size",
        "8",
        "--num_workers",
        "0",
        "--layer_idx_list",
        *map(str, _LAYERS),
        "--bank_path",
        str(bank),
    )


def _run_theirs(
    boards: Path,
    dataset: Dataset,
    weights: Path,
    bank: Path,
    k: int,
    rho: int,
    work: Path,
    sizes: tuple[int, int],
) -> dict[str, Judged]:
    """Run their program whole, but for its sizes, which are constants there: 512 and 448.

    It hands all maps and masks of a category to its AUPRO, where they are looked at.
    """
    import rad_mvtec_visa_3dadam as theirs

    readers: list[Any] = []
    seen: list[tuple[NDArray[np.bool_], NDArray[np.float32]]] = []
    results: list[list[float]] = []
    reader, pro, judge = theirs.MVTecDataset, theirs.compute_pro, theirs.eval_patch_knn_multilayer_cluster
    transforms = theirs.get_data_transforms

    def reading(*args: Any, **kwargs: Any) -> Any:
        readers.append(reader(*args, **kwargs))
        return readers[-1]

    def looking(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> float:
        seen.append((masks.copy(), maps.copy()))
        return float(pro(masks, maps))

    def judging(*args: Any, **kwargs: Any) -> list[float]:
        results.append(judge(*args, **kwargs))
        return results[-1]

    theirs.MVTecDataset, theirs.compute_pro, theirs.eval_patch_knn_multilayer_cluster = reading, looking, judging
    theirs.get_data_transforms = lambda *_: transforms(*sizes)
    try:
        _call(
            theirs.main,
            "--data_path",
            str(boards),
            "--bank_path",
            str(bank),
            "--encoder_name",
            "dinov3_vits16",
            "--encoder_weight",
            str(weights),
            "--save_dir",
            str(work / "saved"),
            "--save_name",
            f"{k}_{rho}",
            "--k_image",
            str(k),
            "--resize_mask",
            "256",
            "--max_ratio",
            "0.01",
            "--vis_max",
            "0",
            "--use_positional_bank",
            "--pos_radius",
            str(rho),
            "--item_list",
            *dataset.categories,
        )
    finally:
        theirs.MVTecDataset, theirs.compute_pro, theirs.eval_patch_knn_multilayer_cluster = reader, pro, judge
        theirs.get_data_transforms = transforms
    judged = {}
    for name, read, (masks, maps), result in zip(dataset.categories, readers, seen, results, strict=True):
        paths = [_within(Path(str(path))) for path in read.img_paths]
        judged[name] = Judged(
            dict(zip(paths, maps, strict=True)), dict(zip(paths, masks.astype(bool), strict=True)), Figures(*result)
        )
    return judged


def _run_ours(
    dataset: Dataset, encoder: Encoder, seen: list[Features], scoring: ScoringSettings, codec: str, cache: Path
) -> dict[str, tuple[Judged, Figures]]:
    """Ours, with AUPRO sampled at their thresholds and, second, exact."""
    memory, _ = FeatureCache(cache, LocalEncoding(encoder), codec).memory_of(dataset.references, lambda count: None)
    engine = choose_engine(encoder.device)
    judged = {}
    for name in dataset.categories:
        report = PixelTally(1 << 30)
        scores, samples = list[float](), list[Sample]()
        maps, masks = {}, {}
        for sample, features in zip(dataset.samples, seen, strict=True):
            if sample.category != name:
                continue
            scored = score_image(memory, engine, features, scoring)
            mask = read_mask(sample, encoder.space.global_geometry.frame(encoder.space.patch))
            report.add(scored.map, mask)
            maps[_within(sample.path)], masks[_within(sample.path)] = scored.map, mask
            scores.append(scored.score)
            samples.append(sample)
        exact = measure(np.array(scores), np.array([sample.defective for sample in samples]), report.counts())
        judged[name] = Judged(maps, masks, replace(exact, aupro=exact.aupro_sampled)), exact
    return judged


def _moved_by_codec(ours: dict[str, tuple[Judged, Figures]], exact: dict[str, tuple[Judged, Figures]]) -> float:
    """The largest difference of the unsampled area that storing codes less exactly makes."""
    return max(abs((ours[name][1].aupro or 0) - (exact[name][1].aupro or 0)) for name in ours)


def _compare(
    ours: dict[str, tuple[Judged, Figures]],
    theirs: dict[str, Judged],
    scoring: ScoringSettings,
    codec: str,
    aupro_codec: float,
) -> Comparison:
    maps, masks, images = 0.0, 0, 0
    figures = dict.fromkeys(FIGURES, 0.0)
    aupro = 0.0
    for name, (outcome, exact) in ours.items():
        other = theirs[name]
        assert outcome.maps.keys() == other.maps.keys()
        images += len(outcome.maps)
        for path, anomaly_map in outcome.maps.items():
            maps = max(maps, float(np.abs(anomaly_map - other.maps[path]).max()))
            masks += int((outcome.masks[path] != other.masks[path]).sum())
        for figure in FIGURES:
            difference = abs(getattr(outcome.figures, figure) - getattr(other.figures, figure))
            figures[figure] = max(figures[figure], difference)
        assert exact.aupro is not None
        assert other.figures.aupro is not None
        aupro = max(aupro, abs(exact.aupro - other.figures.aupro))
    return Comparison(scoring.k, scoring.rho, codec, images, maps, masks, figures, aupro, aupro_codec)


def _within(path: Path) -> str:
    """A test image's kind and name."""
    return f"{path.parent.name}/{path.name}"


if __name__ == "__main__":
    typer.run(main)
