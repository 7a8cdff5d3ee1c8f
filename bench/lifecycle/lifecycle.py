"""A compressed half-year of the simulator, in which a new kind of fraud starts, a feature's source breaks (all zero), a
label source is poisoned, a bad model is pushed by hand past the gate, and traffic doubles; served by two real servers, one
with the life cycle on (quality, drift, quarantine of sources, rollouts or else learned thresholds, retraining, rollback) and one with all
of it off. For each fault: which monitor told of it, after how many transactions and days, what was done, and what true
average precision, the share of legitimate transactions declined and the money lost (frauds approved) did meanwhile.

Frauds that went through are reported after exponential delays (chargebacks, mean 5 days; a fifth by the customer, mean 1),
reviewers give their verdict (mean 1 day), what is declined gets no label but in the control group (2 %).

    bench/lifecycle/run
    bench/lifecycle/run --days 182 --customers 1500 --seed 2 --json lifecycle.json --svg lifecycle.svg
"""
import argparse
import collections
import concurrent.futures
import csv
import gzip
import heapq
import json
import multiprocessing
import pathlib
import re
import shutil
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/loop"))

from loop import average_precision  # noqa: E402
from report import print_table, write_svg  # noqa: E402
from server import Server, configured  # noqa: E402

DAY = 86400
OTHERS = 10**9  # what is added to the ids of the traffic that doubles the stream
CHARGEBACK_DAYS, CUSTOMER_DAYS, REVIEW_DAYS = 5, 1, 1
CUSTOMER_SHARE = 0.2
POISON_SHARE = 0.02  # of legitimate transactions, while the source is poisoned

# Awaited training and no deadline: what happens does not depend on how fast the machine is, nor is its latency judged.
BOTH = {"training": {"mode": '"awaited"'}, "deadline": {"default": '"60s"'}, "machine": {"every": '"0s"'},
        "control": {"share": "0.02"}, "limits": {"clock": '"event"'}, "storage": {"durability": '"async"'},
        "sockets": {name: '"tcp://127.0.0.1:*"' for name in ("score", "feedback", "events")}}
SWITCHES = {"quality": "on", "drift": "on", "sources": "quarantine", "rollback": "on", "rollout": "on",
            "retraining": "on", "thresholds": "learn"}
MODES = ("on", "off")
REVIEWED = 0.03  # of transactions, where thresholds are learned

# Days of a half-year of 182 days: the fault's first and last, and the last of those that are measured.
# It is detected by a new alarm of one of the monitors whose subject or text speaks of it.
Fault = collections.namedtuple("Fault", "key name first last measured monitors about")
FAULTS = [Fault("new_fraud", "a new kind of fraud starts", 56, 181, 83, ("drift", "performance"),
                r"^(labels|concept|score|auc|average_precision|recall|precision|f1|accuracy) "),
          Fault("broken", "a source breaks: amounts are 0", 91, 97, 104, ("quality", "drift"), "amount"),
          Fault("poisoned", "a label source is poisoned", 112, 118, 132, ("sources",), "customer"),
          Fault("pushed", "a bad model is pushed by hand", 133, 133, 146, ("rollback", "performance"), ""),
          Fault("doubled", "traffic doubles", 154, 167, 174, ("quality", "drift"), "count")]
# A server whose disk fills is not among them: it needs a file system of its own.
LEARNED_DAYS = 28  # by the bad model


def switched(mode, args):
    """The configuration of a run: all parts of the life cycle on, but those that are left out; or all off."""
    changes = {table: {key: "true" if mode == "on" and table not in args.without else "false"}
               for table, key in SWITCHES.items()}
    if changes["rollout"]["on"] == "true":  # what either does shows apart
        changes["thresholds"]["learn"] = "false"
    changes["thresholds"]["reviews_per_day"] = str(round(2 * REVIEWED * args.customers))
    return changes


def scaled(days):
    return [f._replace(**{key: round(getattr(f, key) * days / 182) for key in ("first", "last", "measured")})
            for f in FAULTS]


def simulate(args, path, *options):
    subprocess.run([args.shrike, "simulate", "--customers", str(args.customers), "--terminals", str(2 * args.customers),
                    "--out", path, *map(str, options)], check=True, stdout=subprocess.DEVNULL)
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([kind(row[key]) for row in rows]) for key, kind in
            (("transaction_id", int), ("time", int), ("customer_id", int), ("terminal_id", int), ("amount", float),
             ("is_fraud", int))}


