"""Small data sets laid out as they are published."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from indexer.imaging.encode import encode_png
from tests.helpers.part_images import part

SIZE = (144, 160)  # rows, columns of `part`


def mask_png(level: int = 255) -> bytes:
    """A mask over the middle of a part, where it is scratched."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.rectangle(mask, (60, 60), (115, 103), level, -1)
    return encode_png(mask)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def mvtec(root: Path, categories: tuple[str, ...] = ("disc", "plate"), references: int = 6, tests: int = 3) -> Path:
    """`<category>/train/good`, `test/good`, `test/scratch`, `ground_truth/scratch/<name>_mask.png`."""
    for kind, name in enumerate(categories):
        for index in range(references):
            put(root / name / "train/good" / f"{index:03}.png", part(index, kind=kind))
        for index in range(tests):
            put(root / name / "test/good" / f"{index:03}.png", part(100 + index, kind=kind))
            put(root / name / "test/scratch" / f"{index:03}.png", part(200 + index, scratched=True, kind=kind))
            put(root / name / "ground_truth/scratch" / f"{index:03}_mask.png", mask_png())
    return root


def visa(root: Path, categories: tuple[str, ...] = ("candle", "pcb1")) -> Path:
    """As downloaded: `split_csv/1cls.csv`, images `.JPG`, masks with numbers of defect types."""
    rows = []
    for kind, name in enumerate(categories):
        for index in range(4):
            image = f"{name}/Data/Images/Normal/{index:04}.JPG"
            put(root / image, part(index, kind=kind))
            rows.append([name, "train" if index < 3 else "test", "normal", image, ""])
        image, mask = f"{name}/Data/Images/Anomaly/000.JPG", f"{name}/Data/Masks/Anomaly/000.png"
        put(root / image, part(50, scratched=True, kind=kind))
        put(root / mask, mask_png(level=2))
        rows.append([name, "test", "anomaly", image, mask])
    (root / "split_csv").mkdir(parents=True)
    with (root / "split_csv/1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])
    return root


def visa_converted(root: Path) -> Path:
    """As its own script leaves it: `1cls/<object>/test/bad` with masks of the same name."""
    for kind, name in enumerate(("candle", "pcb1")):
        put(root / "1cls" / name / "train/good/0000.JPG", part(0, kind=kind))
        put(root / "1cls" / name / "test/good/0001.JPG", part(1, kind=kind))
        put(root / "1cls" / name / "test/bad/000.JPG", part(2, scratched=True, kind=kind))
        put(root / "1cls" / name / "ground_truth/bad/000.png", mask_png())
    return root


def real_iad(root: Path, size: int = 1024, category: str = "audiojack") -> Path:
    """`realiad_<size>/<category>/{OK,NG}` and `realiad_jsons/realiad_jsons/<category>.json`."""

    def row(image: str, kind: str, mask: str | None) -> dict[str, str | None]:
        return {"category": category, "anomaly_class": kind, "image_path": image, "mask_path": mask}

    good = [f"OK/S000{index}/{category}_000{index}_OK_C1_20231021124209.jpg" for index in range(4)]
    bad = f"NG/BX/S0009/{category}_0009_NG_BX_C1_20231023.jpg"
    mask = bad.replace(".jpg", ".png")
    for index, name in enumerate(good):
        put(root / f"realiad_{size}" / category / name, part(index))
    put(root / f"realiad_{size}" / category / bad, part(9, scratched=True))
    put(root / f"realiad_{size}" / category / mask, mask_png())
    described = {
        "meta": {"prefix": f"{category}/", "normal_class": "OK", "pre_transform": "None"},
        "train": [row(name, "OK", None) for name in good[:3]],
        "test": [row(good[3], "OK", None), row(bad, "BX", mask)],
    }
    put(root / "realiad_jsons/realiad_jsons" / f"{category}.json", json.dumps(described).encode())
    return root


def adam(root: Path, category: str = "1m1") -> Path:
    """As published: `train/good/{rgb,xyz}`, `validation/good/rgb`, `test/<kind>/{rgb,xyz,ground_truth}`."""
    for index in range(3):
        put(root / category / "train/good/rgb" / f"{index:03}_C.png", part(index))
        put(root / category / "train/good/xyz" / f"{index:03}_C.tiff", b"points")
    put(root / category / "validation/good/rgb/007_C.png", part(7))
    put(root / category / "test/scratches/rgb/008_C.png", part(8, scratched=True))
    put(root / category / "test/scratches/xyz/008_C.tiff", b"points")
    put(root / category / "test/scratches/ground_truth/008_C.png", mask_png())
    return root
