"""`python -m indexer.benchmarks.anomalib FOLDER`: a detection's time and memory beside anomalib's PatchCore."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Protocol

import cv2
import numpy as np
import torch
import typer
from safetensors.torch import save_file

from indexer.benchmarks.cpu.clock import Timings, time_interleaved
from indexer.benchmarks.machine import describe, resident_bytes
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder, preprocess
from indexer.encoders.base import Features, RuntimeName, join_features
from indexer.imaging.decode import decode_image
from indexer.memory import EncodedReferences, MemoryBank
from indexer.memory.codec import CodecName
from indexer.progress import Progress, progress
from indexer.scoring.scoring import score_image
from indexer.search import choose_engine

_CODEC: CodecName = "fp16"
_VIT, _BLOCKS = "vit_small_patch14_dinov2", (6, 12)  # timm's name, and the 1-based blocks that both take
_RESNET, _RESNET_LAYERS, _RESNET_SIDE = "wide_resnet50_2", ("layer2", "layer3"), 256  # anomalib's defaults
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RUNTIMES: Mapping[str, RuntimeName] = {"torch": "torch", "OpenVINO": "openvino"}
_KEPT = 10  # of so many patches one is kept, as by default
_WARM_UP = 3  # images, before resident memory is read

Work = Callable[[], object]


@dataclass(frozen=True)
class Inspector:
    """A model that is ready to inspect one image.

    inspect: from the image file to map and score. encode, search: either part alone, the first from prepared pixels to
    features, the second from features to map and score; None where both are one graph. index_bytes: of what the image
    is compared with.
    """

    inspect: Work
    encode: Work | None
    search: Work | None
    index_bytes: int


class Stored(Protocol):
    """A model that was fitted and stored."""

    def load(self, image: Path) -> Inspector:
        """Make it ready to inspect this image file."""
        ...


@dataclass(frozen=True)
class StoredTouchstone:
    """An encoder and the file of its references' codes."""

    settings: EncoderSettings
    references: Path

    def load(self, image: Path) -> Inspector:
        """See `Stored.load`."""
        encoder = load_encoder(self.settings)
        stored = np.load(self.references)
        codes, descriptors = stored["codes"], stored["descriptors"]
        count, space = len(codes), encoder.space
        encoded = EncodedReferences(descriptors, codes, _CODEC, space.global_grid)
        memory = MemoryBank.empty(space, _CODEC).with_references(range(count), ["part"] * count, encoded, 1)
        engine, scoring = choose_engine(encoder.device), ScoringSettings()

        def prepared() -> torch.Tensor:
            return preprocess(decode_image(image.read_bytes()), space.global_geometry)[None]

        def search(features: Features) -> object:
            return score_image(memory, engine, features, scoring)

        window = prepared()
        return Inspector(
            lambda: search(encoder.encode(prepared())),
            partial(encoder.encode, window),
            partial(search, encoder.encode(window)),
            memory.code_bytes,
        )


def store_references(settings: EncoderSettings, paths: list[Path], file: Path) -> None:
    """Encode the references, and write their codes."""
    encoder = load_encoder(settings)
    features = join_features(
        [encoder.encode(preprocess(decode_image(path), encoder.space.global_geometry)[None]) for path in paths]
    )
    codes = MemoryBank.empty(encoder.space, _CODEC).codec.encode(features).codes
    np.savez(file, codes=codes, descriptors=features.global_descriptors.numpy())


@dataclass(frozen=True)
class StoredPatchcore:
    """A PatchCore as anomalib exports it, to torch (`.pt`) or OpenVINO (`.xml`), and run by anomalib's own inferencers.

    OpenVINO computes in float32, as torch, and with as many threads; left to itself it chooses bfloat16 where it can.
    """

    file: Path
    side: int
    index_bytes: int

    def load(self, image: Path) -> Inspector:
        """See `Stored.load`."""
        from anomalib.data.utils import read_image
        from anomalib.deploy import OpenVINOInferencer, TorchInferencer

        if self.file.suffix == ".xml":
            config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
            with chdir(self.file.parent):  # it leaves a cache where it is
                graph = OpenVINOInferencer(self.file, "CPU", config)
            size = (self.side, self.side)  # its graph takes no other
            return Inspector(
                lambda: graph.predict(
                    cv2.resize(read_image(image, as_tensor=False), size, interpolation=cv2.INTER_AREA)
                ),
                None,
                None,
                self.index_bytes,
            )
        os.environ["TRUST_REMOTE_CODE"] = "1"  # of the file that this program wrote
        inferencer = TorchInferencer(self.file, "cpu")
        core = inferencer.model.model
        pixels = inferencer.model.pre_processor(read_image(image, as_tensor=True)[None])

        @torch.inference_mode()
        def encode() -> tuple[torch.Tensor, tuple[int, int]]:
            layers = {name: core.feature_pooler(values) for name, values in core.feature_extractor(pixels).items()}
            embedding = core.generate_embedding(layers)
            return core.reshape_embedding(embedding), embedding.shape[2:]

        embedding, grid = encode()

        @torch.inference_mode()
        def search() -> object:
            scores, locations = core.nearest_neighbors(embedding, n_neighbors=1)
            score = core.compute_anomaly_score(scores[None], locations[None], embedding)
            return score, core.anomaly_map_generator(scores.reshape(1, 1, *grid), pixels.shape[2:])

        return Inspector(torch.inference_mode()(lambda: inferencer.predict(image)), encode, search, self.index_bytes)


