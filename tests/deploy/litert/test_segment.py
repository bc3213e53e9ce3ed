"""segment.py as a user of a device runs it: pictures and networks in, files and exit codes out."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kzoo.export.metadata import embed_sidecar
from tests.deploy.litert.conftest import SCRIPTS
from tests.deploy.litert.tiny_networks import HEIGHT, WIDTH, agree_where_clear, sidecar, statement


def mask_of(path) -> np.ndarray:
    with Image.open(path) as mask:
        assert mask.mode == "P"
        return np.asarray(mask)


def test_a_picture_of_the_networks_size(on_device, artefact, small, tmp_path) -> None:
    Image.fromarray(small).save(tmp_path / "cat.png")
    done = on_device("segment.py", artefact("float32"), "cat.png", "-o", "out", "--threads", 2)
    assert done.returncode == 0, done.stderr
    mask = mask_of(tmp_path / "out" / "cat_mask.png")
    assert agree_where_clear(mask, statement(small))
    assert len(np.unique(mask)) > 2
    overlay = np.asarray(Image.open(tmp_path / "out" / "cat_overlay.png"))
    colors = np.array(sidecar("float32")["palette"])[mask]
    expected = np.where((mask == 0)[..., np.newaxis], small, 0.4 * small + 0.6 * colors)
    assert np.abs(overlay - expected).max() <= 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat_mask.png", "cat_overlay.png"]
    name, share = done.stdout.split(": ")[1].split("%")[0].rsplit(" ", 1)
    assert float(share) == pytest.approx(100 * (mask == sidecar("float32")["classes"].index(name)).mean(), abs=0.06)
    for step in ("resize", "copy", "invoke", "post-process"):
        assert f"{step} " in done.stdout.split(" | ")[1]


@pytest.mark.parametrize("name", ["float32", "classes", "uint8"])
def test_a_larger_picture_gets_a_mask_of_its_size(scripts, artefact, chelsea, tmp_path, capsys, name) -> None:
    """Whatever the tensors: the picture is shrunk, logits are enlarged before the best is taken, classes after."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(chelsea).save(pictures / "a.png")
    Image.fromarray(chelsea[:, ::-1]).save(pictures / "b.PNG")
    (pictures / "notes.txt").write_text("no picture")
    assert scripts.segment.main([str(artefact(name)), str(pictures), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("invoke") == 2
    for stem, picture in (("a", chelsea), ("b", chelsea[:, ::-1])):
        shrunk = np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
        logits = statement(shrunk)
        if name == "classes":
            expected = tf.image.resize(logits.argmax(-1)[..., np.newaxis], (300, 451), "nearest").numpy()[..., 0]
        else:
            expected = tf.image.resize(logits, (300, 451)).numpy().argmax(-1)
        agreement = (mask_of(tmp_path / "out" / f"{stem}_mask.png") == expected).mean()
        assert agreement > (0.97 if name == "uint8" else 0.9995)


def test_the_sidecar_inside_is_enough(on_device, converted, small, tmp_path) -> None:
    (tmp_path / "one.tflite").write_bytes(embed_sidecar(*converted("int8")))
    Image.fromarray(small).save(tmp_path / "cat.png")
    done = on_device("segment.py", "one.tflite", "cat.png", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (mask_of(tmp_path / "out" / "cat_mask.png") == statement(small).argmax(-1)).mean() > 0.95


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(on_device, artefact, small, tmp_path) -> None:
    Image.fromarray(small).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:800])
    done = on_device("segment.py", artefact("float32"), "cut.png", "gone.jpg", "good.png", "-o", "out")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 6 and len(errors) == 2
    assert errors[0].startswith("error: Cannot read the picture 'cut.png': ")
    assert errors[1].startswith("error: Cannot read the picture 'gone.jpg': ") and "No such file" in errors[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good_mask.png", "good_overlay.png"]


@pytest.mark.parametrize(
    ("missing", "package"), [("numpy", "numpy"), ("PIL", "pillow"), ("ai_edge_litert", "ai-edge-litert")]
)
def test_a_missing_package(on_device, missing, package) -> None:
    done = on_device("segment.py", "net.tflite", "cat.png", "-o", "out", without=(missing,))
    assert done.returncode == 3
    assert done.stderr == f"error: The package {missing} is missing. Install it: pip install {package}\n"


def test_a_script_without_its_folder(on_device, device_folder, tmp_path) -> None:
    for name in ("segment.py", "errors.py"):
        (tmp_path / name).write_bytes((device_folder / name).read_bytes())
    done = on_device(str(tmp_path / "segment.py"), "net.tflite", "cat.png", "-o", "out")
    assert done.returncode == 3
    assert done.stderr == "error: The module video is missing. Copy the whole folder, not one script of it.\n"


def failure(scripts, capsys, *words) -> tuple[int, str]:
    """The exit code and the last line on stderr."""
    code = scripts.segment.main([str(word) for word in words])
    return code, capsys.readouterr().err.splitlines()[-1]


def test_each_mistake_has_its_line_and_code(scripts, artefact, small, tmp_path, capsys) -> None:
    """One line for each; what can be wrong with files and delegates is in test_sidecar.py and test_network.py."""
    good, out = artefact("float32"), tmp_path / "out"
    picture, other = tmp_path / "cat.png", tmp_path / "other" / "cat.jpg"
    Image.fromarray(small).save(picture)
    other.parent.mkdir()
    (tmp_path / "empty").mkdir()
    for code, message, words in (
        (2, "both be written to cat_*", (good, picture, other, "-o", out)),
        (2, "--frames is at least 1, received 0", (good, picture, "-o", out, "--frames", "0")),
        (4, "Cannot read the network", (tmp_path / "gone.tflite", picture, "-o", out)),
        (5, "Cannot read the sidecar", (good, picture, "-o", out, "--sidecar", tmp_path / "gone.json")),
        (6, "has no pictures: none ends in .jpg, ", (good, tmp_path / "empty", "-o", out)),
        (7, "does not load", (good, picture, "-o", out, "--delegate", "gone.so")),
        (8, "Cannot write", (good, picture, "-o", picture)),
    ):
        received, line = failure(scripts, capsys, *words)
        assert (received, line[:7]) == (code, "error: "), line
        assert message in line
    assert not out.exists()


FAKE_OPENCV = """
import numpy as np
CAP_PROP_FPS = 5

class VideoCapture:
    def __init__(self, source):
        self.frames = list(np.load(f"camera{source}.npy" if isinstance(source, int) else source))
    def read(self):
        return (True, self.frames.pop(0)) if self.frames else (False, None)
    def get(self, key):
        return {CAP_PROP_FPS: 12.5}[key]
    def release(self):
        pass

def VideoWriter_fourcc(*letters):
    return "".join(letters)

class VideoWriter:
    def __init__(self, path, codec, rate, size):
        self.path, self.size, self.frames = path, size, []
        assert path.endswith(".mp4") and (codec, rate) == ("mp4v", 12.5)
    def isOpened(self):
        return True
    def write(self, frame):
        assert frame.dtype == np.uint8 and frame.shape == (self.size[1], self.size[0], 3)
        self.frames.append(frame)
    def release(self):
        with open(self.path, "wb") as file:
            np.save(file, self.frames)
"""


@pytest.mark.parametrize("source", ["clip.mp4", "camera:3"])
def test_a_video_becomes_an_overlay(on_device, artefact, small, tmp_path, source) -> None:
    """OpenCV is played by a module whose files are arrays; it gives and takes BGR as OpenCV does."""
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "cv2.py").write_text(FAKE_OPENCV)
    frames = np.stack([small, small[:, ::-1], small[::-1]])
    with (tmp_path / ("camera3.npy" if ":" in source else source)).open("wb") as file:
        np.save(file, frames[..., ::-1])
    done = on_device("segment.py", artefact("float32"), source, "-o", "out", "--frames", 2)
    assert done.returncode == 0, done.stderr
    assert f"{source}: 2 frames | resize" in done.stdout
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == f"{source[:-4] if source == 'clip.mp4' else 'camera3'}_overlay.mp4"
    painted = np.load(written)[..., ::-1]
    assert len(painted) == 2
    for frame, result in zip(frames, painted, strict=False):
        best = statement(frame).argmax(-1)
        colors = np.array(sidecar("float32")["palette"])[best]
        expected = np.where((best == 0)[..., np.newaxis], frame, 0.4 * frame + 0.6 * colors)
        assert (np.abs(result - expected).max(-1) <= 1).mean() > 0.999


def test_videos_that_cannot_be_read(on_device, artefact, tmp_path) -> None:
    path = artefact("float32")
    without = on_device("segment.py", path, "clip.mp4", "-o", "out", without=("cv2",))
    assert without.returncode == 3 and "pip install opencv-python-headless" in without.stderr
    (tmp_path / "shim" / "cv2.py").write_text(FAKE_OPENCV)
    with (tmp_path / "clip.mp4").open("wb") as file:
        np.save(file, np.zeros((0, 4, 4, 3), np.uint8))
    done = on_device("segment.py", path, "clip.mp4", "camera:front", "-o", "out")
    assert done.returncode == 6
    assert "error: Cannot read the video 'clip.mp4': OpenCV finds no frame in it.\n" in done.stderr
    assert "error: A camera is named by its number, camera:0 or camera:1, received 'camera:front'.\n" in done.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.name)
def test_the_oldest_python_and_no_other_package(path) -> None:
    """Python 3.9 is the oldest that LiteRT has a wheel for; build.py alone runs on the workstation."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {script.stem for script in SCRIPTS.glob("*.py")}
    others = {name.split(".")[0] for name in imported} - own - sys.stdlib_module_names
    assert others <= ({"kzoo"} if path.name == "build.py" else {"numpy", "PIL", "ai_edge_litert", "cv2"})
