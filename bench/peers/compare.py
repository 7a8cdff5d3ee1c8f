"""Shrike and its peers on the same rows, in the same run, under the same protocol: labels exactly seven days late."""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import learners
import stream

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SHRIKE_LEARNERS = ["linear", "boosting", "forest", "ensemble"]
SHRIKE_ELEC = ["forest:trees=10", "forest:trees=100", "boosting", "linear"]
# Heading, key, format.
COLUMNS = [("AP", "ap", "{:.4f}"), ("daily AP", "daily_ap", "{:.4f}"), ("d. AP 30-60", "daily_ap_earlier", "{:.4f}"),
           ("AUC", "auc", "{:.4f}"), ("log loss", "log_loss", "{:.5f}"), ("Brier", "brier", "{:.6f}"),
           ("learn s", "learn_s", "{:.1f}"), ("p50 us", "predict_us_p50", "{:.2f}"),
           ("p99.9 us", "predict_us_p999", "{:.1f}"), ("us/tx", "us_per_transaction", "{:.1f}")]


def say(text):
    print(time.strftime("%H:%M:%S "), text, file=sys.stderr, flush=True)


def run(command, **more):
    done = subprocess.run([str(part) for part in command], **more)
    if done.returncode != 0:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


def write_json(path, value):
    path = pathlib.Path(path)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1).replace("NaN", "null") + "\n")
    part.replace(path)


def table(results, columns=COLUMNS):
    """Markdown that lines up in a terminal."""
    def cell(result, key, form):
        value = result.get(key)
        return "-" if value is None or math.isnan(value) else form.format(value)

    lines = [["learner"] + [head for head, _, _ in columns]]
    lines += [[r["learner"]] + [cell(r, key, form) for _, key, form in columns] for r in results]
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    out = []
    for n, line in enumerate(lines):
        out.append("| " + " | ".join(text.ljust(w) if c == 0 else text.rjust(w)
                                     for c, (text, w) in enumerate(zip(line, widths))) + " |")
        if n == 0:
            out.append("|" + "|".join("-" * (w + 1) + ("-" if c == 0 else ":") for c, w in enumerate(widths)) + "|")
    return "\n".join(out)


