#!/usr/bin/env python3
"""The files of a real `shrike bench` run, read by another implementation of HdrHistogram.

The intervals of the log, added up, must give the counts and percentiles of the JSON report, and the percentile text
must be what the package itself prints of them. A server of bench's own is started and stopped on the way, and a run
that is told to stop reports what it had measured.
"""
import io
import json
import math
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

HOUR_NS = 3_600_000_000_000


def check(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"FAILED: {what}")


def bench(shrike: str, folder: pathlib.Path, *more: str) -> list[str]:
    return [shrike, "bench", "--rate", "400", "--warm-up", "0.5s", "--echo", "0", "--lag-max-ms", "60000", "--durability", "async",
            "--json", str(folder / "report.json"), "--hgrm", str(folder / "run.hgrm"),
            "--hlog", str(folder / "run.hlog"), *more]


def total_of(log: pathlib.Path) -> tuple[HdrHistogram, int]:
    total = HdrHistogram(1, HOUR_NS, 3)
    reader = HistogramLogReader(str(log), total)
    intervals = 0
    while reader.add_next_interval_histogram() is not None:
        intervals += 1
    return total, intervals


def numbers(text: str) -> list[list[float]]:
    """The lines of a percentile text; its comments by their numbers."""
    rows = []
    for line in text.splitlines()[2:]:
        rows.append([float(word) for word in line.replace(",", " ").replace("]", " ").split()
                     if word.replace(".", "").isdigit()])
    return rows


def java_levels(count: int):
    """The steps of Java's PercentileIterator, five for each halving of the distance to 100 % (the package does not
    round the halvings down, so its own text has other steps)."""
    level = 0.0
    for _ in range(count):
        yield level / 100
        level += 100 / (5 * 2 ** (int(math.log(100 / (100 - level)) / math.log(2)) + 1))


def check_files(folder: pathlib.Path) -> None:
    leg = json.loads((folder / "report.json").read_text())["leg"]
    total, intervals = total_of(folder / "run.hlog")
    check(intervals >= 2, f"{intervals} intervals in a run of three seconds")
    check(total.get_total_count() == leg["latency"]["count"] == leg["answered"] == 1200,
          f"{total.get_total_count()} values in the log, {leg['answered']} answers")

    recorded = [(item.value_iterated_to / 1e6, item.total_count_to_this_value)
                for item in total.get_recorded_iterator()]
    for percentile, ms in leg["latency"]["percentiles_ms"].items():
        read = next(item[0] for item in recorded if item[1] >= float(percentile) * 12 - 1e-9)
        check(abs(read - ms) < 1e-9, f"{percentile} %: {read} ms in the log, {ms} in the report")
    rows = numbers((folder / "run.hgrm").read_text())
    levels = [row[1] for row in rows[:-3]]
    expected = list(java_levels(len(levels) - 1)) + [1.0]
    check(len(levels) > 20 and all(abs(a - b) < 1e-11 for a, b in zip(levels, expected)),
          "the steps of percentiles are not HdrHistogram's")
    for value, level, count, *_ in rows[:-3]:
        there = next(item for item in recorded if item[1] >= level * 1200 - 1e-9)
        check(abs(there[0] - value) < 6e-4 and there[1] == count,
              f"{level * 100} %: {there} in the log, {value} and {count} in the percentile text")
    printed = io.BytesIO()
    total.output_percentile_distribution(printed, 1e6)
    theirs = numbers(printed.getvalue().decode())
    check(rows[-1] == theirs[-1], "buckets differ")
    # The package prints the deviation without the unit.
    check(abs(rows[-3][0] - theirs[-3][0]) < 2e-3, f"means {rows[-3][0]} and {theirs[-3][0]}")
    check(abs(rows[-3][1] - theirs[-3][1] / 1e6) < 2e-3, f"deviations {rows[-3][1]} and {theirs[-3][1] / 1e6}")
    check(rows[-2] == theirs[-2], "maximum or total differs")


def check_stop(shrike: str, folder: pathlib.Path) -> None:
    (folder / "report.json").unlink()
    running = subprocess.Popen(bench(shrike, folder, "--duration", "1h", "--data", str(folder / "data")))
    # Once the log has so much, the warm-up is over.
    while sum(log.stat().st_size for log in (folder / "data").glob("*.log")) < 200_000:
        check(running.poll() is None, "bench ended before it was told to")
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    check(running.wait(120) == 0, f"exit code {running.returncode} after SIGTERM")
    leg = json.loads((folder / "report.json").read_text())["leg"]
    check(leg["stopped"] and leg["unanswered"] == 0, "a run that was stopped says so, and its requests are answered")


def main(shrike: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run(bench(shrike, folder, "--duration", "3s"), check=True)
        check_files(folder)
        check_stop(shrike, folder)
    print("hdr files: all as they should be")


if __name__ == "__main__":
    main(sys.argv[1])
