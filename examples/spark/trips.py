"""Generate taxi trips, sum them by hour, and find the longest wait, with the same results on every target.

All executors write the trips as CSV, as many as requested, and read them back. Every value is a function of
its row number, and all sums are of integers. So one machine and a cluster get equal results.

To find the longest wait, all trips are sorted. What does not fit into memory goes to disk: `SpilledMB`.
"""

import argparse
import csv
import json
import time
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812
from trips_rules import fare_cents

from amlexec.run import log

ROW_BYTES = 60
PART_BYTES = 128_000_000
MOMENT = "yyyy-MM-dd HH:mm:ss"  # shorter than Spark's usual format, and faster to read
SHORTEST, LONGEST = 500, 18_498  # meters
SECONDS_OF_A_YEAR = 365 * 24 * 3600
NEW_YEAR = 1420070400  # 2015, in seconds since 1970
SCHEMA = (
    "pickup TIMESTAMP, dropoff TIMESTAMP, zone INT, passengers INT, meters INT, fare_cents INT, tip_cents INT"
)


def drawn(name: str, below: int) -> Column:
    """A pseudo-random integer from 0 to `below` - 1, a function of the row number and `name`."""
    return F.pmod(F.xxhash64("id", F.lit(name)), F.lit(below)).cast("int")


def made_up(spark: SparkSession, rows: int, parts: int) -> DataFrame:
    """`rows` trips of the year 2015, in `parts` partitions."""
    # A Python function: the executors import it from the project's modules. It is called once for each
    # length and not for each trip, since a call takes longer than all the rest of a trip.
    fare = F.udf(fare_cents, "int")
    lengths = spark.range(SHORTEST, LONGEST + 1, 1, 1).select(F.col("id").cast("int").alias("meters"))
    fares = lengths.withColumn("fare_cents", fare("meters"))
    half = (LONGEST - SHORTEST) // 2 + 1
    trips = spark.range(0, rows, 1, parts).select(
        "id",
        (drawn("pickup", SECONDS_OF_A_YEAR) + NEW_YEAR).alias("begins"),
        (drawn("zone", 265) + 1).alias("zone"),
        (drawn("passengers", 6) + 1).alias("passengers"),
        (drawn("long", half) + drawn("longer", half) + SHORTEST).alias("meters"),
    )
    return trips.join(F.broadcast(fares), "meters").select(
        F.timestamp_seconds("begins").alias("pickup"),
        F.timestamp_seconds(F.col("begins") + (F.col("meters") / 6).cast("int")).alias("dropoff"),
        "zone",
        "passengers",
        "meters",
        "fare_cents",
        drawn("tip", 800).alias("tip_cents"),
    )


def longest_wait(trips: DataFrame) -> Row:
    """The trip before which a zone waited longest for one, and the `wait` in seconds."""
    before = Window.partitionBy("zone").orderBy("pickup", "meters")
    wait = F.unix_timestamp("pickup") - F.unix_timestamp(F.lag("pickup").over(before))
    waits = trips.select("zone", "pickup", "meters").withColumn("wait", wait)
    found = waits.orderBy(F.desc("wait"), "zone", "pickup", "meters").first()
    assert found is not None
    return found


def spilled_bytes(spark: SparkSession) -> int:
    """What did not fit into memory and was written to disk, in all stages until now."""
    stages = spark.sparkContext._jsc.sc().statusStore()  # noqa: SLF001 - there is no other way
    number = total = 0
    while True:
        try:
            total += stages.lastStageAttempt(number).diskBytesSpilled()
        except Py4JJavaError:
            return total  # there is no such stage
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=0.002, help="size of the CSV")
    parser.add_argument("--parts", type=int, help="number of files and tasks; default: one for 128 MB")
    parser.add_argument("--data", default="trips", help="path of the CSV, which all machines can read")
    options = parser.parse_args()
    spark = SparkSession.builder.getOrCreate()
    rows = int(options.gigabytes * 1e9 / ROW_BYTES)
    parts = options.parts or max(8, rows * ROW_BYTES // PART_BYTES)
    spark.conf.set("spark.sql.shuffle.partitions", parts)

    began = time.monotonic()
    made = made_up(spark, rows, parts)
    made.write.csv(options.data, mode="overwrite", header=True, timestampFormat=MOMENT)
    written = time.monotonic()
    trips = spark.read.csv(options.data, schema=SCHEMA, header=True)
    by_hour = (
        trips.groupBy(F.hour("pickup").alias("hour"))
        .agg(
            F.count("*").alias("trips"),
            F.sum("meters").alias("meters"),
            F.sum("fare_cents").alias("fare_cents"),
            F.sum("tip_cents").alias("tip_cents"),
        )
        .orderBy("hour")
        .collect()
    )
    counted = time.monotonic()
    wait = longest_wait(trips)
    sorted_ = time.monotonic()

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    with (outputs / "by_hour.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(by_hour[0].asDict())
        table.writerows(by_hour)
    total = {
        "trips": sum(hour["trips"] for hour in by_hour),
        "fare_cents": sum(h["fare_cents"] for h in by_hour),
        "longest_wait": {"zone": wait["zone"], "seconds": wait["wait"], "meters": wait["meters"]},
    }
    (outputs / "total.json").write_text(json.dumps(total) + "\n", encoding="utf-8")
    log("Trips", total["trips"])
    log("SecondsToWrite", round(written - began, 2))
    log("SecondsToCount", round(counted - written, 2))
    log("SecondsToSort", round(sorted_ - counted, 2))
    log("SpilledMB", round(spilled_bytes(spark) / 1e6, 1))
    print(f"{total['trips']} trips, {total['fare_cents'] / 100:.2f} dollars, on {spark.sparkContext.master}")
    spark.stop()


if __name__ == "__main__":
    main()
