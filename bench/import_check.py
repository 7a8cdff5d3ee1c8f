#!/usr/bin/env python3
"""Imported models beside their makers: trains models with the lightgbm and xgboost that are installed, scores
random rows with missing values, odd categories and infinities by both, and compares margins bit by bit.

  python3 -m venv VENV && VENV/bin/pip install -r bench/requirements.txt
  VENV/bin/python bench/import_check.py build/release/bin/shrike [--rows 100000] [--only lightgbm]

Runs with other versions too (xgboost 1.7 and later), and with one of the two alone. Exits 1 when a bit differs.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

NUMERIC, CATEGORICAL = 8, 3
CARDINALITY = [4, 40, 300]
NAMES = [f"n{i}" for i in range(NUMERIC)] + [f"k{i}" for i in range(CATEGORICAL)]


def rows(count, seed, odd):
    """float32 rows; `odd` adds what training data would not have: unseen, negative, fractional, huge codes."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, NUMERIC + CATEGORICAL)).astype(np.float32)
    x[:, 0] = np.round(x[:, 0] * 4) / 4  # values that are thresholds themselves
    x[:, 1][random.random(count) < 0.3] = 0
    x[:, 2] *= 1e-30
    for k, cardinality in enumerate(CARDINALITY):
        x[:, NUMERIC + k] = random.integers(0, cardinality, count)
    if odd:
        for k in range(CATEGORICAL):
            column = x[:, NUMERIC + k]
            for value in (-1, -0.5, 0.5, 3.7, 31, 32, 999, 70000, 16777215, 16777216, 3e9, 1e20):
                column[random.random(count) < 0.01] = value
        for value in (1e-35, -1e-35, 1.1e-35, 3e38, -3e38, -0.0):
            x[:, :NUMERIC][random.random((count, NUMERIC)) < 0.005] = value
    return x


def labels(x, seed):
    random = np.random.default_rng(seed)
    z = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 3]) + np.nan_to_num(x[:, 1]) - 0.5
    z = z + np.isnan(x[:, 4]) + np.sin(x[:, NUMERIC + 1]) + 1.5 * (x[:, NUMERIC + 2] % 7 == 3) + (x[:, NUMERIC] == 2)
    return (z + random.logistic(size=len(z)) > 1).astype(np.float32)


def with_missing(x, seed, share=0.1):
    x = x.copy()
    x[np.random.default_rng(seed).random(x.shape) < share] = np.nan
    return x


class Check:
    def __init__(self, options, folder):
        self.options, self.folder, self.failed = options, folder, 0
        x = with_missing(rows(options.rows, 3, True), 4)
        self.files = {}
        for name, data in {"all": x, "numeric": x[:, :NUMERIC]}.items():
            path = folder / f"{name}.csv"
            with open(path, "w") as out:
                out.write(",".join(NAMES[: data.shape[1]]) + "\n")
                for row in data:
                    out.write(",".join("" if v != v else "%.9g" % v for v in row) + "\n")
            self.files[name] = (data, path)

    def compare(self, name, model, which, margins, probabilities):
        out = self.folder / "scores.csv"
        run = subprocess.run([self.options.shrike, "models", "score", model, self.files[which][1], "--out", out],
                             capture_output=True, text=True)
        if run.returncode != 0:
            print(f"FAILED  {name}: {run.stderr.strip()}")
            self.failed += 1
            return
        ours = np.loadtxt(out, delimiter=",", skiprows=1)
        margins = np.asarray(margins).astype(np.float64).reshape(-1)
        differ = int(np.sum(ours[:, 0].view(np.uint64) != margins.view(np.uint64)))
        most = float(np.max(np.abs(ours[:, 0] - margins)))
        # The logistic function is clipped at +-15 here.
        off = float(np.max(np.abs(ours[:, 1] - probabilities)))
        self.failed += differ > 0 or off > 2e-6
        print(f"{'FAILED' if differ or off > 2e-6 else 'equal '}  {name}: {differ} of {len(margins)} margins differ "
              f"(most {most:.3g}); probabilities within {off:.2g}")


def check_lightgbm(check):
    import lightgbm

    print(f"lightgbm {lightgbm.__version__}")
    train = rows(20000, 1, False)
    base = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 31, "deterministic": True}
    cases = [
        ("numeric", "numeric", {}, False),
        ("numeric, missing", "numeric", {}, True),
        ("deep: 255 leaves", "numeric", {"num_leaves": 255, "min_data_in_leaf": 3}, True),
        ("zero as missing", "numeric", {"zero_as_missing": True}, True),
        ("missing not handled", "numeric", {"use_missing": False}, True),
        ("categorical, missing", "all", {"min_data_per_group": 10, "cat_smooth": 1}, True),
        ("categorical, one against the rest", "all", {"max_cat_to_onehot": 500}, False),
        ("sigmoid 0.7", "all", {"sigmoid": 0.7}, True),
        ("cross_entropy", "all", {"objective": "cross_entropy"}, True),
        ("dart", "all", {"boosting": "dart"}, True),
        ("rf", "all", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, True),
        ("depth 4", "all", {"max_depth": 4}, True),
    ]
    for name, which, more, missing in cases:
        x = with_missing(train, 2) if missing else train
        y = labels(x, 5)
        data, _ = check.files[which]
        x = x[:, : data.shape[1]]
        categorical = list(range(NUMERIC, NUMERIC + CATEGORICAL)) if which == "all" else []
        sample = lightgbm.Dataset(x, y, feature_name=NAMES[: x.shape[1]], categorical_feature=categorical)
        booster = lightgbm.train({**base, **more}, sample, num_boost_round=100)
        path = check.folder / "lightgbm.txt"
        booster.save_model(path)
        saved = lightgbm.Booster(model_file=str(path))
        check.compare(f"lightgbm, {name}", path, which, saved.predict(data, raw_score=True), saved.predict(data))


