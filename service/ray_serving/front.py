"""The encoder and the engine of a front, which have the deployments of a Ray cluster do the work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.cluster import connected
from indexer.domain.errors import ClusterError, ReferencesMoved
from indexer.domain.snapshot import Shard
from indexer.encoders import EncoderSettings, Features
from indexer.encoders.base import join_features
from indexer.jobs.encoder_of_memory import encoder_of_memory
from indexer.memory import MemoryBank
from indexer.memory.device_cache import CodeSource, HostCodes
from indexer.references.reference_shard import Coding, ShardQuery
from indexer.search import BestMatch, PatchMatches, PatchQuery, choose_engine
from indexer.search.engine import similarities_by_search
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.shards import merge_matches
from service.inference.backend import Backend
from service.ray_serving import applications
from service.ray_serving.replicas import EncodedWindow, EncoderFacts, MemoryFacts, model_id_of, shown
from service.settings import Settings

log = logging.getLogger("touchstone")

_PATIENCE_SECONDS = 30.0  # for an answer: a replica on another node starts within these
_RETRY_SECONDS = 0.1

Submit = Callable[[], Any]  # sends a request to a deployment
F = TypeVar("F", EncoderFacts, MemoryFacts)


@contextmanager
def ray_backend(settings: Settings, address: str) -> Iterator[Backend]:
    """The backend of a service on a cluster; deploys what is not deployed. The deployments stay, for other fronts.

    address: see `connected`. ClusterError, one line; what opening the catalogue raises, which replicas could not say.
    """
    Catalogue.of(DataFolder.created(settings.data, settings.database_url)).close()
    chosen = encoder_of_memory(settings)
    with connected(address):
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            serve.start(proxy_location="Disabled")
            _check_size(1 + settings.ray_min_memories)
            engine = RayPatchSearch(_memories(settings), settings.ray_shard_bytes, settings.batch_size)
            encoder = RayEncoder(_encoders(settings, chosen))
        except (RayError, RayServeException, RuntimeError) as error:
            raise ClusterError(f"the Ray cluster serves nothing: {_last_line(error)}") from error
        yield Backend(encoder, engine, settings.ray_max_encoders)


class RayEncoder:
    """Encodes each window of a batch on one of the replicas. Satisfies `Encoder`; features come to the CPU."""

    def __init__(self, deployed: tuple[Any, EncoderFacts]) -> None:
        self._handle, facts = deployed
        self.space, self.max_pass_cells = facts.space, facts.max_pass_cells
        self.device = torch.device("cpu")

    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`. ClusterError when no replica answers."""
        requests = [_request(self._handle.encode, window) for window in batch.cpu().numpy()]
        return join_features([_features(encoded) for encoded in _results(requests)])


