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
        for owner, name, guarded, line in touched(ast.parse(path.read_text())):
            missing = [version for version in VERSIONS if name not in by_version[version].get(owner, ())]
            assert len(missing) < len(VERSIONS), f"{path.name}:{line}: no version has {owner}.{name}"
            assert not missing or guarded, f"{path.name}:{line}: {owner}.{name} is not in {missing}"
            checked += 1
            guarded_names |= {f"{owner}.{name}"} if missing else set()
    assert checked > 40
    assert {"IBuilderConfig.max_workspace_size", "IExecutionContext.execute_async_v2"} <= guarded_names


def test_guards_are_seen() -> None:
    def found(source: str) -> list[bool]:
        return [guarded for _, _, guarded, _ in touched(ast.parse(source))]

    assert found("engine.x\nhasattr(engine, 'x')\nengine.x") == [False, False]
    assert found("if hasattr(engine, 'x'):\n  engine.x\nengine.y") == [True, False]
    assert found("if version(trt)[0] < 10:\n  return engine.x\nengine.y") == [True, True]
    assert found("if other:\n  return engine.x\nengine.y") == [False, False]
    assert found("z = not hasattr(engine, 'x') or engine.x") == [True]
    assert found("z = engine.x if hasattr(engine, 'x') else engine.y\nz = self._engine.y") == [True, True, False]


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def asks(node: ast.AST) -> bool:
    """Whether an expression asks which TensorRT this is."""
    called = {call.func.id for call in ast.walk(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}
    return bool(called & {"hasattr", "version"})


def touched(node: ast.AST, guarded: bool = False) -> Iterator[tuple[str, str, bool, int]]:
    """Class, attribute, whether it is guarded, and line of each `builder.x`, `self._context.x`, `trt.DataType.x`."""
    if isinstance(node, ast.Attribute) and (owner := class_of(node.value)):
        yield owner, node.attr, guarded, node.lineno
    if isinstance(node, (ast.If, ast.IfExp)):
        guarded |= asks(node.test)
    if isinstance(node, ast.BoolOp):
        guarded |= asks(node)
    for _, value in ast.iter_fields(node):
        after = guarded
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from touched(child, after)
                # What follows `if asks: return` runs in the other case alone.
                after |= isinstance(child, ast.If) and asks(child.test) and isinstance(child.body[-1], ast.Return)


def class_of(owner: ast.AST) -> str | None:
    if isinstance(owner, ast.Name):
        return CLASS_OF.get(owner.id)
    if isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute):
        return {"get_timing_cache": "ITimingCache"}.get(owner.func.attr)
    if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
        if owner.value.id == "self":
            return CLASS_OF.get(owner.attr.lstrip("_"))
        if owner.value.id == "trt" and not owner.attr.startswith("_"):
            return owner.attr
    return None
