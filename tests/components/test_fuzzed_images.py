"""Hostile images under limits of memory and time: refused in words or decoded, by the reader of
folders and by the graph that is served."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

BEGIN = """
import json, resource, sys, time, zlib
from pathlib import Path
import numpy as np
from fuzzed_images import fuzzed

def limit(megabytes):
    status = Path("/proc/self/status").read_text()
    now = int(status.split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), resource.RLIM_INFINITY))

taken, refused, slowest = 0, 0, 0.0
"""

END = """
    slowest = max(slowest, time.process_time() - begin)
print(json.dumps({"taken": taken, "refused": refused, "slowest": slowest}))
"""

FOLDER = """
from components.datasets.folder.content import Unusable, decode, look
import PIL.Image, PIL.ImageOps
PIL.Image.preinit(), PIL.Image.init()
path = Path(sys.argv[1])
limit(600)
for data in fuzzed(0, 1500):
    begin = time.process_time()
    path.write_bytes(data)
    try:
        found, picture = look(path), decode(data)
        assert found is not None
        # an orientation at the end of a PNG is known once it is decoded
        assert sorted(found.shape[:2]) == sorted(picture.pixels.shape[:2])
        assert picture.pixels.dtype == np.uint8 and picture.pixels.shape[2] == found.shape[2]
        taken += 1
    except Unusable as error:
        assert str(error).isprintable() and len(str(error)) < 400
        refused += 1
"""

GRAPH = """
import tensorflow as tf
from trainer.preprocessing import decode_images

def served(shape, resize):
    image = tf.TensorSpec([None], tf.string)
    return tf.function(lambda x: decode_images(x, shape, resize), input_signature=[image])

graphs = [((8, 8, 1), served((8, 8, 1), False)), ((5, 4, 3), served((5, 4, 3), True))]
good = tf.io.encode_png(np.zeros((8, 8, 1), np.uint8)).numpy()
for _, graph in graphs:
    graph(tf.constant([good]))
limit(1500)
for data in [*fuzzed(1, 600, only_png=True), *fuzzed(2, 100)]:
    begin = time.process_time()
    for shape, graph in graphs:
        try:
            pixels = graph(tf.constant([good, data])).numpy()
        except tf.errors.InvalidArgumentError as error:
            words = "got ", "Invalid PNG"
            assert any(word in error.message for word in words), error.message
            refused += 1
            continue
        assert pixels.shape == (2, *shape) and 0 <= pixels.min() <= pixels.max() <= 1
        taken += 1
"""


def run(code: str, *arguments: str) -> dict[str, Any]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code + END, *arguments],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", [FOLDER, GRAPH], ids=["folder", "served"])
def test_hostile_images_are_refused_in_words_or_decoded(code: str, tmp_path: Any) -> None:
    found = run(code, str(tmp_path / "image.png"))
    assert found["taken"] >= 20
    assert found["refused"] >= 500
    assert found["slowest"] < 20, "seconds of one image"
