"""Pillow's side of quality.ts: `sources <folder> <photographs>` and `compare <sources> <ours>` (JSON on standard output)."""
import io
import json
import os
import sys

import numpy
import skimage
from PIL import Image
from skimage.metrics import structural_similarity

OWN = ["hubble_deep_field", "retina"]


def sources(folder, photographs):
    data = os.path.join(os.path.dirname(skimage.__file__), "data")
    own = [os.path.join(data, name) for name in os.listdir(data) if os.path.splitext(name)[0] in OWN]
    for path in [*photographs, *own]:
        image = Image.open(path).convert("RGB")
        if max(image.size) <= 800:
            continue
        name = os.path.splitext(os.path.basename(path))[0]
        image.save(os.path.join(folder, name + ".jpg"), quality=95, subsampling=0)


def ssim(a, b):
    colours = {"channel_axis": 2} if a.mode == "RGB" else {}
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    value = structural_similarity(numpy.asarray(a), numpy.asarray(b), data_range=255, **window, **colours)
    return round(float(value), 4)


def compare(folder, ours):
    rows = []
    for name in sorted(os.listdir(os.path.join(ours, "full"))):
        made = Image.open(os.path.join(ours, "full", name)).convert("RGB")
        fine = Image.open(os.path.join(ours, "fine", name)).convert("L")
        reduced = Image.open(os.path.join(folder, name)).convert("RGB").resize(made.size, Image.Resampling.LANCZOS)
        packed = io.BytesIO()
        reduced.save(packed, "JPEG", quality=85)
        rows.append(
            {
                "photograph": name,
                "ours": ssim(reduced, made),
                "pillow_jpeg": ssim(reduced, Image.open(packed)),
                "kernel": ssim(reduced.convert("L"), fine),
            }
        )
    print(json.dumps(rows))


if sys.argv[1] == "sources":
    sources(sys.argv[2], sys.argv[3:])
else:
    compare(sys.argv[2], sys.argv[3])
