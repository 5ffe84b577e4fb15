"""All measurements of one loss on a CUDA device, in a process of its own: cuda_worker.py JSON. It says {"ready": ...} and
then answers each request, a line of JSON on its input, by one on its output: a case by a block of the table, with or
without what is to be compiled; a peer of it (peers.py) by its row; a small shape by what is wrong there.

16-bit forms of PyTorch run as users run them, under autocast: products in 16 bits, softmax in float32. Products of
float32 are not rounded to TF32. vlp runs on PyTorch's own memory and current stream. A peer is a request of its own, so
that one that hangs or breaks the device costs its own row only; vlp is timed again with it, in turn.
"""
import gc
import json
import logging
import os
import statistics
import sys
import warnings

import torch

import losses
import peers
from bridge import Bridge, Loss
from worker import DOUBLE_TOLERANCE, disagreement, pytorch_step

# Of vlp's loss and gradients from float64, relative to the largest value. PyTorch's may be PYTORCH_TIMES as far from it: in
# 16 bits it rounds more often.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
PYTORCH_TIMES = 10
OUT_OF_MEMORY = "out of memory"


class Device:
    """What is done to a CUDA device between calls; keeps what clears its cache."""

    def __init__(self):
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        self.other = torch.empty(4 * cache // 4, dtype=torch.int32, device="cuda")

    def flush(self):
        """Writes and then reads other memory: neither inputs nor what would first have to be written back are in L2.
        Takes longer than queueing a small step, so that the time of queueing is not measured."""
        self.other.zero_()
        self.other.sum()

    def milliseconds(self, step):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.flush()
        begin.record()
        step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)


def free():
    gc.collect()
    torch.cuda.empty_cache()


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


def peak_of(step):
    """Bytes that PyTorch takes for a step above inputs and gradients (which it allocates)."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _, gradients = step()
    torch.cuda.synchronize()
    return max(torch.cuda.max_memory_allocated() - before - sum(one.nbytes for one in gradients.values()), 0)


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


def pytorch_contenders(work, inputs, dtype, compiled):
    """Functions that make a step, by label: a compiled one is compiled when it is first called."""
    forms = {label: in_half(form, dtype) for label, form in work.all_forms.items()}
    steps = {label: (lambda form=form: pytorch_step(form, inputs)) for label, form in forms.items()}
    if compiled:
        steps[work.compiled_label] = lambda: pytorch_step(torch.compile(forms[work.compiled], dynamic=False), inputs)
    return steps


def try_step(make, want, tolerance):
    """A row for a contender that is not vlp, and its step, or None where it does not run or is wrong."""
    try:
        step = make()
        error = worst(step(), want)
        if not error <= tolerance:
            return {"outcome": f"differs from float64 by {error:.1e} of the largest value; not timed"}, None
        return {"error": error, "peak_bytes": peak_of(step)}, step
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

    def __init__(self, work, request, bridge):
        self.dtype = getattr(torch, request["type"])
        self.inputs = work.inputs(losses.Draw(self.dtype, "cuda"), **request["sizes"])
        self.loss, self.row = vlp_loss(work, self.inputs, bridge), {"contender": "vlp"}
        self.without_vlp = self.loss is None
        if self.without_vlp:
            self.row["outcome"] = "vlp has none yet"
            self.want = exact(work, self.inputs)
            return
        held = bridge.device_bytes()
        for _ in range(3):  # scratch memory has its size after the second
            self.loss()
        self.row.update(peak_bytes=bridge.device_bytes() - held, scratch_bytes=self.loss.scratch_bytes())
        self.want = exact(work, self.inputs)
        error = worst((self.loss(), self.loss.gradients), self.want)
        if error <= TOLERANCE[self.dtype]:
            self.row["error"] = error
        else:
            self.row["outcome"] = f"differs from float64 by {error:.1e} of the largest value; not timed"
            self.loss = None

    def try_step(self, make):
        return try_step(make, self.want, PYTORCH_TIMES * TOLERANCE[self.dtype])

    def steps(self):
        return {} if self.loss is None else {"vlp": self.loss}


class Cases:
    """The case that was asked for last, so that a peer of it need not wait for float64 again."""

    def __init__(self, work, bridge):
        self.work, self.bridge, self.key, self.case = work, bridge, None, None

    def get(self, request):
        key = request["type"], request["sizes"]
        if self.key != key:
            self.key = self.case = None
            free()
            self.case = Case(self.work, request, self.bridge)
            self.key = key
        free()
        return self.case


def measure(work, request, cases, device, quick):
    case = cases.get(request)
    rows, steps = [dict(case.row)], case.steps()
    block = {"loss": work.loss, "type": request["type"], "sizes": request["sizes"], "rows": rows,
             "without_vlp": case.without_vlp}
    if case.loss is None and not case.without_vlp:
        return block
    for label, make in pytorch_contenders(work, case.inputs, case.dtype, request["compiled"]).items():
        row, step = case.try_step(make)
        rows.append({"contender": label, **row})
        if step is not None:
            steps[label] = step
        free()
    time_in_turn(steps, rows, device, quick)
    return block


def measure_peer(request, cases, device, quick):
    """The row of a peer, and vlp's time in turn with it."""
    peer, case = peers.named(request["peer"]), cases.get(request)
    inputs = peer.inputs(case.inputs)
    row, step = case.try_step(lambda: pytorch_step(peer.form(inputs), inputs))
    row = {"contender": peer.name, **row}
    free()
    if step is not None:
        own = {"contender": "vlp"}
        time_in_turn({**case.steps(), peer.name: step}, [own, row], device, quick)
        if "milliseconds" in own:
            row["vlp_milliseconds"] = own["milliseconds"]
    return row


