#!/usr/bin/env python3
"""Draws how the cost of a step grows with the batch, from a run of benchmark_losses, and says with what exponent.

  benchmark_losses --benchmark_filter=^scaling --benchmark_out=scaling.json
  plot_scaling.py scaling.json --images docs/images --output benchmarks/results/scaling.md

An exponent is the slope of log time, or of log memory, against log B, by least squares over the largest batches (the last
doublings of B, three by default): at small ones what grows slower than B^2 still shows. Needs gnuplot, and no package of
Python's.
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys

MIB = 1 << 20
TITLES = {"info_nce": "InfoNCE", "local_alignment": "Local alignment"}


def read(path):
    """By loss and sizes other than B: a line (B, milliseconds, MiB) for each batch, the fastest of its repetitions."""
    series = {}
    for run in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
        parts = run["run_name"].split("/")
        if run["run_type"] != "iteration" or parts[0] != "scaling":
            continue
        sizes = " ".join(part.replace(":", "=") for part in parts[3:] if ":" in part and not part.startswith("B:"))
        lines = series.setdefault((parts[1], sizes), {})
        batch, memory = int(run["B"]), (run["scratch_bytes"] + run["kept_bytes"]) / MIB
        milliseconds = run["real_time"]  # the unit is registered with the benchmark
        lines[batch] = min(lines.get(batch, (math.inf, 0)), (milliseconds, memory))
    return {key: [(batch, *lines[batch]) for batch in sorted(lines)] for key, lines in series.items()}


def slope(lines, column, doublings):
    """Exponent and factor of the least-squares line through the last points of a column against B; or None."""
    points = [(math.log(line[0]), math.log(line[column])) for line in lines[-(doublings + 1):]]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points))
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return exponent, math.exp(mean_y - exponent * mean_x)


def script(title, sizes, lines, fits, picture):
    """The gnuplot script of one picture: time on the left, memory on the right, both against B on logarithmic axes."""
    data = "\n".join(" ".join(f"{value:g}" for value in line) for line in lines)
    largest, first = lines[-1][0], lines[0][0]
    fit_lines = ["" if fit is None else f", {fit[1]!r} * x ** {fit[0]!r} with lines linecolor rgb '#606060' dashtype 2 "
                 f"title 'slope {fit[0]:.2f}'" for fit in fits]
    style = "with linespoints pointtype 7 linewidth 2 linecolor rgb"
    return f"""
if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {{
set terminal pngcairo size 1000,420 noenhanced font 'Sans,12'
}} else {{
set terminal png size 1000,420 noenhanced
}}
set output '{picture}'
set border 3 linecolor rgb '#606060'
set tics nomirror
set xtics font ',9'
set grid linecolor rgb '#e0e0e0' linetype 1
set logscale x 2
set logscale y 10
set xrange [{first * 0.8}:{largest * 1.25}]
set xlabel 'pairs B'
set key top left Left reverse
$data << end
{data}
end
set multiplot layout 1,2 title '{title}, {sizes}: forward and backward'
set ylabel 'milliseconds'
plot $data using 1:2 {style} '#0072b2' title 'time'{fit_lines[0]}
set ylabel 'MiB above inputs and gradients'
plot $data using 1:3 {style} '#d55e00' title 'memory'{fit_lines[1]}
unset multiplot
"""


def table(series, fits):
    lines = ["# Cost against the batch", ""]
    for (loss, sizes), points in series.items():
        lines += [f"## {TITLES.get(loss, loss)}, {sizes}", "", "| B | ms | MiB above inputs and gradients |",
                  "|---:|---:|---:|"]
        lines += [f"| {batch} | {time:,.2f} | {memory:,.2f} |" for batch, time, memory in points]
        time, memory = fits[loss, sizes]
        lines += ["", "Too few batches for a slope." if time is None else
                  f"Over the largest batches time grows as B^{time[0]:.2f}, memory as B^{memory[0]:.2f}.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=pathlib.Path, help="JSON of benchmark_losses")
    parser.add_argument("--images", type=pathlib.Path, help="folder for scaling_LOSS.png")
    parser.add_argument("--output", type=pathlib.Path, help="write the table here; else it is printed")
    parser.add_argument("--doublings", type=int, default=3, help="of B that the slope is taken over")
    options = parser.parse_args()
    series = read(options.runs)
    if not series:
        sys.exit(f"plot_scaling: {options.runs} has no benchmark named scaling/...")
    fits = {key: [slope(lines, column, options.doublings) for column in (1, 2)] for key, lines in series.items()}
    if options.images:
        if shutil.which("gnuplot") is None:
            sys.exit("plot_scaling: gnuplot is not installed")
        options.images.mkdir(parents=True, exist_ok=True)
        for (loss, sizes), lines in series.items():
            picture = options.images / f"scaling_{loss}.png"
            text = script(TITLES.get(loss, loss), sizes, lines, fits[loss, sizes], picture)
            subprocess.run(["gnuplot"], input=text, text=True, check=True)
    if options.output:
        options.output.write_text(table(series, fits), encoding="utf-8")
    else:
        print(table(series, fits), end="")


if __name__ == "__main__":
    main()
