"""Runs the comparison on a CUDA device: asks a worker process for each loss (cuda_worker.py), keeps to a time limit, and
records the answers."""
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
import typing

import cuda_table
import losses
import peers

HERE = pathlib.Path(__file__).resolve().parent
RESERVE = 4             # seconds before the time limit at which the last request ends: for the end of processes, the table
KILL_SECONDS = 2        # a wait for processes that were killed; the driver frees their memory meanwhile
CASE_SECONDS = 15       # a case may always have as many, and a quarter of the time that is left
PEER_SECONDS = 20       # a peer or what is compiled: what Triton compiles, and its calls
LEAST_SECONDS = 2       # no request begins with less


class Worker:
    """A process for one loss, so that an error on the device spoils no other loss. It is started again when it has died.
    Nothing here waits for longer than it is told to, whatever the process does."""

    def __init__(self, options, loss):
        self.setup = {"bridge": str(options.bridge.resolve()), "loss": loss, "quick": options.quick}
        self.call = [sys.executable, str(HERE / "cuda_worker.py")]
        self.process = self.messages = self.sent = None

    def start(self):
        call = [*self.call, json.dumps({**self.setup, "begin": time.monotonic()})]
        self.process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.messages = queue.Queue()
        threading.Thread(target=self.read, args=(self.process.stdout, self.messages), daemon=True).start()

    @staticmethod
    def read(output, messages):
        """Passes on what the process says, and None at its end."""
        for line in output:
            if line.startswith("{") and line.endswith("}\n"):
                messages.put(json.loads(line))
        messages.put(None)

    def send(self, request, seconds):
        """Asks for an answer within that time."""
        self.sent = time.monotonic()
        if self.process is None:
            self.start()
        with contextlib.suppress(BrokenPipeError):  # the end of the process is then the next message
            self.process.stdin.write(json.dumps({**request, "begin": self.sent, "seconds": seconds}) + "\n")
            self.process.stdin.flush()

    def receive(self, seconds):
        """The answer to what was sent, or None and what went wrong; then the process has been killed."""
        try:
            message = self.messages.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            self.kill()
            return None, f"stopped after {time.monotonic() - self.sent:.0f} s"
        if message is None:
            status = self.wait(KILL_SECONDS)
            self.kill()
            return None, "its process closed its output" if status is None else f"its process ended with status {status}"
        if message["last"]:
            self.stop()
        return message, None

    def kill(self):
        """Does not wait for the end."""
        if self.process is not None:
            self.process.kill()

    def wait(self, seconds):
        """The status with which the process ended, or None where it has not within that time."""
        try:
            return self.process.wait(max(seconds, 0.01))
        except subprocess.TimeoutExpired:  # the driver may still be freeing its memory
            return None

    def stop(self, seconds=KILL_SECONDS):
        if self.process is not None:
            self.kill()
            self.wait(seconds)
            self.process = None


def stop_all(workers):
    """Kills all before it waits for any, and waits for KILL_SECONDS altogether."""
    end = time.monotonic() + KILL_SECONDS
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.stop(end - time.monotonic())


class Asked(typing.NamedTuple):
    """A request to a loss's worker. `name` says which case it belongs to."""
    name: str
    loss: str
    request: dict

    @property
    def label(self):
        added = {"peer": self.request.get("peer"), "compiled": "compiled", "small": "at a small shape"}
        what = self.request["what"]
        return f"{self.name}, {added[what]}" if what in added else self.name

    @property
    def is_row(self):
        """Whether the answer is one more row for a case: that of a peer, or of what is compiled."""
        return self.request["what"] in ("peer", "compiled")


def name_of(work, case):
    return f"{work.loss} {case.type} {work.describe(case.sizes)}"


def cases_of(options, work):
    return [losses.OnCuda(losses.BF16, sizes) for sizes in losses.QUICK[work.loss]] if options.quick else work.on_cuda


def requests(options, works):
    """All requests, the most wanted first. A check of every loss at a small shape comes before all else, because all are
    made at once. Then come cases with bars, the peers that those bars name, the other cases (those that take long last),
    the peers that are left, and at last what is to be compiled."""
    cases = [(work, case) for work in works for case in cases_of(options, work)]

    def ask(work, case, **request):
        return Asked(name_of(work, case), work.loss, {**request, "type": case.type, "sizes": case.sizes})

    def ask_peers(work, case, with_bar):
        for peer in peers.of(work.loss):
            if peer.is_installed and not peer.refuses(case.type, case.sizes) and (peer.name in case.bars) == with_bar:
                yield ask(work, case, what="peer", peer=peer.name)

    with_bars = [one for one in cases if one[1].has_bars]
    others = sorted((one for one in cases if not one[1].has_bars), key=lambda one: one[1].takes_long)
    for work in works:
        yield Asked(work.loss, work.loss, {"what": "small"})
    for one in with_bars:
        yield ask(*one, what="case")
    for one in with_bars:
        yield from ask_peers(*one, True)
    for one in others:
        yield ask(*one, what="case")
    for one in with_bars + others:
        yield from ask_peers(*one, False)
    for one in with_bars + others:
        yield ask(*one, what="compiled")


