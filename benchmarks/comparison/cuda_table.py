"""The comparison on a CUDA device: one worker per loss (cuda_worker.py), and the table of what they found."""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20


def ask_worker(options, loss, seconds):
    """The blocks that a worker had finished when it ended or its time was up, and what is to be said of its end."""
    request = {"bridge": str(options.bridge.resolve()), "loss": loss, "quick": options.quick}
    notes = []
    with tempfile.TemporaryFile("w+") as output:
        try:
            ended = subprocess.run([sys.executable, str(HERE / "cuda_worker.py"), json.dumps(request)], stdout=output,
                                   timeout=seconds).returncode
            if ended != 0:
                notes.append(f"{loss}: its process ended with status {ended}")
        except subprocess.TimeoutExpired:
            notes.append(f"{loss}: its process was stopped after {seconds:.0f} s")
        output.seek(0)
        blocks = [json.loads(line) for line in output if line.startswith("{") and line.endswith("}\n")]
    return blocks, notes


def measure(options, works):
    """All blocks and notes, within options.time_limit seconds."""
    end = time.monotonic() + options.time_limit if options.time_limit else None
    blocks, notes = [], []
    for work in works:
        left = None if end is None else end - time.monotonic()
        if left is not None and left < 1:
            notes.append(f"{work.loss}: left out, no time was left")
            continue
        print(f"{work.loss} on a CUDA device", file=sys.stderr, flush=True)
        found, said = ask_worker(options, work.loss, left)
        blocks += found
        notes += said
    return blocks, notes


def well(result):
    """Whether every shape was measured: PyTorch may run out of memory, vlp may not fail."""
    return not result["notes"] and all("milliseconds" in block["rows"][0] for block in result["blocks"])


def number(value):
    return f"{value:,.4f}" if value < 1 else f"{value:,.2f}"


def table_rows(block):
    own = block["rows"][0]
    shape = " ".join(f"{name}={value}" for name, value in block["sizes"].items())
    for row in block["rows"]:
        begin = f"| {block['loss']} | {block['type']} | {shape} | {row['contender']} | "
        memory = f"{row['peak_bytes'] / MIB:,.2f}" if "peak_bytes" in row else ""
        error = f"{row['error']:.1e}" if "error" in row else ""
        slower = share = ""
        if row is not own and "milliseconds" in row and "milliseconds" in own:
            slower = f"{row['milliseconds'] / own['milliseconds']:.2f}"
            share = f"{100 * own['peak_bytes'] / row['peak_bytes']:.1f} %" if row["peak_bytes"] else ""
        taken = row.get("outcome", "")
        if "milliseconds" in row:
            taken = f"{number(row['milliseconds'])} ({number(row['least'])} to {number(row['most'])})"
        yield begin + f"{taken} | {slower} | {memory} | {share} | {error} |"


def markdown(result):
    lines = ["# Losses beside PyTorch on a CUDA device", ""]
    if result["blocks"]:
        one = result["blocks"][0]
        lines += [f"Forward and backward on {one['card']}; {result['date']}. vlp {result['commit']}, {one['compiler']}, "
                  f"products by {one['backend']}; PyTorch {one['pytorch']} (CUDA {one['cuda']}), Python "
                  f"{result['python']}; torch.backends.cuda.matmul.allow_tf32 is {one['allow_tf32']}, "
                  f"allow_bf16_reduced_precision_reduction {one['bf16_reduced_precision_reduction']}. PyTorch in bfloat16 "
                  "runs under autocast. Median (least to most) in ms, taken in turn, each with nothing of it in L2 before. "
                  "Memory above inputs and gradients, MiB: vlp's scratch and what it keeps, PyTorch's peak, both without "
                  "the workspace of cuBLAS. Error: of loss and gradients from float64, the largest, over the largest "
                  "value.", "",
                  "| loss | type | shape | | ms | times vlp's | memory | vlp's share | error |",
                  "|---|---|---|---|---:|---:|---:|---:|---:|"]
    for block in result["blocks"]:
        lines += table_rows(block)
    lines += ["", *(f"- {note}" for note in result["notes"])] if result["notes"] else []
    return "\n".join(lines) + "\n"
