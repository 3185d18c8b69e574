"""The worker's promises: batches, priorities, bounds, deadlines, and a bad image that fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
import torch

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Features, InputGeometry, PreparedImage
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_steps
from indexer.search import PatchMatches, PatchQuery, SearchCoroutine, TorchEngine
from service.inference.worker import (
    DeadlineExceededError,
    InferenceWorker,
    JobContext,
    QueueFullError,
    WorkerStoppedError,
)
from service.observability.metrics import Metrics
from tests.helpers.random_features import feature_space, random_features

POISON = 255


class GatedEncoder:
    """Encodes an image as its own brightness, when the gate is open; chokes on any batch with a white image."""

    def __init__(self) -> None:
        self.space = feature_space()
        self.device = torch.device("cpu")
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def encode(self, batch: torch.Tensor) -> Features:
        self.entered.set()
        assert self.gate.wait(20)
        values = [int(image[0, 0, 0]) for image in batch]
        self.batches.append(values)
        if POISON in values:
            raise RuntimeError("cannot encode white")
        global_descriptors = torch.tensor(values, dtype=torch.float32)[:, None].repeat(1, self.space.global_dim)
        return Features(global_descriptors, torch.full((len(values), 2, 20, 16), 0.25), (4, 5))


def image(value: int) -> PreparedImage:
    placement = InputGeometry.whole(4, 4).placement((4, 4))
    return PreparedImage(torch.full((3, 4, 4), value, dtype=torch.uint8), None, placement)


def brightness(turn: JobContext) -> SearchCoroutine[int]:
    yield from ()
    return int(turn.features.global_descriptors[0, 0])


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
def worker(encoder: GatedEncoder) -> Iterator[InferenceWorker]:
    memory = MemoryBank.empty(encoder.space)
    running = InferenceWorker(
        encoder,
        TorchEngine(encoder.device),
        lambda: memory,
        Metrics(9),
        batch_size=4,
        max_batch_delay=0.02,
        queue_size=6,
        under_way=lambda: 4,
    )
    yield running
    encoder.gate.set()
    running.stop()


def held(worker: InferenceWorker, encoder: GatedEncoder) -> Future[int]:
    """Occupy the owner with one image until the gate opens."""
    [future] = worker.submit_detections([(image(0), brightness)], 60)
    assert encoder.entered.wait(5)
    return future


def detect(worker: InferenceWorker, *values: int, deadline: float = 60) -> list[Future[int]]:
    return worker.submit_detections([(image(value), brightness) for value in values], deadline)


def test_waiting_images_share_a_batch_and_each_gets_its_own_answer(
    worker: InferenceWorker, encoder: GatedEncoder
) -> None:
    first = held(worker, encoder)
    futures = detect(worker, 1, 2, 3) + detect(worker, 4, 5)
    encoder.gate.set()
    assert [future.result(20) for future in [first, *futures]] == [0, 1, 2, 3, 4, 5]
    assert encoder.batches == [[0], [1, 2, 3, 4], [5]]


def test_an_image_waits_for_others_only_while_they_are_on_their_way(encoder: GatedEncoder) -> None:
    under_way = 1
    worker = InferenceWorker(
        encoder,
        TorchEngine(encoder.device),
        lambda: MemoryBank.empty(encoder.space),
        Metrics(9),
        batch_size=4,
        max_batch_delay=60,
        queue_size=6,
        under_way=lambda: under_way,
    )
    encoder.gate.set()
    [alone] = detect(worker, 1)
    assert alone.result(20) == 1
    under_way = 3
    first, second = detect(worker, 2), detect(worker, 3)
    assert not encoder.batches[1:]
    third = detect(worker, 4)
    assert [future.result(20) for future in [*first, *second, *third]] == [2, 3, 4]
    assert encoder.batches == [[1], [2, 3, 4]]
    worker.stop()


def test_detections_go_before_onboarding_and_onboarding_before_calibration(
    worker: InferenceWorker, encoder: GatedEncoder
) -> None:
    first = held(worker, encoder)
    order: list[str] = []

    def detection(turn: JobContext) -> SearchCoroutine[None]:
        yield from ()
        order.append("detection")

    calibration = worker.submit_calibration(lambda memory: order.append("calibration"))
    onboarding = worker.submit_onboarding(image(7), lambda turn: order.append("onboarding"))
    [detected] = worker.submit_detections([(image(8), detection)], 60)
    encoder.gate.set()
    for future in (first, calibration, onboarding, detected):
        future.result(20)
    assert order == ["detection", "onboarding", "calibration"]
    assert [7] in encoder.batches
    assert [8] in encoder.batches


def test_detections_without_end_do_not_keep_onboarding_waiting_for_ever(
    worker: InferenceWorker, encoder: GatedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.worker._ONBOARDING_WAITS", 0.05)
    onboarded = threading.Event()

    def followed_by_another(turn: JobContext) -> SearchCoroutine[int]:
        if not onboarded.is_set():
            worker.submit_detections([(image(1), followed_by_another)], 60)
        return (yield from brightness(turn))

    encoder.gate.set()
    worker.submit_detections([(image(1), followed_by_another)], 60)  # from now on there is always one in the queue
    futures = [worker.submit_onboarding(image(value), lambda turn: None) for value in (7, 8)]
    steps = worker.submit_screening(lambda memory: memory.rows)
    try:
        for future in (*futures, steps):
            future.result(10)
    finally:
        onboarded.set()
    assert [1] in encoder.batches[encoder.batches.index([7]) : encoder.batches.index([8])], "one at a time"


def test_a_poisoned_image_fails_alone_and_the_worker_continues(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    first = held(worker, encoder)
    good, bad, other = detect(worker, 1, POISON, 3)
    encoder.gate.set()
    assert (first.result(20), good.result(20), other.result(20)) == (0, 1, 3)
    with pytest.raises(RuntimeError, match="cannot encode white"):
        bad.result(20)
    assert detect(worker, 9)[0].result(20) == 9


def test_a_failing_job_does_not_affect_others(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    encoder.gate.set()

    def fail(turn: JobContext) -> SearchCoroutine[int]:
        yield from ()
        raise KeyError("work")

    bad, good = worker.submit_detections([(image(1), fail), (image(2), brightness)], 60)
    with pytest.raises(KeyError):
        bad.result(20)
    assert good.result(20) == 2


def test_a_full_queue_refuses_a_request_whole_and_at_once(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    held(worker, encoder)
    detect(worker, 1, 2, 3, 4)
    with pytest.raises(QueueFullError) as refused:
        detect(worker, 5, 6, 7)
    assert refused.value.retry_after >= 1
    assert worker.waiting == 4
    assert len(detect(worker, 5, 6)) == 2


class _Meanwhile(list[Any]):
    """The images of a request, with something that another thread does once half of them have been looked at."""

    def __init__(self, items: Iterable[Any], other: Callable[[], object]) -> None:
        super().__init__(items)
        self.other = threading.Thread(target=other)

    def __iter__(self) -> Iterator[Any]:
        for index, item in enumerate(super().__iter__()):
            if index == len(self) // 2:
                self.other.start()
                self.other.join(0.5)
            yield item


def test_requests_at_once_share_the_queue_whole_or_not_at_all(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    held(worker, encoder)
    refused: list[Exception] = []

    def other() -> None:
        try:
            detect(worker, 1, 2)
        except QueueFullError as error:
            refused.append(error)

    request = _Meanwhile([(image(index), brightness) for index in range(6)], other)
    futures = worker.submit_detections(request, 60)
    request.other.join()
    assert (len(futures), worker.waiting) == (6, 6)
    encoder.gate.set()
    assert [future.result(20) for future in futures] == [*range(6)]
    assert len(refused) == 1


def test_a_stopping_worker_accepts_all_of_a_request_or_none(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    encoder.gate.set()
    futures = worker.submit_detections(_Meanwhile([(image(index), brightness) for index in range(6)], worker.stop), 60)
    assert [future.result(20) for future in futures] == [*range(6)]


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits(
    worker: InferenceWorker, encoder: GatedEncoder
) -> None:
    encoder.gate.set()
    assert [future.result(20) for future in detect(worker, *range(20))] == list(range(20))


def test_past_its_deadline_an_image_is_dropped_before_the_encoder(
    worker: InferenceWorker, encoder: GatedEncoder
) -> None:
    first = held(worker, encoder)
    [late] = detect(worker, 1, deadline=0.01)
    [fine] = detect(worker, 2)
    time.sleep(0.05)
    encoder.gate.set()
    with pytest.raises(DeadlineExceededError):
        late.result(20)
    assert (first.result(20), fine.result(20)) == (0, 2)
    assert encoder.batches == [[0], [2]]


def test_a_cancelled_image_is_not_encoded(worker: InferenceWorker, encoder: GatedEncoder) -> None:
    first = held(worker, encoder)
    [gone, fine] = detect(worker, 1, 2)
    assert gone.cancel()
    encoder.gate.set()
    assert (first.result(20), fine.result(20)) == (0, 2)
    with pytest.raises(CancelledError):
        gone.result(20)
    assert encoder.batches == [[0], [2]]


def test_stopping_finishes_what_was_accepted_and_takes_nothing_more(
    worker: InferenceWorker, encoder: GatedEncoder
) -> None:
    held(worker, encoder)
    futures = detect(worker, 1, 2)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    encoder.gate.set()
    stopper.join(5)
    assert [future.result(0) for future in futures] == [1, 2]
    with pytest.raises(WorkerStoppedError):
        detect(worker, 3)


class Counted(TorchEngine):
    """Takes up to four questions at once, and counts how many came together."""

    max_queries = 4

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.together: list[int] = []

    def search(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        self.together.append(len(questions))
        return super().search(memory, questions)


def test_the_images_of_a_batch_are_searched_for_together(encoder: GatedEncoder) -> None:
    features = random_features(encoder.space, 3, 1)
    empty = MemoryBank.empty(encoder.space)
    memory = empty.with_references([1, 2, 3], ["nut"] * 3, empty.codec.encode(features), 1)
    engine = Counted()
    worker = InferenceWorker(
        encoder,
        engine,
        lambda: memory,
        Metrics(9),
        batch_size=6,
        max_batch_delay=0.02,
        queue_size=9,
        under_way=lambda: 6,
    )

    def scored(turn: JobContext) -> SearchCoroutine[tuple[float, int]]:
        scoring = yield from score_steps(turn.memory, engine, turn.features, ScoringSettings())
        return scoring.score, turn.search_batch_size

    first = held(worker, encoder)
    futures = worker.submit_detections([(image(value), scored) for value in range(1, 7)], 60)
    encoder.gate.set()
    first.result(20)
    results = [future.result(20) for future in futures]
    assert len({score for score, _ in results}) == 1  # all have the same patches
    assert [together for _, together in results] == [4] * 4 + [2] * 2
    assert engine.together == [4, 2]
    worker.stop()


class MeetingEncoder(GatedEncoder):
    """Encodes dark images three batches at a time only."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.set()
        self._meeting = threading.Barrier(3, timeout=10)

    def encode(self, batch: torch.Tensor) -> Features:
        if int(batch.min()) < 10:
            self._meeting.wait()
        return super().encode(batch)


def test_several_threads_work_on_a_batch_each_and_none_ends_when_others_take_what_it_awaited() -> None:
    encoder = MeetingEncoder()
    worker = InferenceWorker(
        encoder,
        TorchEngine(encoder.device),
        lambda: MemoryBank.empty(encoder.space),
        Metrics(9),
        batch_size=2,
        max_batch_delay=0.02,
        queue_size=60,
        under_way=lambda: 60,
        threads=3,
    )
    for _ in range(2):
        together = detect(worker, 1, 2, 3, 4, 5, 6)
        assert [future.result(20) for future in together] == [1, 2, 3, 4, 5, 6]
        for value in range(10, 20):  # each is awaited by three threads, of which one gets it
            [alone] = detect(worker, value)
            assert alone.result(20) == value
    worker.stop()
