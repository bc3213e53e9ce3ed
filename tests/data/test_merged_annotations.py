from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from kzoo.cli import main
from kzoo.data import PASCAL_CONTEXT, open_dataset

# Run lengths of 3x5 masks, encoded by pycocotools 2.0: all pixels, and [01100 11001 00011].
ALL, SOME = "0?", "11110O30M1"
SKY, CAR = 360, 59


def content() -> dict:
    def segment(image_id: int, category_id: int, counts: str) -> dict:
        return {"image_id": image_id, "category_id": category_id, "segmentation": {"size": [3, 5], "counts": counts}}

    def picture(image_id: int, phase: str) -> dict:
        name = f"{str(image_id)[:4]}_{str(image_id)[4:]}.jpg"
        return {"image_id": image_id, "file_name": name, "phase": phase, "height": 3, "width": 5}

    return {
        "images": [
            picture(2008000008, "val"),
            picture(2008000002, "val"),
            picture(2008000003, "train"),
            picture(2008000004, "test"),
        ],
        "annos_segmentation": [
            segment(2008000002, SKY, ALL),
            segment(2008000003, CAR, SOME),
            segment(2008000002, CAR, SOME),
        ],
    }


def write(root: Path, save, tree: object) -> Path:
    for name in ("2008_000002", "2008_000003", "2008_000008"):
        save(root / "JPEGImages" / f"{name}.jpg", np.zeros((3, 5, 3), np.uint8))
    path = root / "trainval_merged.json"
    path.write_text(json.dumps(tree))
    return path


def test_convert_then_read(tmp_path: Path, save, run_check, capsys) -> None:
    write(tmp_path, save, content())
    assert main(["data", "convert-pcontext", "--data", str(tmp_path)]) == 0
    assert "1 train and 2 val" in capsys.readouterr().out
    with Image.open(tmp_path / "SegmentationClassContext" / "2008_000002.png") as mask:
        # Of the sorted ids, 59 is the 14th and 360 the 47th; the later annotation lies on top.
        assert np.asarray(mask).tolist() == [[47, 14, 14, 47, 47], [14, 14, 47, 47, 14], [47, 47, 47, 14, 14]]
    dataset = open_dataset("pcontext", tmp_path, "val")
    assert [sample.id for sample in dataset.samples] == ["2008_000002", "2008_000008"]
    sky, car = (PASCAL_CONTEXT.class_names.index(name) for name in ("sky", "car"))
    assert dataset.read(0)[1][0].tolist() == [sky, car, car, sky, sky]
    assert (dataset.read(1)[1] == 255).all()
    assert open_dataset("pcontext", tmp_path, "train").read(0)[1][0].tolist() == [255, car, car, 255, 255]
    assert run_check("pcontext", tmp_path, "train")[0] == 0
    assert not (tmp_path / "SegmentationClassContext" / "2008_000004.png").exists()


def test_lists_that_are_there_stay(tmp_path: Path, save) -> None:
    path = write(tmp_path, save, content())
    lists = tmp_path / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2008_000008\n")
    root = str(tmp_path)
    assert main(["data", "convert-pcontext", "--data", root, "--annotations", str(path)]) == 0
    assert (lists / "val.txt").read_text() == "2008_000008\n"
    assert (lists / "train.txt").read_text() == "2008_000003\n"


def test_bad_annotations_are_named(tmp_path: Path, save, capsys) -> None:
    words = ["data", "convert-pcontext", "--data", str(tmp_path)]
    assert main(words) == 2 and "no annotation file" in capsys.readouterr().err
    write(tmp_path, save, {"images": []})
    assert main(words) == 2 and "annos_segmentation" in capsys.readouterr().err
    for key, value, message in [
        ("category_id", 3, "'2008_000002': category 3 is none"),
        ("segmentation", {"counts": "11110O30M2"}, "'2008_000002': damaged run lengths"),
    ]:
        tree = content()
        tree["annos_segmentation"][0][key] = value
        write(tmp_path, save, tree)
        assert main(words) == 2 and message in capsys.readouterr().err
