"""Reads and encodes batches of images on the Ray cluster that this process is connected to."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

import ray
import ray.data
from ray.exceptions import RayError, UserCodeException

from indexer.cores import Cores
from indexer.domain.errors import ClusterError, EncoderError
from indexer.encoders import Encoder, EncoderSettings, FeatureSpace, load_encoder

Batch = TypeVar("Batch")
Loaded = TypeVar("Loaded")
Encoded = TypeVar("Encoded")
T = TypeVar("T")


@dataclass(frozen=True)
class _Value(Generic[T]):
    """What a row holds: Ray keeps rows in Arrow, and in them any object that it does not know pickled."""

    value: T


class _Row(TypedDict, Generic[T]):
    row: _Value[T]


def encode_on_cluster(
    batches: Sequence[Batch],
    load: Callable[[Batch], Loaded],
    encode: Callable[[Encoder, Loaded], Encoded],
    settings: EncoderSettings,
    space: FeatureSpace,
) -> Iterator[Encoded]:
    """What `encode` makes of each batch, in order.

    CPUs load, actors encode: on a GPU each where the cluster has any, otherwise on a CPU each. Images and encoder are
    read on the nodes, by the paths that they have here. What a lost node or worker had in hand is repeated. load,
    encode: pickled with all that they hold. space: what an encoder with these settings has here. ClusterError when the
    cluster, a node's encoder or a function fails.
    """
    if not batches:
        return
    resources = ray.cluster_resources()
    gpus = 0 if settings.device == "cpu" else int(resources.get("GPU", 0))
    _keep_quiet()
    encoded = (
        ray.data.from_items([_Row(row=_Value(batch)) for batch in batches], override_num_blocks=len(batches))
        .map(_load, fn_args=(load,), num_cpus=1)
        .map(
            _Encoder,
            fn_constructor_args=(settings, space, encode),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or max(1, int(resources.get("CPU", 1)))),
            num_cpus=1,
            num_gpus=min(gpus, 1),
        )
    )
    try:
        for row in encoded.iter_rows():
            yield row["row"].value
    except RayError as error:
        raise ClusterError(f"the Ray cluster failed: {_reason(error)}") from error


def _reason(error: RayError) -> str:
    """The last line of what was raised on a node, without what Ray Data adds to it: how often it would try again."""
    *causes, last = str(error).split("The above exception was the direct cause of the following exception:")
    raised = causes[-1] if causes and UserCodeException.__name__ in last else last
    return raised.strip().rpartition("\n")[2]


def _keep_quiet() -> None:
    """Rows come in order; progress is reported by the command."""
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _load(row: _Row[Batch], load: Callable[[Batch], Loaded]) -> _Row[Loaded]:
    return {"row": _Value(load(row["row"].value))}


class _Encoder(Generic[Loaded, Encoded]):
    """An actor with an encoder of its own."""

    def __init__(
        self, settings: EncoderSettings, space: FeatureSpace, encode: Callable[[Encoder, Loaded], Encoded]
    ) -> None:
        encoder = load_encoder(settings)
        if encoder.space.fingerprint != space.fingerprint:
            raise EncoderError(
                f"node {socket.gethostname()} loads {encoder.space.encoder} ({encoder.space.fingerprint[:12]}), "
                f"not {space.encoder} ({space.fingerprint[:12]}): install the same release and weights there"
            )
        self._encoder, self._encode = Cores().encoding(encoder), encode

    def __call__(self, row: _Row[Loaded]) -> _Row[Encoded]:
        return {"row": _Value(self._encode(self._encoder, row["row"].value))}
