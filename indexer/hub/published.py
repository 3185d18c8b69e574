"""Encoders that are published and can be used: the paper's and their other sizes, and what to know of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from indexer.hub.names import CHECKPOINT_SUFFIXES, CONFIG, SCHEME, WEIGHTS, folder_name, repository_of

LICENCES = {
    "DINOv3": "https://ai.meta.com/resources/models-and-libraries/dinov3-license",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0",
}


@dataclass(frozen=True)
class Published:
    """One encoder.

    name: what `TOUCHSTONE_ENCODER` takes for a model of the hub; else the name of its checkpoint's file. millions: of
    parameters. licence: a key of `LICENCES`, or "not stated". gated: whether its licence is to be accepted in a form
    before the hub gives it out. url: where a checkpoint outside of the hub lies; by_hand: only a browser gets it.
    """

    name: str
    family: str
    size: str
    patch: int
    millions: int
    licence: str
    gated: bool = False
    url: str | None = None
    by_hand: bool = False

    @property
    def repository(self) -> str | None:
        """Its repository on the hub; None for a checkpoint that lies elsewhere."""
        return None if self.url else repository_of(self.name)

    def here(self, folder: Path) -> str | None:
        """Where it is on this machine: a folder of encoders, or the hub client's cache; None if nowhere."""
        fetched = folder / (self.name if self.url else folder_name(self.name))
        if fetched.is_file() or (fetched / WEIGHTS).is_file():
            return str(folder)
        repository = self.repository
        cached = repository and isinstance(try_to_load_from_cache(repository, WEIGHTS), str)
        return "hub cache" if cached else None


def others_here(folder: Path) -> list[str]:
    """Paths of what looks like an encoder in a folder of encoders and is none of those below."""
    published_names = {entry.name if entry.url else folder_name(entry.name) for entry in PUBLISHED}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    unknown = [path for path in paths if path.name not in published_names]
    return [
        str(path)
        for path in unknown
        if (path / CONFIG).is_file() or (path.is_file() and path.suffix in CHECKPOINT_SUFFIXES)
    ]


def _timm(name: str, family: str, size: str, patch: int, millions: int, licence: str = "Apache-2.0") -> Published:
    return Published(SCHEME + name, family, size, patch, millions, licence)


def _dinov3(name: str, size: str, millions: int) -> Published:
    return Published(f"facebook/dinov3-{name}-pretrain-lvd1689m", "DINOv3", size, 16, millions, "DINOv3", gated=True)


_NC = "CC-BY-NC-4.0"
PUBLISHED: tuple[Published, ...] = (
    _timm("vit_base_patch16_dinov3.lvd1689m", "DINOv3", "ViT-B", 16, 86, "DINOv3"),
    _timm("vit_small_patch16_dinov3_qkvb.lvd1689m", "DINOv3", "ViT-S", 16, 22, "DINOv3"),
    _timm("vit_small_plus_patch16_dinov3_qkvb.lvd1689m", "DINOv3", "ViT-S+", 16, 29, "DINOv3"),
    _timm("vit_large_patch16_dinov3.lvd1689m", "DINOv3", "ViT-L", 16, 303, "DINOv3"),
    _timm("vit_huge_plus_patch16_dinov3.lvd1689m", "DINOv3", "ViT-H+", 16, 841, "DINOv3"),
    _dinov3("vits16", "ViT-S", 22),
    _dinov3("vitb16", "ViT-B", 86),
    _dinov3("vitl16", "ViT-L", 303),
    _dinov3("vith16plus", "ViT-H+", 841),
    _timm("vit_small_patch14_dinov2.lvd142m", "DINOv2", "ViT-S", 14, 22),
    _timm("vit_base_patch14_dinov2.lvd142m", "DINOv2", "ViT-B", 14, 87),
    _timm("vit_base_patch14_reg4_dinov2.lvd142m", "DINOv2, registers", "ViT-B", 14, 87),
    _timm("vit_large_patch14_dinov2.lvd142m", "DINOv2", "ViT-L", 14, 304),
    _timm("vit_giant_patch14_dinov2.lvd142m", "DINOv2", "ViT-g", 14, 1136),
    _timm("vit_small_patch16_224.dino", "DINO", "ViT-S", 16, 22),
    _timm("vit_base_patch16_224.dino", "DINO", "ViT-B", 16, 86),
    Published(
        "ibot_vitb_16_rand_mask.pth",
        "iBOT",
        "ViT-B",
        16,
        86,
        "Apache-2.0",
        url="https://lf3-nlp-opensource.bytetos.com/obj/nlp-opensource/archive/2022/ibot/vitb_16_rand_mask/checkpoint_teacher.pth",
    ),
    Published(
        "vit-b-300ep.pth.tar",
        "MoCo v3",
        "ViT-B",
        16,
        86,
        _NC,
        url="https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar",
    ),
    Published(
        "D-iGPT_B_PT_1K.pth",
        "D-iGPT",
        "ViT-B",
        16,
        86,
        "not stated",
        url="https://github.com/OliverRensu/D-iGPT#checkpoint",
        by_hand=True,
    ),
    _timm("vit_base_patch16_224.mae", "MAE", "ViT-B", 16, 86, _NC),
    _timm("vit_large_patch16_224.mae", "MAE", "ViT-L", 16, 303, _NC),
    _timm("vit_huge_patch14_224.mae", "MAE", "ViT-H", 14, 631, _NC),
    _timm("deit_small_patch16_224.fb_in1k", "DeiT", "ViT-S", 16, 22),
    _timm("deit_base_patch16_224.fb_in1k", "DeiT", "ViT-B", 16, 86),
    _timm("vit_base_patch16_224.augreg_in21k", "ViT", "ViT-B", 16, 86),
    _timm("beit_base_patch16_224.in22k_ft_in22k", "BEiT", "ViT-B", 16, 86),
    _timm("beit_large_patch16_224.in22k_ft_in22k", "BEiT", "ViT-L", 16, 303),
    _timm("beitv2_base_patch16_224.in1k_ft_in22k", "BEiT v2", "ViT-B", 16, 86),
    _timm("beitv2_large_patch16_224.in1k_ft_in22k", "BEiT v2", "ViT-L", 16, 303),
)


def gated(name: str) -> str:
    """What to do about a model behind a form, and which is the same without one."""
    twin = next((entry for entry in PUBLISHED if entry.name == name and entry.gated), None)
    same = twin and next(
        (entry for entry in PUBLISHED if not entry.gated and (entry.family, entry.size) == (twin.family, twin.size)),
        None,
    )
    instead = f"; {same.name} is the same without a form" if same else ""
    return f"{name} is gated: accept its licence on huggingface.co/{name} and set HF_TOKEN{instead}"
