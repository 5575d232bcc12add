"""Describe the data: mean and standard deviation of each feature, by species, as a table in Markdown.

Writes outputs/summary.md. Needs tabulate, which aml_config/conda_dependencies.yml lists: run it on the target
`docker`.
"""

import csv
import statistics
from pathlib import Path

from tabulate import tabulate

from amlexec.run import log


def main():
    with Path("iris.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    *features, species = rows[0]
    table = []
    for name in sorted({row[species] for row in rows}):
        columns = [[float(row[feature]) for row in rows if row[species] == name] for feature in features]
        table.append(
            [
                name,
                *(f"{statistics.fmean(column):.2f} ± {statistics.stdev(column):.2f}" for column in columns),
            ]
        )
    text = tabulate(
        table, headers=[species, *(feature.replace("_", " ") for feature in features)], tablefmt="github"
    )

    log("Rows", len(rows))
    print(text)
    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    (outputs / "summary.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
