"""Long jobs use all cores: images side by side, on one thread each, with the same results."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.cores import Cores, SideBySide
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder
from indexer.imaging.decode import ImageLimits
from indexer.jobs.bulk_encoding import LocalEncoding
from indexer.jobs.bulk_index import bulk_index as index_folders
from indexer.jobs.folder_layout import find_categories
from indexer.jobs.reencode import ReencodeJob
from indexer.references.reference_store import ReferenceStore
from indexer.search import PatchQuery, TorchEngine
from tests.helpers.memory_banks import filled
from tests.helpers.part_folders import folder_of
from tests.helpers.random_features import random_features

IMAGES = torch.randint(0, 256, (5, 3, 112, 112), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Meeting:
    """An encoder that goes on only when two images are encoded at once."""

    def __init__(self, encoder: Encoder) -> None:
        self.space, self.device, self._encoder = encoder.space, encoder.device, encoder
        self.max_pass_cells = encoder.max_pass_cells
        self.barrier = threading.Barrier(2, timeout=60)
        self.threads = set[int]()

    def encode(self, batch: torch.Tensor) -> Features:
        assert len(batch) == 1
        self.threads.add(torch.get_num_threads())
        self.barrier.wait()
        return self._encoder.encode(batch)


def test_images_of_a_batch_are_encoded_side_by_side_and_come_in_order(two_threads: None) -> None:
    encoder = load_encoder(EncoderSettings("filterbank", resize=128, crop=112, device="cpu"))
    meeting = Meeting(encoder)
    with Cores() as cores:
        features = cores.encoding(meeting).encode(IMAGES[:4])
    assert meeting.threads == {1}
    expected = encoder.encode(IMAGES[:4])
    assert torch.equal(features.global_descriptors, expected.global_descriptors)
    assert torch.equal(features.patches, expected.patches)


def test_a_server_encodes_as_many_images_at_once_as_there_are_threads_and_the_rest_together(two_threads: None) -> None:
    encoder = load_encoder(EncoderSettings("filterbank", resize=128, crop=112, device="cpu"))
    expected = encoder.encode(IMAGES)

    class Watched(Meeting):
        """As `Meeting`, for the images that are encoded on other threads than the caller's."""

        def encode(self, batch: torch.Tensor) -> Features:
            if threading.current_thread() is not caller:
                return super().encode(batch)
            together.append((len(batch), torch.get_num_threads()))
            return encoder.encode(batch)

    caller, together, watched = threading.current_thread(), list[tuple[int, int]](), Watched(encoder)
    side_by_side = SideBySide(watched)
    for count in (5, 1, 4):
        features = side_by_side.encode(IMAGES[:count])
        assert torch.equal(features.patches, expected.patches[:count])
        assert torch.equal(features.global_descriptors, expected.global_descriptors[:count])
    assert together == [(1, 2), (1, 2)]
    assert watched.threads == {1}
    seen = list[int]()
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2]


def test_threads_that_start_later_have_all_of_torchs_threads_again(two_threads: None) -> None:
    with Cores() as cores:
        cores.encoding(load_encoder(EncoderSettings("filterbank", resize=128, crop=112, device="cpu"))).encode(IMAGES)
    seen = list[int]()
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def test_an_image_that_fails_ends_the_batch_with_its_error(two_threads: None) -> None:
    encoder = load_encoder(EncoderSettings("filterbank", resize=128, crop=112, device="cpu"))
    with Cores() as cores, pytest.raises(ValueError, match="expected uint8"):
        cores.encoding(encoder).encode(IMAGES.float())


def test_questions_are_answered_side_by_side_in_order(two_threads: None) -> None:
    memory, _ = filled(30, "fp16", grid=(4, 5), dim=32)
    patches = random_features(memory.space, 7, 3).patches
    weights = np.array([0.5, 0.5], np.float32)
    rows = [np.arange(0, 30 - index) for index in range(7)]
    questions = [PatchQuery(patches[index], rows[index], 1, weights) for index in range(7)]
    engine = TorchEngine(torch.device("cpu"))
    with Cores() as cores:
        results = cores.searching(engine, torch.device("cpu")).search(memory, questions)
    for question, matches in zip(questions, results, strict=True):
        alone = engine.max_similarity(memory, question.patches, question.rows, question.rho)
        np.testing.assert_allclose(matches.similarities, alone, rtol=0, atol=1e-6)


def test_indexing_and_rebuilding_encode_on_all_cores(two_threads: None, tmp_path: Path) -> None:
    parts, root, limits = folder_of(tmp_path / "parts", ".", disc=4), tmp_path / "data", ImageLimits()
    first = Meeting(load_encoder(EncoderSettings(resize=128, crop=112, device="cpu")))
    with closing(ReferenceStore.open(root, first.space)) as reference_store:
        encoding = LocalEncoding(first, limits, 1)
        [report] = index_folders(
            reference_store,
            encoding,
            find_categories(parts).categories,
            limits=limits,
            decoders=1,
            advance=lambda *_: None,
        )
    assert report.added == 4
    second = Meeting(load_encoder(EncoderSettings(resize=128, crop=96, device="cpu")))
    folder = DataFolder.existing(root, None)
    with closing(Catalogue.open(folder.database)) as catalogue:
        ReencodeJob(folder, catalogue, second, None).run(limits, 1, lambda _: None)
    assert first.threads == second.threads == {1}
