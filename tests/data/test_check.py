from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from kzoo.data import Dataset, check_dataset, open_dataset


def test_a_good_dataset_has_no_problems(tiny: Dataset) -> None:
    assert check_dataset(tiny) == []


def test_every_bad_file_is_named(tmp_path: Path, save) -> None:
    images, masks = tmp_path / "val" / "images", tmp_path / "val" / "masks"
    for name in ("good", "labels", "nomask", "noimage", "size", "text", "cut", "la"):
        save(images / f"{name}.png", np.zeros((30, 40, 3), np.uint8))
        save(masks / f"{name}.png", np.zeros((30, 40), np.uint8))
    save(masks / "labels.png", np.full((30, 40), 99, np.uint8))
    (masks / "nomask.png").unlink()
    (images / "noimage.png").unlink()
    save(masks / "size.png", np.zeros((40, 30), np.uint8))
    (images / "text.png").write_text("no picture")
    noise = np.random.default_rng(0).integers(0, 11, (30, 40), np.uint8)
    whole = save(masks / "cut.png", noise).read_bytes()
    (masks / "cut.png").write_bytes(whole[:200])
    save(masks / "la.png", np.zeros((30, 40, 2), np.uint8))
    save(images / "la.png", np.zeros((30, 41, 3), np.uint8))

    problems = check_dataset(open_dataset("camvid", tmp_path, "val"))
    found = {(problem.kind, Path(problem.path).parent.name, Path(problem.path).stem) for problem in problems}
    assert found == {
        ("bad mask", "masks", "labels"),
        ("missing mask", "images", "nomask"),
        ("missing image", "images", "noimage"),
        ("size mismatch", "masks", "size"),
        ("unreadable image", "images", "text"),
        ("bad mask", "masks", "cut"),
        ("bad mask", "masks", "la"),
    }
    assert all(Path(problem.path).stem in problem.message for problem in problems)
    by_name = {Path(problem.path).stem: problem.message for problem in problems}
    assert "99" in by_name["labels"] and "0..11, 255" in by_name["labels"]
    assert "40x30" in by_name["size"] and "30x40" in by_name["size"]


def test_two_problems_of_one_sample_both_show(tmp_path: Path, save) -> None:
    (tmp_path / "val" / "images").mkdir(parents=True)
    (tmp_path / "val" / "images" / "a.png").write_text("no picture")
    save(tmp_path / "val" / "masks" / "a.png", np.full((3, 4), 200, np.uint8))
    kinds = [problem.kind for problem in check_dataset(open_dataset("camvid", tmp_path, "val"))]
    assert kinds == ["unreadable image", "bad mask"]


def test_an_empty_split_is_a_problem(tiny: Dataset) -> None:
    (problem,) = check_dataset(dataclasses.replace(tiny, samples=()))
    assert problem.kind == "empty split" and "'train'" in problem.message
