"""Encoder settings that default to the sizes of the existing memory."""

from __future__ import annotations

from dataclasses import replace

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import NoDataFolder
from indexer.encoders import EncoderSettings, FeatureSpace
from indexer.settings import DataSettings

_OVERVIEW = 224  # pixels along a side of the squashed view that global descriptors are made of


def encoder_of_memory(settings: DataSettings) -> EncoderSettings:
    """The encoder settings, with the sizes of the data folder's memory unless some were chosen.

    So a default that has changed refuses no memory that was made with the one before. A new memory describes images as
    wholes by a small view of each. CatalogueError, BeingRestored.
    """
    chosen = settings.encoder_settings
    if settings.sized:
        return chosen
    chosen = with_overview(chosen)
    try:
        catalogue = Catalogue.of(DataFolder.existing(settings.data, settings.database_url))
    except NoDataFolder:  # it will be new
        return chosen
    try:
        memory = catalogue.memories.active()
    finally:
        catalogue.close()
    if memory is None:
        return chosen
    geometry = FeatureSpace.from_json(memory.space_json).global_geometry
    return replace(chosen, resize=geometry.resized[0], crop=geometry.size[0])


def with_overview(settings: EncoderSettings) -> EncoderSettings:
    """The settings for a memory whose categories have geometries of their own."""
    return replace(settings, resize=_OVERVIEW, crop=_OVERVIEW)
