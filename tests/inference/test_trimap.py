"""The figure of trimap results: one curve a name, in percent over the width."""

from matplotlib.figure import Figure
from PIL import Image

from kzoo.inference import plot_trimap
from kzoo.metrics import TrimapResults


def test_every_curve_is_drawn_twice(tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: (figures.append(self), save(self, *args, **kwargs))
    )
    curves = {
        "network": TrimapResults((1, 3, 5), (0.5, 0.6, 0.75), (0.25, 0.3, 0.5)),
        "with CRF": TrimapResults((1, 5), (0.6, 0.8), (0.3, float("nan"))),
    }
    plot_trimap(curves, tmp_path / "deep" / "trimap.png")
    with Image.open(tmp_path / "deep" / "trimap.png") as picture:
        assert picture.format == "PNG"
    for axes, what in zip(figures[0].axes, ("pixel_accuracy", "miou"), strict=True):
        assert axes.get_ylabel().startswith({"miou": "mIoU"}.get(what, "pixel accuracy"))
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
        for line, results in zip(axes.lines, curves.values(), strict=True):
            assert tuple(line.get_xdata()) == results.widths
            assert str(line.get_ydata().tolist()) == str([100 * value for value in getattr(results, what)])
