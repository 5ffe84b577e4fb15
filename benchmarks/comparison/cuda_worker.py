"""All measurements of one loss on a CUDA device, in a process of its own: cuda_worker.py JSON. It answers each request, a line of JSON on its input, by one on its output: a case by a block of the table; a peer of it
(peers.py), or a form of it that is compiled, by one more row; a small shape by what is wrong there. Each answer has the
seconds that its parts took.

16-bit forms of PyTorch run as users run them, under autocast: products in 16 bits, softmax in float32. Products of
float32 are not rounded to TF32. vlp runs on PyTorch's own memory and current stream. A peer is a request of its own, so
that one that hangs or breaks the device costs its own row only; vlp is timed again with it, in turn.
"""
import gc
import json
import logging
import os
import sys
import warnings

import torch

import losses
import peers
from bridge import Bridge, Loss
from cuda_timing import OUT_OF_MEMORY, SLOW, VERY_SLOW, Clock, Device, free, peak_of, summary, time_in_turn
from worker import DOUBLE_TOLERANCE, disagreement, pytorch_step

# Of vlp's loss and gradients from float64, relative to the largest value. PyTorch's may be PYTORCH_TIMES as far from it: in
# 16 bits it rounds more often.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
PYTORCH_TIMES = 10
NO_TIME = "left out, no time was left"


def in_half(form, dtype):
    """The form under autocast, where its inputs have 16 bits."""
    if dtype.itemsize != 2:
        return form

    def run(**inputs):
        with torch.autocast("cuda", dtype):
            return form(**inputs)

    return run


def exact(work, inputs):
    """Loss and gradients of the same inputs in float64."""
    def widened(given):
        if not (isinstance(given, torch.Tensor) and given.is_floating_point()):
            return given
        return given.detach().double().requires_grad_(given.requires_grad)

    return pytorch_step(work.all_forms[work.exact], {name: widened(given) for name, given in inputs.items()})()


def worst(got, want):
    """The largest disagreement of loss and gradients."""
    errors = [disagreement(got[0].double(), want[0])]
    errors += [disagreement(gradient, want[1][name]) for name, gradient in got[1].items()]
    return max(errors)


def vlp_loss(work, inputs, bridge):
    """vlp's step, or None where vlp does not have the loss on CUDA devices."""
    arrays, options = losses.for_vlp(inputs, work.variants["vlp"])
    try:
        return Loss(bridge, work.loss, arrays, options, torch.cuda.current_stream().cuda_stream)
    except RuntimeError as error:
        if "there is no loss" in str(error):
            return None
        raise


def small_problems(work, bridge):
    """What is wrong at a small shape: a form of PyTorch in float64, vlp on numbers of a type."""
    inputs = work.inputs(losses.Draw(torch.float64, "cuda"), **work.small)
    want = exact(work, inputs)
    for label, form in work.all_forms.items():
        error = worst(pytorch_step(form, inputs)(), want)
        if not error <= DOUBLE_TOLERANCE:
            yield f"'{label}' and '{work.exact}' differ by {error:.1e} of the largest value in float64"
    for dtype, tolerance in TOLERANCE.items():
        inputs = work.inputs(losses.Draw(dtype, "cuda"), **work.small)
        loss = vlp_loss(work, inputs, bridge)
        if loss is None:
            return
        error = worst((loss(), loss.gradients), exact(work, inputs))
        if not error <= tolerance:
            yield f"vlp in {dtype} differs from float64 by {error:.1e} of the largest value"


def pytorch_contenders(work, inputs, dtype):
    """Functions that make a step, by label."""
    forms = {label: in_half(form, dtype) for label, form in work.all_forms.items()}
    return {label: (lambda form=form: pytorch_step(form, inputs)) for label, form in forms.items()}


def try_step(make, want, tolerance, device):
    """A row for a contender that is not vlp, and its step, or None where there is nothing to time in turn with others: it
    does not run, it is wrong, or it is slow and was timed at once, while its memory was at hand."""
    try:
        step = make()
        got = step()
        error, gradients = worst(got, want), sum(one.nbytes for one in got[1].values())
        del got
        if not error <= tolerance:
            return {"outcome": f"differs from float64 by {error:.1e} of the largest value; not timed"}, None
        peak, first = peak_of(step, gradients, device)
        row = {"error": error, "peak_bytes": peak}
        if first <= SLOW:
            return row, step
        return {**row, **summary([first] if first > VERY_SLOW else [first, device.milliseconds(step)])}, None
    except torch.cuda.OutOfMemoryError:
        return {"outcome": OUT_OF_MEMORY}, None
    except Exception as error:  # whatever a compiler stumbles over
        return {"outcome": outcome_of(error)}, None


def outcome_of(error):
    if "out of memory" in str(error).lower():
        return OUT_OF_MEMORY
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200].replace("|", "/")


