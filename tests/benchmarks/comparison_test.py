"""What benchmarks/compare_pytorch.py does around its measurements: the commit, the order of requests, the table, and what
a worker does with the time of a request."""
import importlib.util
import os
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "comparison")]

import compare_pytorch  # noqa: E402

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    import cuda_run
    import cuda_table
    import cuda_timing
    import cuda_worker
    import losses
    import peers


class Commit(unittest.TestCase):
    def test_is_named_by_the_environment(self):
        with mock.patch.dict(os.environ, VLP_COMMIT="1234abc"):
            self.assertEqual(compare_pytorch.commit(), "1234abc")

    def test_is_unknown_without_git(self):
        with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, PATH=empty, VLP_COMMIT=""):
            self.assertEqual(compare_pytorch.commit(), "unknown")

    def test_is_unknown_in_a_folder_that_is_no_clone(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, VLP_COMMIT=""), \
                mock.patch.object(compare_pytorch, "HERE", pathlib.Path(folder)):
            self.assertEqual(compare_pytorch.commit(), "unknown")


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class CudaTable(unittest.TestCase):
    def setUp(self):
        self.options = types.SimpleNamespace(quick=False, time_limit=None)
        self.works = [work for work in losses.works() if work.on_cuda]

    def requests(self, installed):
        with mock.patch.object(peers.Peer, "is_installed", installed):
            return list(cuda_run.requests(self.options, self.works))

    def test_asks_for_cases_with_bars_and_their_peers_before_all_others(self):
        asked = [request for _, _, request in self.requests(True)]
        first = len(self.works)
        self.assertTrue(all(request["what"] == "small" for request in asked[:first]))
        cases = [case for work in self.works for case in work.on_cuda]
        bars = [case for case in cases if case.has_bars]
        self.assertEqual([request["sizes"] for request in asked[first:first + len(bars)]], [case.sizes for case in bars])
        named = [name for case in bars for name in case.bars if any(peer.name == name for peer in peers.ALL)]
        self.assertEqual([request.get("peer") for request in asked[first + len(bars):][:len(named) + 1]], [*named, None])
        self.assertTrue(all(request["what"] == "compiled" for request in asked[-len(cases):]))

    def test_asks_for_what_takes_long_after_all_other_cases(self):
        asked = [request["sizes"] for _, _, request in self.requests(True) if request["what"] == "case"]
        long = [case.sizes for work in self.works for case in work.on_cuda if case.takes_long]
        self.assertEqual(asked[-len(long):], long)

    def test_asks_no_peer_that_is_not_installed_and_says_so(self):
        self.assertNotIn("peer", [request["what"] for _, _, request in self.requests(False)])
        with mock.patch.object(peers.Peer, "is_installed", False):
            (note,) = cuda_table.notes_on_peers(self.works)
        for peer in peers.ALL:
            self.assertIn(peer.name, note)

    def test_asks_no_peer_for_what_it_refuses(self):
        for _, loss, request in self.requests(True):
            if request["what"] == "peer":
                self.assertIsNone(peers.named(request["peer"]).refuses(request["type"], request["sizes"]))
        self.assertIn("64", peers.named("inf-cl").refuses("bfloat16", {"B": 700, "D": 64}))

    def test_every_bar_names_a_form_or_a_peer_of_its_loss(self):
        for work in self.works:
            known = [*work.all_forms, *(peer.name for peer in peers.of(work.loss))]
            for case in work.on_cuda:
                self.assertLessEqual(set(case.bars), set(known))

    def block(self, loss, case, rows, installed, **more):
        block = {"loss": loss, "type": case.type, "sizes": case.sizes, "rows": rows, **more}
        with mock.patch.object(peers.Peer, "is_installed", installed):
            return cuda_table.complete(block, types.SimpleNamespace(loss=loss), case, [])

    def test_a_case_that_vlp_does_not_have_is_no_failure(self):
        case = losses.OnCuda("bfloat16", {"B": 128, "D": 64}, {"siglip-kernel": 1}, within=38)
        timed = {"milliseconds": 5.0, "least": 4.0, "most": 6.0, "peak_bytes": 7, "error": 0.0}
        rows = [{"contender": "vlp", "outcome": "vlp has none yet"}, {"contender": "siglip-kernel", **timed}]
        block = self.block("pairwise_sigmoid", case, rows, True, without_vlp=True)
        self.assertTrue(cuda_table.well({"problems": [], "blocks": [block]}))
        del block["without_vlp"]
        self.assertFalse(cuda_table.well({"problems": [], "blocks": [block]}))
        self.assertIn("vlp has none yet", "".join(cuda_table.table_rows(block)))
        self.assertTrue(all("not measured" in line for line in cuda_table.bar_lines(block)))

    def test_a_peer_is_compared_with_vlp_in_turn_with_it(self):
        case = losses.OnCuda("bfloat16", {"B": 128, "D": 64}, {"memeff": 1, "inf-cl": 1}, within=50)
        timed = {"least": 1.0, "most": 9.0, "peak_bytes": 1 << 20, "error": 0.0}
        rows = [{"contender": "vlp", "milliseconds": 4.0, **timed},
                {"contender": "memeff", "milliseconds": 6.0, "vlp_milliseconds": 8.0, **timed},
                {"contender": "inf-cl", "outcome": "ValueError: no"}]
        within, memeff, inf_cl = cuda_table.bar_lines(self.block("info_nce", case, rows, True))
        self.assertTrue(within.endswith("4.00 ms, met"))
        self.assertTrue(memeff.endswith("0.75, missed"))
        self.assertTrue(inf_cl.endswith("not measured"))
        absent = list(cuda_table.bar_lines(self.block("info_nce", case, rows[:1], False)))
        self.assertTrue(absent[1].endswith("not measured, it is not installed"))


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class Without(unittest.TestCase):
    def test_hides_a_module_for_a_while(self):
        sys.modules.pop("colorsys", None)
        with peers.without("colorsys"), self.assertRaises(ImportError):
            import colorsys
        with peers.without("json"):
            import json
        import colorsys
        self.assertTrue(colorsys.rgb_to_hls and json.dumps)


