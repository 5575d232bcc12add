"""Learn where a ring is: logistic regression on the squared distance from its centre, by gradient descent.

It is pure Python, for whatever Python 3.5 or later the machine has, and slow on purpose: `--pause` makes each
epoch last, so that there is something to follow and to cancel.
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
    """(squared distance from the centre, 1 inside the ring or 0), of points all over a square."""
    source = random.Random(SEED)  # noqa: S311 - nothing here is secret
    found = []
    for _ in range(POINTS):
        x, y = source.uniform(-1, 1), source.uniform(-1, 1)
        distance = x * x + y * y
        found.append((distance, 1 if distance < 0.5 else 0))
    return found


def inside(model, distance):
    """How likely a point is inside, from 0 to 1."""
    return 1 / (1 + math.exp(-(model["weight"] * distance + model["bias"])))


def epoch(model, data, rate):
    """One step down the gradient; the loss before it."""
    weight = bias = loss = 0.0
    for distance, wanted in data:
        found = inside(model, distance)
        loss -= math.log(found if wanted else 1 - found)
        weight += (found - wanted) * distance
        bias += found - wanted
    model["weight"] -= rate * weight / len(data)
    model["bias"] -= rate * bias / len(data)
    return loss / len(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each epoch")
    asked = parser.parse_args()
    data = points()
    model = {"weight": 0.0, "bias": 0.0}
    for number in range(asked.epochs):
        loss = epoch(model, data, asked.rate)
        if number % 20 == 0 or asked.pause:
            print("epoch", number, "loss", round(loss, 4), flush=True)
            log("Loss", loss)
        time.sleep(asked.pause)
    right = sum((inside(model, distance) > 0.5) == bool(wanted) for distance, wanted in data)
    log("Accuracy", right / len(data))
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs/model.json").write_text(json.dumps(model), encoding="utf-8")
    print("accuracy", right / len(data))


if __name__ == "__main__":
    main()
