"""Published weights, in whatever file they come, read into transformers' model of the same architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from indexer.domain.errors import EncoderError
from indexer.encoders.checkpoints import beit, dinov2, dinov3, plain
from indexer.encoders.checkpoints.files import read_checkpoint
from indexer.encoders.checkpoints.weights import Weights

__all__ = ["load_checkpoint", "model_of"]


def load_checkpoint(path: Path) -> PreTrainedModel:
    """A checkpoint file → the model, float32, on the CPU. EncoderError, one line, when it is none that is known."""
    return model_of(read_checkpoint(path.expanduser()))


def model_of(weights: Weights) -> PreTrainedModel:
    """The model whose architecture and shape are read off its weights. EncoderError if they are of none that is known.

    Known are ViT as in timm, DINO, iBOT, MoCo v3, MAE, D-iGPT and DeiT (also distilled), BEiT and BEiT v2, DINOv2 and
    DINOv3, each with the names of its authors or of timm.
    """
    try:
        return _builder(weights)(weights)
    except EncoderError:
        raise
    except KeyError as error:
        raise EncoderError(
            f"not a vision transformer's checkpoint that can be read: it has no {error.args[0]}"
        ) from error
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise EncoderError("not a whole checkpoint: the shapes of its tensors do not fit together") from error


def _builder(weights: Weights) -> Callable[[Weights], PreTrainedModel]:
    tensors = weights.tensors
    if any("relative_position_bias_table" in name for name in tensors):
        return beit.build
    if "pos_embed" not in tensors:
        return dinov3.build
    return dinov2.build if "blocks.0.ls1.gamma" in tensors else plain.build
