#!/usr/bin/env python3
"""Trains one model in PyTorch with vlp's losses and with the same losses written in PyTorch, on the CPU.

  compare_training.py [--threads 1 2] [--output benchmarks/results/training]

The model is a small dual encoder: patches and transformer blocks for images, transformer blocks for reports, whose
perturbations pass the same encoder. The objective is the multi-scale one (arXiv 2506.01902): InfoNCE, local alignment and
perturbation sensitivity. Contenders: vlp.torch; PyTorch with GLoRIA's loop for the local loss; PyTorch with all pairs at
once, and that compiled. They start from the same parameters and see the same batches. Their losses must agree before
anything is timed; after that their steps are timed in turn. Examples a second are by the median step. Peak memory is that of
resident memory in some steps in a process of its own, above the state before them.

It needs PyTorch and vlp (`pip install .`) in one environment.
"""
import argparse
import ctypes
import datetime
import importlib.util
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CONFIGURATIONS = {
    "small": dict(B=64, K=9, W=32, image=112, patch=16, width=128, depth=2, heads=4),
    "many regions": dict(B=32, K=9, W=48, image=224, patch=16, width=256, depth=2, heads=8),
}
STEPS_THAT_AGREE = 4


def make(torch, sizes):
    """The model, its optimiser and a function that makes the batch of a step."""
    nn = torch.nn

    def blocks():
        layer = nn.TransformerEncoderLayer(sizes["width"], sizes["heads"], 4 * sizes["width"], dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        return nn.TransformerEncoder(layer, sizes["depth"], enable_nested_tensor=False)

    class DualEncoder(nn.Module):
        def __init__(self, vocabulary=2000):
            super().__init__()
            width, regions = sizes["width"], (sizes["image"] // sizes["patch"]) ** 2
            self.patches = nn.Conv2d(1, width, sizes["patch"], sizes["patch"])
            self.pieces = nn.Embedding(vocabulary, width)
            self.region_places = nn.Parameter(0.02 * torch.randn(regions, width))
            self.word_places = nn.Parameter(0.02 * torch.randn(sizes["W"], width))
            self.image_blocks, self.text_blocks = blocks(), blocks()
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
            self.perturbation_log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, images, reports):
            """Arguments of the objective; images [B, 1, S, S], reports [B, 1 + K, W]."""
            regions = self.image_blocks(self.patches(images).flatten(2).transpose(1, 2) + self.region_places)
            words = self.text_blocks(self.pieces(reports.flatten(0, 1)) + self.word_places).unflatten(0, reports.shape[:2])
            return dict(image=regions.mean(1), text=words.mean(2), log_scale=self.log_scale,
                        perturbation_log_scale=self.perturbation_log_scale, regions=regions, words=words[:, 0])

    def batch(step):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(sizes["B"], 1, sizes["image"], sizes["image"], generator=generator)
        report = torch.randint(2000, (sizes["B"], 1, sizes["W"]), generator=generator)
        order = [torch.randperm(sizes["W"], generator=generator) for _ in range(sizes["K"])]
        return images, torch.cat([report] + [report[:, :, places] for places in order], dim=1)

    torch.manual_seed(0)
    model = DualEncoder()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4), batch


def contenders(torch):
    """Objectives by name, functions of what the model returns."""
    sys.path.insert(0, str(HERE / "comparison"))
    import losses
    import vlp.torch.functional
    vectorised = losses.multi_scale_by(losses.local_vectorised)
    return {"vlp.torch": vlp.torch.functional.multi_scale,
            "GLoRIA's loop": losses.multi_scale_by(losses.gloria_loop),
            "vectorised": vectorised,
            "vectorised, compiled": torch.compile(vectorised, dynamic=False)}


def trainer(torch, sizes, objective):
    """A function that trains for one step and returns the loss and the seconds of step and objective."""
    model, optimiser, batch = make(torch, sizes)
    steps = 0

    def step():
        nonlocal steps
        images, reports = batch(steps)
        steps += 1
        begin = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = objective(**model(images, reports))
        loss.backward()
        optimiser.step()
        return loss.item(), time.perf_counter() - begin

    return step