LONG = 500  # ms: what takes longer is timed fewer times


def first_look(step, device):
    """About how long a step takes, the least of three calls or one long one, in ms."""
    taken = device.milliseconds(step)
    return taken if taken > LONG else min([taken] + [device.milliseconds(step) for _ in range(2)])


def time_in_turn(steps, rows, device, quick):
    """Adds the times of the steps, taken in turn, to their rows. A step that ran alone may find too little memory beside
    the others; then only its own row is lost."""
    rows, first, times = {row["contender"]: row for row in rows}, {}, {}
    for label, step in steps.items():
        try:
            first[label], times[label] = first_look(step, device), []
        except torch.cuda.OutOfMemoryError:
            rows[label]["outcome"] = OUT_OF_MEMORY
            free()
    if not times:
        return
    total = sum(first.values())
    count = 2 if quick else int(min(max(1000 / total, 5 if total < 2 * LONG else 3), 100))
    for _ in range(count):
        for label, own in times.items():
            own.append(device.milliseconds(steps[label]))
    for label, own in times.items():
        rows[label].update(milliseconds=statistics.median(own), least=min(own), most=max(own),
                           all_milliseconds=[round(one, 5) for one in own])


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


def failed(request, loss, text):
    """The answer to a request that vlp or PyTorch refused, or that broke the device."""
    if request["what"] == "small":
        return {"problems": [text]}
    if request["what"] == "peer":
        return {"row": {"contender": request["peer"], "outcome": text}}
    return {"loss": loss, "type": request["type"], "sizes": request["sizes"],
            "rows": [{"contender": "vlp", "outcome": text}]}


def answer(work, request, bridge, cases, device, quick):
    try:
        if request["what"] == "small":
            return {"problems": list(small_problems(work, bridge))}
        if request["what"] == "peer":
            return {"row": measure_peer(request, cases, device, quick)}
        block = measure(work, request, cases, device, quick)
    except RuntimeError as error:
        text = str(error).splitlines()[0][:300]
        if request["what"] != "case":
            return failed(request, work.loss, text)
        block = failed(request, work.loss, text)
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
    cases = Cases(work, bridge)
    say({"ready": work.loss})
    for line in sys.stdin:
        result = answer(work, json.loads(line), bridge, cases, device, setup["quick"])
        say({**result, "last": not free_all()})
    os._exit(0)  # compiled code's helpers need no orderly end


if __name__ == "__main__":
    main()