def first_days(source, to, days):
    """Appends the CSV's rows before the day `days` (counted from the first row's)."""
    import pandas
    end = None
    for piece in pandas.read_csv(source, dtype=str, chunksize=200_000):
        seconds = piece["time"].astype(float)
        if end is None:
            end = (seconds.iloc[0] // stream.DAY_S + days) * stream.DAY_S
        kept = piece[seconds < end]
        kept.to_csv(to, mode="a", index=False, header=not to.exists())
        if len(kept) < len(piece):
            return


def evaluate(args, csv, config, days, names, out, *more):
    """`shrike evaluate` of the learners `names`: its JSON, by learner."""
    flags = [part for name in names for part in ("--learner", name)]
    run([args.shrike, "evaluate", csv, "--config", config, "--days", days, *flags, *more, "--json", out],
        stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def shrike_results(args, config, work, known):
    """Over both ranges of days; the earlier one on the stream cut after it. First as served, behind the gate, then live: the
    learner answers as it stands and learns each of the `known` labels when it comes."""
    earlier_csv = work / "days-0-60.csv"
    earlier_csv.unlink(missing_ok=True)
    first_days(args.csv, earlier_csv, 61)
    results = []
    for mode, flags in (("", []), (", live", ["--live"])):
        late, early = (evaluate(args, csv, config, days, SHRIKE_LEARNERS, work / f"shrike-{days[:2]}.json", "--label-delay",
                                "7d", *flags) for csv, days in ((args.csv, "60..90"), (earlier_csv, "30..60")))
        for one, before in zip(late, early):
            result = {"learner": f"shrike {one['learner']}{mode}", "ap": one["average_precision"], "auc": one["auc"],
                      "daily_ap": one["mean_daily_average_precision"], "log_loss": one["log_loss"], "brier": one["brier"],
                      "daily_ap_earlier": before["mean_daily_average_precision"],
                      "us_per_transaction": one["us_per_transaction"]}
            if mode:
                result |= {"learn_s": one["learn_us"]["mean"] * known / 1e6, "predict_us_p50": one["predict_us"]["p50"],
                           "predict_us_p999": one["predict_us"]["p999"]}
            results.append(result)
    earlier_csv.unlink()
    return results


def handbook(args):
    names = args.peers.split(",") if args.peers else [n for n in learners.PEERS if n not in learners.SLOW]
    unknown = [n for n in names if n not in learners.PEERS and n != "shrike"]
    if unknown:
        raise SystemExit(f"--peers: no {', '.join(unknown)}; there are shrike, {', '.join(learners.PEERS)}")
    everything = {}
    for config in args.config or [ROOT / "examples/handbook-15.toml", ROOT / "examples/handbook.toml"]:
        config = pathlib.Path(config)
        work = args.work / config.stem
        work.mkdir(parents=True, exist_ok=True)
        rows = work / "rows.csv"
        if not (args.keep and rows.exists()):
            say(f"{config.stem}: rows")
            run([args.shrike, "replay", args.csv, "--config", config, "--label-delay", "7d", "--rows", rows, "--quiet"])
        results = []
        if not args.peers or "shrike" in names:
            out = work / "shrike.json"
            if not (args.keep and out.exists()):
                say(f"{config.stem}: shrike {' '.join(SHRIKE_LEARNERS)}")
                times = stream.read_rows(rows).time
                known = int(np.searchsorted(times, times[-1] - stream.DELAY_S, side="right"))
                write_json(out, shrike_results(args, config, work, known))
            results += json.loads(out.read_text())
        for name in names:
            if name == "shrike":
                continue
            out = work / f"{name}.json"
            if not (args.keep and out.exists()):
                say(f"{config.stem}: {name}")
                run([sys.executable, __file__, "peer", name, rows, out, "--rows-max", args.rows_max])
            results.append(json.loads(out.read_text()))
        print(f"\n{config.name}: days 60..90; daily AP of days 60..90 and 30..60\n\n{table(results)}\n", flush=True)
        everything[config.stem] = results
    if args.json:
        write_json(args.json, everything)


def peer(args):
    rows = stream.read_rows(args.rows)
    if args.rows_max > 0:
        rows = rows.head(args.rows_max)
    make, weekly = learners.PEERS[args.name]
    started = time.monotonic()
    scores, costs = (stream.run_weekly if weekly else stream.run_online)(make(rows.values.shape[1]), rows)
    result = {"learner": args.name, "rows": len(rows)} | stream.measure(rows, scores) | costs.report()
    result["seconds"] = time.monotonic() - started
    write_json(args.out, result)
    np.save(pathlib.Path(args.out).with_suffix(".npy"), scores)


def elec(args):
    """Test, then train at once: New South Wales electricity prices, up or down; 45,312 rows."""
    import pandas
    table_ = pandas.read_csv(args.csv)
    label = (table_["up"] == 1).to_numpy(np.uint8)
    values = np.ascontiguousarray(table_.drop(columns=["row", "up"]).to_numpy(np.float32))
    rows = stream.Rows(list(table_.columns[1:-1]), np.arange(len(label), dtype=float), label, values)
    results = []
    for name, classifier, size in (("moa-arf-10", "AdaptiveRandomForestClassifier", 10), ("moa-lb-10", "LeveragingBagging", 10),
                                   ("moa-arf-100", "AdaptiveRandomForestClassifier", 100)):
        say(f"elec: {name}")
        model = learners.Moa(classifier, values.shape[1], ensemble_size=size)
        scores, costs = stream.run_online(model, rows, delay_s=0)
        answers = scores > 0.5
        right = float(np.mean(answers == label))
        chance = float(np.mean(answers) * np.mean(label) + np.mean(~answers) * np.mean(label == 0))
        results.append({"learner": name, "accuracy": right, "kappa": (right - chance) / (1 - chance)} | costs.report())
    say("elec: shrike")
    with tempfile.TemporaryDirectory() as folder:
        for one in evaluate(args, args.csv, ROOT / "examples/elec.toml", "0..", SHRIKE_ELEC, pathlib.Path(folder) / "elec.json",
                            "--live"):
            results.append({"learner": f"shrike {one['learner']}", "accuracy": one["accuracy"], "kappa": one["kappa"],
                            "learn_s": one["learn_us"]["mean"] * len(rows) / 1e6,
                            "predict_us_p50": one["predict_us"]["p50"], "predict_us_p999": one["predict_us"]["p999"]})
    print(table(results, [("accuracy", "accuracy", "{:.4f}"), ("kappa", "kappa", "{:.4f}"), *COLUMNS[6:9]]))
    if args.json:
        write_json(args.json, results)


def training(args):
    """How long XGBoost's hist needs for one training on what is known by day 60, and what the trees are worth after it."""
    import xgboost
    rows = stream.read_rows(args.rows)
    known = int(np.searchsorted(rows.time, 60 * stream.DAY_S - stream.DELAY_S, side="right"))
    test = (rows.day >= 60) & (rows.day <= 90)
    results = []
    for depth, rate, max_bin in ((4, 0.07, 256), (4, 0.07, 1024), (6, 0.1, 256)):
        settings = {"objective": "binary:logistic", "tree_method": "hist", "max_bin": max_bin, "max_depth": depth,
                    "eta": rate, "nthread": 1}
        started = time.process_time(), time.monotonic()
        matrix = xgboost.QuantileDMatrix(rows.values[:known], rows.label[:known], max_bin=max_bin, nthread=1)
        binned = time.process_time(), time.monotonic()
        booster = xgboost.train(settings, matrix, args.trees)
        done = time.process_time(), time.monotonic()
        scores = booster.inplace_predict(rows.values[test])
        results.append({"learner": f"depth {depth}, rate {rate}, {max_bin} bins", "rows": known,
                        "columns": rows.values.shape[1], "bin_s": binned[0] - started[0],
                        "train_s": done[0] - binned[0], "wall_s": done[1] - started[1],
                        "ap": stream.average_precision(scores, rows.label[test])})
    print(f"XGBoost {xgboost.__version__}, {args.trees} trees, {known} rows of {rows.values.shape[1]} columns, one thread; "
          "AP of days 60..90 without further training\n")
    print(table(results, [("bin s", "bin_s", "{:.2f}"), ("train s", "train_s", "{:.2f}"), ("wall s", "wall_s", "{:.2f}"),
                          ("AP", "ap", "{:.4f}")]))
    if args.json:
        write_json(args.json, results)


def main():
    parser = argparse.ArgumentParser(prog="bench/peers/run", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name, call, text):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(call=call)
        return one

    one = command("handbook", handbook, "every peer and Shrike's learners over a stream of card transactions with the "
                                        "columns of `shrike simulate`; 91 days or more")
    one.add_argument("csv", type=pathlib.Path)
    one.add_argument("--config", action="append", help="a configuration, any number; default: handbook-15, handbook")
    one.add_argument("--peers", help="comma-separated; default: shrike and all but " + ", ".join(learners.SLOW))
    one.add_argument("--rows-max", type=int, default=0, help="peers stop after this many rows (Shrike does not)")
    one.add_argument("--work", type=pathlib.Path, default=ROOT / "build/peers", help="rows and results; default build/peers")
    one.add_argument("--keep", action="store_true", help="take rows and results that are there from an earlier run")
    one.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    one.add_argument("--json", type=pathlib.Path)
    one = command("elec", elec, "MOA's and Shrike's forests on the electricity prices: test, then train, no delay")
    one.add_argument("csv", type=pathlib.Path, help="columns row,date,day,period,…,up")
    one.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    one.add_argument("--json", type=pathlib.Path)
    one = command("training", training, "how long XGBoost trains on the rows known by day 60")
    one.add_argument("rows", type=pathlib.Path, help="what `shrike replay --rows` wrote")
    one.add_argument("--trees", type=int, default=200)
    one.add_argument("--json", type=pathlib.Path)
    one = command("peer", peer, "one peer over rows; `handbook` calls this, a process for each")
    one.add_argument("name", choices=learners.PEERS)
    one.add_argument("rows", type=pathlib.Path)
    one.add_argument("out", type=pathlib.Path)
    one.add_argument("--rows-max", type=int, default=0)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