class RayPatchSearch(GlobalRetrieval):
    """Retrieves references here and has patches searched where their codes are. Satisfies `PatchSearchEngine`.

    The codes of a category that takes more than `shard_bytes` are divided among 2, 4, 8 … shards, each of which is
    asked about those of the K retrieved references that it holds. What a replica does not hold as this process's
    snapshot has it, while both follow a change, is searched here, in mapped segments.
    """

    def __init__(self, deployed: tuple[Any, MemoryFacts], shard_bytes: int, max_queries: int) -> None:
        super().__init__(torch.device("cpu"))
        self._handle, facts = deployed
        self._shard_bytes = shard_bytes
        self._here = choose_engine(torch.device("cpu"))
        self.name, self.max_queries = facts.engine, max_queries
        self.codes: CodeSource = HostCodes()

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        return similarities_by_search(self, memory, queries, rows, rho)

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`. ClusterError when no replica answers."""
        parts = [self._parts(memory, query) for query in queries]
        try:
            results = iter(_results([request for of_query in parts for request, _ in of_query]))
            return [
                merge_matches([_with_rows(next(results), rows) for _, rows in of_query], query.weights)
                for of_query, query in zip(parts, queries, strict=True)
            ]
        except ReferencesMoved:
            return self._here.search(memory, queries)

    def _parts(self, memory: MemoryBank, query: PatchQuery) -> list[tuple[Submit, NDArray[np.int64]]]:
        """The requests of one query, one for each shard that holds any of its rows, with these rows."""
        parts = []
        patches = query.patches.detach().to("cpu", torch.float32).numpy()
        numbers = memory.category_numbers[query.rows]
        for number in np.unique(numbers):
            category = memory.category_names[int(number)]
            rows, count = query.rows[numbers == number], self._shard_count(memory, category, query.rows)
            coding, ids = Coding.of(memory, category), memory.ids[rows]
            for shard in np.unique(ids % count):
                inside = ids % count == shard
                shard_query = ShardQuery(coding, patches, ids[inside], query.rho, query.weights)
                handle = self._handle.options(multiplexed_model_id=model_id_of(Shard(category, int(shard), count)))
                parts.append((_request(handle.search, shard_query), rows[inside]))
        return parts

    def _shard_count(self, memory: MemoryBank, category: str, rows: NDArray[np.int64]) -> int:
        """A power of two, so that a category that grows is loaded anew seldom."""
        size = memory.searchable_rows(category) * int(np.prod(memory.table_of(rows).arena.shape))
        return 1 << max(0, -(-size // self._shard_bytes) - 1).bit_length()


def _encoders(settings: Settings, chosen: EncoderSettings) -> tuple[Any, EncoderFacts]:
    handle = _deployed(applications.ENCODER, lambda: applications.encoder_application(settings, chosen))
    [facts] = _results([_request(handle.facts)])
    if facts.settings != chosen:
        there, here = vars(facts.settings), vars(chosen)
        others = ", ".join(f"{name} {there[name]}, not {here[name]}" for name in here if here[name] != there[name])
        raise ClusterError(_otherwise(f"encodes otherwise ({others})"))
    return handle, _of_this_release(facts)


def _memories(settings: Settings) -> tuple[Any, MemoryFacts]:
    handle = _deployed(applications.MEMORY, lambda: applications.memory_application(settings))
    [facts] = _results([_request(handle.facts)])
    if facts.shown != (here := shown(applications.source_of(settings).open())):
        raise ClusterError(_otherwise(f"serves {facts.shown}, not {here}"))
    return handle, _of_this_release(facts)


def _check_size(replicas: int) -> None:
    """ClusterError where so many replicas never start: Serve would wait for them without a word."""
    if not serve.status().applications and (cpus := int(ray.cluster_resources().get("CPU", 0))) < replicas:
        raise ClusterError(f"the Ray cluster has {cpus} CPUs, and serving takes {replicas}: add nodes")


def _deployed(name: str, application: Callable[[], Any]) -> Any:
    """The handle of an application, deployed by whoever came first: another front, KubeRay, or now this one."""
    present = serve.status().applications.get(name)
    if present is None or present.status == "DEPLOY_FAILED":
        try:
            serve.run(application(), name=name, route_prefix=None)
        except RuntimeError as error:
            raise ClusterError(
                f"the Ray cluster serves nothing: {_start_failure(name) or _last_line(error)}"
            ) from error
    return serve.get_app_handle(name)


def _start_failure(name: str) -> str:
    """Why the replicas of an application did not start, which Serve says of the deployment only; empty if unknown."""
    application = serve.status().applications.get(name)
    deployments = () if application is None else application.deployments.values()
    return next((line for of_one in deployments if (line := of_one.message.strip().rpartition("\n")[2])), "")


def _of_this_release(facts: F) -> F:
    if facts.release != (here := version("touchstone")):
        raise ClusterError(_otherwise(f"runs release {facts.release}, not {here}"))
    return facts


def _otherwise(how: str) -> str:
    return f"the Ray cluster {how}: end that with `serve shutdown` on one of its nodes, or use another cluster"


def _request(method: Any, *arguments: object) -> Submit:
    return lambda: method.remote(*arguments)


def _results(requests: Sequence[Submit]) -> list[Any]:
    """What deployments answer to requests that are sent at once; one whose replica is lost meanwhile is sent again."""
    end = time.monotonic() + _PATIENCE_SECONDS
    responses = [request() for request in requests]
    return [_result(request, response, end) for request, response in zip(requests, responses, strict=True)]


def _result(request: Submit, response: Any, end: float) -> Any:
    """Raises what the deployment's code did; ClusterError when there is no answer until `end` (monotonic seconds)."""
    while True:
        try:
            return response.result(timeout_s=max(0.0, end - time.monotonic()))
        except RayTaskError as error:
            raise error.cause from None
        except (GetTimeoutError, TimeoutError) as error:
            raise ClusterError("the Ray cluster does not answer") from error
        except (RayError, RayServeException) as error:
            if time.monotonic() >= end:
                raise ClusterError(f"the Ray cluster failed: {_last_line(error)}") from error
            log.warning("a request to the Ray cluster is sent again: %s", _last_line(error))
            time.sleep(_RETRY_SECONDS)
            response = request()


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]


def _features(encoded: EncodedWindow) -> Features:
    descriptor, patches, grid = encoded
    return Features(_tensor(descriptor)[None], _tensor(patches)[None], grid)


def _tensor(values: NDArray[np.float32]) -> torch.Tensor:
    """A copy: what Ray hands out is read-only, and lies in its object store."""
    return torch.from_numpy(values.copy())


def _with_rows(matches: PatchMatches, rows: NDArray[np.int64]) -> PatchMatches:
    """Matches whose rows were positions among the requested ones."""
    if matches.best_match is None:
        return matches
    return replace(matches, best_match=BestMatch(rows[matches.best_match.rows], matches.best_match.cells))
