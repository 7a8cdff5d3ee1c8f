"""Learning from little: `shrike evaluate` (behind its gate, labels at once) beside HistGradientBoosting, which is trained anew
on everything known at each tenth of the rows. Both see the same columns; figures are of the second half, prequential."""
import argparse
import csv
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PRIOR = 0.01  # before there is a model
CATEGORIES = 250  # HistGradientBoosting takes 255 at most: the rare ones are one


def thousand():
    """Two numbers and a category tell; two numbers do not."""
    random = np.random.default_rng(7)
    n = 1000
    table = pandas.DataFrame({"a": random.normal(size=n).round(6), "b": random.normal(size=n).round(6),
                              "c": random.choice(list("uvwxyz"), n), "d": random.normal(size=n).round(6),
                              "e": random.exponential(size=n).round(6)})
    margin = 1.3 * table.a + np.abs(table.b) + table.c.isin(["u", "v"]) * 1.5 + random.logistic(size=n)
    table["fraud"] = (margin.rank() > n - 300).astype(int)
    return table


# Name: configuration, file, label.
SETS = {
    "thousand": (HERE / "thousand.toml", None, "fraud"),
    "claims": (HERE / "claims.toml", "claims.csv.gz", "FraudFound_P"),
    "paysim-sample": (HERE / "paysim.toml", "paysim-sample.csv.gz", "isFraud"),
    "sparkov": (ROOT / "examples/sparkov.toml", "sparkov.csv.gz", "is_fraud"),
}


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


def prepare(args, name):
    """The rows with their number, and the configuration with labels at once."""
    config, file, label = SETS[name]
    table = thousand() if file is None else pandas.read_csv(args.data / file, dtype=str, keep_default_na=False)
    table[label] = table[label].astype(float).astype(int)
    table.insert(0, "row", range(len(table)))
    rows, toml = args.work / f"{name}.csv", args.work / f"{name}.toml"
    table.to_csv(rows, index=False, quoting=csv.QUOTE_MINIMAL)
    toml.write_text(re.sub(r'maturity = "[^"]*"', 'maturity = "0s"', config.read_text()))
    return rows, toml


def measure(scores, labels):
    half = len(labels) // 2
    s, y = scores[half:], labels[half:]
    return {"auc": roc_auc_score(y, s), "ap": average_precision_score(y, s), "log_loss": log_loss(y, np.clip(s, 1e-15, 1 - 1e-15))}


def shrike(args, rows, toml, family):
    """Scores of a replay whose learner is `family` with the configuration's options of it."""
    config = args.work / f"{toml.stem}-{family}.toml"
    config.write_text(re.sub(r'family = "[^"]*"', f'family = "{family}"', toml.read_text()))
    scores, report = config.with_suffix(".scores"), config.with_suffix(".json")
    run(args.shrike, "replay", rows, "--config", config, "--label-delay", "0s", "--scores", scores, "--json", report, "--quiet")
    why = json.loads(report.read_text())["learned"]["why_no_model"]
    for reason in why:
        print(f"{toml.stem}, {family}: {reason}", file=sys.stderr)
    return pandas.read_csv(scores).iloc[:, 1].to_numpy(float)


def columns(args, rows, toml):
    """What Shrike's learners see, with the categories of text columns numbered from the commonest."""
    seen = args.work / f"{toml.stem}.rows.csv"
    run(args.shrike, "replay", rows, "--config", toml, "--label-delay", "0s", "--rows", seen, "--quiet")
    table = pandas.read_csv(seen)
    labels, values = table["label"].to_numpy(int), table.iloc[:, 3:].astype(float)
    raw = pandas.read_csv(rows, nrows=2000)
    text = [name for name in values if name in raw and not pandas.api.types.is_numeric_dtype(raw[name])]
    for name in text:
        order = values[name].value_counts().index[:CATEGORIES]
        values[name] = values[name].map({code: i for i, code in enumerate(order)}).fillna(CATEGORIES)
    return values, labels, [name in text for name in values]


def hist_gradient_boosting(values, labels, categorical):
    scores, n = np.full(len(labels), PRIOR), len(labels)
    for tenth in range(1, 10):
        known, to = n * tenth // 10, n * (tenth + 1) // 10
        if len(set(labels[:known])) < 2:
            continue
        model = HistGradientBoostingClassifier(random_state=1, categorical_features=categorical)
        model.fit(values.iloc[:known], labels[:known])
        scores[known:to] = model.predict_proba(values.iloc[known:to])[:, 1]
    return scores


def main():
    parser = argparse.ArgumentParser(prog="bench/early/run", description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all when absent")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("."), help="the folder of the CSVs")
    parser.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    parser.add_argument("--learner", action="append", help="a family, any number; default: ensemble, boosting")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/early")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--no-peer", action="store_true", help="Shrike alone")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    unknown = [name for name in args.sets if name not in SETS]
    if unknown:
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(SETS)}")
    results = []
    print("| set | learner | AUC | AP | log loss |\n|---|---|--:|--:|--:|")
    for name in args.sets or SETS:
        rows, toml = prepare(args, name)
        labels = pandas.read_csv(rows)[SETS[name][2]].to_numpy(int)
        learners = [(f"shrike {family}", lambda f=family: (shrike(args, rows, toml, f), labels))
                    for family in args.learner or ["ensemble", "boosting"]]
        if not args.no_peer:
            def peer():
                values, seen_labels, categorical = columns(args, rows, toml)
                return hist_gradient_boosting(values, seen_labels, categorical), seen_labels
            learners.append(("HistGradientBoosting", peer))
        for learner, scores_of in learners:
            found = {"set": name, "learner": learner, "rows": len(labels)} | measure(*scores_of())
            results.append(found)
            print(f"| {name} | {learner} | {found['auc']:.4f} | {found['ap']:.4f} | {found['log_loss']:.5f} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
