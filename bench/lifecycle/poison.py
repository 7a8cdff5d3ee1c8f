"""What false labels and a bad model pushed by hand do to a server that learns, beside the same stream without them. One
real server a case, awaited training, so that a figure depends on nothing but the seed. Frauds are labelled as by `shrike
simulate`: a third by analysts within two days, the others charged back after three to six. From day 7 on, besides:

    fraud1, fraud5  1 %, 5 % of all transactions are called fraud by `analyst` at once
    customer1, customer5  the same by `customer`, of whom nobody else makes use
    flip5, flip20   analysts look at a tenth of all transactions, and 5 %, 20 % of their verdicts are turned round
    flood           every transaction of ten honest terminals a day is called fraud by `customer` on that day
    all_legitimate  `analyst` calls everything legitimate at once
    own             `customer` calls frauds legitimate, before and after the chargeback
    after           `customer` calls everything legitimate a day later
    activate        an early model is activated again, forty times a day

    bench/lifecycle/poison
    bench/lifecycle/poison --cases clean,fraud5 --customers 1500 --days 49
"""
import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib

import numpy as np

from lifecycle import DAY, ROOT, Drive, average_precision, command, make_directory, simulate
from server import Server

BEGIN = 7  # day


class People:
    """The honest ones: who calls which transaction what, and when."""

    def __init__(self, stream, seed):
        rng = np.random.default_rng(seed)
        size = len(stream["time"])
        self.stream, self.fraud, self.time = stream, stream["is_fraud"], stream["time"]
        self.by_analyst = rng.random(size) < 1 / 3
        self.late = rng.random(size)
        self.die = rng.random(size)
        self.turned = rng.random(size)

    def honest(self, row):
        if not self.fraud[row]:
            return []
        if self.by_analyst[row]:
            return [(int(self.time[row] + DAY * (0.25 + 1.75 * self.late[row])), 1, "analyst")]
        return [(int(self.time[row] + DAY * (3 + 3 * self.late[row])), 1, "chargeback")]

    def attack(self, row):
        return []

    def of(self, row, decision):
        said = self.honest(row)
        return said + self.attack(row) if self.stream["day"][row] >= BEGIN else said


class Frauds(People):
    share = 0.05

    def attack(self, row):
        return [(int(self.time[row]), 1, "analyst")] if self.die[row] < self.share else []


class Frauds1(Frauds):
    share = 0.01


class Customers(Frauds):
    """By a source of which honest people make no use."""

    def attack(self, row):
        return [(when, label, "customer") for when, label, _ in super().attack(row)]


class Customers1(Customers):
    share = 0.01


class Flips(People):
    share = 0.05

    def honest(self, row):
        said = [one for one in super().honest(row) if one[2] != "analyst"]
        if not said and self.fraud[row]:  # found by an analyst else: all get their chargeback here
            said = [(int(self.time[row] + DAY * (3 + 3 * self.late[row])), 1, "chargeback")]
        if self.die[row] < 0.1:
            turned = self.turned[row] < self.share and self.stream["day"][row] >= BEGIN
            said.append((int(self.time[row] + DAY * (0.25 + 1.75 * self.late[row])), int(self.fraud[row] != turned), "analyst"))
        return said


class Flips20(Flips):
    share = 0.2


class Clear(Flips):
    """What the flips are compared with."""
    share = 0


class Flood(People):
    def __init__(self, stream, seed):
        super().__init__(stream, seed)
        rng = np.random.default_rng(seed + 1)
        terminals = int(stream["terminal_id"].max()) + 1
        hit = {(day, int(t)) for day in range(int(stream["day"].max()) + 1) for t in rng.integers(0, terminals, 10)}
        self.hit = [key in hit for key in zip(stream["day"].tolist(), stream["terminal_id"].tolist())]

    def attack(self, row):
        return [(int(self.time[row]), 1, "customer")] if self.hit[row] and not self.fraud[row] else []


