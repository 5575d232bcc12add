"""Learn the position of a ring: logistic regression on the squared distance from its centre.

It is pure Python and runs on Python 3.5 or later. It is slow on purpose: `--pause` makes each epoch longer,
so that there is a run to follow and to cancel.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

from amlexec.run import log

SEED = 0
POINTS = 400


def points():
    """Random points of a square, as (squared distance from the centre, 1 inside the ring or 0)."""
    source = random.Random(SEED)  # noqa: S311 - nothing here is secret
    data = []
    for _ in range(POINTS):
        x, y = source.uniform(-1, 1), source.uniform(-1, 1)
        distance = x * x + y * y
        data.append((distance, 1 if distance < 0.5 else 0))
    return data


def inside(model, distance):
    """The probability that a point is inside, from 0 to 1."""
    return 1 / (1 + math.exp(-(model["weight"] * distance + model["bias"])))


def epoch(model, data, rate):
    """One step of gradient descent. Returns the loss before the step."""
    weight = bias = loss = 0.0
    for distance, label in data:
        probability = inside(model, distance)
        loss -= math.log(probability if label else 1 - probability)
        weight += (probability - label) * distance
        bias += probability - label
    model["weight"] -= rate * weight / len(data)
    model["bias"] -= rate * bias / len(data)
    return loss / len(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each epoch")
    arguments = parser.parse_args()
    data = points()
    model = {"weight": 0.0, "bias": 0.0}
    for number in range(arguments.epochs):
        loss = epoch(model, data, arguments.rate)
        if number % 20 == 0 or arguments.pause:
            print("epoch", number, "loss", round(loss, 4), flush=True)
            log("Loss", loss)
        time.sleep(arguments.pause)
    right = sum((inside(model, distance) > 0.5) == bool(label) for distance, label in data)
    log("Accuracy", right / len(data))
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs/model.json").write_text(json.dumps(model), encoding="utf-8")
    print("accuracy", right / len(data))


if __name__ == "__main__":
    main()
