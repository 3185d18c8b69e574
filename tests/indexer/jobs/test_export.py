"""What an exported folder contains, and how a data folder is made of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.coreset import CoresetTarget
from indexer.encoders import EncoderSettings
from indexer.jobs.export import export
from indexer.jobs.exported_folder import ExportError, Manifest, data_folder_of, verify
from tests.helpers.commands import small_encoder, touchstone
from tests.helpers.coreset_files import condense
from tests.helpers.part_folders import folder_of


def test_a_local_encoder_and_converted_networks_are_exported_and_served_in_place(tmp_path: Path) -> None:
    folder_of(tmp_path / "parts", ".", disc=2)
    data, target, encoder = tmp_path / "data", tmp_path / "box", tmp_path / "models" / "vit"
    assert touchstone("index", tmp_path / "parts", "--encoder", "filterbank", data=data).exit_code == 0
    for folder, name in ((encoder, "model.safetensors"), (data / "converted" / "ab-1", "network.onnx")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    settings = EncoderSettings(str(encoder), layers=(4, 7), dtype="int8", runtime="openvino")
    done: list[tuple[int, int]] = []
    export(DataFolder.existing(data), ["disc"], target, settings, small_encoder().space, lambda *at: done.append(at))
    assert done[-1][0] == done[-1][1]

    manifest = Manifest.read(target)
    assert (manifest.encoder.model, manifest.encoder.layers) == ("encoder/vit", (4, 7))
    assert (manifest.encoder.dtype, manifest.encoder.runtime) == ("int8", "openvino")
    weights = manifest.files["encoder/vit/model.safetensors"]
    assert weights.sha256 == hashlib.sha256(b"model.safetensors").hexdigest()
    verify(target, manifest)
    with data_folder_of(target) as served:
        assert (served / "converted/ab-1/network.onnx").read_bytes() == b"network.onnx"
        assert {path.name for path in (served / "segments").iterdir()} == {
            path.name for path in (target / "segments").iterdir()
        }
    assert not served.exists()
    verify(target, manifest)

    (target / "encoder/vit/model.safetensors").write_bytes(b"model.safetensorz")
    with pytest.raises(ExportError, match=r"model\.safetensors: damaged"):
        verify(target, manifest)


def test_an_export_has_the_coresets_of_its_categories_and_asks_for_none(tmp_path: Path) -> None:
    folder_of(tmp_path / "parts", ".", disc=2, ring=2)
    data, target = tmp_path / "data", tmp_path / "box"
    assert touchstone("index", tmp_path / "parts", "--encoder", "filterbank", data=data).exit_code == 0
    place = DataFolder.existing(data)
    original = Catalogue.of(place)
    disc, ring = (condense(data, original, category) for category in ("disc", "ring"))
    original.coresets.request("disc", CoresetTarget(bound=0.1))
    export(place, ["disc"], target, EncoderSettings("filterbank"), small_encoder().space, lambda *_: None)
    manifest = Manifest.read(target)
    assert [path for path in manifest.files if path.startswith("coresets/")] == [f"coresets/{disc.name}"]
    verify(target, manifest)
    with data_folder_of(target) as served:
        assert [path.name for path in (served / "coresets").iterdir()] == [disc.name]
        exported = Catalogue.open(DataFolder.existing(served).database)
        assert exported.coresets.of("disc") == original.coresets.of("disc")[:1]
        assert exported.coresets.of("ring") == exported.coresets.requested() == ()
        exported.close()
    assert ring.name in {path.name for path in (data / "coresets").iterdir()}
    original.close()