@torch.inference_mode()
def store_patchcore(
    backbone: str, layers: tuple[str, ...], side: int, paths: list[Path], folder: Path
) -> tuple[StoredPatchcore, StoredPatchcore, torch.nn.Module]:
    """Fit a PatchCore of random weights, and export it to torch and to OpenVINO; also returns its network.

    Its index has as many patches as anomalib's own selection leaves, which takes minutes and tells only which.
    """
    from anomalib.data.utils import read_image
    from anomalib.models import Patchcore

    model = Patchcore(
        backbone,
        layers,
        pre_trained=False,
        pre_processor=Patchcore.configure_pre_processor((side, side)),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    model.train()
    images = [read_image(path, as_tensor=True)[None] for path in paths]
    for image in images:
        model.model(model.pre_processor(image))
    model.model.memory_bank = index = torch.vstack(model.model.embedding_store)[::_KEPT].clone()
    model.model.embedding_store.clear()
    model.eval()
    size = index.numel() * index.element_size()
    one_image: dict[str, object] = {"dynamic_axes": {}}  # else it is exported for two
    exported = model.to_torch(folder), model.to_openvino(folder, input_size=(side, side), onnx_kwargs=one_image)
    in_torch, in_openvino = (StoredPatchcore(file.absolute(), side, size) for file in exported)
    return in_torch, in_openvino, model.model.feature_extractor.feature_extractor


def _store_network(network: torch.nn.Module, folder: Path) -> None:
    """Write a network of timm's as timm publishes them, to be loaded as an encoder."""
    folder.mkdir()
    facts = {"architecture": _VIT, "pretrained_cfg": {"mean": _MEAN, "std": _STD}}
    (folder / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    save_file(
        {name: values.contiguous() for name, values in network.state_dict().items()}, folder / "model.safetensors"
    )


@dataclass(frozen=True)
class _Row:
    """One line of the table. beside: the row of ours whose time its own is given in."""

    network: str
    program: str
    stored: Stored
    beside: str | None

    @property
    def name(self) -> str:
        return f"{self.network}, {self.program}"


def _rows(paths: list[Path], folder: Path, crop: int) -> list[_Row]:
    """Fit and store everything in a folder."""
    _say("anomalib: fitting and exporting the ResNet")
    resnet, resnet_openvino, _ = store_patchcore(_RESNET, _RESNET_LAYERS, _RESNET_SIDE, paths, folder / "resnet")
    _say("anomalib: fitting and exporting the ViT")
    vit, vit_openvino, network = store_patchcore(
        _VIT, tuple(f"blocks.{block - 1}" for block in _BLOCKS), crop, paths, folder / "vit"
    )
    _store_network(network, folder / "network")
    rows = []
    base = EncoderSettings(resize=crop, crop=crop, device="cpu", converted=folder / "converted")
    encoders = {
        f"built-in, {crop} px": base,
        f"ViT-S/14, {crop} px": replace(base, model=str(folder / "network"), layers=_BLOCKS),
    }
    for number, (name, settings) in enumerate(encoders.items()):
        _say(f"Touchstone: {name}")
        references = folder / f"{number}.npz"
        store_references(settings, paths, references)
        for label, runtime in _RUNTIMES.items():
            stored = StoredTouchstone(replace(settings, runtime=runtime), references)
            rows.append(_Row(name, f"Touchstone, {label}", stored, None))
    builtin, same = encoders
    for name, ours, fitted in (
        (same, same, {"torch": vit, "OpenVINO": vit_openvino}),
        (f"Wide ResNet-50, {_RESNET_SIDE} px", builtin, {"torch": resnet, "OpenVINO": resnet_openvino}),
    ):
        rows += [
            _Row(name, f"anomalib, {label}", stored, f"{ours}, Touchstone, {label}") for label, stored in fitted.items()
        ]
    return rows


def _resident(stored: Stored, image: Path, threads: int) -> int | None:
    """Bytes of a process that has loaded it, in which nothing else happened, after a few images."""
    torch.set_num_threads(threads)
    inspector = stored.load(image)
    for _ in range(_WARM_UP):
        inspector.inspect()
    return resident_bytes()


def _line(row: _Row, inspector: Inspector, timings: Timings, resident: int | None) -> str:
    def least(part: str) -> str:
        seconds = timings.seconds.get(f"{row.name}: {part}")
        return "" if seconds is None else f"{1e3 * min(seconds):.0f}"

    ratio = "" if row.beside is None else f"{timings.ratio(f'{row.name}: inspect', f'{row.beside}: inspect'):.2f} ×"
    megabytes = "" if resident is None else f"{resident / 1e6:.0f}"
    cells = (row.network, row.program, least("encode"), least("search"), least("inspect"), ratio)
    return f"| {' | '.join(cells)} | {inspector.index_bytes / 1e6:.1f} | {megabytes} |"


def main(
    folder: Annotated[Path, typer.Argument(help="train/good and test, as a category of MVTec-AD's.", exists=True)],
    references: Annotated[int, typer.Option(min=2, help="Images of train/good that are compared with.")] = 50,
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected, a multiple of 112.")] = 448,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which everything runs once.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Of the CPU.")] = 2,
    processor_time: Annotated[
        bool, typer.Option("--processor-time", help="Of all threads, in place of elapsed time; with --threads 1.")
    ] = False,
) -> None:
    """Print a Markdown table: milliseconds, the least of the rounds, and the median of the rounds' own ratios.

    Both programs inspect the same image file against the same references, in one process. ViT-S/14: the same network
    with the same random weights and blocks. What either ships with differs: here the built-in encoder, there a Wide
    ResNet-50 at 256 pixels, of random weights too, since only time and memory are measured.
    """
    try:
        import anomalib.models  # noqa: F401
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        typer.echo(
            f"anomalib cannot be imported ({reason}): pip install 'anomalib[openvino]==2.7.0', with the torchvision "
            "that was made for this torch",
            err=True,
        )
        raise typer.Exit(2) from error
    torch.set_num_threads(threads)
    paths = [path.absolute() for path in sorted((folder / "train" / "good").iterdir())[:references]]
    image = min(path for path in (folder / "test").rglob("*") if path.is_file()).absolute()
    with TemporaryDirectory() as temporary:
        with redirect_stdout(sys.stderr):  # the exporter's messages
            rows = _rows(paths, Path(temporary), crop)
        resident: list[int | None] = []
        for row in rows:
            _say(f"resident memory: {row.name}")
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                resident.append(process.submit(_resident, row.stored, image, threads).result())
        inspectors = {row.name: row.stored.load(image) for row in rows}
        with progress() as shown:
            timings = _time(inspectors, rounds, time.process_time if processor_time else time.perf_counter, shown)
    print(f"{describe()}; anomalib {version('anomalib')}, timm {version('timm')}, OpenVINO {version('openvino')}; ")
    measured = "processor" if processor_time else "elapsed"
    print(f"{measured} time, {threads} threads, {rounds} rounds, {len(paths)} references\n")
    print("| network | program | encode, ms | search, ms | in all, ms | beside Touchstone | index, MB | resident, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for row, taken in zip(rows, resident, strict=True):
        print(_line(row, inspectors[row.name], timings, taken))


def _time(inspectors: Mapping[str, Inspector], rounds: int, clock: Callable[[], float], shown: Progress) -> Timings:
    subjects = {
        f"{name}: {part}": work
        for name, inspector in inspectors.items()
        for part, work in (("inspect", inspector.inspect), ("encode", inspector.encode), ("search", inspector.search))
        if work is not None
    }
    task = shown.task("inspecting", total=len(subjects) * (rounds + 1))
    return time_interleaved(subjects, rounds, lambda _: task.advance(), clock)


def _say(what: str) -> None:
    """Say what is being done; not as `progress` does: anomalib draws bars of its own."""
    typer.echo(what, err=True)


if __name__ == "__main__":
    typer.run(main)
