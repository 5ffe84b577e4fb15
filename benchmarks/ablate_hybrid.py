#!/usr/bin/env python3
"""Leaves out one term of hybrid pretraining after the other, on the built-in data, and says what each is worth.

  ablate_hybrid.py --program build/release/examples/pretrain [--seeds 1 2 3] [--output benchmarks/results/hybrid_ablation]

Each seed has one first stage, which every row but the one without a teacher starts from; each row is a second stage of its
own. A run takes minutes on two cores, all of them about --minutes; finished ones are kept in --runs and not run again. The
table has, for each row, the mean over the seeds of the scores of impressions written from held-out images, with the smallest
and the largest, and the scores of the control rows once.
"""
import argparse
import csv
import datetime
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROWS = {
    "all terms, shared weights trained": [],
    "all terms, shared weights frozen": ["--shared-weights", "frozen"],
    "without L_CG (global)": ["--lambda-global", "0"],
    "without L_CL (token)": ["--lambda-token", "0"],
    "without L_Cap (captioning)": ["--lambda-caption", "0"],
    "without L_Dis (distillation)": ["--lambda-distillation", "0"],
    "without L_Sum (no first stage, so no distillation)": ["--lambda-distillation", "0"],
    "all terms, local alignment as L_CL": ["--token-loss", "local-alignment"],
}
FROM_NOTHING = "without L_Sum (no first stage, so no distillation)"
SCORES = ("BLEU-4", "ROUGE-L", "exact", "finding F1", "whole finding F1", "R@1 image to report", "pointing")


def run(arguments, folder):
    """Runs pretrain unless its folder holds a finished run."""
    if (folder / "scores.csv").exists():
        return
    resume = ["--resume"] if (folder / "config.json").exists() else arguments
    print("pretrain", *resume, "--out", folder, flush=True)
    with open(f"{folder}.txt", "a") as log:
        ended = subprocess.run([*PROGRAM, *resume, "--out", str(folder)], stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        sys.exit(f"ablate_hybrid: {folder}.txt says why pretrain failed")


def scores_of(folder):
    """{what was scored: {score: value}}"""
    scores = {}
    with open(folder / "scores.csv", newline="") as file:
        for row in csv.DictReader(file):
            scores.setdefault(row["of"], {})[row["score"]] = float(row["value"])
    return scores


def with_spread(values):
    if any(value != value for value in values):
        return "-"
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(result):
    seeds = result["seeds"]
    lines = ["# What each term of hybrid pretraining is worth", "",
             f"{result['machine']}; {result['date']}; `pretrain {' '.join(result['arguments'])}`, seeds "
             f"{', '.join(map(str, seeds))}. Impressions written from held-out images; means over the seeds, with the smallest "
             "and the largest.", "",
             "| | " + " | ".join(SCORES) + " |", "|---|" + "---:|" * len(SCORES)]
    for name, by_seed in {**result["rows"], **result["controls"]}.items():
        cells = [with_spread([by_seed[str(seed)].get(score, float("nan")) for seed in seeds]) for score in SCORES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="pretrain")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/hybrid_ablation"))
    parser.add_argument("--output", type=pathlib.Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("more", nargs="*", help="options of every run, behind --")
    options = parser.parse_args()
    PROGRAM = [options.program, "--objective", "hybrid", "--overlays", "0", *options.more]
    rows, controls = {name: {} for name in ROWS}, {}
    for seed in options.seeds:
        folder = options.runs / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        first = folder / "first"
        run(["--seed", str(seed), "--stage", "1"], first)
        for number, (name, more) in enumerate(ROWS.items()):
            summariser = [] if name == FROM_NOTHING else ["--summariser", str(first / "stage1" / "best.safetensors")]
            run(["--seed", str(seed), "--stage", "2", *summariser, *more], folder / f"row{number}")
            scores = scores_of(folder / f"row{number}")
            rows[name][str(seed)] = {**scores["alignment"], **scores.get("image", {})}
            if number == 0:
                for control, values in scores.items():
                    if control not in ("image", "alignment"):
                        controls.setdefault(control, {})[str(seed)] = values
    sys.path.insert(0, str(HERE))
    import compare_pytorch
    result = dict(machine=compare_pytorch.processor(), date=datetime.date.today().isoformat(), commit=compare_pytorch.commit(),
                  arguments=PROGRAM[1:], seeds=options.seeds, rows=rows, controls=controls)
    text = table(result)
    print(text, end="")
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
