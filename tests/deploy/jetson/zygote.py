"""Runs scripts in forks of a process that has imported NumPy and Pillow already: one process each, started faster.

Reads one JSON object a line: the command's `argv`, its `env` and `cwd`, and where its `stdout` and `stderr` go; answers
with the exit code. ONNX Runtime cannot be imported here, because its threads do not survive a fork.
"""

import json
import os
import runpy
import sys

import numpy  # noqa: F401
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin  # noqa: F401


def serve() -> dict[str, object]:
    """Answers requests; returns in the forks alone, with what they shall run."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            return request
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)


request = serve()
for number, name in ((1, "stdout"), (2, "stderr")):
    file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, number)
os.environ.clear()
os.environ.update(request["env"])
os.chdir(request["cwd"])
sys.argv = request["argv"]
for name in [name for name in sys.modules if name.split(".")[0] == "PIL"]:
    del sys.modules[name]  # so that it is looked for again
sys.path[:1] = [os.path.dirname(sys.argv[0]), *os.environ["PYTHONPATH"].split(":")]
runpy.run_path(sys.argv[0], run_name="__main__")
