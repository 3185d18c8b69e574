"""The two Ray Serve applications: encoders, and the memory. `touchstone serve --ray` and KubeRay deploy the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import ray
from ray import serve

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.cli.options import read_settings
from indexer.encoders import EncoderSettings
from indexer.jobs.encoder_of_memory import encoder_of_memory
from service.ray_serving.replicas import EncoderReplica, MemoryReplica, MemorySource
from service.settings import Settings

ENCODER, MEMORY = "touchstone-encoder", "touchstone-memory"

_ON_CPU = 2  # requests for a replica that works on one at a time: the next is there when one is done
_HEALTH_SECONDS = 5.0  # between Serve's looks at a replica, and for its answer


def encoder(_: Mapping[str, str]) -> Any:
    """The application of encoders, by the settings in the environment; as an import path for `serve deploy`."""
    settings = read_settings(Settings)
    return encoder_application(settings, encoder_of_memory(settings))


def memory(_: Mapping[str, str]) -> Any:
    """The application of the memory, by the settings in the environment; as an import path for `serve deploy`."""
    return memory_application(read_settings(Settings))


def encoder_application(settings: Settings, chosen: EncoderSettings) -> Any:
    """Replicas on a GPU each where the cluster has any, otherwise on a CPU each."""
    gpus = 0 if chosen.device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    deployment = serve.deployment(EncoderReplica, name="encoder").options(
        **_scaling(1, settings.ray_max_encoders, settings.batch_size if gpus else _ON_CPU),
        ray_actor_options={"num_cpus": 1, "num_gpus": min(gpus, 1)},
    )
    return deployment.bind(chosen, settings.batch_size, settings.max_batch_delay_ms / 1000)


def memory_application(settings: Settings) -> Any:
    """Replicas on a CPU each, which hold the shards that they are asked for."""
    deployment = serve.deployment(MemoryReplica, name="memory").options(
        **_scaling(settings.ray_min_memories, settings.ray_max_memories, _ON_CPU), ray_actor_options={"num_cpus": 1}
    )
    source = source_of(settings)
    return deployment.bind(source, settings.ray_shards_per_replica)


def source_of(settings: Settings) -> MemorySource:
    """The memory that these settings name. Raises what opening its catalogue does."""
    folder = DataFolder.created(settings.data.absolute(), settings.database_url)
    with closing(Catalogue.of(folder)) as catalogue:
        return MemorySource(folder.root, settings.database_url, settings.mmap_codes, catalogue.identity.find())


def _scaling(min_replicas: int, max_replicas: int, requests: int) -> dict[str, Any]:
    """One more replica where there are more than so many requests for each; it takes up to twice as many."""
    replicas = {"min_replicas": min_replicas, "max_replicas": max(min_replicas, max_replicas)}
    return {
        "autoscaling_config": {**replicas, "target_ongoing_requests": requests},
        "max_ongoing_requests": 2 * requests,
        "health_check_period_s": _HEALTH_SECONDS,
        "health_check_timeout_s": _HEALTH_SECONDS,
    }
