"""The run of benchmarks/compare_pytorch.py --device cuda with workers that hang, die or cannot be killed: its time limit, and
the files after an end of any kind."""
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "comparison")]

import compare_pytorch  # noqa: E402

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import cuda_run
    import cuda_table
    import losses
    import peers

# A worker that answers at once, or does what HOW says for the request "LOSS WHAT": it hangs and ignores SIGTERM, dies, or
# closes its output and stays.
STAND_IN = """
import json, os, signal, sys, time
loss = json.loads(sys.argv[-1])["loss"]
for line in sys.stdin:
    request = json.loads(line)
    how = HOW.get(f"{loss} {request['what']}")
    if how == "die":
        os._exit(3)
    if how in ("hang", "close"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if how == "close":
            os.close(1)
        time.sleep(20)
    row = {"contender": request.get("peer", "vlp"), "milliseconds": 2.0, "least": 1.0, "most": 3.0, "peak_bytes": 1}
    block = {"loss": loss, "type": request.get("type"), "sizes": request.get("sizes"), "rows": [row], "card": "a card",
             "pytorch": "1", "cuda": "1", "allow_tf32": False, "bf16_reduced_precision_reduction": True, "backend": "none",
             "compiler": "none"}
    answer = {"small": {"problems": []}, "case": block}.get(request["what"], {"row": row})
    print(json.dumps({**answer, "last": False, "seconds": {"timing": 1.5}}), flush=True)
"""
CASE = "{} bfloat16 B=700 D=64"  # of InfoNCE and of the pairwise sigmoid with --quick


def end_of(process):
    process.kill()
    process.wait()
    for end in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            end.close()


def stand_in(how):
    """What makes a worker with the stand-in's process."""
    def make(worker, options, loss):
        worker.setup, worker.process = {"loss": loss}, None
        worker.call = [sys.executable, "-I", "-S", "-c", f"HOW = {how}\n{STAND_IN}"]

    return mock.patch.object(cuda_run.Worker, "__init__", make)


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class WorkerProcess(unittest.TestCase):
    def ask(self, how, seconds):
        """The worker, and the answer to a check at a small shape."""
        with stand_in({"info_nce small": how}):
            worker = cuda_run.Worker(None, "info_nce")
        worker.send({"what": "small"}, seconds)
        process = worker.process
        self.addCleanup(end_of, process)
        return worker, process, worker.receive(seconds)

    def test_one_that_hangs_is_killed_and_started_again(self):
        worker, process, answer = self.ask("hang", 0.05)
        self.assertEqual(answer, (None, "stopped after 0 s"))
        self.assertEqual(process.wait(5), -signal.SIGKILL)
        worker.stop()
        worker.send({"what": "peer", "peer": "one"}, 30)
        message, wrong = worker.receive(30)
        self.addCleanup(end_of, worker.process)
        self.assertEqual((message["row"]["contender"], wrong), ("one", None))
        worker.stop()

    def test_one_that_ends_says_how(self):
        self.assertEqual(self.ask("die", 30)[2], (None, "its process ended with status 3"))
        with mock.patch.object(cuda_run, "KILL_SECONDS", 0.05):
            self.assertEqual(self.ask("close", 30)[2], (None, "its process closed its output"))

    def test_one_that_ended_between_requests_says_how(self):
        worker, process, (message, wrong) = self.ask(None, 30)
        self.assertEqual((message["problems"], wrong), ([], None))
        process.kill()
        process.wait()
        worker.send({"what": "small"}, 30)
        self.assertEqual(worker.receive(30), (None, "its process ended with status -9"))

    def test_all_are_killed_before_any_is_waited_for_and_the_waits_have_an_end(self):
        now, done = [0.0], []

        def wait(seconds):
            done.append("wait")
            now[0] += seconds
            raise subprocess.TimeoutExpired("worker", seconds)

        with stand_in({}), mock.patch.object(cuda_run.time, "monotonic", lambda: now[0]):
            workers = [cuda_run.Worker(None, "info_nce") for _ in range(8)]
            for worker in workers:
                worker.process = types.SimpleNamespace(kill=lambda: done.append("kill"), wait=wait)
            cuda_run.stop_all(workers)
        self.assertLess(now[0], cuda_run.KILL_SECONDS + 0.1)
        self.assertEqual(done[:8], ["kill"] * 8)


