"""One stream under several ways for labels to come: all of them, whatever was decided; hidden after declines and
taken for legitimate (naive); hidden, with a control group of 0, 1, 2 and 5 % of would-be declines. For each: true
average precision and log loss, money of frauds declined (caught) and of legitimate transactions declined
(hindered), in all and by week; and what an operator who sees only the labels that came would report, weighted by
inverse propensity, with its 95 % interval (bootstrap): does it hold the true figure?

    bench/loop/run stream.csv.gz --config examples/handbook.toml --days 60..90
    bench/loop/run --simulate 182        # a half-year of the simulator, to see whether anything runs away
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYS = [("all labels", []), ("hidden, naive", ["--hide-declined", "--naive"])] + [
    (f"hidden, control {share} %", ["--hide-declined", "--control", str(share / 100)]) for share in (0, 1, 2, 5)]
ROUNDS = 200


def average_precision(scores, labels, weights):
    """Ties as one step, as learners/metrics.h has it."""
    order = np.argsort(-scores, kind="stable")
    s, fraud = scores[order], (labels * weights)[order]
    ends = np.r_[np.flatnonzero(np.diff(s)), len(s) - 1]
    caught, alarms = np.cumsum(fraud)[ends], np.cumsum(weights[order])[ends]
    if caught[-1] == 0:
        return float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(alarms > 0, caught / alarms, 0)
    return float(np.sum(np.diff(np.r_[0, caught]) * precision) / caught[-1])


def interval(scores, labels, weights, rng):
    values = [average_precision(scores, labels, weights * rng.poisson(1, len(scores))) for _ in range(ROUNDS)]
    return np.nanquantile(values, [0.025, 0.975])


def log_loss(scores, labels, weights):
    p = np.clip(scores, 1e-15, 1 - 1e-15)
    return float(-np.sum(weights * np.where(labels == 1, np.log(p), np.log(1 - p))) / np.sum(weights))


def read(path):
    with open(path, newline="") as file:
        rows = [(int(r["time"]), float(r["amount"]), float(r["score"]), r["decision"], r["control"] == "1",
                 float(r["propensity"]), int(r["label"])) for r in csv.DictReader(file)]
    columns = list(zip(*rows))
    time = np.array(columns[0])
    return {"day": time // 86400 - time[0] // 86400, "amount": np.array(columns[1]), "score": np.array(columns[2]),
            "declined": np.array([d == "decline" for d in columns[3]]), "control": np.array(columns[4]),
            "propensity": np.array(columns[5]), "label": np.array(columns[6])}


def measure(a, days, hidden, rng):
    """`days`: first and last, both included."""
    part = {k: v[(a["day"] >= days[0]) & (a["day"] <= days[1])] for k, v in a.items()}
    score, label, amount, declined = part["score"], part["label"], part["amount"], part["declined"]
    ones = np.ones(len(score))
    seen = ~declined if hidden else np.ones(len(score), bool)
    weights = np.where(part["control"], 1 / np.maximum(part["propensity"], 1e-9), 1.0)[seen]
    low, high = interval(score[seen], label[seen], weights, rng)
    out = {"frauds": int(label.sum()), "ap": average_precision(score, label, ones), "log_loss": log_loss(score, label, ones),
           "caught": float(amount[declined & (label == 1)].sum()),
           "hindered": float(amount[declined & (label == 0)].sum()),
           "declined_frauds": int((declined & (label == 1)).sum()),
           "declined_legitimate": int((declined & (label == 0)).sum()),
           "let_through": float(amount[part["control"] & (label == 1)].sum()),
           "reported_ap": average_precision(score[seen], label[seen], weights), "low": float(low), "high": float(high)}
    out["holds"] = bool(low <= out["ap"] <= high)
    return out


def show(name, m):
    print(f"{name:22} {m['frauds']:6} {m['ap']:7.4f} {m['log_loss']:9.5f} {m['declined_frauds']:7} "
          f"{m['declined_legitimate']:7} {m['caught']:10.0f} {m['hindered']:9.0f} {m['let_through']:9.0f}   "
          f"{m['reported_ap']:.4f} [{m['low']:.4f}, {m['high']:.4f}] {'yes' if m['holds'] else 'no'}")


def main():
    parser = argparse.ArgumentParser(prog="bench/loop/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", nargs="?", help="a CSV with labels")
    parser.add_argument("--simulate", type=int, metavar="DAYS", help="instead of a CSV: so many days of the simulator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--config", default=ROOT / "examples/handbook.toml")
    parser.add_argument("--days", default="60..90", help="the days of the summary; default %(default)s")
    parser.add_argument("--label-delay", default="7d", help="of frauds' labels; exponential:14d; default %(default)s")
    parser.add_argument("--ways", help="only those whose name contains one of these, separated by commas")
    parser.add_argument("--weeks", action="store_true", help="each week too")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/loop")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    args = parser.parse_args()
    if (args.stream is None) == (args.simulate is None):
        parser.error("give a CSV or --simulate DAYS")
    args.work.mkdir(parents=True, exist_ok=True)
    stream = args.stream
    if args.simulate:
        stream = args.work / "stream.csv.gz"
        subprocess.run([args.shrike, "simulate", "--days", str(args.simulate), "--seed", str(args.seed), "--out", stream],
                       check=True, stdout=subprocess.DEVNULL)
    first, _, last = args.days.partition("..")
    days = (int(first), int(last) if last else 1 << 30)
    rng = np.random.default_rng(args.seed)
    results = []
    for name, options in WAYS:
        if args.ways and not any(w in name for w in args.ways.split(",")):
            continue
        print(f"{name} …", file=sys.stderr)
        answers = args.work / "answers.csv"
        subprocess.run([args.shrike, "replay", stream, "--config", args.config, "--label-delay", args.label_delay,
                        "--answers", answers, "--quiet", *options], check=True, stderr=subprocess.DEVNULL)
        a = read(answers)
        answers.unlink()
        hidden = "--hide-declined" in options
        weeks = [(w, w + 6) for w in range(7, int(a["day"].max()) - 5, 7)]
        results.append({"way": name, "summary": measure(a, days, hidden, rng),
                        "weeks": [{"days": w, **measure(a, w, hidden, rng)} for w in weeks]})
    print(f"{'':22} frauds    AP   log loss  declined: fraud, legit    caught  hindered   through   "
          "reported AP [95 %]  holds the true one")
    for r in results:
        show(r["way"], r["summary"])
        if args.weeks:
            for w in r["weeks"]:
                show(f"  days {w['days'][0]}..{w['days'][1]}", w)
        print(f"{'':22} weeks whose interval holds the true AP: {sum(w['holds'] for w in r['weeks'])} of {len(r['weeks'])}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
