"""What the scripts may use: Python 3.6, NumPy, and names that TensorRT has in every version they claim to run on."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.jetson.conftest import JETSON
from tests.deploy.jetson.fake_tensorrt import VERSIONS, names_of

SOURCES = sorted(JETSON.rglob("*.py"))
ANYWHERE = {"numpy", "kzoo_jetson"}
INSIDE_FUNCTIONS = {"cv2", "PIL", "tensorrt"}

# What a variable of this name is, wherever the scripts use it.
CLASS_OF = {
    "builder": "Builder",
    "cache": "ITimingCache",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "error": "ParserError",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
}
OF_TENSORRT = [path for path in SOURCES if path.name in ("build.py", "runner.py")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_python_3_6(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_the_parser_would_refuse_newer_python() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("if (n := 1): pass", feature_version=(3, 6))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    tree = ast.parse(path.read_text())
    inside = {id(node) for function in functions(tree) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            modules = ["kzoo_jetson" if node.level else node.module]
            assert node.module != "__future__", "annotations from the future are 3.7's"
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            top = module.split(".")[0]
            allowed = top in ANYWHERE | sys.stdlib_module_names or (top in INSIDE_FUNCTIONS and id(node) in inside)
            assert allowed, f"line {node.lineno} imports {module}"


def test_tensorrts_names_exist_in_each_version_or_are_guarded() -> None:
    by_version = {version: names_of(version) for version in VERSIONS}
    checked, guarded_names = 0, set()
    for path in OF_TENSORRT:
        for function in functions(ast.parse(path.read_text())):
            guarded = asks_for_version(function)
            for owner, name, line in touched(function):
                missing = [version for version in VERSIONS if name not in by_version[version].get(owner, ())]
                assert len(missing) < len(VERSIONS), f"{path.name}:{line}: no version has {owner}.{name}"
                assert not missing or guarded, f"{path.name}:{line}: {owner}.{name} is not in {missing}"
                checked += 1
                guarded_names |= {f"{owner}.{name}"} if missing else set()
    assert checked > 40
    assert {"IBuilderConfig.max_workspace_size", "IExecutionContext.execute_async_v2"} <= guarded_names


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def asks_for_version(function: ast.FunctionDef) -> bool:
    called = {node.func.id for node in ast.walk(function) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    return bool(called & {"hasattr", "version"})


def touched(function: ast.FunctionDef) -> Iterator[tuple[str, str, int]]:
    """Class, attribute and line of each `builder.x`, `self._context.x`, `trt.BuilderFlag.x` of a function."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in CLASS_OF:
            yield CLASS_OF[owner.id], node.attr, node.lineno
        elif isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
            if owner.value.id == "self" and owner.attr.lstrip("_") in CLASS_OF:
                yield CLASS_OF[owner.attr.lstrip("_")], node.attr, node.lineno
            elif owner.value.id == "trt" and not owner.attr.startswith("_"):
                yield owner.attr, node.attr, node.lineno
        elif isinstance(owner, ast.Call):  # config.get_timing_cache().serialize()
            called = owner.func.attr if isinstance(owner.func, ast.Attribute) else ""
            if called == "get_timing_cache":
                yield "ITimingCache", node.attr, node.lineno
