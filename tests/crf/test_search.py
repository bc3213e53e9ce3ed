"""The search for a CRF's kernel: the way it takes, what it measures, and its log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kzoo.crf import GRIDS, BilateralKernel, DenseCRF, KernelScorer, SearchGrid, search_kernel
from kzoo.crf.search_log import SearchLog
from tests.crf.gaussians import picture

SETTING = {"network": "abc", "pictures": ["a", "b"], "iterations": 10}


class Hill:
    """A score with one summit; counts what it is asked for."""

    def __init__(self, summit: BilateralKernel) -> None:
        self.summit, self.lattices, self.asked = summit, [], []

    def __call__(self, sigma_xy, sigma_rgb, weights):
        self.lattices.append((sigma_xy, sigma_rgb))
        points = [BilateralKernel(sigma_xy, sigma_rgb, weight) for weight in weights]
        self.asked += points
        return [-sum(abs(a - b) for a, b in zip(point, self.summit, strict=True)) for point in points]


@pytest.mark.parametrize("summit", [(45.0, 6.0, 4.0), (95.0, 3.0, 11.0), (5.0, 12.0, 1.0)])
def test_finds_the_summit_and_asks_once(summit):
    hill, reported = Hill(BilateralKernel(*summit)), []
    best = search_kernel(SearchGrid(), hill, {}, lambda *line: reported.append(line))
    assert best == hill.summit
    assert len(set(hill.asked)) == len(hill.asked) < 80
    assert [(point, known) for point, _, known in reported] == [(point, False) for point in hill.asked]
    # 9 pairs of widths in the coarse grid, each of which has its three weights measured together.
    assert len(hill.lattices[:9]) == len(set(hill.lattices[:9])) == 9
    assert hill.asked[:27] == SearchGrid().points()


def test_the_papers_coarse_grid():
    points = GRIDS["paper"].points()
    assert len(set(points)) == len(points) == 2 * 6 * 8
    assert {point.bilateral_sigma_xy for point in points} == {50, 60, 70, 80, 90, 100}
    assert {point.bilateral_sigma_rgb for point in points} == {3, 4, 5, 6, 7, 8, 9, 10}
    assert {point.bilateral_weight for point in points} == {5, 10}


def test_steps_stay_above_zero():
    hill = Hill(BilateralKernel(-10.0, -10.0, -10.0))
    grid = SearchGrid((1.0,), (1.0,), (1.0,), steps=((0.4, 0.4, 0.4),))
    assert search_kernel(grid, hill, {}, lambda *_: None) == pytest.approx((0.2, 0.2, 0.2))
    assert min(map(min, hill.asked)) > 0


def test_an_impossible_grid():
    for axes in ({"bilateral_weight": ()}, {"bilateral_sigma_xy": (0.0,)}, {"steps": ((1.0, 0.0, 1.0),)}):
        with pytest.raises(ValueError, match="positive weights, widths and steps"):
            SearchGrid(**axes)


def test_scores_are_those_of_the_dense_crf():
    """Of two pictures with void; the IoUs counted by hand, class by class."""
    rng, size = np.random.default_rng(0), (12, 16)
    pictures = []
    for name in ("chelsea", "astronaut"):
        labels = np.kron(rng.integers(0, 3, (3, 4)), np.ones((4, 4), int))
        logits = (1.5 * np.eye(3)[labels] + rng.normal(size=(*size, 3))).astype("float32")
        labels[-3:] = 255
        pictures.append((logits, picture(name, *size), labels))

    def mean_iou(predictions):
        true = np.concatenate([labels.ravel() for _, _, labels in pictures])
        found = np.concatenate([prediction.ravel() for prediction in predictions])[true != 255]
        true = true[true != 255]
        return np.mean([np.sum((true == c) & (found == c)) / np.sum((true == c) | (found == c)) for c in range(3)])

    fixed = {"spatial_sigma": 1.5, "spatial_weight": 0.5, "iterations": 2, "normalization": "symmetric"}
    score = KernelScorer(pictures, 3, 255, DenseCRF(**fixed))
    weights = (0.5, 4.0)
    expected = []
    for weight in weights:
        crf = DenseCRF(bilateral_sigma_xy=8.0, bilateral_sigma_rgb=40.0, bilateral_weight=weight, **fixed)
        expected.append(mean_iou([np.argmax(crf(logits[None], image[None])[0], -1) for logits, image, _ in pictures]))
    assert score(8.0, 40.0, weights) == pytest.approx(expected)
    assert score.without_crf() == pytest.approx(mean_iou([np.argmax(logits, -1) for logits, _, _ in pictures]))
    assert len({*expected, score.without_crf()}) == 3


def test_the_log_keeps_what_was_measured(tmp_path):
    path, hill = tmp_path / "new" / "crf.jsonl", Hill(BilateralKernel(45.0, 6.0, 4.0))
    log = SearchLog(path, SETTING)
    assert log.without_crf is None
    log.without_crf = 0.5
    best = search_kernel(SearchGrid(), hill, log, lambda *_: None)
    # A kill in the middle of writing a line: that point is measured again, the others are not.
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 + len(hill.asked)
    path.write_bytes(b"".join(lines[:20]) + lines[20][:30])
    log, again, reported = SearchLog(path, SETTING), Hill(hill.summit), []
    assert log.without_crf == 0.5 and len(log) == 18
    assert search_kernel(SearchGrid(), again, log, lambda *line: reported.append(line)) == best
    assert again.asked == hill.asked[18:]
    assert [known for _, _, known in reported] == [True] * 18 + [False] * len(again.asked)
    assert path.read_bytes() == b"".join(lines)


def test_a_log_of_something_else_is_refused(tmp_path):
    path = tmp_path / "crf.jsonl"
    SearchLog(path, SETTING)[BilateralKernel(50, 5, 4)] = 0.5
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r'another search: network "abc", now "xyz"\. Write the result to another'):
        SearchLog(path, {**SETTING, "network": "xyz"})
    with pytest.raises(ValueError, match=r'pictures \["a", "b"\], now \["a"\]; iterations 10, now 5'):
        SearchLog(path, {**SETTING, "pictures": ["a"], "iterations": 5})
    assert path.read_bytes() == before
    for bad in ("{}\n", "[1]\n", "text\n", "text", "\ntext\nmore", "text\nmore"):
        path.write_text(bad)
        with pytest.raises(ValueError, match=r"line 1, is not what a CRF search logs"):
            SearchLog(path, SETTING)
        assert path.read_text() == bad
    path.write_bytes(before[:12])  # a kill in the middle of the first line
    assert not SearchLog(path, SETTING)
    assert path.read_bytes() == before.splitlines(keepends=True)[0]
    for bad in ('{"miou": 1}', '{"bilateral_weight": 1}', "nonsense"):
        path.write_text(json.dumps({"setting": SETTING}) + f"\n{bad}\n")
        with pytest.raises(ValueError, match=r"line 2, is not what a CRF search logs"):
            SearchLog(path, SETTING)
