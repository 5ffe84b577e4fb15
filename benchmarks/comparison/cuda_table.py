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
import peers

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
PEER_SECONDS = 25  # for a peer at a shape, at most: the start of its process, what Triton compiles, and its calls


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
    """What is asked of which loss's worker, the most wanted first: (what the case is called, loss, request). Cases with
    bars, the peers that those bars name, a check of every loss at a small shape, the other cases, the peers that are left,
    and at last all cases again with what is to be compiled."""
    cases = [(work, case) for work in works for case in cases_of(options, work)]

    def ask(work, case, **request):
        return (f"{work.loss} {case.type} {work.describe(case.sizes)}", work.loss,
                {**request, "type": case.type, "sizes": case.sizes})

    def ask_peers(work, case, with_bar):
        for peer in peers.of(work.loss):
            if peer.is_installed and not peer.refuses(case.type, case.sizes) and (peer.name in case.bars) == with_bar:
                yield ask(work, case, what="peer", peer=peer.name)

    with_bars, others = [one for one in cases if one[1].has_bars], [one for one in cases if not one[1].has_bars]
    for one in with_bars:
        yield ask(*one, what="case", compiled=False)
    for one in with_bars:
        yield from ask_peers(*one, True)
    for work in works:
        yield f"{work.loss} at a small shape", work.loss, {"what": "small"}
    for one in others:
        yield ask(*one, what="case", compiled=False)
    for one in with_bars + others:
        yield from ask_peers(*one, False)
    for one in with_bars + others:
        yield ask(*one, what="case", compiled=True)


def cases_of(options, work):
    return [losses.OnCuda(losses.BF16, sizes) for sizes in losses.QUICK[work.loss]] if options.quick else work.on_cuda


def label_of(name, request):
    if request["what"] == "peer":
        return f"{name}, {request['peer']}"
    return f"{name}, compiled" if request.get("compiled") else name


def measure(options, works):
    """Blocks, problems, and notes on what was left out, within options.time_limit seconds."""
    end = time.monotonic() + (1e6 if options.time_limit is None else options.time_limit)
    workers = {work.loss: Worker(options, work.loss) for work in works}
    blocks, of_peers, problems, notes = {}, {}, [], []
    left_out = {False: [], True: []}  # by whether it is extra: a peer, or to be compiled
    for worker in workers.values():
        worker.start()
    for worker in workers.values():
        worker.wait(max(end - time.monotonic(), 0.01))
    for name, loss, request in requests(options, works):
        extra, label = request["what"] == "peer" or request.get("compiled", False), label_of(name, request)
        left = end - time.monotonic()
        if left < 3:
            left_out[extra].append(label)
            continue
        print(label, file=sys.stderr, flush=True)
        # Half of the time that is left: one that hangs leaves some to the others.
        seconds = max(left / 2, min(left, 20))
        if request["what"] == "peer":
            seconds = min(seconds, PEER_SECONDS)
        answer, wrong = workers[loss].ask(request, seconds)
        if request["what"] == "peer":
            row = {"contender": request["peer"], "outcome": wrong} if wrong is not None else answer["row"]
            of_peers.setdefault(name, []).append(row)
        elif wrong is not None:  # what goes wrong with what is compiled is PyTorch's: vlp was measured without it
            (notes if extra else problems).append(f"{label}: {wrong}")
        elif request["what"] == "small":
            problems += [f"{name}: {one}" for one in answer["problems"]]
        elif extra and name in blocks and not is_measured(answer):
            notes.append(f"{label}: {answer['rows'][0]['outcome']}")
        else:
            blocks[name] = answer  # with what is compiled in place of without
    for worker in workers.values():
        worker.stop()
    for work in works:
        for case in cases_of(options, work):
            name = f"{work.loss} {case.type} {work.describe(case.sizes)}"
            if name in blocks:
                complete(blocks[name], case, of_peers.get(name, []))
    for kind, said in ((False, problems), (True, notes)):
        if left_out[kind]:
            said.append("left out, no time was left: " + "; ".join(left_out[kind]))
    notes += notes_on_peers(works)
    return {"blocks": list(blocks.values()), "problems": problems, "notes": notes}


