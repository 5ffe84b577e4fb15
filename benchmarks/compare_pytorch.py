#!/usr/bin/env python3
"""Times vlp's losses beside the same in PyTorch, forward and backward, and measures the memory of both.

  compare_pytorch.py --bridge build/benchmark/bindings/libvlp_ops.so

Contenders: vlp, PyTorch as its users write it, the same through torch.compile; for local alignment GLoRIA's loop over
reports, and all pairs at once; for the multi-scale objective the sum of its terms; and vlp.torch, where the package is
installed (`pip install .`), which shows what Python costs. They have the same inputs, threads and
number type, and vlp runs in the same process on the tensors' own memory. Their losses and gradients must agree (in float
at the shape that is timed, in double at a small one) before anything is timed. They are timed in turn, again and again;
the table has each one's fastest time, the JSON all of them. Peak memory is that of one call in a process of its own, above
inputs and gradients (comparison/worker.py says how).

With --device cuda: the library vlp_pytorch_bridge_cuda (cmake --preset cuda, VLP_BUILD_BENCHMARKS), other shapes and mostly
bfloat16, times by CUDA events, memory by PyTorch's own count (comparison/cuda_worker.py says how). InfoNCE is also
compared with a form that computes its scores in tiles, local alignment and the multi-scale objective with one that takes
images a chunk at a time, and each loss with the kernels of other projects that are installed (comparison/peers.py).
Where PyTorch runs out of memory, that is its row. Cases with bars come first, what is to be compiled last, so that
--time-limit cuts off what is missed least. OUTPUT.json and OUTPUT.md are written anew after every answer, so that they have
all but the case in progress when this is killed; SIGTERM ends it and its workers with what there is. VLP_COMMIT names the commit where this is no clone.

Nothing is installed by this: it needs PyTorch, and the library that CMake builds with VLP_BUILD_BINDINGS (for CUDA:
VLP_BUILD_BENCHMARKS).
A complete run writes benchmarks/results/losses_cpu.json and .md, or losses_cuda_pytorch; with --quick, --only or --contender it writes
where --output says.
"""
import argparse
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import time

