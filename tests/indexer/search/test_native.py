"""The compiled patch search: built where it can be, exact on several threads and with levels, never required."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import indexer
from indexer.domain.scoring_settings import ANYWHERE
from indexer.memory import CODEC_NAMES
from indexer.search import NativeEngine, PatchQuery, choose_engine, native_engine
from indexer.search.native import InstructionSet, instruction_sets
from tests.helpers.memory_banks import bound, filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import random_features

CPU = torch.device("cpu")
_CPUINFO = Path("/proc/cpuinfo")
BUILT = pytest.mark.skipif(not instruction_sets(), reason="no compiler here, or another processor")


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch has four threads, and a search is shared out however small it is."""
    monkeypatch.setattr(native_engine, "_MIN_PRODUCTS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(platform.machine() != "x86_64" or not shutil.which("gcc"), reason="not built on such a machine")
@pytest.mark.skipif("avx2" not in (_CPUINFO.read_text().split() if _CPUINFO.exists() else ""), reason="no AVX2")
def test_it_is_built_and_chosen_where_there_is_a_compiler_and_a_processor_for_it() -> None:
    assert instruction_sets(), "not built: pip install -e . builds it"
    assert choose_engine(CPU).name == f"native-{instruction_sets()[-1].name.lower().replace('_', '-')}"


@BUILT
@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("rho", [0, 1, 2, 8])
def test_threads_that_share_a_search_find_what_the_oracle_finds(codec: str, rho: int) -> None:
    memory, stored = filled(12, codec, grid=(7, 9), dim=40)
    patches = random_features(memory.space, 1, 3).patches[0]
    sets = [np.arange(12), np.array([3, 11, 0])]
    engine = NativeEngine()
    for _ in range(5):
        matches = engine.search(
            memory, [PatchQuery(patches, rows, rho, np.array([0.5, 0.5], np.float32)) for rows in sets]
        )
        for rows, match in zip(sets, matches, strict=True):
            expected = best_similarities(patches.numpy(), stored[rows], (7, 9), rho)
            np.testing.assert_allclose(match.similarities, expected, rtol=0, atol=bound(memory.codec, stored[rows]))


@BUILT
@pytest.mark.parametrize("instructions", instruction_sets(), ids=lambda instruction_set: instruction_set.name)
@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("dim", [5, 64, 97])
@pytest.mark.parametrize("grid", [(7, 9), (1, 3)])
def test_a_search_of_all_places_equals_the_oracle_and_says_where_the_best_is(
    instructions: InstructionSet, codec: str, dim: int, grid: tuple[int, int]
) -> None:
    memory, _ = filled(9, codec, grid=grid, dim=dim)
    patches = random_features(memory.space, 1, 3).patches[0]
    decoded = np.stack([memory.features_of(row).patches[0].numpy() for row in range(9)])
    rows = np.array([8, 2, 5, 0])
    question = PatchQuery(patches, rows, ANYWHERE, np.array([0.5, 0.5], np.float32))
    [matches] = NativeEngine(instructions).search(memory, [question])
    expected = best_similarities(patches.numpy(), decoded[rows], grid, ANYWHERE)
    np.testing.assert_allclose(matches.similarities, expected, rtol=0, atol=1e-6)
    assert matches.best_match is not None
    assert np.isin(matches.best_match.rows, rows).all()
    nearest = decoded[matches.best_match.rows, np.array([[0], [1]]), matches.best_match.cells]
    np.testing.assert_allclose((nearest * patches.numpy()).sum(-1), expected, rtol=0, atol=1e-6)


@BUILT
@pytest.mark.parametrize("instructions", instruction_sets(), ids=lambda instruction_set: instruction_set.name)
@pytest.mark.parametrize("codec", ["int8", "int4"])
@pytest.mark.parametrize("dim", [5, 64, 97])
def test_a_similarity_of_levels_is_that_of_a_real_candidate_and_hardly_below_the_best(
    instructions: InstructionSet, codec: str, dim: int
) -> None:
    memory, _ = filled(40, codec, grid=(6, 7), dim=dim)
    patches = random_features(memory.space, 1, 3).patches[0]
    decoded = np.stack([memory.features_of(row).patches[0].numpy() for row in range(40)])
    question = PatchQuery(patches, np.arange(40), 1, np.array([0.5, 0.5], np.float32))
    [matches] = NativeEngine(instructions).search(memory, [question])
    assert matches.best_match is not None
    candidates = decoded[matches.best_match.rows, np.array([[0], [1]]), matches.best_match.cells]
    np.testing.assert_allclose((candidates * patches.numpy()).sum(-1), matches.similarities, rtol=0, atol=1e-6)
    below = best_similarities(patches.numpy(), decoded, (6, 7), 1) - matches.similarities
    largest = memory.codec.to_basis(patches).abs().amax(-1).numpy()
    assert (below <= np.sqrt(dim) * largest / 32767 + 1e-6).all()


@BUILT
@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_levels_too_many_for_32_bit_sums_are_searched_in_floats(codec: str) -> None:
    memory, _ = filled(3, codec, grid=(2, 3), layers=1, dim=5000)
    ones = torch.full((1, 6, 5000), 5000**-0.5)  # the largest sums that there are
    memory = memory.with_references([7], ["bolt"], memory.codec.encode(random_features(memory.space, 1, 1)), 9)
    decoded = np.stack([memory.features_of(row).patches[0].numpy() for row in range(4)])
    similarities = NativeEngine().max_similarity(memory, ones, np.arange(4), 0)
    np.testing.assert_allclose(similarities, best_similarities(ones.numpy(), decoded, (2, 3), 0), rtol=0, atol=1e-5)


@BUILT
@pytest.mark.parametrize("instructions", instruction_sets(), ids=lambda instruction_set: instruction_set.name)
@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_the_largest_sums_of_levels_do_not_overflow(instructions: InstructionSet, codec: str) -> None:
    memory, _ = filled(1, codec, grid=(2, 2), layers=1, dim=4096)
    flat = random_features(memory.space, 1, 1)
    flat.patches.copy_(memory.codec.from_basis(torch.full((4096,), 4096**-0.5)))
    memory = memory.with_references([7], ["bolt"], memory.codec.encode(flat), 9)
    similarities = NativeEngine(instructions).max_similarity(memory, flat.patches[0], np.array([1]), 0)
    np.testing.assert_allclose(similarities, 1.0, rtol=0, atol=1e-4)


def test_without_the_compiled_code_torch_searches(tmp_path: Path) -> None:
    [package] = indexer.__path__
    shutil.copytree(package, tmp_path / "indexer", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    program = (
        "import torch; from indexer.search import choose_engine, NativeEngine\n"
        "print(choose_engine(torch.device('cpu')).name)\n"
        "try: NativeEngine()\nexcept RuntimeError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert done.splitlines() == ["torch-cpu", "the compiled patch search was not built, or not for this processor"]