def complete(block, case, rows):
    """Adds to a block its bars, the rows of its peers, and which peers are not installed. A peer that refused the case has
    its reason as its row."""
    all_peers = peers.of(block["loss"])
    refused = {peer.name: peer.refuses(case.type, case.sizes) for peer in all_peers if peer.is_installed}
    rows = rows + [{"contender": name, "outcome": reason} for name, reason in refused.items() if reason]
    block["rows"] += [{**row, "version": peers.named(row["contender"]).installed_version} for row in rows]
    block.update(bars=case.bars, within=case.within, absent=[peer.name for peer in all_peers if not peer.is_installed])


def notes_on_peers(works):
    """Notes: which gradients a peer does not compute, and which peers are not installed."""
    all_peers = [peer for work in works for peer in peers.of(work.loss)]
    notes = [f"{peer.name} computes no gradient of {', '.join(peer.constant)}" for peer in all_peers
             if peer.is_installed and peer.constant]
    absent = [f"{peer.name} ({peer.loss})" for peer in all_peers if not peer.is_installed]
    return notes + (["not installed, so not compared with: " + ", ".join(absent)] if absent else [])


def is_measured(block):
    """Whether vlp was measured, if it has the loss at all."""
    return "milliseconds" in block["rows"][0] or block.get("without_vlp", False)


def well(result):
    """Whether vlp was measured in every case that it has: others may run out of memory or fail, vlp may not."""
    return not result["problems"] and all(is_measured(block) for block in result["blocks"])


def number(value):
    return f"{value:,.4f}" if value < 1 else f"{value:,.2f}"


def shape_of(block):
    return " ".join(f"{name}={value}" for name, value in block["sizes"].items())


def times_vlp(row, own):
    """How many times vlp's time a row's is, or None: a peer has vlp's from its own turns."""
    beside = row.get("vlp_milliseconds", own.get("milliseconds"))
    return row["milliseconds"] / beside if "milliseconds" in row and beside is not None else None


def table_rows(block):
    own = block["rows"][0]
    for row in block["rows"]:
        who = f"{row['contender']} {row.get('version', '')}".strip()
        begin = f"| {block['loss']} | {block['type']} | {shape_of(block)} | {who} | "
        memory = f"{row['peak_bytes'] / MIB:,.2f}" if "peak_bytes" in row else ""
        error = f"{row['error']:.1e}" if "error" in row else ""
        slower = share = ""
        if row is not own and times_vlp(row, own) is not None:
            slower = f"{times_vlp(row, own):.2f}"
            if row["peak_bytes"] and "peak_bytes" in own:
                share = f"{100 * own['peak_bytes'] / row['peak_bytes']:.1f} %"
        taken = row.get("outcome", "")
        if "milliseconds" in row:
            taken = f"{number(row['milliseconds'])} ({number(row['least'])} to {number(row['most'])})"
        yield begin + f"{taken} | {slower} | {memory} | {share} | {error} |"


def bar_lines(block):
    """A sentence for each bar of the block."""
    rows = {row["contender"]: row for row in block["rows"]}
    own, begin = block["rows"][0], f"- {block['loss']} {block['type']} {shape_of(block)}, "
    if block["within"] is not None:
        said = f"not measured, {own.get('outcome', '')}"
        if "milliseconds" in own:
            said = f"{number(own['milliseconds'])} ms, {'met' if own['milliseconds'] <= block['within'] else 'missed'}"
        yield begin + f"vlp in {block['within']} ms at most (set for an H200): {said}"
    for contender, bar in block["bars"].items():
        ratio = times_vlp(rows.get(contender, {}), own)
        said = "not measured" if ratio is None else f"{ratio:.2f}, {'met' if ratio >= bar else 'missed'}"
        if contender in block["absent"]:
            said += ", it is not installed"
        yield begin + f"{contender} at least {bar} times vlp's time: {said}"


def markdown(result):
    lines = ["# Losses beside PyTorch on a CUDA device", ""]
    if result["blocks"]:
        one = result["blocks"][0]
        lines += [f"Forward and backward on {one['card']}; {result['date']}. vlp {result['commit']}, {one['compiler']}, "
                  f"products by {one['backend']}; PyTorch {one['pytorch']} (CUDA {one['cuda']}), Python "
                  f"{result['python']}; torch.backends.cuda.matmul.allow_tf32 is {one['allow_tf32']}, "
                  f"allow_bf16_reduced_precision_reduction {one['bf16_reduced_precision_reduction']}. PyTorch in bfloat16 "
                  "runs under autocast, what has a version behind its name is another project's kernel, on bfloat16 as it "
                  "is and compared with vlp's time in turn with it. Median (least to most) in ms, taken in turn, each with "
                  "nothing of it in L2 before. "
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
