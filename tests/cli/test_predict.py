"""`kzoo predict`: every kind of input and picture, and one clear error for a bad one."""

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from kzoo.cli import main
from kzoo.cli.eval import refinement_option
from kzoo.cli.predict import find_pictures
from kzoo.crf import PRESETS, ConvolutionalCRF, DenseCRF

RED, GREEN = (200, 30, 30), (40, 220, 60)


def save(path, mode="RGB", **options):
    """A picture of 40x30, red with a green left quarter, in some mode."""
    image = np.full((30, 40, 3), RED, np.uint8)
    image[:, :10] = GREEN
    Image.fromarray(image).convert(mode).save(path, **options)
    return path


def test_writes_mask_overlay_and_shares(network, tmp_path, capsys):
    picture = save(tmp_path / "a.png")
    assert main(["predict", "any", str(picture), "-o", str(tmp_path / "out")]) == 0
    assert "a.png: red 75.0%, green 25.0%" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "a_mask.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (40, 30)
        assert np.asarray(mask)[0].tolist() == [2] * 10 + [1] * 30
    with Image.open(tmp_path / "out" / "a_overlay.png") as overlay:
        assert overlay.width > 40
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["shares"] == {"background": 0, "red": 0.75, "green": 0.25}


@pytest.mark.parametrize(("name", "mode"), [("a.png", "L"), ("a.png", "RGBA"), ("a.jpg", "CMYK"), ("a.png", "P")])
def test_pictures_of_any_mode(network, tmp_path, name, mode):
    picture = save(tmp_path / name, mode)
    assert main(["predict", "any", str(picture), "-o", str(tmp_path / "out")]) == 0
    shares = json.loads((tmp_path / "out" / "a.json").read_text())["shares"]
    if mode != "L":
        assert shares == pytest.approx({"background": 0, "red": 0.75, "green": 0.25}, abs=0.05)


def test_exif_rotation(network, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture = save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert main(["predict", "any", str(picture), "-o", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "a_mask.png") as mask:
        assert mask.size == (30, 40)
        assert np.asarray(mask)[:, 15].tolist()[5] == 2  # green is at the top now


def test_refinement(network, tmp_path, capsys):
    """A spatial kernel of much weight takes a lone pixel away; `none` and no option leave it."""
    picture, preset, out = tmp_path / "a.png", tmp_path / "smooth.yaml", tmp_path / "out"
    image = np.full((30, 40, 3), RED, np.uint8)
    image[15, 20] = GREEN
    Image.fromarray(image).save(picture)
    preset.write_text(yaml.safe_dump({**PRESETS["pydensecrf"], "spatial_weight": 40.0, "iterations": 1}))
    smooth = ["--refine", "dense", "--refine-preset", str(preset)]
    for options, pixels in (([], 1), (["--refine", "none"], 1), (smooth, 0)):
        assert main(["predict", "any", str(picture), "-o", str(out), *options]) == 0
        shares = json.loads((out / "a.json").read_text())["shares"]
        assert shares["green"] == pytest.approx(pixels / 1200), options
    capsys.readouterr()
    for options, told in (
        (["--refine-preset", str(preset)], "give --refine dense or --refine conv"),
        (["--refine", "dense", "--refine-preset", "no.yaml"], "The CRF preset 'no.yaml' is not there"),
        (["--refine", "conv", "--refine-preset", "crf_rn"], "Unknown CRF preset 'crf_rn'. Did you mean 'crf_rnn'"),
    ):
        assert main(["predict", "any", str(picture), "-o", str(out), *options]) == 2
        assert told in capsys.readouterr().err


def test_the_networks_own_refinement_unless_another_is_named():
    def option(model, refine, preset=None):
        return refinement_option(argparse.Namespace(refine=refine, refine_preset=preset), model)

    plain, own = SimpleNamespace(), SimpleNamespace(refinement=DenseCRF(iterations=3))
    assert option(own, None) == {} and option(own, "none") == {"refinement": None}
    assert option(own, "dense")["refinement"] is own.refinement
    other = option(own, "dense", "pydensecrf")["refinement"]
    assert other is not own.refinement and other.bilateral_weight == 10.0
    assert type(option(own, "conv")["refinement"]) is ConvolutionalCRF
    assert type(option(plain, "dense")["refinement"]) is DenseCRF


def test_a_bad_picture_is_named_and_the_others_are_done(network, tmp_path, capsys):
    save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    assert main(["predict", "any", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert "bad.png" in errors[0]
    assert (tmp_path / "out" / "good_mask.png").is_file()
    assert not list((tmp_path / "out").glob("bad*"))


def test_files_folders_and_patterns(tmp_path):
    for name in ("b.png", "a.jpg", "note.txt", "c[1].png"):
        (tmp_path / name).write_text("")
    folder = str(tmp_path)
    assert [p.name for p in find_pictures([folder])] == ["a.jpg", "b.png", "c[1].png"]
    assert [p.name for p in find_pictures([f"{folder}/*.png", f"{folder}/b.png"])] == ["b.png", "c[1].png"]
    assert [p.name for p in find_pictures([f"{folder}/c[1].png"])] == ["c[1].png"]


def test_inputs_that_cannot_be(network, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for wrong, told in ((f"{tmp_path}/*.png", "*.png"), (f"{tmp_path}/x.png", "x.png"), (f"{tmp_path}/empty", "empty")):
        assert main(["predict", "any", wrong, "-o", str(tmp_path / "out")]) == 2
        assert told in capsys.readouterr().err
    save(tmp_path / "a.png")
    save(tmp_path / "a.jpg")
    assert main(["predict", "any", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "a.jpg" in capsys.readouterr().err


def test_attention_is_drawn(tmp_path, monkeypatch, capsys):
    import kzoo.zoo
    from kzoo.models import SANet

    small = {"backbone_args": {"width": 0.35}, "output_stride": 32, "filters": 4}
    model = SANet(3, backbone="mobilenet_v2", **small)
    monkeypatch.setattr(kzoo.zoo, "open_model", lambda name: model)
    command = ["predict", "any", str(save(tmp_path / "a.png")), "-o", str(tmp_path / "out")]
    assert main([*command, "--attention", str(tmp_path / "maps"), "--point", "3", "4"]) == 0
    with Image.open(tmp_path / "maps" / "a_attention.png") as drawn:
        assert drawn.width > 5 * 40
    assert main([*command, "--point", "3", "4"]) == 2
    assert "--attention DIR" in capsys.readouterr().err


def test_attention_of_another_network_is_refused_before_anything_is_written(network, tmp_path, capsys):
    command = ["predict", "any", str(save(tmp_path / "a.png")), "-o", str(tmp_path / "out")]
    assert main([*command, "--attention", str(tmp_path / "maps")]) == 2
    assert "SANet's alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
