"""What models of the hub are called here, and which of their files hold what."""

from __future__ import annotations

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
SCHEME = "timm:"  # begins the name of a model that timm publishes
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def repository_of(name: str) -> str:
    """The hub's repository of a model's name."""
    return name.replace(SCHEME, "timm/", 1) if name.startswith(SCHEME) else name


def folder_name(name: str) -> str:
    """What the folder of a fetched model is called."""
    return repository_of(name).rpartition("/")[2]