def make_stream(args, faults):
    """The columns of the whole stream in order of time; `sent` are the amounts as the broken source has them."""
    fault = {f.key: f for f in faults}
    stream = simulate(args, args.work / "stream.csv.gz", "--days", args.days, "--seed", args.seed, "--drift-day",
                      fault["new_fraud"].first)
    doubled = fault["doubled"]
    others = simulate(args, args.work / "others.csv.gz", "--days", doubled.last - doubled.first + 1, "--seed", args.seed + 1)
    others["time"] += doubled.first * DAY
    for key in ("transaction_id", "customer_id", "terminal_id"):
        others[key] += OTHERS
    order = np.argsort(np.r_[stream["time"], others["time"]], kind="stable")
    stream = {key: np.r_[stream[key], others[key]][order] for key in stream}
    stream["day"] = stream["time"] // DAY
    broken = fault["broken"]
    zero = (stream["day"] >= broken.first) & (stream["day"] <= broken.last)
    stream["sent"] = np.where(zero, 0, stream["amount"])
    return stream


class Labels:
    """What people say of each transaction once it is decided, and when; the same draws in every run."""

    def __init__(self, stream, seed, poisoned):
        rng = np.random.default_rng(seed)
        size = len(stream["time"])
        self.fraud, self.time = stream["is_fraud"], stream["time"]
        self.by_customer = rng.random(size) < CUSTOMER_SHARE
        self.delay = rng.exponential(1, size)
        lies = rng.random(size) < POISON_SHARE
        self.lie = lies & (self.fraud == 0) & (stream["day"] >= poisoned.first) & (stream["day"] <= poisoned.last)

    def of(self, row, decision):
        """What is said: due time, label and source of each."""
        said = None
        if decision == "review":
            said = (REVIEW_DAYS, int(self.fraud[row]), "analyst")
        elif decision == "approve" and self.lie[row]:
            said = (CUSTOMER_DAYS, 1, "customer")
        elif decision == "approve" and self.fraud[row]:
            said = (CUSTOMER_DAYS, 1, "customer") if self.by_customer[row] else (CHARGEBACK_DAYS, 1, "chargeback")
        return [(int(self.time[row] + said[0] * DAY * self.delay[row]), *said[1:])] if said else []


class TurnedRound:
    """Labels from which a bad model comes: frauds are legitimate, and the smallest purchases are fraud."""

    def __init__(self, stream):
        self.fraud = (stream["is_fraud"] == 0) & (stream["amount"] < np.quantile(stream["amount"], 0.03))
        self.time = stream["time"]

    def of(self, row, decision):
        said = self.fraud[row] or decision != "approve"
        return [(int(self.time[row] + DAY), int(self.fraud[row]), "analyst")] if said else []


