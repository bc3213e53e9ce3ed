"""`kzoo eval`: what it prints and writes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from kzoo.cli import main
from kzoo.zoo.card import Evaluation


@pytest.fixture
def camvid(network, tmp_path):
    """One picture in CamVid's layout, for a network of CamVid's classes that knows Sky (black), Building, Pole."""
    from kzoo.data import CAMVID

    network.class_names = CAMVID.class_names
    network.num_classes = CAMVID.num_classes
    images, masks = tmp_path / "val" / "images", tmp_path / "val" / "masks"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = (200, 30, 30)
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 12:], mask[:5] = 1, 11  # 11 is void
    Image.fromarray(image).save(images / "a.png")
    Image.fromarray(mask).save(masks / "a.png")
    return tmp_path


def test_prints_and_writes(camvid, capsys):
    arguments = ["--data", str(camvid), "--split", "val", "--json", str(camvid / "r.json"), "--out", str(camvid / "o")]
    assert main(["eval", "any", *arguments]) == 0
    printed = capsys.readouterr().out
    written = json.loads((camvid / "r.json").read_text())
    assert written == json.loads((camvid / "o" / "results.json").read_text())
    # Sky: 150 of 180; Building: 120 of 150 predicted.
    assert written["iou"]["Sky"] == pytest.approx(150 / 180)
    assert written["iou"]["Building"] == pytest.approx(120 / 150)
    assert written["iou"]["Tree"] is None
    assert written["miou"] == pytest.approx((150 / 180 + 120 / 150) / 2)
    assert written["pixel_accuracy"] == pytest.approx(270 / 300)
    assert written["protocol"]["dataset"] == "camvid"
    for told in ("Sky", "83.33", "mIoU", "81.67", "90.00", "boundary IoU"):
        assert told in printed
    with Image.open(camvid / "o" / "confusion.png") as picture:
        assert picture.format == "PNG"


def test_trimap(camvid, capsys):
    table = camvid / "bands" / "trimap.csv"
    assert main(["eval", "any", "--data", str(camvid), "--split", "val", "--trimap", str(table)]) == 0
    printed = capsys.readouterr().out
    header, first, second, *others = table.read_text().splitlines()
    assert header == "width,pixel_accuracy,miou"
    # Rows 0..4 are void and Building begins at column 12, in the prediction at 10. At most 1 px from another label:
    # row 5 (10 + 2 wrong + 8 pixels) and columns 11 (wrong) and 12 below it, 14 pixels each.
    assert first.split(",")[0] == "1"
    assert [float(value) for value in first.split(",")[1:]] == pytest.approx([32 / 48, (10 / 26 + 22 / 38) / 2])
    # 2 px: rows 5 and 6, and columns 10 to 13 of the 13 rows below.
    assert float(second.split(",")[1]) == pytest.approx((2 * 18 + 13 * 2) / (2 * 20 + 13 * 4))
    assert len(others) == 8 and others[-1].split(",")[0] == "40"
    assert float(others[-1].split(",")[1]) == pytest.approx(270 / 300)
    with Image.open(camvid / "bands" / "trimap.png") as picture:
        assert picture.format == "PNG"
    assert f"wrote {table}" in printed and "trimap.png" in printed


def test_outputs_that_cannot_be_written_are_told_before_the_evaluation(camvid, capsys):
    (camvid / "file").write_text("")
    for option, path in (("--json", camvid), ("--out", camvid / "file"), ("--trimap", camvid / "bands.png")):
        assert main(["eval", "any", "--data", str(camvid), "--split", "val", option, str(path)]) == 2
        captured = capsys.readouterr()
        assert f"{option} {path} is a" in captured.err and captured.out == ""


def test_a_run_gets_its_evaluations(camvid):
    run = camvid / "run"
    run.mkdir()
    assert main(["eval", str(run), "--data", str(camvid), "--split", "val"]) == 0
    assert {path.name for path in (run / "eval_val").iterdir()} == {"results.json", "confusion.png"}


def test_options_reach_the_evaluation(camvid):
    options = ["--scales", "0.5", "1", "--flip", "--window", "10", "12", "--stride", "5", "6"]
    arguments = ["--data", str(camvid), "--split", "val", "--json", str(camvid / "r.json")]
    assert main(["eval", "any", *arguments, *options]) == 0
    protocol = json.loads((camvid / "r.json").read_text())["protocol"]
    assert protocol["scales"] == [0.5, 1.0]
    assert protocol["flip"] is True
    assert protocol["window"] == [10, 12]
    assert protocol["stride"] == [5, 6]


def test_refinement_is_told(camvid, capsys):
    arguments = ["eval", "any", "--data", str(camvid), "--split", "val", "--json", str(camvid / "r.json")]
    assert main([*arguments, "--refine", "dense", "--refine-preset", "deeplab_v1"]) == 0
    assert "1 pictures, refined by DenseCRF\n" in capsys.readouterr().out
    noted = json.loads((camvid / "r.json").read_text())["protocol"]["refinement"]
    assert (noted["class"], noted["bilateral_sigma_xy"], noted["iterations"]) == ("DenseCRF", 50.0, 10)
    assert main([*arguments, "--refine", "none"]) == 0
    assert "refined" not in capsys.readouterr().out
    assert "refinement" not in json.loads((camvid / "r.json").read_text())["protocol"]


def test_unknown_kind_of_dataset(network, tmp_path, capsys):
    assert main(["eval", "any", "--data", str(tmp_path), "--split", "val"]) == 2
    assert "--dataset" in capsys.readouterr().err


def test_wrong_split(camvid, capsys):
    assert main(["eval", "any", "--data", str(camvid), "--split", "vale"]) == 2
    assert "'val'" in capsys.readouterr().err


def test_protocol_takes_its_sizes_from_the_card(camvid, network, capsys):
    arguments = ["eval", "any", "--data", str(camvid), "--split", "val", "--json", str(camvid / "r.json")]
    encoding, mm = ["--protocol", "pytorch-encoding"], ["--protocol", "mmseg"]
    assert main([*arguments, *encoding]) == 2
    assert "it has no card that names a protocol" in capsys.readouterr().err
    network.card = SimpleNamespace(evaluation=Evaluation("pytorch-encoding", {"base_size": 20, "crop_size": 24}))
    assert main([*arguments, *encoding]) == 0
    written = json.loads((camvid / "r.json").read_text())
    assert written["protocol"]["base_size"] == 20 and len(written["protocol"]["scales"]) == 6
    assert written["iou"]["Sky"] == pytest.approx(150 / 180, abs=0.1)  # scaling blurs the edge
    assert main([*arguments, *encoding, "--flip"]) == 2
    assert "decides the windows, the scales and the flip itself" in capsys.readouterr().err
    assert main([*arguments, *mm]) == 2
    assert "its card's protocol is pytorch-encoding" in capsys.readouterr().err
    network.card = SimpleNamespace(evaluation=Evaluation("mmseg", {"frame": [40, 20], "window": 16, "stride": 10}))
    assert main([*arguments, *mm, "--scales", "1", "1.5", "--flip"]) == 0
    protocol = json.loads((camvid / "r.json").read_text())["protocol"]
    assert (protocol["frame"], protocol["scales"], protocol["flip"]) == ([40, 20], [1.0, 1.5], True)
