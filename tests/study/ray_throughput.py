"""`python -m tests.study.ray_throughput`: images a second through encoders on 1, 2 and 4 nodes, encoding simulated.

A node here is a Ray node of one CPU on this machine. Its encoder sleeps as long as a processor of its own would take,
and answers with features of the size of a ViT-B/16 at 448 pixels: what is measured is the rest of the way.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from indexer.cluster import connected
from indexer.domain.geometry import InputGeometry
from indexer.encoders import EncoderSettings, FeatureSpace
from service.ray_serving.front import RayEncoder
from service.ray_serving.replicas import EncodedWindow, EncoderFacts
from tests.helpers.ray_cluster import ray_cluster

_SECONDS = (0.5, 0.2)  # of one image
_NODES = (1, 2, 4)
_BATCH = 8
_IMAGES = 16  # for each node and measurement
SPACE = FeatureSpace("simulated", ("4", "7", "10", "12"), 16, 768, 768, InputGeometry.paper(448, 448), "0" * 64)


class SleepingEncoder:
    """Takes a while for each image, one after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._busy = seconds, asyncio.Lock()
        layers, (rows, columns) = len(SPACE.layers), SPACE.global_grid
        patches = np.random.default_rng(0).standard_normal((layers, rows * columns, SPACE.dim), np.float32)
        self._encoded = np.zeros(SPACE.global_dim, np.float32), patches, SPACE.global_grid

    async def encode(self, _: NDArray[np.uint8]) -> EncodedWindow:
        async with self._busy:
            await asyncio.sleep(self._seconds)
        return self._encoded


def measured(nodes: int, seconds: float) -> tuple[float, float]:
    """Images a second, and the front's seconds of processor time an image: of batches of 8, one for each node."""
    deployment = serve.deployment(SleepingEncoder, name="encoder").options(
        num_replicas=nodes, max_ongoing_requests=2 * _BATCH, ray_actor_options={"num_cpus": 1}
    )
    handle = serve.run(deployment.bind(seconds), name="simulated", route_prefix=None)
    facts = EncoderFacts("", replace(EncoderSettings(), model="simulated"), SPACE, 1024)
    encoder = RayEncoder((handle, facts))
    batch = torch.zeros((_BATCH, 3, 448, 448), dtype=torch.uint8)
    with ThreadPoolExecutor(nodes) as fronts:
        list(fronts.map(encoder.encode, [batch] * nodes))
        begun, used = time.perf_counter(), time.process_time()
        encoded = list(fronts.map(encoder.encode, [batch] * (nodes * _IMAGES // _BATCH)))
        took, processor = time.perf_counter() - begun, time.process_time() - used
    serve.delete("simulated")
    images = sum(map(len, encoded))
    return images / took, processor / images


def main() -> None:
    with ray_cluster(max(_NODES), store=1 << 30) as cluster, connected(cluster.address):
        serve.start(proxy_location="Disabled")
        print("| encoding, simulated | nodes | images/s | of what the encoders allow | front's processor time |")
        print("|---|---|---|---|---|")
        for seconds in _SECONDS:
            for nodes in _NODES:
                rate, processor = measured(nodes, seconds)
                share, spent = f"{rate * seconds / nodes:.0%}", f"{processor * 1000:.0f} ms"
                print(f"| {seconds * 1000:.0f} ms | {nodes} | {rate:.1f} | {share} | {spent} |", flush=True)


if __name__ == "__main__":
    main()