class Drive:
    """Sends a stream day by day: a day's transactions, then the labels that fall due in it."""

    def __init__(self, stream, labels):
        size = len(stream["time"])
        self.stream, self.labels, self.due = stream, labels, []
        self.score, self.seq = np.zeros(size, np.float32), np.zeros(size, np.int64)
        self.approved, self.declined = np.zeros(size, bool), np.zeros(size, bool)

    def send_day(self, server, day, part=(0, 1)):
        """`part`: which of how many parts of the day."""
        s = self.stream
        first, end = np.searchsorted(s["day"], [day, day + 1])
        first, end = (first + (end - first) * k // part[1] for k in (part[0], part[0] + 1))
        if first == end:
            return
        columns = [s[key][first:end].tolist() for key in ("transaction_id", "time", "customer_id", "terminal_id", "sent")]
        texts = ('{"transaction_id":%d,"time":%d,"customer_id":%d,"terminal_id":%d,"amount":%.2f}' % row
                 for row in zip(*columns))
        for row, reply in enumerate(server.exchange("score", texts), start=int(first)):
            self.score[row], self.seq[row], decision = reply["score"], reply["seq"], reply["decision"]
            self.approved[row], self.declined[row] = decision == "approve", decision == "decline"
            for said in self.labels.of(row, decision):
                heapq.heappush(self.due, (said[0], row, *said[1:]))
        now = int(s["time"][end - 1])
        texts = []
        while self.due and self.due[0][0] <= now:
            when, row, label, source = heapq.heappop(self.due)
            texts.append(f'{{"transaction_id":{s["transaction_id"][row]},"is_fraud":{label},"source":"{source}",'
                         f'"time":{when}}}')
        for _ in server.exchange("feedback", texts):
            pass


def command(args, *words):
    return subprocess.run([args.shrike, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def make_directory(args, name, changes):
    """An empty data directory and its configuration."""
    data, config = args.work / name, args.work / f"{name}.toml"
    shutil.rmtree(data, ignore_errors=True)
    pathlib.Path(f"{data}.log").unlink(missing_ok=True)
    config.write_text(configured(pathlib.Path(args.config).read_text(), {**BOTH, **changes}))
    return data, config


def make_bad_model(args, stream, days):
    """The champion of a server that learned from labels turned round, in a file."""
    data, config = make_directory(args, "bad", switched("off", args))
    drive = Drive(stream, TurnedRound(stream))
    with Server(args.shrike, config, data) as server:
        for day in range(days):
            drive.send_day(server, day)
    champion = json.loads(command(args, "models", "list", "--data", data, "--json"))["champion"]
    file = args.work / "bad.shrike"
    command(args, "models", "export", champion, "--data", data, "--out", file)
    return file, champion


def run_mode(args, mode, stream, faults, bad):
    """Serves the whole stream; at the day of the push the server is stopped, for a model is imported into its directory."""
    fault = {f.key: f for f in faults}
    data, config = make_directory(args, mode, switched(mode, args))
    drive = Drive(stream, Labels(stream, args.seed, fault["poisoned"]))
    began, push = time.time(), fault["pushed"].first
    for days in (range(push), range(push, args.days)):
        if days.start == push:
            command(args, "models", "import", bad[0], "--data", data)
        with Server(args.shrike, config, data) as server:
            if days.start == push:
                server.command("activate", bad[1])
            for day in days:
                drive.send_day(server, day)
                if day % 14 == 13:
                    rate = np.searchsorted(stream["day"], day + 1) / (time.time() - began)
                    print(f"life cycle {mode}: day {day + 1} of {args.days}, {rate:,.0f} transactions/s", file=sys.stderr)
    return {key: getattr(drive, key) for key in ("score", "seq", "approved", "declined")}


def figures(stream, run, first, last):
    """Of the days `first` to `last`, by the true labels and amounts."""
    rows = slice(*np.searchsorted(stream["day"], [first, last + 1]))
    label, amount = stream["is_fraud"][rows], stream["amount"][rows]
    return {"average_precision": average_precision(run["score"][rows], label, np.ones(len(label))),
            "fpr": float(np.mean(run["declined"][rows][label == 0])),
            "lost": float(amount[run["approved"][rows] & (label == 1)].sum())}


def told(events, stream, run):
    """The timeline's events with the day at which they stand in the log, and whether the same alert stood before."""
    standing = {}
    severity = {"info": 0, "warning": 1, "critical": 2}
    for event in events:
        row = int(np.searchsorted(run["seq"], event["seq"])) - 1
        event["row"], event["at_day"] = row, float(stream["time"][max(row, 0)]) / DAY
        if event["kind"] != "judgement":
            continue
        about, level = (event["monitor"], event["subject"]), severity[event["severity"]]
        alarm = event["finding"] == "failed" and level > 0
        event["alarm"] = alarm and level > standing.get(about, 0)
        if event["action"] in ("resolve", "release") or event["finding"] == "successful":
            standing.pop(about, None)
        elif alarm:
            standing[about] = max(level, standing.get(about, 0))
    return events


def detection(fault, events, stream):
    """The first new alarm of a monitor whose matter the fault is, while it is measured; None when there is none."""
    first = int(np.searchsorted(stream["day"], fault.first))
    for event in events:
        if event.get("alarm") and event["monitor"] in fault.monitors and event["row"] >= first and \
                event["at_day"] < fault.measured + 1 and re.search(fault.about, f"{event['subject']} {event['text']}"):
            return {"monitor": event["monitor"], "subject": event["subject"], "severity": event["severity"],
                    "text": event["text"], "transactions": event["row"] - first + 1,
                    "days": event["at_day"] - float(stream["time"][first]) / DAY}
    return None


def done(fault, events):
    """What was done in the measured days: what, how often, and days from the fault to the first."""
    seen = {}
    for event in events:
        if not fault.first <= event["at_day"] < fault.measured + 1 or event["kind"] not in ("judgement", "model"):
            continue
        if event["kind"] == "model":
            what = f"model {event['action']}"
        elif event["action"] not in ("none", "resolve"):
            subject = "" if re.fullmatch("[0-9a-f]{32}", event["subject"]) else event["subject"]  # a model
            what = " ".join(filter(None, (event["monitor"], event["action"], subject)))
        else:
            continue
        entry = seen.setdefault(what, {"what": what, "times": 0, "days": event["at_day"] - fault.first})
        entry["times"] += 1
    return list(seen.values())


def check_replay(args):
    """Does the log of the run with the life cycle come out again?"""
    out = subprocess.run([args.shrike, "replay", args.work / "on", "--json"], stdout=subprocess.PIPE, text=True).stdout
    report = json.loads(out)
    return {key: report[key] for key in ("scores_different", "arms_different", "judgements_different")}


def summary(args, stream, runs, faults):
    timelines = {mode: told(json.loads(command(args, "timeline", args.work / mode, "--json"))["events"], stream, runs[mode])
                 for mode in MODES}
    on, warm_up = timelines["on"], faults[0].first // 2
    both = lambda first, last: {mode: figures(stream, runs[mode], first, last) for mode in MODES}
    quiet = [e for e in on if e.get("alarm") and e["at_day"] >= warm_up and
             not any(f.first <= e["at_day"] < f.measured + 1 for f in faults)]
    return {"days": args.days, "seed": args.seed, "without": args.without, "transactions": len(stream["time"]),
            "frauds": int(stream["is_fraud"].sum()),
            "faults": [{**f._asdict(), "detected": detection(f, on, stream), "done": done(f, on),
                        "alarms": sum(bool(e.get("alarm")) for e in on if f.first <= e["at_day"] < f.measured + 1),
                        **both(f.first, f.measured)} for f in faults],
            "before": {"first": warm_up, "last": faults[0].first - 1, **both(warm_up, faults[0].first - 1)},
            "whole": {"first": warm_up, "last": args.days - 1, **both(warm_up, args.days - 1)},
            "quiet_alarms": [{key: e[key] for key in ("at_day", "monitor", "subject", "text")} for e in quiet],
            "weeks": [{"first": day, **both(day, day + 6)} for day in range(7, args.days - 6, 7)]}


def main():
    parser = argparse.ArgumentParser(prog="bench/lifecycle/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=182, help="length of the stream, at least 91; default %(default)s")
    parser.add_argument("--customers", type=int, default=1500, help="each buys about twice a day; default %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", default=[], type=lambda names: names.split(","), metavar="PARTS",
                        help=f"parts that are off in both runs, by their tables: {', '.join(SWITCHES)}")
    parser.add_argument("--config", default=ROOT / "examples/handbook.toml")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/lifecycle")
    parser.add_argument("--json", type=pathlib.Path, help="all figures and what was told")
    parser.add_argument("--svg", type=pathlib.Path, help="weekly average precision; default: lifecycle.svg in --work")
    parser.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    args = parser.parse_args()
    if args.days < 91:
        parser.error("--days is too few for all that happens: at least 91")
    if unknown := set(args.without) - set(SWITCHES):
        parser.error(f"no parts of the life cycle: {', '.join(sorted(unknown))}")
    args.work.mkdir(parents=True, exist_ok=True)
    faults = scaled(args.days)
    stream = make_stream(args, faults)
    print(f"{len(stream['time']):,} transactions, {stream['is_fraud'].sum():,} frauds, seed {args.seed}", file=sys.stderr)
    bad = make_bad_model(args, stream, LEARNED_DAYS)
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        jobs = {mode: pool.submit(run_mode, args, mode, stream, faults, bad) for mode in MODES}
        runs = {mode: job.result() for mode, job in jobs.items()}
    result = summary(args, stream, runs, faults)
    result["replay"] = check_replay(args)
    print_table(result)
    write_svg(result, args.svg or args.work / "lifecycle.svg")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if any(result["replay"].values()):
        raise SystemExit("the log does not come out again in a replay")


if __name__ == "__main__":
    main()
