"""Rows that `shrike replay --rows` wrote, the delayed prequential protocol over them, and its measures.

Each transaction is scored as it happens; its label becomes known DELAY_S later, and only then may a learner have it.
Days count from the first transaction's. The measures are those of learners/metrics.cc: equal scores are one step.
"""
import dataclasses
import math
import pathlib
import time

import numpy as np
import pandas

DAY_S = 86_400
DELAY_S = 7 * DAY_S
WEEK_S = 7 * DAY_S
PRIOR = 0.01  # the probability before there is a model, as in examples/*.toml


@dataclasses.dataclass
class Rows:
    names: list
    time: np.ndarray  # seconds, float64, not falling
    label: np.ndarray  # uint8
    values: np.ndarray  # float32, rows x columns; NaN where missing

    def __len__(self):
        return len(self.time)

    def head(self, n):
        return Rows(self.names, self.time[:n], self.label[:n], self.values[:n])

    @property
    def day(self):
        return (self.time // DAY_S).astype(np.int32)


def read_rows(path):
    """Keeps what it has parsed beside the CSV, as .npz; a newer CSV is parsed again."""
    path = pathlib.Path(path)
    kept = path.with_suffix(path.suffix + ".npz")
    if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
        table = pandas.read_csv(path, dtype=np.float64)
        if table["label"].isna().any():
            raise SystemExit(f"{path}: rows without a label; the comparison needs every label")
        time_s = table["time"].to_numpy()
        if (np.diff(time_s) < 0).any():
            raise SystemExit(f"{path}: times fall; the comparison needs rows in order of time")
        names = list(table.columns[3:])
        np.savez(kept, names=np.array(names), time=time_s, label=table["label"].to_numpy(np.uint8),
                 values=np.ascontiguousarray(table[names].to_numpy(np.float32)))
    with np.load(kept) as all_:
        return Rows(list(all_["names"]), all_["time"], all_["label"], all_["values"])


class Costs:
    """Learning: CPU seconds, so that others on the machine do not count. A prediction: wall-clock time of one row."""

    def __init__(self):
        self.learn_s = 0.0
        self.predict_ns = []

    def report(self):
        ns = np.array(self.predict_ns or [math.nan], float)
        return {"learn_s": self.learn_s, "predict_us_p50": float(np.percentile(ns, 50)) / 1e3,
                "predict_us_p999": float(np.percentile(ns, 99.9)) / 1e3}


def run_online(learner, rows, delay_s=DELAY_S):
    """`learner.example(row)` makes the library's own form of a row (not timed), `predict(example)` gives a probability,
    `learn(example, label)` learns. With no delay a row is learned right after it was scored."""
    costs, scores = Costs(), np.empty(len(rows), np.float32)
    waiting, known = {}, 0
    clock, cpu = time.perf_counter_ns, time.thread_time_ns

    def learn():
        nonlocal known
        example, label = waiting.pop(known), int(rows.label[known])
        started = cpu()
        learner.learn(example, label)
        costs.learn_s += (cpu() - started) / 1e9
        known += 1

    times = rows.time.tolist()
    for i, now in enumerate(times):
        while delay_s > 0 and times[known] + delay_s <= now:
            learn()
        example = learner.example(rows.values[i])
        started = clock()
        scores[i] = learner.predict(example)
        costs.predict_ns.append(clock() - started)
        waiting[i] = example
        if delay_s == 0:
            learn()
    return scores, costs


def run_weekly(learner, rows, delay_s=DELAY_S):
    """`learner.train(values, labels)` sees all that is known at the start of each week; `predict(values)` scores the week.
    How long one row takes is measured on the last week's first rows."""
    costs, scores = Costs(), np.full(len(rows), PRIOR, np.float32)
    trained = False
    for start in np.arange(0, rows.time[-1] + 1, WEEK_S):
        known = np.searchsorted(rows.time, start - delay_s, side="right")
        week = slice(*np.searchsorted(rows.time, [start, start + WEEK_S]))
        if known > 0 and rows.label[:known].any():
            started = time.process_time()
            learner.train(rows.values[:known], rows.label[:known])
            costs.learn_s += time.process_time() - started
            trained = True
        if trained and week.stop > week.start:
            scores[week] = learner.predict(rows.values[week])
    if trained:
        for i in range(max(0, len(rows) - 20_000), len(rows)):
            row = rows.values[i:i + 1]
            started = time.perf_counter_ns()
            learner.predict(row)
            costs.predict_ns.append(time.perf_counter_ns() - started)
    return scores, costs


def _steps(scores, labels):
    """Of each group of equal scores, highest first: frauds and legitimate ones up to and with it."""
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    caught = np.cumsum(labels)[last]
    return caught, last + 1 - caught


def average_precision(scores, labels):
    caught, alarms = _steps(scores, labels)
    if caught[-1] == 0:
        return math.nan
    return float(np.sum(np.diff(caught, prepend=0) * caught / (caught + alarms)) / caught[-1])


def auc(scores, labels):
    caught, alarms = _steps(scores, labels)
    if caught[-1] == 0 or alarms[-1] == 0:
        return math.nan
    before = np.append(0, caught[:-1])
    return float(np.sum(np.diff(alarms, prepend=0) * (before + caught) / 2) / (caught[-1] * alarms[-1]))


def daily_ap(rows, scores):
    """Average precision of each day; NaN for one without frauds."""
    day = rows.day
    edges = np.searchsorted(day, np.arange(day[-1] + 2))
    return np.array([average_precision(scores[a:b], rows.label[a:b]) if b > a else math.nan
                     for a, b in zip(edges[:-1], edges[1:])])


def measure(rows, scores, days=(60, 90), earlier=(30, 60)):
    """What the table shows; `days` and `earlier` include both ends. Days that the stream does not reach give NaN."""
    by_day = daily_ap(rows, scores)

    def mean_of(first, last):
        if len(by_day) <= last:
            return math.nan
        return float(np.nanmean(by_day[first:last + 1]))

    found = {"daily_ap": mean_of(*days), "daily_ap_earlier": mean_of(*earlier), "ap_by_day": by_day.tolist()}
    chosen = (rows.day >= days[0]) & (rows.day <= days[1])
    if len(by_day) <= days[1]:
        return found | {"ap": math.nan, "auc": math.nan, "log_loss": math.nan, "brier": math.nan}
    s, y = scores[chosen], rows.label[chosen]
    p = np.clip(s.astype(np.float64), 1e-15, 1 - 1e-15)
    return found | {"ap": average_precision(s, y), "auc": auc(s, y),
                    "log_loss": float(-np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))),
                    "brier": float(np.mean((s - y.astype(np.float64)) ** 2))}
