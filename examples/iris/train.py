"""Classify three species of iris: multinomial logistic regression, in plain Python.

Writes outputs/model.json and outputs/confusion.csv; logs the loss, the accuracy and the regularization rate.
"""

import argparse
import csv
import json
import math
import random
import statistics
from operator import mul
from pathlib import Path

from amlexec.run import log

SEED = 0
STEPS = 300
LEARNING_RATE = 0.5
TEST_ROWS = 45


def read(path):
    """Returns the features and the species of every row."""
    rows = list(csv.reader(Path(path).read_text(encoding="utf-8").splitlines()))[1:]
    return [[float(value) for value in row[:-1]] for row in rows], [row[-1] for row in rows]


def scale(rows):
    """Returns the mean and the deviation of each feature."""
    columns = [[row[j] for row in rows] for j in range(len(rows[0]))]
    return [statistics.fmean(column) for column in columns], [statistics.pstdev(column) for column in columns]


def scaled(features, means, spreads):
    """Standardizes each row, and prepends a 1 for the bias."""
    return [[1.0, *((value - means[j]) / spreads[j] for j, value in enumerate(row))] for row in features]


def probabilities(weights, row):
    """Returns the probability of each species for one row."""
    scores = [sum(map(mul, line, row)) for line in weights]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def train(features, labels, species, regularization):
    """Gradient descent on the cross-entropy. Returns the weights, and the loss of every tenth step."""
    weights = [[0.0] * len(features[0]) for _ in species]
    rate = LEARNING_RATE / (1 + regularization)
    losses = []
    for step in range(STEPS):
        gradient = [[regularization * weight for weight in [0.0, *line[1:]]] for line in weights]
        loss = regularization / 2 * sum(weight**2 for line in weights for weight in line[1:])
        for i, row in enumerate(features):
            for k, probability in enumerate(probabilities(weights, row)):
                right = species[k] == labels[i]
                loss -= math.log(probability) / len(features) if right else 0.0
                for j, value in enumerate(row):
                    gradient[k][j] += (probability - right) * value / len(features)
        weights = [[w - rate * gradient[k][j] for j, w in enumerate(line)] for k, line in enumerate(weights)]
        if step % 10 == 0:
            losses.append(round(loss, 6))
    return weights, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reg", type=float, default=0.01, help="regularization rate (default: %(default)s)")
    regularization = parser.parse_args().reg

    features, labels = read("iris.csv")
    species = sorted(set(labels))
    order = list(range(len(labels)))
    random.Random(SEED).shuffle(order)  # noqa: S311 - no secret
    test, rest = order[:TEST_ROWS], order[TEST_ROWS:]
    means, spreads = scale([features[i] for i in rest])
    features = scaled(features, means, spreads)
    print(f"Iris: {len(order)} rows, {len(rest)} to train, {len(test)} to test")

    weights, losses = train([features[i] for i in rest], [labels[i] for i in rest], species, regularization)
    confusion = {(actual, guess): 0 for actual in species for guess in species}
    for i in test:
        chances = probabilities(weights, features[i])
        confusion[labels[i], species[chances.index(max(chances))]] += 1
    accuracy = sum(confusion[name, name] for name in species) / len(test)

    log("Regularization Rate", regularization)
    log("Loss", losses)
    log("Accuracy", accuracy)
    print(f"Regularization rate: {regularization:g}")
    print(f"Loss: {losses[0]:.4f} -> {losses[-1]:.4f}")
    print(f"Accuracy: {accuracy:.4f}")

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    model = {"species": species, "means": means, "spreads": spreads, "weights": weights}
    (outputs / "model.json").write_text(json.dumps(model, indent=2), encoding="utf-8")
    with (outputs / "confusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["actual", *species])
        for actual in species:
            writer.writerow([actual, *(confusion[actual, guess] for guess in species)])


if __name__ == "__main__":
    main()
