"""Encoders: frozen networks (or a fixed descriptor) that turn images into comparable features."""

from indexer.domain.geometry import InputGeometry
from indexer.encoders.base import Encoder, EncoderSettings, Features, FeatureSpace
from indexer.encoders.load import BUILTIN, FILTER_BANK, choose_device, load_encoder
from indexer.encoders.preprocessing import PreparedImage, Preprocess, Preprocessor, prepare, preprocess

__all__ = [
    "BUILTIN",
    "FILTER_BANK",
    "Encoder",
    "EncoderSettings",
    "FeatureSpace",
    "Features",
    "InputGeometry",
    "PreparedImage",
    "Preprocess",
    "Preprocessor",
    "choose_device",
    "load_encoder",
    "prepare",
    "preprocess",
]
