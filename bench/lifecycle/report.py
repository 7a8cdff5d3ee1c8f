"""The table and the picture of a compressed half-year."""
import collections
import textwrap

COLOURS = {"on": "#1b6ca8", "off": "#c8553d"}
DONE_MAX = 6  # kinds of action shown of a fault; --json has all


def line(name, days, detected, part):
    on, off = part["on"], part["off"]
    print(f"{name:36} {days:>9} {detected:28} {on['average_precision']:6.3f} {off['average_precision']:6.3f} "
          f"{100 * on['fpr']:7.2f} {100 * off['fpr']:6.2f} {on['lost']:9,.0f} {off['lost']:9,.0f}")


def indented(head, text):
    print(textwrap.fill(text, 132, initial_indent=f"    {head:10}", subsequent_indent=" " * 14))


def print_table(result):
    print(f"{result['days']} days, {result['transactions']:,} transactions, {result['frauds']:,} frauds, seed {result['seed']}; "
          "life cycle on and off"
          f"{'; without ' + ', '.join(result['without']) if result['without'] else ''}\n")
    print(f"{'':36} {'':>9} {'detected after':28} {'AP':>6} {'':6} {'FPR %':>7} {'':6} {'lost':>9}")
    print(f"{'fault':36} {'days':>9} {'transactions':>14} {'days':>6} {'':6} {'on':>6} {'off':>6} {'on':>7} {'off':>6} "
          f"{'on':>9} {'off':>9}")
    for fault in result["faults"]:
        found = fault["detected"]
        detected = f"{found['transactions']:14,} {found['days']:6.1f}" if found else f"{'not detected':>21}"
        line(fault["name"], f"{fault['first']}..{fault['measured']}", detected, fault)
        if found:
            indented("detected", f"{found['monitor']} ({found['severity']}): {found['text']}")
        shown = [f"{d['what']}{' x ' + str(d['times']) if d['times'] > 1 else ''} (day +{d['days']:.1f})" for d in fault["done"]]
        more = f"; {len(shown) - DONE_MAX} more kinds" if len(shown) > DONE_MAX else ""
        indented("done", ("; ".join(shown[:DONE_MAX]) or "nothing") + more)
    print(f"{'the disk fills during training':36} {'':>9} not tried: it needs a file system of its own")
    for key, name in (("before", "before the first fault"), ("whole", "all days")):
        line(name, f"{result[key]['first']}..{result[key]['last']}", "", result[key])
    quiet = collections.Counter(alarm["monitor"] for alarm in result["quiet_alarms"])
    print(f"\nalarms on days that belong to no fault: {quiet.total()} "
          f"({', '.join(f'{monitor} {n}' for monitor, n in quiet.most_common())})")
    replay = result["replay"]
    print(f"replay of the log: {replay['scores_different']} scores, {replay['arms_different']} arms, "
          f"{replay['judgements_different']} judgements differ")


def write_svg(result, path):
    """Weekly average precision of both runs; the days of faults are grey."""
    width, height, left, top, plot_width, plot_height = 960, 440, 52, 64, 800, 320
    x = lambda day: left + plot_width * day / result["days"]
    y = lambda ap: top + plot_height * (1 - ap)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for n, fault in enumerate(result["faults"]):
        end = min(fault["last"], fault["measured"]) + 1
        row = top - 36 + 15 * (n % 2)
        svg.append(f'<rect x="{x(fault["first"]):.1f}" y="{top}" width="{x(end) - x(fault["first"]):.1f}" '
                   f'height="{plot_height}" fill="#eeeeee"/>'
                   f'<line x1="{x(fault["first"]):.1f}" x2="{x(fault["first"]):.1f}" y1="{row + 4}" y2="{top + plot_height}" '
                   f'stroke="#999999" stroke-dasharray="4 3"/>'
                   f'<text x="{x(fault["first"]):.1f}" y="{row}" fill="#444444">{fault["name"]}</text>')
        if fault["detected"]:
            at = x(fault["first"] + fault["detected"]["days"])
            svg.append(f'<path d="M {at:.1f} {top + plot_height} l -5 9 l 10 0 z" fill="{COLOURS["on"]}"/>')
    for tenth in range(0, 11, 2):
        svg.append(f'<line x1="{left}" x2="{left + plot_width}" y1="{y(tenth / 10):.1f}" y2="{y(tenth / 10):.1f}" '
                   f'stroke="#cccccc"/><text x="{left - 6}" y="{y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth / 10:.1f}'
                   '</text>')
    for day in range(0, result["days"] + 1, 14):
        svg.append(f'<text x="{x(day):.1f}" y="{top + plot_height + 22}" text-anchor="middle">{day}</text>')
    svg.append(f'<text x="{left + plot_width / 2}" y="{top + plot_height + 44}" text-anchor="middle">day; average precision of '
               'each week; triangles: a monitor told of the fault</text>')
    for n, (mode, colour) in enumerate(COLOURS.items()):
        points = " ".join(f"{x(week['first'] + 3.5):.1f},{y(week[mode]['average_precision']):.1f}" for week in result["weeks"])
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
                   f'<text x="{left + plot_width + 10}" y="{top + 20 + 20 * n}" fill="{colour}">life cycle {mode}</text>')
    path.write_text("\n".join(svg + ["</svg>"]) + "\n")
