from __future__ import annotations

import re
from pathlib import Path

import pytest

from kzoo.training.run_folder import RunInfo, code_commit, read_info, write_info

INFO = RunInfo("kzoo train x.yaml", "abc", ("road", "sky"), ((0, 0, 0), (1, 2, 3)), 255)


def test_info_reads_back(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    assert read_info(tmp_path) == INFO


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no run folder of `kzoo train`: it has no run.json"):
        read_info(tmp_path)
    (tmp_path / "run.json").write_text('{"command": 3}')
    with pytest.raises(ValueError, match=r"run.json: .*missing 'commit'"):
        read_info(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json: "):
        read_info(tmp_path)


def test_commit_is_one_of_git_or_unknown() -> None:
    assert re.fullmatch(r"unknown|[0-9a-f]{12,40}(-dirty)?", code_commit())
