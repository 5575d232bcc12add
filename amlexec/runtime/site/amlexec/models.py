"""Models of a run: `models.jsonl` in its folder, one JSON line for each registered one.

{"name": "iris", "version": 1, "path": "outputs/model.pkl", "time": 1521077190.506}
"""

import json
import os
import time

from . import recorder
from .plain_values import encoded, text

__all__ = ["register_model"]

MODELS = "models.jsonl"


def register_model(name: object, path: object = None, **about: object) -> int:
    """Record a file or folder of the run as a model; returns its version among the run's models of that name.

    `about` is anything to keep with it, such as `tags` or `framework`.
    """
    name = text(name)
    version = _versions(name) + 1
    model = {"name": name, "version": version, "path": text(name if path is None else path)}
    model["time"] = round(time.time(), 3)
    for key, value in sorted(about.items()):
        model.setdefault(key, encoded(value)[0])
    recorder.append(MODELS, json.dumps(model) + "\n")
    return version


def _versions(name: str) -> int:
    found = 0
    try:
        with open(os.path.join(recorder.folder(), MODELS), "rb") as file:
            for line in file:
                try:
                    found += json.loads(line.decode("ascii"))["name"] == name
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        pass
    return found
