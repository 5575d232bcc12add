"""Answers requests with the model of train.py: the species of flowers, and the probability of each species.

Four lengths of a flower are in centimetres: sepal length and width, petal length and width.
"""

import json
import os
from pathlib import Path
from typing import TypedDict

from train import probabilities


class Answer(TypedDict):
    species: list[str]
    probabilities: list[dict[str, float]]


def init():
    """Called once, before the first request."""
    global model  # noqa: PLW0603 - a scoring script is a module with a state
    path = Path(os.environ["AZUREML_MODEL_DIR"], "model.json")
    model = json.loads(path.read_text(encoding="utf-8"))


def run(flowers: list[list[float]], digits: int = 3) -> Answer:
    """Called for each request; its parameters are the fields of the request."""
    found = []
    for flower in flowers:
        row = [1.0]
        row += [
            (value - mean) / spread
            for value, mean, spread in zip(flower, model["means"], model["spreads"], strict=True)
        ]
        chances = probabilities(model["weights"], row)
        found.append(dict(zip(model["species"], [round(chance, digits) for chance in chances], strict=True)))
    return {"species": [max(one, key=one.get) for one in found], "probabilities": found}
