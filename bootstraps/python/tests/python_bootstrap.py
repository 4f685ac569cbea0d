"""Starts the Python bootstrap."""

import os

import channel

BOOTSTRAP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bootstrap.py")


class Runtime(channel.Runtime):
    """One process of the bootstrap; `version` is what the function's runtime says, e.g. `3.12`."""

    def __init__(self, python, files, handler="app.handler", version=None, env=None, task_root=None):
        variables = {"AWS_EXECUTION_ENV": "AWS_Lambda_python" + version} if version else {}
        variables.update(env or {})
        super().__init__([python, BOOTSTRAP], files, handler, variables, task_root)
