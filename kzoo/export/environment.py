"""What is installed here, what can be exported with it, and what a JetPack needs: what `kzoo doctor` prints.

Versions are read from the packages' metadata; only `devices` imports TensorFlow, which takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kzoo.export.tensorrt.compile import INSTALL
from kzoo.export.tensorrt.versions import BOARDS, TensorRT, for_jetpack

CPUINFO = Path("/proc/cpuinfo")

# Distribution names; TensorFlow's has more than one.
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
_PACKAGES: dict[str, tuple[str, ...]] = {
    "kzoo": ("kzoo",),
    "TensorFlow": _TENSORFLOW,
    "Keras": ("keras",),
    "NumPy": ("numpy",),
    "tf2onnx": ("tf2onnx",),
    "onnx": ("onnx",),
    "ONNX Runtime": ("onnxruntime", "onnxruntime-gpu"),
    "onnxconverter-common": ("onnxconverter-common",),
    "ai-edge-litert": ("ai-edge-litert",),
    "tensorrt-rtx": ("tensorrt-rtx",),
}
_REQUIRED = ("kzoo", "TensorFlow", "Keras", "NumPy")

# What an export needs beyond that, and what brings it.
_EXPORTS: dict[str, tuple[tuple[str, ...], str]] = {
    "saved_model": (("TensorFlow",), "pip install kzoo"),
    "onnx": (("TensorFlow", "tf2onnx", "onnx", "ONNX Runtime"), "pip install 'kzoo[onnx]'"),
    "onnx, fp16": (
        ("TensorFlow", "tf2onnx", "onnx", "ONNX Runtime", "onnxconverter-common"),
        "pip install 'kzoo[onnx]'",
    ),
    "litert": (("TensorFlow", "ai-edge-litert"), "pip install 'kzoo[litert]'"),
    "TensorRT trial": (("onnx", "tensorrt-rtx"), INSTALL),
}

# Flags of /proc/cpuinfo and what they speed up.
_INSTRUCTIONS = {
    "avx512f": "float32",
    "avx512_bf16": "bfloat16",
    "amx_bf16": "bfloat16 matrices",
    "amx_int8": "int8 matrices",
    "avx512_vnni": "int8",
    "avx_vnni": "int8",
    "asimdhp": "float16",
    "asimddp": "int8",
}


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        section: what it belongs to, e.g. `"Installed"`.
        name: what was looked at.
        value: what was found.
        mend: what helps, where something is missing.
        ok: False if kzoo cannot do without what is missing.
    """

    section: str
    name: str
    value: str
    mend: str = ""
    ok: bool = True


def doctor(jetpack: str | None = None) -> list[Check]:
    """Looks at the packages and the processor of this machine and, if one is named, at a JetPack.

    Args:
        jetpack: e.g. `"6.2"`.

    Raises: `ValueError` for an unknown JetPack.
    """
    found = {name: _version(distributions) for name, distributions in _PACKAGES.items()}
    checks = [*_installed(found), *_exports(found), *_processor()]
    if jetpack is not None:
        checks += _jetpack(f"JetPack {jetpack}", for_jetpack(jetpack))
    return checks


def devices() -> list[Check]:
    """The devices that TensorFlow sees; imports it."""
    section = "TensorFlow's devices"
    try:
        import tensorflow as tf
    except ImportError as error:
        return [Check(section, "none", f"TensorFlow does not start ({error})", "pip install kzoo", ok=False)]
    checks = []
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        name = device.name.removeprefix("/physical_device:")
        checks.append(Check(section, name, details.get("device_name", device.device_type)))
    return checks


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _installed(found: dict[str, str]) -> Iterator[Check]:
    yield Check("Installed", "Python", platform.python_version())
    for name, version in found.items():
        lacks = not version and name in _REQUIRED
        yield Check("Installed", name, version or "-", "pip install kzoo" if lacks else "", ok=not lacks)


def _exports(found: dict[str, str]) -> Iterator[Check]:
    for name, (packages, install) in _EXPORTS.items():
        missing = [package for package in packages if not found[package]]
        if not missing:
            yield Check("Export", name, "works")
        elif name == "TensorRT trial" and platform.machine().lower() not in ("x86_64", "amd64"):
            yield Check("Export", name, "not on this machine: tensorrt-rtx exists for x86-64 only")
        else:
            yield Check("Export", name, f"{', '.join(missing)} missing", install)


def _processor() -> Iterator[Check]:
    yield Check("Processor", "architecture", f"{platform.machine()}, {os.cpu_count()} cores")
    flags: set[str] = set()
    if CPUINFO.is_file():
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags.update(value.split())
    have = [f"{flag} ({use})" for flag, use in _INSTRUCTIONS.items() if flag in flags]
    yield Check("Processor", "instructions", ", ".join(have) or "none that matter here")


def _jetpack(section: str, target: TensorRT) -> Iterator[Check]:
    yield Check(section, "TensorRT", target.release)
    yield Check(section, "Jetson Linux", target.l4t)
    yield Check(section, "CUDA", target.cuda)
    yield Check(section, "Python", target.python)
    yield Check(section, "ONNX opset", f"up to {target.opset}")
    yield Check(section, "inputs, outputs", ", ".join(sorted(target.io_types)))
    for name in target.boards:
        board = BOARDS[name]
        dla = ", ".join(module for module in target.dla if name in module)
        int8 = "INT8" if board.int8 else "no INT8"
        value = f"compute capability {board.compute_capability}: FP16, {int8}, {f'DLA on {dla}' if dla else 'no DLA'}"
        yield Check(section, name, value)
    for precision, value in _precisions(target):
        yield Check(section, precision, value)
    for text in target.inferred:
        yield Check(section, "inferred", text)


def _precisions(target: TensorRT) -> Iterator[tuple[str, str]]:
    """How to export for a JetPack, a precision a line."""
    command = "kzoo export NAME --format onnx --precision {} --size HxW --opset {} --check-tensorrt {} -o FILE.onnx"
    yield "FP32", command.format("fp32", target.advised_opset, target.name)
    if target.before("10.3"):  # weakly typed: flags of the builder decide
        yield "FP16", "the same file: the builder chooses FP16 on the device"
    else:
        yield "FP16", command.format("fp16", target.advised_opset, target.name)
    without = [name for name in target.boards if not BOARDS[name].int8]
    if len(without) < len(target.boards):
        remark = f" (not on {', '.join(without)})" if without else ""
        yield "INT8", command.format("int8", target.advised_opset, target.name) + remark