class StandInWorker:
    """Answers within a second as a worker would, by a clock of its own; fails as `how` says for the request "LOSS WHAT"."""
    now, how, asked, left_running = 0.0, {}, [], []

    def __init__(self, options, loss):
        self.loss = loss

    def send(self, request, seconds):
        self.request, self.sent, self.seconds = request, StandInWorker.now, seconds
        StandInWorker.left_running.append(self)

    def receive(self, seconds):
        what = self.request["what"]
        wrong = StandInWorker.how.get(f"{self.loss} {what}")
        StandInWorker.asked.append((what, seconds))
        StandInWorker.now = max(StandInWorker.now, self.sent + (self.seconds if wrong == "hang" else 1))
        if wrong is not None:
            return None, wrong
        row = {"contender": self.request.get("peer", "vlp"), "milliseconds": 2.0}
        block = {"loss": self.loss, "type": self.request.get("type"), "sizes": self.request.get("sizes"), "rows": [row]}
        return {"small": {"problems": []}, "case": block}.get(what, {"row": row}), None

    def kill(self):
        pass

    def stop(self, seconds=2):
        if self in StandInWorker.left_running:
            StandInWorker.now += min(seconds, cuda_run.KILL_SECONDS)  # as one that the driver takes long to end
        StandInWorker.left_running = [one for one in StandInWorker.left_running if one is not self]


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class Measure(unittest.TestCase):
    def measure(self, how, limit=None, installed=True, only=None):
        """The result where workers fail as `how` says. The time limit holds, no worker is left."""
        StandInWorker.now, StandInWorker.how, StandInWorker.asked, StandInWorker.left_running = 0.0, how, [], []
        works = [work for work in losses.works() if work.on_cuda and only in (None, work.loss)]
        options = types.SimpleNamespace(quick=False, end=1e6 if limit is None else limit)
        saved = []
        with mock.patch.object(cuda_run, "Worker", StandInWorker), mock.patch.object(sys, "stderr"), \
                mock.patch.object(cuda_run.time, "monotonic", lambda: StandInWorker.now), \
                mock.patch.object(peers.Peer, "is_installed", installed):
            record = cuda_run.Record(options, works)
            cuda_run.measure(options, record, lambda: saved.append(len(record.seconds)))
            result = record.result()
        self.assertEqual(saved, list(range(1, len(result["seconds"]) + 1)))  # after each answer
        self.assertEqual(StandInWorker.left_running, [])
        if limit is not None:
            self.assertLess(StandInWorker.now, limit - 1.5)
        return result

    def test_peers_and_compiled_forms_that_break_cost_no_other_row(self):
        result = self.measure({"info_nce peer": "its process ended with status 3", "info_nce compiled": "hang"},
                              only="info_nce")
        self.assertTrue(cuda_table.well(result))
        vlp, memeff, _, compiled = result["blocks"][0]["rows"]
        self.assertEqual(vlp["milliseconds"], 2.0)
        self.assertEqual((memeff["contender"], memeff["outcome"]), ("memeff", "its process ended with status 3"))
        self.assertEqual((compiled["contender"], compiled["outcome"]), ("compiled", "hang"))
        self.assertEqual(result["notes"], ["memeff computes no gradient of log_scale"])

    def test_a_case_that_hangs_leaves_time_to_the_others(self):
        result = self.measure({"local_alignment case": "hang"}, limit=100)
        bars = {work.loss for work in losses.works() if any(case.has_bars for case in work.on_cuda)}
        self.assertLessEqual(bars - {"local_alignment"}, {block["loss"] for block in result["blocks"]})
        self.assertTrue(any("local_alignment" in one and one.endswith(": hang") for one in result["problems"]))

    def test_the_time_limit_holds_whatever_workers_do(self):
        for what in ("small", "case", "peer", "compiled"):
            how = {f"{work.loss} {what}": "hang" for work in losses.works()}
            for limit in (8, 30, 90):
                self.measure(how, limit=limit)
        self.assertTrue(all(seconds <= cuda_run.PEER_SECONDS for what, seconds in StandInWorker.asked if what == "compiled"))

    def test_one_that_hangs_at_the_start_leaves_time_to_the_others(self):
        result = self.measure({"distillation small": "hang"}, limit=100)
        self.assertEqual(result["problems"][0], "distillation, at a small shape: hang")
        self.assertGreater(len(result["blocks"]), 10)

    def test_what_has_no_time_is_left_out(self):
        result = self.measure({}, limit=11, only="info_nce")
        self.assertIn("info_nce float32 B=4096 D=512", result["problems"][0])
        self.assertNotIn("B=32768", result["problems"][0])
        result = self.measure({}, limit=6, only="info_nce")
        first = "info_nce bfloat16 B=32768 D=512"
        self.assertIn(first, result["problems"][0])
        self.assertNotIn("compiled", result["problems"][0])
        self.assertIn(first + ", compiled", result["notes"][0])


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class Files(unittest.TestCase):
    """The files while workers that are processes answer, and after an end of any kind."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.output = pathlib.Path(folder.name) / "output"
        self.options = types.SimpleNamespace(quick=True, bridge=None, output=self.output, end=time.monotonic() + 300)
        self.started, popen = [], subprocess.Popen

        def start(*given, **options):
            self.started.append(popen(*given, **options))
            return self.started[-1]

        for patch in (mock.patch.object(cuda_run.subprocess, "Popen", start), mock.patch.object(sys, "stderr", io.StringIO()),
                      mock.patch.object(peers.Peer, "is_installed", property(lambda peer: peer.name == "siglip-kernel"))):
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(folder.cleanup)
        self.addCleanup(lambda: [end_of(process) for process in self.started])
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))

    def run_with(self, how):
        works = [work for work in losses.works() if work.loss in ("info_nce", "pairwise_sigmoid")]
        with stand_in(how), contextlib.redirect_stdout(io.StringIO()) as self.said:
            return compare_pytorch.compare_on_cuda(self.options, works, {"date": "today", "commit": "1", "python": "3"})

    def result(self):
        return json.loads(self.output.with_suffix(".json").read_text())

    def wait_for_a_block(self):
        """Until both files have one. Every read finds a whole file."""
        table, end = self.output.with_suffix(".md"), time.monotonic() + 30
        while time.monotonic() < end and not (table.exists() and "| info_nce |" in table.read_text() and self.result()):
            time.sleep(0.01)

    def test_have_all_and_what_each_took(self):
        self.assertEqual(self.run_with({}), 0)
        result = self.result()
        self.assertEqual([block["loss"] for block in result["blocks"]], ["info_nce", "pairwise_sigmoid"])
        self.assertEqual([row["contender"] for row in result["blocks"][1]["rows"]], ["vlp", "siglip-kernel", "vlp"])
        self.assertEqual([one["request"] for one in result["seconds"]],
                         ["info_nce, at a small shape", "pairwise_sigmoid, at a small shape", CASE.format("info_nce"),
                          CASE.format("pairwise_sigmoid"), CASE.format("pairwise_sigmoid") + ", siglip-kernel",
                          CASE.format("info_nce") + ", compiled", CASE.format("pairwise_sigmoid") + ", compiled"])
        self.assertEqual(result["seconds"][-1]["parts"], {"timing": 1.5})
        self.assertRegex(sys.stderr.getvalue(), CASE.format("info_nce") + r"\n  [0-9.]+ s: timing 1.5\n")
        self.assertEqual(self.said.getvalue(), self.output.with_suffix(".md").read_text())
        self.assertEqual(sorted(path.name for path in self.output.parent.iterdir()), ["output.json", "output.md"])

    def test_after_sigterm_have_what_there_was_and_no_worker_is_left(self):
        def end():
            self.wait_for_a_block()
            os.kill(os.getpid(), signal.SIGTERM)

        def stop_all(workers, stop_all=cuda_run.stop_all):
            if workers:
                os.kill(os.getpid(), signal.SIGTERM)  # a second time, as timeout(1) does
            stop_all(workers)

        thread = threading.Thread(target=end)
        thread.start()
        with mock.patch.object(cuda_run, "stop_all", stop_all), self.assertRaises(SystemExit) as ended:
            self.run_with({"pairwise_sigmoid case": "hang"})
        thread.join()
        self.assertEqual(ended.exception.code, 143)
        self.assertIn(CASE.format("pairwise_sigmoid"), self.result()["problems"][0])
        self.assertIn("| info_nce |", self.said.getvalue())
        self.assertEqual([process.poll() for process in self.started], [-signal.SIGKILL] * 2)

    def test_after_a_kill_have_all_but_the_case_in_progress(self):
        child = os.fork()
        if child == 0:
            os.setsid()
            self.run_with({"pairwise_sigmoid case": "hang"})
            os._exit(0)
        self.wait_for_a_block()
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.assertEqual([block["loss"] for block in self.result()["blocks"]], ["info_nce"])
        self.assertIn("| info_nce |", self.output.with_suffix(".md").read_text())

    def test_a_write_that_breaks_off_leaves_the_old_file(self):
        compare_pytorch.write(self.options, {"old": 1}, "old")

        def break_off(path, text, **options):
            path.write_bytes(b"{")
            raise OSError("no space")

        with mock.patch.object(pathlib.Path, "write_text", break_off), self.assertRaises(OSError):
            compare_pytorch.write(self.options, {"new": 1}, "new")
        self.assertEqual(self.result(), {"old": 1})


if __name__ == "__main__":
    unittest.main()
