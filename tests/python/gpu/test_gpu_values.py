"""The losses on a CUDA device against those on the CPU in double."""
import definitions
import pytest
import torch

from vlp import _library
from vlp.torch import functional

# How far results may be apart, relative to the largest: about twice what rounding to the type does.
TOLERANCES = {torch.float32: 4e-5, torch.float16: 6e-3, torch.bfloat16: 5e-2}


def placed(inputs, device, dtype):
    """Inputs on a device: embeddings of the type, learned numbers of float32 or wider."""
    def place(one):
        if not one.is_floating_point():
            return one.to(device)
        wide = dtype if dtype is torch.float64 else torch.float32
        return one.to(device, dtype if one.dim() else wide)
    return {name: place(one) for name, one in inputs.items()}


def results_of(name, inputs, keywords, upstream=1.0):
    """The loss and the gradients of upstream times it, in double on the CPU."""
    leaves = {key: one.detach().requires_grad_(one.is_floating_point() and key != "teacher")
              for key, one in inputs.items()}
    loss = getattr(functional, name)(**leaves, **keywords)
    (loss * upstream).backward()
    out = {key: one.grad for key, one in leaves.items() if one.requires_grad}
    for key, one in out.items():
        assert one.dtype is leaves[key].dtype and one.device == leaves[key].device
    return {key: one.detach().double().cpu() for key, one in {"loss": loss, **out}.items()}


def check(got, want, tolerance):
    assert got.keys() == want.keys()
    for key, one in want.items():
        error = (got[key] - one).abs().max() / one.abs().max().clamp_min(1e-3)
        assert error <= tolerance, f"{key} is off by {error:.1e}"


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", definitions.NAMES)
def test_every_loss_agrees_with_the_cpu(name, dtype, device):
    inputs, keywords = definitions.batch(name)
    inputs = placed(inputs, "cpu", dtype)
    want = results_of(name, placed(inputs, "cpu", torch.float64), keywords)
    check(results_of(name, placed(inputs, device, dtype), keywords), want, TOLERANCES[dtype])


@pytest.mark.parametrize("upstream", (2.0 ** 17, 1 + 2.0 ** -9))
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_gradients_are_scaled_exactly(dtype, upstream, device):
    """By a number as GradScaler's, beyond float16's largest, and by one that bfloat16 would round."""
    inputs, keywords = definitions.batch("info_nce")
    for name in ("image", "text"):
        inputs[name] = 2.0 ** 8 * inputs[name]  # long embeddings have small gradients
    inputs = placed(inputs, device, dtype)
    want = results_of("info_nce", inputs, keywords)
    want = {key: one if key == "loss" else one * upstream for key, one in want.items()}
    check(results_of("info_nce", inputs, keywords, upstream), want,
          {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 8e-3}[dtype])


@pytest.fixture
def filled_memory():
    """What is saved has gaps that nobody writes, which opcheck would compare."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_opcheck(name, device, filled_memory):
    """Schema, fake kernels and autograd of each operator, with the defaults of its numbers and options."""
    loss = _library.library().losses[name]
    inputs = placed(definitions.batch(name)[0], device, torch.float32)
    if "target" in inputs:
        inputs["target"] = inputs["target"].clamp_min(0)  # the defaults ignore another one
    read = {"number": float, "integer": int, "bool": lambda text: text == "true", "choice": str}
    tensors = [inputs.get(one.name) for one in loss.inputs]
    for array, one in zip(loss.inputs, tensors):
        if array.gradient and one is not None:
            one.requires_grad_()
    options = [read[one.kind](one.default) for one in loss.options.values()]
    differentiable = sum(one.gradient for one in loss.inputs)
    torch.library.opcheck(getattr(torch.ops.vlp, name).default,
                          (*tensors, *loss.numbers.values(), *options, [False] * (len(loss.outputs) - 1),
                           [False] * differentiable))
