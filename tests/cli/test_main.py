from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kzoo.cli.list
from kzoo.cli import COMMANDS, main
from kzoo.errors import FetchError
from kzoo.zoo import registry

CARD = """
name: {name}
description: A test.
architecture: {{name: fcn, args: {{backbone: mobilenet_v2}}}}
dataset: camvid
class_names: [road, sky]
palette: [[0, 0, 0], [1, 2, 3]]
ignore_label: 255
input_size: [32, 48]
normalization: {{mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5]}}
parameters: 1234567
licence: {{weights: Apache-2.0, data: for research, notice: Mind the terms.}}
"""
SHIPPED = """
weights: {file: a.weights.h5, sha256: abcd, bytes: 4500000, dtype: float16}
trained: {config: r.yaml, command: kzoo train r.yaml, seed: 7, commit: c0ffee, epochs: 3, log: a.csv}
results:
- {split: val, protocol: single scale, command: kzoo eval a, metrics: {miou: 0.7523}, iou: {road: 0.9, sky: 0.6}}
published:
- {model: ENet, split: test, metrics: {miou: 0.513}, source: arXiv 1606.02147}
"""


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CARDS", tmp_path)
    monkeypatch.delenv("KZOO_TRACEBACK", raising=False)
    (tmp_path / "fcn_tiny.yaml").write_text(CARD.format(name="fcn_tiny") + SHIPPED)
    (tmp_path / "fcn_bare.yaml").write_text(CARD.format(name="fcn_bare"))


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    header, bare, tiny = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "dataset", "classes", "parameters", "weights", "mIoU"]
    assert bare.split() == ["fcn_bare", "camvid", "2", "1.2", "M", "-", "-"]
    assert tiny.split() == ["fcn_tiny", "camvid", "2", "1.2", "M", "4.5", "MB", "75.2%", "val"]
    assert main(["list", "--pretrained", "tiny"]) == 0
    assert "fcn_bare" not in capsys.readouterr().out
    assert main(["list", "encnet*"]) == 1
    assert capsys.readouterr().out == "No model fits.\n"


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "fcn_tiny"]) == 0
    out = capsys.readouterr().out
    for fact in (
        "fcn(backbone='mobilenet_v2')",
        "1,234,567",
        "32x48",
        "mean 127.5, 127.5, 127.5; standard deviation 127.5, 127.5, 127.5",
        "road, sky",
        "a.weights.h5, 4.5 MB, float16",
        "sha256 abcd",
        "3 epochs, seed 7, commit c0ffee",
        "miou 75.2% (val; single scale)",
        "IoU: road 90.0%, sky 60.0%",
        "ENet: miou 51.3% (test)",
        "Mind the terms.",
    ):
        assert fact in out
    assert main(["info", "fcn_bare"]) == 0
    assert "weights       none" in capsys.readouterr().out


def test_info_names_the_refinement(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = "{backbone: mobilenet_v2, refine: dense, refine_args: {preset: deeplab_v1, iterations: 5}}"
    card = CARD.format(name="fcn_crf").replace("{backbone: mobilenet_v2}", args)
    (tmp_path / "fcn_crf.yaml").write_text(card)
    assert main(["info", "fcn_crf"]) == 0
    out = capsys.readouterr().out
    assert "fcn(backbone='mobilenet_v2')\n  refined by    a CRF: dense(preset='deeplab_v1', iterations=5)\n" in out
    assert main(["info", "fcn_tiny"]) == 0
    assert "refined" not in capsys.readouterr().out


def test_info_of_imagenet_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "resnet50_torchvision"]) == 0
    out = capsys.readouterr().out
    for fact in (
        'kzoo.backbones.create("resnet50", stem="b", weights="imagenet")',
        "mean 123.675, 116.28, 103.53; standard deviation 58.395, 57.12, 57.375",
        "address checked: never",
        "accuracy 76.1% (val; one central crop of 224x224)",
        "not measured by kzoo",
        "BSD-3-Clause",
    ):
        assert fact in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "kzoo: error: Unknown command 'lst'. Did you mean `kzoo list`?\n"),
        (["xyzzy"], f"kzoo: error: Unknown command 'xyzzy'. Commands: {', '.join(COMMANDS)}.\n"),
        (["info", "fcn_tny"], "kzoo: error: Unknown model 'fcn_tny'. Did you mean 'fcn_tiny'"),
        (["list", "--dataset", "camvd"], "kzoo: error: Unknown dataset of the zoo 'camvd'. Did you mean 'camvid'?\n"),
    ],
)
def test_a_users_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_argparse_explains_wrong_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--nonsense"]) == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KZOO_TRACEBACK", "1")
    with pytest.raises(ValueError, match="Unknown model"):
        main(["info", "fcn_tny"])


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "kzoo: stopped\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.png"),
            2,
            "kzoo: error: No such file or directory: 'x.png'.\n",
        ),
        (ValueError("two\n  lines"), 2, "kzoo: error: two lines\n"),
        (FetchError("no file.\n- a: gone."), 2, "kzoo: error: no file. - a: gone.\n"),
    ],
)
def test_what_stops_a_command(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(args: object) -> int:
        raise error

    monkeypatch.setattr(kzoo.cli.list, "run", stop)
    assert main(["list"]) == status
    assert capsys.readouterr().err == message


def test_a_fault_of_kzoo_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise AttributeError("a bug")

    monkeypatch.setattr(kzoo.cli.list, "run", fail)
    with pytest.raises(AttributeError, match="a bug"):
        main(["list"])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert all(command in out for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kzoo {kzoo.__version__}\n"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [["list"], ["--help"], *([command, "--help"] for command in COMMANDS)])
def test_light_commands_import_no_tensorflow(words: list[str]) -> None:
    code = f"import sys; from kzoo.cli import main; main({words}); sys.exit(40 + ('keras' in sys.modules) * 1)"
    result = python(code)
    assert result.returncode == 40, result.stderr
    assert "tensorflow" not in result.stderr


def test_quiet_tensorflow_unless_asked() -> None:
    code = "import os; from kzoo.cli import main; main(['list']); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    assert python(code).stdout.splitlines()[-1] == "3"
    assert python(code, TF_CPP_MIN_LOG_LEVEL="0").stdout.splitlines()[-1] == "0"


def test_module_runs_as_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "kzoo", "lst"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.startswith("kzoo: error: Unknown command 'lst'")) == (2, True)