class Record:
    """What was asked and answered so far."""

    def __init__(self, options, works):
        self.works = works
        self.cases = {name_of(work, case): (work, case) for work in works for case in cases_of(options, work)}
        self.left = list(requests(options, works))
        self.blocks, self.rows, self.problems, self.seconds = {}, {}, [], []

    def add(self, asked, answer, wrong, seconds):
        """The answer to a request, or None and what went wrong, and how long it took."""
        parts = {} if answer is None else answer.pop("seconds", {})
        self.left.remove(asked)
        self.seconds.append({"request": asked.label, "seconds": round(seconds, 2), "parts": parts})
        if asked.is_row:
            called = asked.request.get("peer", self.cases[asked.name][0].compiled_label)
            row = {"contender": called, "outcome": wrong} if wrong is not None else answer["row"]
            self.rows.setdefault(asked.name, []).append(row)
        elif wrong is not None:
            self.problems.append(f"{asked.label}: {wrong}")
        elif asked.request["what"] == "small":
            self.problems += [f"{asked.label}: {one}" for one in answer["problems"]]
        else:
            self.blocks[asked.name] = answer

    def result(self):
        """Blocks, problems, notes, and the seconds of each request. A request without an answer is a problem, except one for a
        row of a peer or of what is compiled."""
        blocks = [cuda_table.complete(self.blocks[name], work, case, self.rows.get(name, []))
                  for name, (work, case) in self.cases.items() if name in self.blocks]
        problems, notes = list(self.problems), []
        for said, is_row in ((problems, False), (notes, True)):
            left = [asked.label for asked in self.left if asked.is_row == is_row]
            if left:
                said.append("not measured by the end of the run: " + "; ".join(left))
        return {"blocks": blocks, "problems": problems, "notes": notes + cuda_table.notes_on_peers(self.works),
                "seconds": self.seconds}


def report(record, save):
    """Saves, and says what the last request took."""
    save()
    last = record.seconds[-1]
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in last["parts"].items() if seconds >= 0.05)
    print(f"  {last['seconds']:.1f} s" + (f": {parts}" if parts else ""), file=sys.stderr, flush=True)


def check_small(workers, record, save, end):
    """Starts all workers and has each check its loss at a small shape. They do it at once, since nothing is timed yet: so
    what PyTorch loads when it is first used is loaded in all of them together."""
    begin, small = time.monotonic(), [asked for asked in record.left if asked.request["what"] == "small"]
    limit, failed = (end - begin) / 2, []
    for asked in small:
        workers[asked.loss].send(asked.request, limit)
    for asked in small:
        print(asked.label, file=sys.stderr, flush=True)
        answer, wrong = workers[asked.loss].receive(begin + limit - time.monotonic())
        if wrong is not None:
            failed.append(workers[asked.loss])
        record.add(asked, answer, wrong, time.monotonic() - begin)
        report(record, save)
    stop_all(failed)


def measure(options, record, save):
    """Asks for all that the record lists while there is time, and calls `save` after each answer. Whatever happens, no worker
    is left at the end."""
    end = options.end - RESERVE
    workers = {work.loss: Worker(options, work.loss) for work in record.works}
    try:
        check_small(workers, record, save, end)
        for asked in list(record.left):
            left = end - time.monotonic()
            if left < LEAST_SECONDS:
                break
            # Some of the time that is left: one that hangs leaves the rest to the others.
            seconds = min(left, PEER_SECONDS if asked.is_row else max(left / 4, CASE_SECONDS))
            print(asked.label, file=sys.stderr, flush=True)
            begin, worker = time.monotonic(), workers[asked.loss]
            worker.send(asked.request, seconds)
            answer, wrong = worker.receive(seconds)
            record.add(asked, answer, wrong, time.monotonic() - begin)
            report(record, save)
            if wrong is not None:
                worker.stop(min(KILL_SECONDS, end - time.monotonic()))  # its memory is to be free for the next
    finally:
        stop_all(list(workers.values()))
