"""A stream in which scenario 2 (compromised terminals) vanishes and scenario 4 (bursts of small purchases) appears on one
day; Shrike's learners, each as it is by default, beside XGBoost trained anew each week, labels seven days late.

Draws daily average precision (mean of seven days) and prints how many days after the change the mean of the seven days
from then on has 90 % of the mean of the last fourteen again."""
import argparse
import json
import math
import pathlib
import re
import subprocess

import numpy as np

import compare
import learners
import stream

ROOT = compare.ROOT
COLOURS = ["#1b6ca8", "#c8553d", "#3c8d2f", "#8a4fa3", "#b8860b", "#444444", "#d0539f", "#2aa5a0"]
SHARE = 0.9


def with_family(config, family):
    """The configuration with another learner, all its options at their defaults."""
    changed, n = re.subn(r"^\[learner\]\n(?:(?!\[).*\n)*", f'[learner]\nfamily = "{family}"\n\n', config, flags=re.M)
    if n != 1:
        raise SystemExit("the configuration has no [learner] table")
    return changed


def shrike_daily(args, csv, family):
    """The families with their defaults; `config` is the configuration as it stands."""
    text = pathlib.Path(args.config).read_text()
    config = args.work / f"{family}.toml"
    config.write_text(text if family == "config" else with_family(text, family))
    report = args.work / f"{family}.report.json"
    compare.run([args.shrike, "replay", csv, "--config", config, "--label-delay", "7d", "--json", report, "--quiet"],
                stderr=subprocess.DEVNULL)
    days = {day["day"]: day["average_precision"] for day in json.loads(report.read_text())["by_day"]}
    return np.array([math.nan if days.get(d) is None else days[d] for d in range(max(days) + 1)])


def mean_of_seven(daily, first):
    """Of the seven days from `first` on, as many as there are."""
    return float(np.nanmean(daily[first:first + 7]))


def recovery(daily, change):
    """Final average precision, and the days from the change until 90 % of it is reached for the first time after the worst
    week of the three after the change; 0 when it was never lost."""
    final = float(np.nanmean(daily[-14:]))
    worst = min(range(change, change + 15), key=lambda day: mean_of_seven(daily, day))
    if mean_of_seven(daily, worst) >= SHARE * final:
        return final, 0
    return final, next(d for d in range(worst, len(daily)) if mean_of_seven(daily, d) >= SHARE * final) - change


def plot(curves, change, path):
    """Each point is the mean of its day and the six before it."""
    width, height, left, top, plot_width, plot_height = 920, 440, 52, 24, 640, 350
    days = max(len(daily) for _, daily in curves)
    x = lambda day: left + plot_width * day / (days - 1)
    y = lambda ap: top + plot_height * (1 - ap)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for tenth in range(0, 11, 2):
        svg.append(f'<line x1="{left}" x2="{left + plot_width}" y1="{y(tenth / 10):.1f}" y2="{y(tenth / 10):.1f}" '
                   f'stroke="#dddddd"/><text x="{left - 6}" y="{y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth / 10:.1f}'
                   '</text>')
    for day in range(0, days, 14):
        svg.append(f'<text x="{x(day):.1f}" y="{top + plot_height + 18}" text-anchor="middle">{day}</text>')
    for at, text in ((change, "the fraud changes"), (change + 7, "its first labels")):
        svg.append(f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{top + plot_height}" stroke="#888888" '
                   'stroke-dasharray="4 3"/>')
        side = ("end", -5) if at == change else ("start", 5)
        svg.append(f'<text x="{x(at) + side[1]:.1f}" y="{top + 12}" text-anchor="{side[0]}" fill="#555555">{text}</text>')
    svg.append(f'<text x="{left + plot_width / 2}" y="{top + plot_height + 40}" text-anchor="middle">day; average precision, '
               'mean of seven days</text>')
    for n, (name, daily) in enumerate(curves):
        colour = COLOURS[n % len(COLOURS)]
        points = []
        for day in range(len(daily)):
            last = daily[max(0, day - 6):day + 1]
            if not np.isnan(last).all():
                points.append(f"{x(day):.1f},{y(float(np.nanmean(last))):.1f}")
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(points)}"/>')
        svg.append(f'<text x="{left + plot_width + 12}" y="{top + 40 + 20 * n}" fill="{colour}">{name}</text>')
    pathlib.Path(path).write_text("\n".join(svg + ["</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="bench/drift/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=ROOT / "examples/handbook.toml")
    parser.add_argument("--learners", default="linear,boosting,forest,ensemble",
                        help="families of Shrike's, and `config` for the configuration's own; default %(default)s")
    parser.add_argument("--days", type=int, default=112)
    parser.add_argument("--change", type=int, default=59, help="the day; default %(default)s, in the middle of a week")
    parser.add_argument("--customers", type=int, default=3000)
    parser.add_argument("--terminals", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/drift")
    parser.add_argument("--svg", type=pathlib.Path, help="default: drift.svg in --work")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--shrike", default=ROOT / "build/release/bin/shrike")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    csv, row_file = args.work / "stream.csv.gz", args.work / "rows.csv"
    compare.run([args.shrike, "simulate", "--days", args.days, "--seed", args.seed, "--customers", args.customers,
                 "--terminals", args.terminals, "--drift-day", args.change, "--end-scenario-2-day", args.change, "--out",
                 csv])
    curves = []
    for family in args.learners.split(","):
        compare.say(f"shrike {family}")
        curves.append((f"Shrike {family}", shrike_daily(args, csv, family)))
    compare.say("rows")
    quick = args.work / "linear-rows.toml"  # rows do not depend on the learner
    quick.write_text(with_family(pathlib.Path(args.config).read_text(), "linear"))
    compare.run([args.shrike, "replay", csv, "--config", quick, "--label-delay", "7d", "--rows", row_file, "--quiet"],
                stderr=subprocess.DEVNULL)
    rows = stream.read_rows(row_file)
    for name, learner in (("XGBoost, anew each week", learners.XgboostWeekly()),
                          ("XGBoost, 10 trees more a week", learners.XgboostMore())):
        compare.say(name)
        scores, _ = stream.run_weekly(learner, rows)
        curves.append((name, stream.daily_ap(rows, scores)))
    results = []
    for name, daily in curves:
        final, days = recovery(daily, args.change)
        results.append({"learner": name, "before": float(np.nanmean(daily[args.change - 14:args.change])),
                        "week_after": mean_of_seven(daily, args.change), "second": mean_of_seven(daily, args.change + 7),
                        "third": mean_of_seven(daily, args.change + 14), "final": final, "recovery_days": days,
                        "ap_by_day": daily.tolist()})
    print(f"{len(rows)} transactions of {args.days} days, the fraud changes on day {args.change}; mean daily AP of the 14 days "
          "before it, of the three weeks after it, of the last 14 days, and the days until 90 % of that\n")
    print(compare.table(results, [("before", "before", "{:.3f}"), ("1st week", "week_after", "{:.3f}"),
                                  ("2nd", "second", "{:.3f}"), ("3rd", "third", "{:.3f}"), ("final", "final", "{:.3f}"),
                                  ("days", "recovery_days", "{:.0f}")]))
    plot(curves, args.change, args.svg or args.work / "drift.svg")
    if args.json:
        compare.write_json(args.json, results)


if __name__ == "__main__":
    main()
