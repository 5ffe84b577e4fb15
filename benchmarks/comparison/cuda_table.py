"""The comparison on a CUDA device: a worker for each loss (cuda_worker.py), and the table of what they found."""
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time

import losses

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20


class Worker:
    """A process for one loss: what breaks the device for one breaks it for no other."""

    def __init__(self, options, loss):
        setup = {"bridge": str(options.bridge.resolve()), "loss": loss, "quick": options.quick}
        self.call = [sys.executable, str(HERE / "cuda_worker.py"), json.dumps(setup)]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.messages = queue.Queue()
        threading.Thread(target=self.read, args=(self.process.stdout, self.messages), daemon=True).start()

    @staticmethod
    def read(output, messages):
        """Passes on what the process says, and None at its end."""
        for line in output:
            if line.startswith("{") and line.endswith("}\n"):
                messages.put(json.loads(line))
        messages.put(None)

    def wait(self, seconds):
        """Until it can be asked, lest its start disturb what another times."""
        with contextlib.suppress(queue.Empty):
            if self.messages.get(timeout=seconds) is None:
                self.messages.put(None)  # for ask() to tell of

    def ask(self, request, seconds):
        """The answer, or None and what went wrong."""
        if self.process is None:
            self.start()
        with contextlib.suppress(BrokenPipeError):  # the end of the process is then the next message
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        end = time.monotonic() + seconds
        try:
            message = self.messages.get(timeout=seconds)
            if message is not None and "ready" in message:  # it was started again
                message = self.messages.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            self.stop()
            return None, f"stopped after {seconds:.0f} s"
        if message is not None:
            if message["last"]:
                self.stop()
            return message, None
        status = self.process.wait()
        self.stop()
        return None, f"its process ended with status {status}"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def requests(options, works):
    """What is asked of which loss's worker, the most wanted first: (what it is called, loss, request, bars). Cases with
    bars, a check of every loss at a small shape, the other cases, and at last all again with what is to be compiled."""
    cases = [(work, case) for work in works
             for case in ([losses.OnCuda(losses.BF16, sizes) for sizes in losses.QUICK[work.loss]] if options.quick
                          else work.on_cuda)]

    def of(chosen, compiled):
        for work, case in chosen:
            yield (f"{work.loss} {case.type} {work.describe(case.sizes)}", work.loss,
                   {"what": "case", "type": case.type, "sizes": case.sizes, "compiled": compiled}, case.bars)

    with_bars, others = [one for one in cases if one[1].bars], [one for one in cases if not one[1].bars]
    yield from of(with_bars, False)
    for work in works:
        yield f"{work.loss} at a small shape", work.loss, {"what": "small"}, {}
    yield from of(others, False)
    yield from of(with_bars + others, True)


def measure(options, works):
    """Blocks, problems, and notes on what was not compiled, within options.time_limit seconds."""
    end = time.monotonic() + (1e6 if options.time_limit is None else options.time_limit)
    workers = {work.loss: Worker(options, work.loss) for work in works}
    blocks, problems, notes = {}, [], []
    left_out = {False: [], True: []}  # by whether it is to be compiled
    for worker in workers.values():
        worker.start()
    for worker in workers.values():
        worker.wait(max(end - time.monotonic(), 0.01))
    for name, loss, request, bars in requests(options, works):
        compiled = request.get("compiled", False)
        label = f"{name}, compiled" if compiled else name
        left = end - time.monotonic()
        if left < 3:
            left_out[compiled].append(label)
            continue
        print(label, file=sys.stderr, flush=True)
        # Half of the time that is left: one that hangs leaves some to the others.
        answer, wrong = workers[loss].ask(request, max(left / 2, min(left, 20)))
        if wrong is not None:  # what goes wrong with what is compiled is PyTorch's: vlp was measured without it
            (notes if compiled else problems).append(f"{label}: {wrong}")
        elif request["what"] == "small":
            problems += [f"{name}: {one}" for one in answer["problems"]]
        else:
            blocks[name] = {**answer, "bars": bars}  # with what is compiled in place of without
    for worker in workers.values():
        worker.stop()
    for kind, said in ((False, problems), (True, notes)):
        if left_out[kind]:
            said.append("left out, no time was left: " + "; ".join(left_out[kind]))
    return {"blocks": list(blocks.values()), "problems": problems, "notes": notes}


def well(result):
    """Whether every case was measured: PyTorch may run out of memory, vlp may not fail."""
    return not result["problems"] and all("milliseconds" in block["rows"][0] for block in result["blocks"])


def number(value):
    return f"{value:,.4f}" if value < 1 else f"{value:,.2f}"


def shape_of(block):
    return " ".join(f"{name}={value}" for name, value in block["sizes"].items())


def table_rows(block):
    own = block["rows"][0]
    for row in block["rows"]:
        begin = f"| {block['loss']} | {block['type']} | {shape_of(block)} | {row['contender']} | "
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


def bar_lines(block):
    """A sentence for each bar of the block."""
    rows = {row["contender"]: row for row in block["rows"]}
    for contender, bar in block["bars"].items():
        begin = f"- {block['loss']} {block['type']} {shape_of(block)}, {contender} at least {bar} times vlp's time: "
        if all("milliseconds" in rows.get(one, {}) for one in ("vlp", contender)):
            ratio = rows[contender]["milliseconds"] / rows["vlp"]["milliseconds"]
            yield begin + f"{ratio:.2f}, {'met' if ratio >= bar else 'missed'}"
        else:
            yield begin + "not measured"


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
    for said in ([line for block in result["blocks"] for line in bar_lines(block)],
                 [f"- {one}" for one in result["problems"] + result["notes"]]):
        lines += ["", *said] if said else []
    return "\n".join(lines) + "\n"