START = time.monotonic()  # the time limit counts from here
HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
# The cores of this process before PyTorch binds it to one of them (OMP_PROC_BIND), which its workers would inherit.
CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def fail(message):
    sys.stderr.write(f"compare_pytorch: {message}\n")
    sys.exit(2)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bridge", type=pathlib.Path, help="the library that runs vlp")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", action="append", metavar="LOSS", help="this loss; may be given several times")
    parser.add_argument("--contender", action="append", metavar="LABEL", help="time this one alone, say vlp.torch; may be "
                        "given several times (CPU)")
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2; may be given several times")
    parser.add_argument("--quick", action="store_true", help="small shapes and few repetitions: a smoke test")
    parser.add_argument("--no-memory", action="store_true", help="leave out the measurement of memory (CPU)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="end some seconds before with what there is (CUDA)")
    parser.add_argument("--output", type=pathlib.Path, help="write OUTPUT.json and OUTPUT.md")
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        fail(f"PyTorch is not installed for {sys.executable}; install it, or run this with a Python that has it")
    library, folder, option = {"cpu": ("vlp_ops", "benchmark/bindings", "VLP_BUILD_BINDINGS"),
                               "cuda": ("vlp_pytorch_bridge_cuda", "cuda/benchmarks", "VLP_BUILD_BENCHMARKS")}[options.device]
    if options.bridge is None:
        options.bridge = HERE.parent / "build" / folder / f"lib{library}.so"
    if not options.bridge.is_file():
        fail(f"there is no library {options.bridge}; build it with cmake -D{option}=ON, target "
             f"{library}, or name it by --bridge")
    if options.threads and min(options.threads) < 1:
        fail("--threads must be 1 or more")
    options.threads = options.threads or [1, 2]
    options.end = START + (1e6 if options.time_limit is None else options.time_limit)
    if options.output is None and not options.quick and not options.only and not options.contender:
        options.output = HERE / "results" / {"cpu": "losses_cpu", "cuda": "losses_cuda_pytorch"}[options.device]
    return options


def ask_worker(options, request, steady_memory=False):
    """What comparison/worker.py answers; ends this program with the worker's message where it fails."""
    environment = dict(os.environ)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = str(request["threads"])
    if steady_memory:  # what is freed goes back at once, so that resident memory is memory in use
        environment.update(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    request = {"bridge": str(options.bridge.resolve()), "quick": options.quick, **request}
    worker = subprocess.run([sys.executable, str(HERE / "comparison" / "worker.py"), json.dumps(request)],
                            env=environment, stdout=subprocess.PIPE, text=True,
                            preexec_fn=(lambda: os.sched_setaffinity(0, CORES)) if CORES else None)
    if worker.returncode != 0:
        sys.exit(worker.returncode if worker.returncode > 0 else f"compare_pytorch: a worker was ended by signal "
                                                                 f"{-worker.returncode}: {request}")
    return json.loads(worker.stdout.strip().splitlines()[-1])


def measure(options, work, sizes, threads):
    """One block of the table."""
    request = {"loss": work.loss, "sizes": sizes, "threads": threads}
    timed = ask_worker(options, {"what": "time", "only": options.contender, **request})
    rows, notes = [], timed["notes"]
    for label, seconds in timed["seconds"].items():
        row = {"contender": label, "milliseconds": 1e3 * min(seconds),
               "median_milliseconds": 1e3 * statistics.median(seconds),
               "all_milliseconds": [round(1e3 * one, 4) for one in seconds], "error": timed["errors"][label]}
        if not options.no_memory:
            measured = ask_worker(options, {"what": "memory", "label": label, **request}, steady_memory=True)
            row["peak_bytes"] = measured["bytes"]
            notes += measured["notes"]
        rows.append(row)
    return {"loss": work.loss, "sizes": sizes, "threads": threads, "rows": rows, "notes": sorted(set(notes)),
            "vlp": list(work.variants), **{key: timed[key] for key in ("error_in_double", "pytorch_product_gflops",
                                                                       "openmp", "backend", "compiler")}}


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def commit():
    """VLP_COMMIT where it is set (a copy without .git does not know), else what git says, where it is there."""
    if os.environ.get("VLP_COMMIT"):
        return os.environ["VLP_COMMIT"]
    try:
        asked = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return asked.stdout.strip() if asked.returncode == 0 else "unknown"


def times(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table_rows(block):
    """A line for each contender; for those of PyTorch, how they compare to each of vlp's."""
    own = [row for row in block["rows"] if row["contender"] in block["vlp"]]
    shape = " ".join(f"{name}={value}" for name, value in block["sizes"].items())
    for row in block["rows"]:
        slower = share = ""
        if row not in own:
            slower = " / ".join(times(row["milliseconds"] / one["milliseconds"]) for one in own)
            if row.get("peak_bytes"):
                share = " / ".join(f"{100 * one['peak_bytes'] / row['peak_bytes']:.1f} %" for one in own)
        memory = "" if row.get("peak_bytes") is None else f"{row['peak_bytes'] / MIB:,.2f}"
        yield (f"| {block['loss']} | {shape} | {block['threads']} | {row['contender']} | {row['milliseconds']:,.2f} | "
               f"{slower} | {memory} | {share} |")


def markdown(result):
    lines = ["# Losses beside PyTorch", "",
             f"Forward and backward in float32 on {result['machine']}; {result['date']}. vlp {result['commit']}, "
             f"{result['compiler']}, products by {result['backend']}; PyTorch {result['pytorch']}, Python "
             f"{result['python']}. Milliseconds: the fastest call of several, taken in turn. Memory: peak of a call above "
             "inputs and gradients, MiB. Where vlp has two ways, both are compared, in their order.", "",
             "| loss | shape | threads | | ms | times vlp's | memory | vlp's share |",
             "|---|---|---:|---|---:|---:|---:|---:|"]
    for block in result["blocks"]:
        lines += table_rows(block)
    rates = {}
    for block in result["blocks"]:
        rates[block["threads"]] = max(rates.get(block["threads"], 0), block["pytorch_product_gflops"])
    lines += ["", "PyTorch's own matrix product in the same run: " +
              ", ".join(f"{rate:.0f} GFLOP/s on {threads} thread{'s'[:threads > 1]}" for threads, rate in rates.items()) +
              ". Largest disagreement, over the largest value: " +
              f"{max(row['error'] for block in result['blocks'] for row in block['rows']):.0e} in float, " +
              f"{max(block['error_in_double'] for block in result['blocks']):.0e} in double."]
    notes = sorted({note for block in result["blocks"] for note in block["notes"]})
    if any(len(block["openmp"]) > 1 for block in result["blocks"]):
        notes.append("two OpenMP runtimes shared the process: their threads may have disturbed each other")
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def main():
    options = parse()
    sys.path.insert(0, str(HERE / "comparison"))
    import losses
    import torch
    if options.device == "cuda" and not torch.cuda.is_available():
        fail(f"PyTorch {torch.__version__} finds no CUDA device")
    works = [work for work in losses.works() if options.device == "cpu" or work.on_cuda]
    if options.only:
        unknown = set(options.only) - {work.loss for work in works}
        if unknown:
            fail(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(work.loss for work in works)}")
        works = [work for work in works if work.loss in options.only]
    result = {"machine": processor(), "date": datetime.date.today().isoformat(), "commit": commit(),
              "device": options.device, "pytorch": torch.__version__, "python": platform.python_version()}
    if options.device == "cuda":
        sys.exit(compare_on_cuda(options, works, result))
    blocks = []
    for work in works:
        for sizes in losses.QUICK[work.loss] if options.quick else work.shapes:
            for threads in options.threads:
                print(f"{work.loss} {work.describe(sizes)}, threads {threads}", file=sys.stderr, flush=True)
                blocks.append(measure(options, work, sizes, threads))
    result.update(compiler=blocks[0]["compiler"], backend=blocks[0]["backend"], blocks=blocks)
    table = markdown(result)
    print(table, end="")
    write(options, result, table)


def compare_on_cuda(options, works, begin):
    """Measures, writes after each answer what there is, and returns the exit status. `begin` is what the result begins with."""
    import cuda_run
    import cuda_table
    record = cuda_run.Record(options, works)

    def save():
        result = {**begin, **record.result()}
        table = cuda_table.markdown(result)
        write(options, result, table)
        return result, table

    def end(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) sends it twice
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        cuda_run.measure(options, record, save)
    finally:
        result, table = save()
        print(table, end="", flush=True)
    return 0 if cuda_table.well(result) else 1


def write(options, result, table):
    """Replaces both files, each at once: a reader finds the old one or the new one, never a part of one."""
    if not options.output:
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in ((".json", json.dumps(result, indent=1) + "\n"), (".md", table)):
        place = options.output.with_suffix(ending)
        whole = place.with_name(place.name + ".part")
        whole.write_text(text, encoding="utf-8")
        whole.replace(place)


if __name__ == "__main__":
    main()
