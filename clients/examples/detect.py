"""Add references and inspect a part from Python: `python detect.py CATEGORY GOOD_FOLDER PART.png`."""

import os
import sys
from pathlib import Path

from touchstone_client import IMAGE_SUFFIXES, Client, Timeouts, TouchstoneError

category, good, part = sys.argv[1:]
url = os.environ.get("TOUCHSTONE_URL", "http://127.0.0.1:8000")
try:
    with Client(url, api_key=os.environ.get("TOUCHSTONE_KEY"), timeouts=Timeouts(total=60)) as client:
        images = sorted(path for path in Path(good).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        onboarded = client.onboard(category, images)
        print(f"{onboarded.added} references added, {onboarded.duplicates} duplicates")
        detection = client.inspect(part, category=category)
        print(f"{detection.verdict}: score {detection.score:.4f}, threshold {detection.threshold}")
        for region in detection.regions:
            x, y, width, height = region.box
            print(f"  {width:.0f}×{height:.0f} pixels at ({x:.0f}, {y:.0f}), peak {region.peak:.4f}")
except TouchstoneError as error:
    print(f"detect.py: {error}", file=sys.stderr)
    sys.exit(2)
sys.exit(0 if detection.verdict == "normal" else 1)