def check_xgboost(check):
    import xgboost

    print(f"xgboost {xgboost.__version__}")
    train = rows(20000, 1, False)
    base = {"objective": "binary:logistic", "nthread": 1, "tree_method": "hist", "eta": 0.2}
    cases = [
        ("numeric", "numeric", {}, False),
        ("numeric, missing, base score", "numeric", {"base_score": 0.21}, True),
        ("depth 14", "numeric", {"max_depth": 14, "min_child_weight": 0}, True),
        ("categorical, missing", "all", {}, True),
        ("categorical, one against the rest", "all", {"max_cat_to_onehot": 500}, True),
        ("categorical, depth 12", "all", {"max_depth": 12, "min_child_weight": 0}, True),
        ("logitraw", "all", {"objective": "binary:logitraw"}, True),
        ("parallel trees", "all", {"num_parallel_tree": 3, "subsample": 0.7}, True),
        ("dart", "numeric", {"booster": "dart", "rate_drop": 0.3}, True),
        ("stopped early, parallel trees", "all", {"num_parallel_tree": 2, "subsample": 0.7, "best": 17}, True),
    ]
    for name, which, more, missing in cases:
        x = with_missing(train, 2) if missing else train
        y = labels(x, 5)
        data, _ = check.files[which]
        x = x[:, : data.shape[1]]
        types = ["q"] * NUMERIC + (["c"] * CATEGORICAL if which == "all" else [])
        kind = dict(feature_types=types, feature_names=NAMES[: x.shape[1]], enable_categorical=True)
        parameters = {key: value for key, value in {**base, **more}.items() if key != "best"}
        booster = xgboost.train(parameters, xgboost.DMatrix(x, y, **kind), num_boost_round=60)
        # Rows are scored in place: a matrix refuses codes that training data cannot have. But in place dart takes
        # the base off every tree again, and rounds.
        booster.set_param({"nthread": 2})
        used = (0, best + 1) if (best := more.get("best")) is not None else (0, 0)
        if best is not None:
            booster.set_attr(best_iteration=str(best))
        if more.get("booster") == "dart":
            matrix = xgboost.DMatrix(data, feature_types=types, feature_names=NAMES[: x.shape[1]])
            margins = booster.predict(matrix, output_margin=True, iteration_range=used)
        else:
            margins = booster.inplace_predict(data, predict_type="margin", validate_features=False, iteration_range=used)
        # 1 / (1 + e^-margin), whatever the objective prints.
        probabilities = 1 / (1 + np.exp(-margins.astype(np.float64)))
        for form in ("json", "ubj"):
            path = check.folder / f"xgboost.{form}"
            booster.save_model(path)
            check.compare(f"xgboost {form}, {name}", path, which, margins, probabilities)


def check_export(check):
    """Models of ours as XGBoost's JSON: what xgboost makes of them equals what we do."""
    import xgboost

    shelf = pathlib.Path(__file__).resolve().parent.parent / "tests/learners/shelf"
    random = np.random.default_rng(6)
    x = np.stack([random.integers(0, 1000, check.options.rows), random.integers(0, 12, check.options.rows),
                  random.normal(size=check.options.rows) * 50], axis=1).astype(np.float32)
    x = with_missing(x, 7)
    rows_path = check.folder / "shelf.csv"
    with open(rows_path, "w") as out:
        out.write("amount,kind,age\n")
        for row in x:
            out.write(",".join("" if v != v else "%.9g" % v for v in row) + "\n")
    check.files["shelf"] = (x, rows_path)
    for family in ("boosting", "forest"):
        model, path = shelf / f"{family}-1.model", check.folder / "exported.json"
        subprocess.run([check.options.shrike, "models", "export", model, "--out", path, "--format", "xgboost"],
                       check=True, stdout=subprocess.DEVNULL)
        booster = xgboost.Booster(model_file=str(path))
        margins = booster.inplace_predict(x, predict_type="margin", validate_features=False)
        slope, shift = float(booster.attr("shrike_slope")), float(booster.attr("shrike_shift"))
        z = np.clip(slope * margins.astype(np.float64) + shift, -15, 15)
        check.compare(f"exported {family}", model, "shelf", margins, 1 / (1 + np.exp(-z)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shrike", help="the command")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", choices=["lightgbm", "xgboost"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(options, pathlib.Path(folder))
        for name, run in {"lightgbm": check_lightgbm, "xgboost": check_xgboost}.items():
            if options.only in (None, name):
                run(check)
        if options.only != "lightgbm":
            check_export(check)
    print("all equal" if check.failed == 0 else f"{check.failed} models differ")
    return check.failed > 0


if __name__ == "__main__":
    sys.exit(main())
