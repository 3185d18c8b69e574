"""`touchstone rebuild`: the same references in another feature space, all of them or none."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import create_engine

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.domain.errors import SchemaMismatch
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import preprocess
from indexer.imaging.decode import decode_image
from indexer.scoring.scoring import score_image
from indexer.search import TorchEngine
from tests.helpers import commands
from tests.helpers.commands import opened, small_encoder, started, touchstone
from tests.helpers.coreset_files import condense
from tests.helpers.part_folders import folder_of
from tests.helpers.part_images import part


def score(data: Path, crop: int, codec: str) -> float:
    """Of a scratched part against whatever the folder holds."""
    reference_store, encoder = opened(data, crop, codec), small_encoder(crop)
    image = preprocess(decode_image(part(500, scratched=True)), encoder.space.global_geometry)
    features = encoder.encode(image[None])
    scored = score_image(reference_store.memory, TorchEngine(torch.device("cpu")), features, ScoringSettings())
    reference_store.close()
    return scored.score


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    """A data folder of 12 references."""
    return commands.indexed(tmp_path / "data", folder_of(tmp_path / "parts", ".", disc=8, plate=4))


def test_a_rebuilt_memory_is_what_indexing_with_the_new_encoder_gives(indexed: Path, tmp_path: Path) -> None:
    done = touchstone("rebuild", data=indexed, CROP="96", CODEC="int8")
    assert done.exit_code == 0, done.stdout + done.stderr
    fresh = tmp_path / "fresh"
    assert touchstone("index", tmp_path / "parts", data=fresh, CROP="96", CODEC="int8").exit_code == 0
    assert score(indexed, 96, "int8") == pytest.approx(score(fresh, 96, "int8"), abs=1e-6)
    reference_store = opened(indexed, 96, "int8")
    assert len(reference_store.memory) == 12
    assert len(list((indexed / "segments").iterdir())) == 2, "one of each category, and none of the old memory"
    switched = reference_store.catalogue.audit.entries(action="memory.switched").items[0]
    assert switched.actor == f"command of user {os.getuid()}"
    reference_store.close()


def test_a_rebuild_to_another_memory_undoes_condensing(indexed: Path) -> None:
    reference_store = opened(indexed)
    condense(indexed, reference_store.catalogue, "disc")
    assert touchstone("rebuild", data=indexed, CROP="96").exit_code == 0
    assert reference_store.catalogue.coresets.of("disc") == ()
    assert list((indexed / "coresets").iterdir()) == []
    reference_store.close()


def test_removed_references_stay_removed_and_ids_stay_the_same(indexed: Path) -> None:
    reference_store = opened(indexed)
    gone, *stored = reference_store.memory.ids.tolist()
    reference_store.remove([gone])
    done = touchstone("rebuild", data=indexed, CROP="96")
    assert done.exit_code == 0
    assert "restart running services with it" in done.stdout
    reference_store.refresh()
    assert str(reference_store.published.superseded_by).startswith(
        "touchstone-filterbank (128 × 128 → 96 × 96 pixels, "
    )
    assert len(reference_store.memory) == 11
    reference_store.close()
    rebuilt = opened(indexed, 96)
    assert sorted(rebuilt.memory.ids.tolist()) == sorted(stored)
    rebuilt.close()


def test_a_killed_rebuild_leaves_the_old_memory_and_is_taken_up_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    parts = folder_of(tmp_path / "parts", ".", disc=96)
    assert touchstone("index", parts, data=data).exit_code == 0
    before, old_segments = score(data, 112, "fp16"), len(list((data / "segments").iterdir()))
    process = started("rebuild", "--codec", "int8", data=data)
    while process.poll() is None and len(list(data.glob("segments/*.segment"))) <= old_segments + 1:
        time.sleep(0.01)
    process.kill()
    assert process.wait() < 0, "the kill came too late to mean anything"
    assert score(data, 112, "fp16") == before
    done = touchstone("rebuild", "--codec", "int8", data=data)
    assert done.exit_code == 0, done.stderr
    assert "running services load it" in done.stdout
    assert "96/96" not in done.stdout, "what had been encoded was encoded again"
    reference_store = opened(data, codec="int8")
    assert len(reference_store.memory) == 96
    reference_store.close()


def test_images_that_cannot_be_read_stop_the_switch_unless_they_are_given_up(indexed: Path) -> None:
    reference_store = opened(indexed)
    victim = reference_store.catalogue.references.page().items[3]
    reference_store.close()
    [stored] = indexed.glob(f"originals/*/*/{victim.image_sha256}.png")
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    refused = touchstone("rebuild", data=indexed, CROP="96")
    assert refused.exit_code == 1
    assert f"reference {victim.id}," in refused.stdout
    assert np.isfinite(score(indexed, 112, "fp16"))
    assert touchstone("rebuild", "--drop-unreadable", data=indexed, CROP="96").exit_code == 0
    rebuilt = opened(indexed, 96)
    assert len(rebuilt.memory) == 11
    assert victim.id not in rebuilt.memory.ids
    rebuilt.close()


def test_what_needs_no_rebuild_is_said_in_one_line(indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    Catalogue.open(f"sqlite:///{tmp_path}/none/catalogue.sqlite").close()
    for data, says in ((indexed, "already"), (tmp_path / "none", "nothing to encode again")):
        done = touchstone("rebuild", data=data)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert says in done.stderr


def test_an_older_schema_is_refused_with_the_command_that_helps_and_migrated_by_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite:///{data / 'catalogue.sqlite'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    with pytest.raises(SchemaMismatch, match="touchstone migrate"):
        Catalogue.open(url)
    for _ in range(2):
        done = touchstone("migrate", data=data)
        assert done.exit_code == 0, done.stderr
    migrations.check(engine)
    Catalogue.open(url).close()


def spoilt_segment(data: Path) -> tuple[Path, list[int]]:
    """Damage the first segment; returns its file and the references in it."""
    reference_store = opened(data)
    first = reference_store.catalogue.segments.changes_since(0, reference_store.memory_id).added[0]
    reference_store.close()
    path = data / "segments" / first.segment.name
    path.write_bytes(path.read_bytes()[:-1])
    return path, [row.reference_id for row in first.rows]


def test_references_of_a_damaged_segment_are_encoded_again_from_their_images(indexed: Path) -> None:
    before, reference_store = score(indexed, 112, "fp16"), opened(indexed)
    ids = sorted(reference_store.memory.ids.tolist())
    reference_store.close()
    damaged, lost = spoilt_segment(indexed)
    others = {path: path.stat().st_mtime_ns for path in (indexed / "segments").iterdir() if path != damaged}
    running = opened(indexed)  # as a service that goes on with what is whole
    assert [damage.name for damage in running.corrupt_segments] == [damaged.name]
    done = touchstone("rebuild", "--damaged", data=indexed)
    assert done.exit_code == 0, done.output
    assert f"{len(lost)} references of 1 damaged segments were re-encoded" in done.stdout
    running.refresh()
    running.reload_damaged()
    assert running.corrupt_segments == ()
    assert sorted(running.memory.ids[running.memory.rows_of()].tolist()) == ids
    running.close()
    assert score(indexed, 112, "fp16") == pytest.approx(before, abs=1e-6)
    assert not damaged.exists()
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert touchstone("verify", data=indexed).exit_code == 0
    rebuilt = touchstone("rebuild", "--damaged", data=indexed)
    assert (rebuilt.exit_code, rebuilt.stdout) == (0, "No segment is damaged.\n")
    other = touchstone("rebuild", "--damaged", data=indexed, CROP="96")
    assert (other.exit_code, "give its own encoder" in other.stderr) == (2, True)


def test_a_lost_image_does_not_prevent_the_repair_of_its_segments_other_references(indexed: Path) -> None:
    damaged, lost = spoilt_segment(indexed)
    reference_store = opened(indexed)
    victim = reference_store.catalogue.references.get(lost[0])
    reference_store.close()
    [stored] = indexed.glob(f"originals/*/*/{victim.image_sha256}.png")
    stored.unlink()
    refused = touchstone("rebuild", "--damaged", data=indexed)
    assert refused.exit_code == 1
    assert f"unreadable: reference {victim.id}," in refused.stdout
    reference_store = opened(indexed)
    assert len(reference_store.memory) == 11
    assert [damage.name for damage in reference_store.corrupt_segments] == [damaged.name], (
        "one reference is still not served"
    )
    reference_store.close()
    done = touchstone("rebuild", "--damaged", "--drop-unreadable", data=indexed)
    assert done.exit_code == 0, done.output
    assert f"removed: reference {victim.id}," in done.stdout
    reference_store = opened(indexed)
    assert len(reference_store.memory) == 11
    assert reference_store.corrupt_segments == ()
    reference_store.close()
    assert not damaged.exists()


def test_a_damaged_segment_does_not_prevent_the_compaction_of_others(indexed: Path) -> None:
    damaged, _ = spoilt_segment(indexed)
    reference_store = opened(indexed)
    reference_store.remove([int(reference_store.memory.ids[0])])
    assert reference_store.compact() == 1
    assert damaged.exists()
    reference_store.close()
