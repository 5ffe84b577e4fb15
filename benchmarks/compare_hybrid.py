#!/usr/bin/env python3
"""Takes steps of hybrid pretraining's second stage by vlp and by the same model written in PyTorch, on the CPU.

  compare_hybrid.py --program build/benchmark/benchmarks/benchmark_hybrid_step [--threads 1 2]

Image encoder, text encoder, captioning decoder, frozen summariser, four terms (InfoNCE, token alignment, captioning,
distillation), backward and AdamW, on batches of the built-in data that vlp's program writes with its weights. Texts are
packed in vlp and padded in PyTorch. The terms of the first eight steps must agree before anything is reported; then each
contender steps for as long as the other, in processes of their own, one after the other, twice. Times are medians over steps,
without the making of batches.
"""
import argparse
import datetime
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CONFIGURATIONS = {
    "default": dict(width=96, heads=4, image_blocks=1, text_blocks=2, decoder_blocks=2, image_size=64, batch=32),
    "larger": dict(width=256, heads=8, image_blocks=4, text_blocks=4, decoder_blocks=4, image_size=128, batch=32),
}
OPTIONS = dict(token_temperature=0.1, distillation_temperature=2.0)
TERMS = ("global", "token", "caption", "distillation")
ROUNDS = 2
LEAST = 5  # steps that are timed, after the first eight


def load(folder, name):
    import safetensors.torch
    return safetensors.torch.load_file(folder / name)


def metadata(path):
    from safetensors import safe_open
    with safe_open(path, "pt") as file:
        return file.metadata()


def set_parameters(module, values):
    """Convolutions of vlp have their channels last."""
    import torch
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = values.pop(name.rstrip("_"))
            if value.dim() == 4:
                value = value.permute(0, 3, 1, 2)
            parameter.copy_(value.reshape(parameter.shape))
    if values:
        sys.exit(f"compare_hybrid: the model in PyTorch has no {', '.join(values)}")


def padded_batch(folder, number):
    """A batch of vlp, packed, as PyTorch's model takes it: padded and with masks."""
    import torch
    path = folder / f"batch{number}.safetensors"
    packed, more = load(folder, path.name), metadata(path)
    per_pair, words = int(more["texts_per_pair"]), int(more["words"])
    offsets = packed["offsets"].tolist()
    pairs = len(packed["images"])
    texts = [packed["pieces"][begin:end].long() for begin, end in zip(offsets, offsets[1:])]
    slots = [packed["word_slot"][begin:end].long() for begin, end in zip(offsets, offsets[1:])]
    pad = lambda rows, value: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
    impressions, findings = texts[0::per_pair], texts[per_pair - 1::per_pair]
    # A piece of word w of pair b has the row b W + w; of no word, -1.
    own_slots = [torch.where(row < 0, words, row - pair * words) for pair, row in enumerate(slots[per_pair - 1::per_pair])]
    return dict(images=packed["images"], impressions=pad(impressions, 0), findings=pad(findings, 0),
                impressions_mask=pad([torch.ones_like(text, dtype=torch.bool) for text in impressions], False),
                findings_mask=pad([torch.ones_like(text, dtype=torch.bool) for text in findings], False),
                word_slots=pad(own_slots, words), words=words, word_count=packed["word_count"].long(),
                group=packed["group"].long(), inputs=pad([text[:-1] for text in impressions], 0),
                targets=pad([text[1:] for text in impressions], -100)), pairs


def work(request):
    """The steps in PyTorch, of one process."""
    import torch
    sys.path.insert(0, str(HERE / "comparison"))
    import hybrid_model
    torch.set_num_threads(request["threads"])
    folder = pathlib.Path(request["folder"])
    sizes = dict(request["sizes"], vocabulary=request["vocabulary"], positions=request["positions"], embedding=64, word_layers=3)
    model, teacher = hybrid_model.Hybrid(sizes), hybrid_model.Summariser(sizes)
    set_parameters(model, load(folder, "model.safetensors"))
    set_parameters(teacher, load(folder, "summariser.safetensors"))
    batches = [padded_batch(folder, number)[0] for number in range(request["batches"])]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.999), weight_decay=0)

    def step(batch):
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            of_teacher = teacher(batch)
        terms = hybrid_model.objective(model(batch), of_teacher, batch, model, OPTIONS)
        total = sum(terms.values())
        total.backward()
        optimiser.step()
        return {"total": total, **terms}

    terms, seconds = [], []
    begin = time.perf_counter()
    while len(seconds) < 2 * len(batches) + LEAST or time.perf_counter() - begin < request["seconds"]:
        start = time.perf_counter()
        values = step(batches[len(seconds) % len(batches)])
        values = {name: value.item() for name, value in values.items()}
        seconds.append(time.perf_counter() - start)
        if len(terms) < 2 * len(batches):
            terms.append(values)
    print(json.dumps(dict(terms=terms, seconds=seconds)), flush=True)