class Device:
    """Steps return the milliseconds that they would take."""

    def milliseconds(self, step):
        return step()


class Clock:
    """Says that so many rounds have time."""

    def __init__(self, rounds=1000):
        self.rounds = rounds

    def has_left(self, share):
        self.rounds -= 1
        return self.rounds > 0

    def lap(self, part):
        pass


@unittest.skipUnless(HAS_TORCH, "PyTorch is not installed")
class CudaWorker(unittest.TestCase):
    def test_one_that_runs_out_of_memory_in_turn_loses_its_own_row_only(self):
        def large():
            raise torch.cuda.OutOfMemoryError("no")

        rows = [{"contender": "vlp"}, {"contender": "eager"}, {"contender": "left out before"}]
        cuda_timing.time_in_turn({"vlp": lambda: 4.0, "eager": large}, rows, Device(), False, Clock())
        self.assertEqual((rows[0]["milliseconds"], len(rows[0]["all_milliseconds"])), (4.0, 100))
        self.assertEqual(rows[1], {"contender": "eager", "outcome": "out of memory"})
        self.assertEqual(rows[2], {"contender": "left out before"})

    def test_what_takes_long_is_timed_fewer_times(self):
        calls = []
        rows = [{"contender": "inf-cl"}]
        cuda_timing.time_in_turn({"inf-cl": lambda: calls.append(1) or 2000.0}, rows, Device(), False, Clock())
        self.assertEqual(len(calls), 1 + 2)

    def test_timing_ends_with_the_time_of_the_request_and_has_one_round_at_least(self):
        for left, rounds in ((4, 4), (0, 1)):
            rows = [{"contender": "vlp"}]
            cuda_timing.time_in_turn({"vlp": lambda: 4.0}, rows, Device(), False, Clock(left))
            self.assertEqual(len(rows[0]["all_milliseconds"]), rounds)

    def test_a_slow_contender_is_timed_at_once(self):
        want = (torch.tensor(2.0, dtype=torch.float64), {"x": torch.ones(3, dtype=torch.float64)})
        for first, times in ((299.0, None), (400.0, [400.0, 500.0]), (3001.0, [3001.0])):
            device = types.SimpleNamespace(milliseconds=lambda step: 500.0)
            with mock.patch.object(cuda_worker, "peak_of", lambda step, gradients, device: (gradients, first)):
                row, step = cuda_worker.try_step(lambda: lambda: want, want, 0.1, device)
            self.assertEqual(row["peak_bytes"], 3 * 8)
            self.assertEqual((row.get("all_milliseconds"), step is None), (times, times is not None))

    def measure(self, has_left):
        """The rows of a case without vlp, in which all contenders are right and slow."""
        case = types.SimpleNamespace(loss=None, without_vlp=True, row={"contender": "vlp"}, steps=lambda: {}, inputs=None,
                                     dtype=torch.float32, try_step=lambda make, device: ({"milliseconds": 400.0}, None))
        work = next(work for work in losses.works() if work.loss == "local_alignment")
        cases = types.SimpleNamespace(get=lambda request: case, clock=types.SimpleNamespace(
            has_left=has_left, lap=lambda part: None))
        with mock.patch.object(cuda_worker, "free", lambda: None):
            return cuda_worker.measure(work, {"type": "float32", "sizes": {}}, cases, None, False)["rows"]

    def test_contenders_for_which_no_time_is_left_say_so_and_those_with_least_memory_come_first(self):
        left = iter([True, False, False])
        rows = self.measure(lambda share: next(left))
        self.assertEqual([row["contender"] for row in rows], ["vlp", "GLoRIA's loop", "vectorised", "in chunks"])
        self.assertEqual([row.get("outcome") for row in rows[1:]], [cuda_worker.NO_TIME] * 2 + [None])

    def test_the_clock_counts_from_when_a_request_was_sent(self):
        with mock.patch.object(cuda_timing.time, "monotonic", lambda: now):
            now = 3.0
            clock = cuda_timing.Clock(1.0)
            now = 9.0
            clock.begin(5.0, 10.0)
            self.assertTrue(clock.has_left(0.5))
            now = 11.0
            self.assertFalse(clock.has_left(0.5))
            clock.lap("timing")
            self.assertEqual(clock.take(), {"start": 2.0, "timing": 2.0})
            self.assertEqual(clock.take(), {})

    def test_a_contender_that_fails_or_is_wrong_is_a_row(self):
        want = (torch.tensor(2.0, dtype=torch.float64), {"x": torch.ones(3, dtype=torch.float64)})

        def fails():
            raise ValueError("no kernel | here\nat all")

        row, step = cuda_worker.try_step(fails, want, 0.1, Device())
        self.assertEqual((row, step), ({"outcome": "ValueError: no kernel / here"}, None))
        row, step = cuda_worker.try_step(lambda: lambda: (torch.tensor(2.5), {"x": torch.ones(3)}), want, 0.1, Device())
        self.assertIsNone(step)
        self.assertIn("differs from float64", row["outcome"])

    def test_a_peer_without_a_gradient_is_held_to_the_others(self):
        peer = peers.Peer("one", "1", "one", "info_nce", None, constant=("log_scale",))
        inputs = {"image": torch.ones(2, requires_grad=True), "log_scale": torch.tensor(1.0, requires_grad=True)}
        _, gradients = cuda_worker.pytorch_step(lambda image, log_scale: image.sum(), peer.inputs(inputs))()
        self.assertEqual(list(gradients), ["image"])


if __name__ == "__main__":
    unittest.main()