class Case:
    """A loss at a shape that is timed: its inputs, float64's loss and gradients, vlp's step (None where vlp has none or is
    wrong) and the row of vlp so far."""

    def __init__(self, work, request, bridge, clock):
        self.dtype = getattr(torch, request["type"])
        self.inputs = work.inputs(losses.Draw(self.dtype, "cuda"), **request["sizes"])
        self.loss, self.row = vlp_loss(work, self.inputs, bridge), {"contender": "vlp"}
        torch.cuda.synchronize()
        clock.lap("inputs")
        self.without_vlp = self.loss is None
        if self.without_vlp:
            self.row["outcome"] = "vlp has none yet"
            self.want = self.reference(work, clock)
            return
        held = bridge.device_bytes()
        for _ in range(3):  # scratch memory has its size after the second
            self.loss()
        self.row.update(peak_bytes=bridge.device_bytes() - held + self.loss.saved_bytes(),
                        scratch_bytes=self.loss.scratch_bytes())
        torch.cuda.synchronize()
        clock.lap("vlp")
        self.want = self.reference(work, clock)
        error = worst((self.loss(), self.loss.gradients), self.want)
        clock.lap("vlp")
        if error <= TOLERANCE[self.dtype]:
            self.row["error"] = error
        else:
            self.row["outcome"] = f"differs from float64 by {error:.1e} of the largest value; not timed"
            self.loss = None

    def reference(self, work, clock):
        want = exact(work, self.inputs)
        torch.cuda.synchronize()
        clock.lap("float64")
        return want

    def try_step(self, make, device):
        return try_step(make, self.want, PYTORCH_TIMES * TOLERANCE[self.dtype], device)

    def steps(self):
        return {} if self.loss is None else {"vlp": self.loss}


class Cases:
    """The case that was asked for last, so that a peer of it need not wait for float64 again."""

    def __init__(self, work, bridge, clock):
        self.work, self.bridge, self.clock, self.key, self.case = work, bridge, clock, None, None

    def get(self, request):
        key = request["type"], request["sizes"]
        if self.key != key:
            self.key = self.case = None
            free()
            self.case = Case(self.work, request, self.bridge, self.clock)
            self.key = key
        free()
        self.clock.lap("free")
        return self.case


def measure(work, request, cases, device, quick):
    case, clock = cases.get(request), cases.clock
    steps, tried = case.steps(), {}
    block = {"loss": work.loss, "type": request["type"], "sizes": request["sizes"], "without_vlp": case.without_vlp}
    if case.loss is None and not case.without_vlp:
        return {**block, "rows": [dict(case.row)]}
    contenders = pytorch_contenders(work, case.inputs, case.dtype)
    for label in reversed(contenders):  # the last forms need the least memory
        tried[label], step = {"outcome": NO_TIME}, None
        if clock.has_left(0.5):
            tried[label], step = case.try_step(contenders[label], device)
            if step is not None:
                steps[label] = step
            free()
            clock.lap(label)
    rows = [dict(case.row)] + [{"contender": label, **tried[label]} for label in contenders]
    time_in_turn(steps, rows, device, quick, clock)
    return {**block, "rows": rows}


def measure_row(name, make, case, device, quick, clock):
    """The row of a contender that is alone with vlp, and vlp's time in turn with it."""
    row, step = case.try_step(make, device)
    row = {"contender": name, **row}
    free()
    clock.lap(name)
    if step is not None or "milliseconds" in row:
        own, steps = {"contender": "vlp"}, case.steps()
        time_in_turn(steps if step is None else {**steps, name: step}, [own, row], device, quick, clock)
        if "milliseconds" in own:
            row["vlp_milliseconds"] = own["milliseconds"]
    return row


def measure_peer(request, cases, device, quick):
    peer, case = peers.named(request["peer"]), cases.get(request)
    inputs = peer.inputs(case.inputs)
    return measure_row(peer.name, lambda: pytorch_step(peer.form(inputs), inputs), case, device, quick, cases.clock)


def measure_compiled(work, request, cases, device, quick):
    case = cases.get(request)
    form = in_half(work.all_forms[work.compiled], case.dtype)
    return measure_row(work.compiled_label, lambda: pytorch_step(torch.compile(form, dynamic=False), case.inputs), case,
                       device, quick, cases.clock)


def settings():
    return {"card": torch.cuda.get_device_name(0), "pytorch": torch.__version__, "cuda": torch.version.cuda,
            "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "bf16_reduced_precision_reduction": torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction}


def free_all():
    """Whether that was possible: a device that no longer answers is for another process to have anew."""
    try:
        free()
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def say(message):
    print(json.dumps(message), flush=True)


def failed(request, work, text):
    """The answer to a request that vlp or PyTorch refused, or that broke the device."""
    if request["what"] == "small":
        return {"problems": [text]}
    if request["what"] != "case":
        return {"row": {"contender": request.get("peer", work.compiled_label), "outcome": text}}
    return {"loss": work.loss, "type": request["type"], "sizes": request["sizes"],
            "rows": [{"contender": "vlp", "outcome": text}]}


def answer(work, request, bridge, cases, device, quick):
    try:
        if request["what"] == "small":
            return {"problems": list(small_problems(work, bridge))}
        if request["what"] == "peer":
            return {"row": measure_peer(request, cases, device, quick)}
        if request["what"] == "compiled":
            return {"row": measure_compiled(work, request, cases, device, quick)}
        block = measure(work, request, cases, device, quick)
    except RuntimeError as error:
        text = str(error).splitlines()[0][:300]
        if request["what"] != "case":
            return failed(request, work, text)
        block = failed(request, work, text)
    return {**block, **settings(), "backend": bridge.backend(), "compiler": bridge.compiler()}


def main():
    setup = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        sys.exit(f"compare_pytorch: PyTorch {torch.__version__} finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    bridge, device = Bridge(setup["bridge"]), Device()
    work = next(work for work in losses.works() if work.loss == setup["loss"])
    clock = Clock(setup["begin"])
    cases = Cases(work, bridge, clock)
    for line in sys.stdin:
        request = json.loads(line)
        clock.begin(request["begin"], request["seconds"])
        result = answer(work, request, bridge, cases, device, setup["quick"])
        last = not free_all()
        if request["what"] == "small":
            gc.freeze()  # what was imported by now need not be looked at whenever memory is freed
        clock.lap("rest")
        say({**result, "last": last, "seconds": clock.take()})
    os._exit(0)  # compiled code's helpers need no orderly end


if __name__ == "__main__":
    main()