def measure_time(torch, sizes, seconds):
    objectives = contenders(torch)
    steps = {label: trainer(torch, sizes, objective) for label, objective in objectives.items()}
    worst = 0.0
    for _ in range(STEPS_THAT_AGREE):
        values = {label: step()[0] for label, step in steps.items()}
        worst = max(worst, max(abs(value - values["vectorised"]) for value in values.values()))
    if not worst <= 1e-3:
        sys.exit(f"compare_training: losses differ by {worst:.1e}; nothing is timed")
    times = {label: [] for label in steps}
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times["vectorised"]) < 5:
        for label, step in steps.items():
            times[label].append(step()[1])
    return {"seconds": times, "largest_difference": worst}


def status(field):
    line = next(line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def measure_memory(torch, sizes, label):
    step = trainer(torch, sizes, contenders(torch)[label])
    step()  # moments of the optimiser, threads and compiled code are there after it
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = status("VmRSS:")
    for _ in range(2):
        step()
    return {"bytes": status("VmHWM:") - before}


def ask(request):
    environment = {**os.environ, "OMP_NUM_THREADS": str(request["threads"]), "MALLOC_MMAP_THRESHOLD_": "65536",
                   "MALLOC_TRIM_THRESHOLD_": "65536"} if request["what"] == "memory" else {
                       **os.environ, "OMP_NUM_THREADS": str(request["threads"])}
    worker = subprocess.run([sys.executable, __file__, "--worker", json.dumps(request)], env=environment,
                            stdout=subprocess.PIPE, text=True)
    if worker.returncode != 0:
        sys.exit(worker.returncode)
    return json.loads(worker.stdout.splitlines()[-1])


def work(request):
    import torch
    torch.set_num_threads(request["threads"])
    sizes = CONFIGURATIONS[request["configuration"]]
    result = (measure_time(torch, sizes, request["seconds"]) if request["what"] == "time" else
              measure_memory(torch, sizes, request["label"]))
    print(json.dumps(result), flush=True)
    os._exit(0)  # compiled code's helpers need no orderly end


def table(result):
    lines = ["# Training a model in PyTorch, by where its losses come from", "",
             f"{result['machine']}; {result['date']}; PyTorch {result['pytorch']}; float32. Examples a second by the median "
             "step, contenders in turn; peak memory of a step above parameters and the optimiser's moments.", "",
             "| model | threads | losses | examples/s | times as fast as vectorised | peak memory, MiB |",
             "|---|---:|---|---:|---:|---:|"]
    for block in result["blocks"]:
        base = statistics.median(block["seconds"]["vectorised"])
        for label, seconds in block["seconds"].items():
            median = statistics.median(seconds)
            lines.append(f"| {block['configuration']} | {block['threads']} | {label} | {block['B'] / median:.1f} | "
                         f"{base / median:.2f} | {block['bytes'][label] / 2**20:,.0f} |")
    lines += ["", *(f"- {name}: " + ", ".join(f"{key}={value}" for key, value in sizes.items())
                    for name, sizes in CONFIGURATIONS.items())]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=list(CONFIGURATIONS), action="append", help="this model")
    parser.add_argument("--seconds", type=float, default=60, help="of timing for each model and number of threads")
    parser.add_argument("--output", type=pathlib.Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(json.loads(options.worker))
    for package in ("torch", "vlp"):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"compare_training: {package} is not installed for {sys.executable}")
    sys.path.insert(0, str(HERE))
    import compare_pytorch
    import torch
    blocks = []
    for configuration in options.only or CONFIGURATIONS:
        for threads in options.threads:
            request = dict(configuration=configuration, threads=threads)
            print(f"{configuration}, threads {threads}", file=sys.stderr, flush=True)
            block = ask(dict(request, what="time", seconds=options.seconds))
            block["bytes"] = {label: ask(dict(request, what="memory", label=label))["bytes"] for label in block["seconds"]}
            blocks.append({**request, "B": CONFIGURATIONS[configuration]["B"], **block})
    result = dict(machine=compare_pytorch.processor(), date=datetime.date.today().isoformat(), pytorch=torch.__version__,
                  commit=compare_pytorch.commit(), configurations=CONFIGURATIONS, blocks=blocks)
    text = table(result)
    print(text, end="")
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
