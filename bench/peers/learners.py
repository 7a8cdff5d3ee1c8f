"""The peers, each behind the two small faces of stream.py. Settings are the libraries' defaults unless a line says more.

Missing values (a mean over no transactions, a time since nothing): XGBoost and LightGBM have a branch of their own for
them; Vowpal Wabbit and River's logistic regression do not see the feature (0 after scaling); the trees of River and MOA,
which have no such branch in their splits, get -1, below every value that a feature takes.

River's single Hoeffding tree is left out: on this stream it does not get past average precision 0.01.
"""
import math

import numpy as np


def filled(row):
    return np.where(np.isnan(row), -1.0, row)


class XgboostWeekly:
    """All known history anew each week."""
    settings = {"objective": "binary:logistic", "tree_method": "hist", "max_bin": 1024, "max_depth": 4, "eta": 0.07,
                "nthread": 1, "seed": 1}
    trees = 200

    def __init__(self):
        import xgboost
        self.xgboost = xgboost
        self.booster = None

    def matrix(self, values, labels):
        return self.xgboost.QuantileDMatrix(values, labels, max_bin=self.settings["max_bin"], nthread=1)

    def train(self, values, labels):
        self.booster = self.xgboost.train(self.settings, self.matrix(values, labels), self.trees)

    def predict(self, values):
        return self.booster.inplace_predict(values)


class XgboostMore(XgboostWeekly):
    """100 trees at first, then 10 more each week on all known history."""

    def train(self, values, labels):
        self.booster = self.xgboost.train(self.settings, self.matrix(values, labels), 10 if self.booster else 100,
                                          xgb_model=self.booster)


class LightgbmWeekly:
    """All known history anew each week, the size of XgboostWeekly: 200 trees of depth 4, so up to 16 leaves."""
    settings = {"objective": "binary", "max_bin": 1023, "max_depth": 4, "num_leaves": 16, "learning_rate": 0.07,
                "num_threads": 1, "seed": 1, "deterministic": True, "force_col_wise": True, "verbose": -1}

    def __init__(self):
        import lightgbm
        self.lightgbm = lightgbm
        self.booster = None

    def train(self, values, labels):
        self.booster = self.lightgbm.train(self.settings, self.lightgbm.Dataset(values, labels), 200)

    def predict(self, values):
        return self.booster.predict(values, num_threads=1)


class VowpalWabbit:
    """Logistic loss, all pairs of features; the defaults' adaptive, normalised, invariant steps. It takes
    a row as a line of text, so parsing that is part of its time."""

    def __init__(self):
        import vowpalwabbit
        self.vw = vowpalwabbit.Workspace("--loss_function logistic --link logistic -b 20 --quadratic ff --quiet")

    def example(self, row):
        return "|f " + " ".join(f"{i}:{v:.6g}" for i, v in enumerate(row.tolist()) if v != 0 and v == v)

    def predict(self, example):
        return self.vw.predict(example)

    def learn(self, example, label):
        self.vw.learn(("1 " if label else "-1 ") + example)


class RiverModel:
    def example(self, row):
        return dict(enumerate(filled(row).tolist()))

    def predict(self, example):
        return self.model.predict_proba_one(example).get(True, 0.0)

    def learn(self, example, label):
        self.model.learn_one(example, bool(label))


class RiverForest(RiverModel):
    def __init__(self):
        from river import forest
        self.model = forest.ARFClassifier(n_models=10, seed=1)


class RiverLogistic(RiverModel):
    def __init__(self):
        from river import linear_model, preprocessing
        self.model = preprocessing.StandardScaler() | linear_model.LogisticRegression()

    def example(self, row):
        return {i: v for i, v in enumerate(row.tolist()) if v == v}


class Moa:
    """MOA's classes, called in this process: no Python per tree. Votes become a probability by their share."""

    def __init__(self, classifier, columns, **settings):
        import capymoa.classifier
        from capymoa.stream import Schema
        import jpype
        # Column names are numbers here: MOA does not look at them.
        self.schema = Schema.from_custom([f"f{i}" for i in range(columns)] + ["label"], "label",
                                         {"label": ["0", "1"]})
        self.model = getattr(capymoa.classifier, classifier)(self.schema, random_seed=1, **settings).moa_learner
        self.doubles = jpype.JArray(jpype.JDouble)
        from com.yahoo.labs.samoa.instances import DenseInstance
        self.instance = DenseInstance

    def example(self, row):
        instance = self.instance(1.0, self.doubles(np.append(filled(row), 0.0)))
        instance.setDataset(self.schema.get_moa_header())
        return instance

    def predict(self, instance):
        votes = self.model.getVotesForInstance(instance)
        n = len(votes)
        if n < 2:
            return 0.0
        no, yes = votes[0], votes[1]
        return yes / (no + yes) if no + yes > 0 and math.isfinite(no + yes) else 0.0

    def learn(self, instance, label):
        instance.setClassValue(float(label))
        self.model.trainOnInstance(instance)


# What makes each from the number of columns, and whether it trains by the week.
PEERS = {
    "xgboost-weekly": (lambda columns: XgboostWeekly(), True),
    "xgboost-10-more": (lambda columns: XgboostMore(), True),
    "lightgbm-weekly": (lambda columns: LightgbmWeekly(), True),
    "vw": (lambda columns: VowpalWabbit(), False),
    "river-logistic": (lambda columns: RiverLogistic(), False),
    "moa-arf-10": (lambda columns: Moa("AdaptiveRandomForestClassifier", columns, ensemble_size=10), False),
    "moa-arf-30": (lambda columns: Moa("AdaptiveRandomForestClassifier", columns, ensemble_size=30), False),
    "moa-lb-10": (lambda columns: Moa("LeveragingBagging", columns, ensemble_size=10), False),
    "river-arf-10": (lambda columns: RiverForest(), False),
}
SLOW = {"river-arf-10"}  # ten minutes and more a row set; only when named