class AllLegitimate(People):
    def attack(self, row):
        return [(int(self.time[row]), 0, "analyst")]


class Own(People):
    def attack(self, row):
        if not self.fraud[row]:
            return []
        return [(int(self.time[row] + DAY / 8), 0, "customer"), (int(self.time[row] + 7 * DAY), 0, "customer")]


class After(People):
    def attack(self, row):
        return [(int(self.time[row] + DAY), 0, "customer")]


CASES = {"clean": People, "fraud1": Frauds1, "fraud5": Frauds, "customer1": Customers1, "customer5": Customers, "flood": Flood, "all_legitimate": AllLegitimate,
         "own": Own, "after": After, "activate": People, "clear": Clear, "flip5": Flips, "flip20": Flips20}
BESIDE = {"flip5": "clear", "flip20": "clear"}  # else clean


def run(args, name, stream):
    data, config = make_directory(args, f"poison-{name}", {})
    drive = Drive(stream, CASES[name](stream, args.seed))
    days = int(stream["day"].max()) + 1
    early, refused = None, 0
    with Server(args.shrike, config, data) as server:
        for day in range(days):
            if name == "activate" and day >= BEGIN:
                early = early or server.command("status")["champion"]
                for part in range(40):
                    drive.send_day(server, day, (part, 40))
                    refused += not server.try_command("activate", early)
            else:
                drive.send_day(server, day)
    events = json.loads(command(args, "timeline", data, "--json"))["events"]
    judgements = []
    for event in events:
        if event.get("action") in ("quarantine", "release", "roll_back"):
            row = min(int(np.searchsorted(drive.seq, event["seq"])), len(drive.seq) - 1)
            judgements.append(f"{event['action']} {event['target'][:12]} on day {stream['day'][row]}")
    weeks = []
    for first in range(0, days, 7):
        rows = slice(*np.searchsorted(stream["day"], [first, first + 7]))
        label = stream["is_fraud"][rows]
        weeks.append(average_precision(drive.score[rows], label, np.ones(len(label))))
    rows = slice(*np.searchsorted(stream["day"], [days - 28, days]))
    label = stream["is_fraud"][rows]
    return {"case": name, "average_precision": average_precision(drive.score[rows], label, np.ones(len(label))),
            "weeks": weeks, "judgements": judgements, "refused": refused}


def main():
    parser = argparse.ArgumentParser(prog="bench/lifecycle/poison", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=63)
    parser.add_argument("--customers", type=int, default=1500, help="each buys about twice a day; default %(default)s")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cases", default=",".join(CASES), help="default %(default)s")
    parser.add_argument("--config", default=ROOT / "examples/handbook.toml")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/lifecycle")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    args = parser.parse_args()
    names = args.cases.split(",")
    if unknown := set(names) - set(CASES):
        parser.error(f"no cases: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    args.work.mkdir(parents=True, exist_ok=True)
    stream = simulate(args, args.work / "poison.csv.gz", "--days", args.days, "--seed", args.seed)
    stream["day"], stream["sent"] = stream["time"] // DAY, stream["amount"]
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        jobs = {name: pool.submit(run, args, name, stream) for name in names}
        results = {}
        print(f"{'case':16} AP of the last 28 days, beside clean; by week; judgements")
        for name, job in jobs.items():
            results[name] = r = job.result()
            beside = results.get(BESIDE.get(name, "clean"))
            difference = f"{r['average_precision'] - beside['average_precision']:+.3f}" if beside else ""
            weeks = " ".join(f"{w:.3f}" for w in r["weeks"])
            told = r["judgements"][:4] + (["…"] if len(r["judgements"]) > 4 else [])
            told += [f"{r['refused']} activations refused"] if r["refused"] else []
            print(f"{name:16} {r['average_precision']:.3f} {difference:7} {weeks}  {'; '.join(told)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(list(results.values()), indent=1) + "\n")


if __name__ == "__main__":
    main()
