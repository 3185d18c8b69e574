"""What only a CUDA card can show; skipped without one (`make test-gpu` refuses to run then)."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from indexer.benchmarks.gpu.forward import encoder_of
from indexer.benchmarks.gpu.plan import QUICK
from indexer.encoders import InputGeometry, preprocess
from indexer.encoders.device_preprocessing import DevicePreprocessor
from indexer.memory.device_cache import DeviceCodeCache, DeviceMemoryFull
from indexer.search import PatchSearchEngine, TorchEngine, choose_engine
from indexer.search.gpu_global_index import GpuGlobalIndex
from tests.helpers.memory_banks import filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import random_features

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
CUDA = torch.device("cuda")


def test_the_service_searches_with_triton_on_a_card() -> None:
    assert choose_engine(CUDA).name == "triton-cuda"


@pytest.mark.parametrize("room", [1, 7, 40, 200])
@pytest.mark.parametrize("kind", ["triton", "torch"])
def test_any_budget_on_the_card_answers_like_the_oracle(kind: str, room: int) -> None:
    memory, stored = filled(120, "fp32", grid=(6, 5), dim=48)
    codes = DeviceCodeCache(CUDA, room * int(np.prod(memory.tables[0].arena.shape)))
    engine: PatchSearchEngine = TorchEngine(CUDA, codes)
    if kind == "triton":
        from indexer.search.triton_engine import TritonEngine

        engine = TritonEngine(CUDA, codes)
    for seed in range(6):
        rows = np.random.default_rng(seed).permutation(120)[:50]
        patches = random_features(memory.space, 1, seed).patches[0]
        expected = best_similarities(patches.numpy(), stored[rows], memory.space.global_grid, 1)
        np.testing.assert_allclose(engine.max_similarity(memory, patches, rows, 1), expected, rtol=0, atol=1e-5)


def test_a_full_gpu_is_an_error_until_memory_is_free_again() -> None:
    memory, stored = filled(20, "fp32", grid=(20, 20), dim=256)  # 13 MB for the first block
    patches = random_features(memory.space, 1, 1).patches[0]
    engine = TorchEngine(CUDA, DeviceCodeCache(CUDA, 1 << 40))
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - (4 << 20), dtype=torch.uint8, device=CUDA)
    with pytest.raises(DeviceMemoryFull):
        engine.max_similarity(memory, patches, np.arange(20), 1)
    del hog
    torch.cuda.empty_cache()
    afterwards = TorchEngine(CUDA).max_similarity(memory, patches, np.arange(20), 1)
    expected = best_similarities(patches.numpy(), stored, memory.space.global_grid, 1)
    np.testing.assert_allclose(afterwards, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not hasattr(faiss, "StandardGpuResources"), reason="this FAISS was built without CUDA")
def test_faiss_on_the_card_finds_what_the_host_finds_under_filters_and_removals() -> None:
    memory, _ = filled(60, "fp16")
    memory = memory.without_references([103, 110, 111], 9)
    index = GpuGlobalIndex(CUDA)
    for seed in range(10):
        query = random_features(memory.space, 1, seed).global_descriptors[0].numpy()
        for category in (None, "bolt", "nut"):
            expected = memory.nearest_references(query, 12, category, (4,))
            retrieved = index.nearest_references(memory, query, 12, category, (4,))
            np.testing.assert_array_equal(retrieved.rows, expected.rows)


@pytest.mark.parametrize("side", [300, 512, 2048])
def test_the_card_prepares_within_a_255th_of_pillow(side: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side + 100, 3)).astype(np.uint8)
    geometry = InputGeometry.paper(512, 448)
    prepared = DevicePreprocessor(CUDA, geometry)(image, geometry).window
    assert (prepared.cpu().int() - preprocess(image, InputGeometry.paper(512, 448)).int()).abs().max() <= 1


# Before it records a graph, torch records an empty one; it silences that warning unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_on_the_card_stays_near_float32_on_the_cpu(compiled: bool) -> None:
    torch.manual_seed(0)
    on_card = encoder_of(QUICK, CUDA, compiled)
    torch.manual_seed(0)
    plain = encoder_of(QUICK, torch.device("cpu"), False)
    batch = torch.randint(0, 256, (5, 3, QUICK.crop, QUICK.crop), dtype=torch.uint8)
    encoded, expected = on_card.encode(batch), plain.encode(batch)
    assert F.cosine_similarity(encoded.patches.cpu(), expected.patches, dim=-1).min() > 0.995