def run_vlp(program, folder, sizes, threads, seconds):
    words = [program, folder, threads, seconds, *(sizes[name] for name in (
        "width", "heads", "image_blocks", "text_blocks", "decoder_blocks", "image_size", "batch"))]
    ran = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        sys.exit(ran.returncode)
    return json.loads(ran.stdout)


def run_pytorch(request):
    environment = {**os.environ, "OMP_NUM_THREADS": str(request["threads"])}
    ran = subprocess.run([sys.executable, __file__, "--worker", json.dumps(request)], env=environment,
                         stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        sys.exit(ran.returncode)
    return json.loads(ran.stdout.splitlines()[-1])


def largest_difference(ours, theirs):
    """Of any term in any of the first steps, relative to the term."""
    return max(abs(a[name] - b[name]) / max(1, abs(a[name])) for a, b in zip(ours, theirs) for name in ("total", *TERMS))


def measure(options, name, sizes, threads):
    with tempfile.TemporaryDirectory() as folder:
        seconds = {"vlp": [], "PyTorch": []}
        worst = 0.0
        for _ in range(ROUNDS):
            ours = run_vlp(options.program, folder, sizes, threads, options.seconds)
            request = dict(folder=folder, sizes=sizes, threads=threads, seconds=options.seconds, batches=4,
                           vocabulary=ours["vocabulary"], positions=ours["positions"])
            theirs = run_pytorch(request)
            worst = max(worst, largest_difference(ours["terms"], theirs["terms"]))
            if not worst <= 1e-3:
                sys.exit(f"compare_hybrid: the terms of {name} differ by {worst:.1e}:\n{ours['terms'][0]}\n{theirs['terms'][0]}")
            seconds["vlp"] += ours["seconds"][8:]
            seconds["PyTorch"] += theirs["seconds"][8:]
        return dict(configuration=name, threads=threads, parameters=ours["parameters"], vocabulary=ours["vocabulary"],
                    largest_difference=worst, seconds=seconds)


def table(result):
    lines = ["# A step of hybrid pretraining's second stage, by vlp and in PyTorch", "",
             f"{result['machine']}; {result['date']}; PyTorch {result['pytorch']}; float32. Medians over steps; terms of the first "
             "eight steps agree as the last column says.", "",
             "| model | parameters | threads | vlp, ms a step | PyTorch, ms a step | times as fast | largest difference |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for block in result["blocks"]:
        ours, theirs = (1e3 * statistics.median(block["seconds"][who]) for who in ("vlp", "PyTorch"))
        lines.append(f"| {block['configuration']} | {block['parameters']:,} | {block['threads']} | {ours:.1f} | {theirs:.1f} | "
                     f"{theirs / ours:.2f} | {block['largest_difference']:.0e} |")
    lines += ["", *(f"- {name}: " + ", ".join(f"{key}={value}" for key, value in sizes.items())
                    for name, sizes in CONFIGURATIONS.items()
                    if any(block["configuration"] == name for block in result["blocks"]))]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="benchmark_hybrid_step")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=list(CONFIGURATIONS), action="append", help="this model")
    parser.add_argument("--seconds", type=float, default=20, help="of steps for each contender, model, number of threads and round")
    parser.add_argument("--output", type=pathlib.Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(json.loads(options.worker))
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"compare_hybrid: {package} is not installed for {sys.executable}")
    if not options.program:
        parser.error("--program is needed")
    sys.path.insert(0, str(HERE))
    import compare_pytorch
    import torch
    blocks = [measure(options, name, CONFIGURATIONS[name], threads)
              for name in options.only or CONFIGURATIONS for threads in options.threads]
    result = dict(machine=compare_pytorch.processor(), date=datetime.date.today().isoformat(), pytorch=torch.__version__,
                  commit=compare_pytorch.commit(), configurations=CONFIGURATIONS, blocks=blocks)
    text = table(result)
    print(text, end="")
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
