"""Other projects' GPU kernels for the same losses, from PyPI: how each is called on the inputs of losses.py.

A peer takes part if it is installed (`pip install memeff siglip-kernel inf-cl liger-kernel`; all are pure Python over
Triton, which compiles their kernels at the first call). Each gets 16-bit inputs as they are, without autocast. The steps
that its users take before the call, such as normalisation, count as its time.
"""
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import math
import sys

import torch.nn.functional as F

FLOAT = "float32"


@dataclasses.dataclass
class Peer:
    """A package with a kernel for a loss. `form` takes the inputs of losses.py and returns a function of them that computes
    the loss. `refuses` returns the reason why a number type or a shape is left out, or None. `constant` names the inputs
    for which the package computes no gradient."""
    name: str                # on PyPI, and in the bars of losses.py
    version: str             # the version whose interface was read for this; the table has the one that ran
    module: str
    loss: str                # vlp's name
    form: object
    refuses: object = lambda type, sizes: None
    constant: tuple = ()

    @property
    def is_installed(self):
        return importlib.util.find_spec(self.module) is not None

    @property
    def installed_version(self):
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def inputs(self, given):
        """The inputs as this peer has them: differentiable only where it has a gradient."""
        return {name: value.detach() if name in self.constant else value for name, value in given.items()}


def unit(rows):
    return F.normalize(rows, dim=-1)


def memeff_form(inputs):
    """Computes the mean of both directions and normalises its inputs itself. Its temperature is a number on the host, so it
    has no gradient of the scale. stable=False keeps it from scaling the gradients by another factor than the loss."""
    import memeff
    loss = memeff.MemoryEfficientCLIPLoss(temperature=math.exp(-inputs["log_scale"].item()), stable=False)
    return lambda image, text, log_scale: loss(image, text)


def memeff_refuses(type, sizes):
    if type == FLOAT:
        return "left out: it rounds products of float32 to TF32"
    if sizes["D"] < 64 and sizes["D"] not in (16, 32):
        return f"left out: it cannot take D={sizes['D']}"
    return None


def inf_cl_form(inputs):
    """Computes one direction a call, as one loss for each row. The function cal_inf_loss of the package does the same in one
    process, but its backward pass fails without a process group. Inputs are widened to float32 and multiplied in TF32."""
    import inf_cl
    head = inf_cl_head(inputs["image"].shape[1])

    def form(image, text, log_scale):
        image, text, scale = unit(image), unit(text), log_scale.exp()
        of_rows = inf_cl.cal_flash_loss(image, text, scale=scale, head_dim=head)
        of_columns = inf_cl.cal_flash_loss(text, image, scale=scale, head_dim=head)
        return (of_rows.mean() + of_columns.mean()) / 2

    return form


def inf_cl_head(width):
    """The widest piece that it cuts D into, or None."""
    return next((head for head in (256, 128, 64, 32, 16) if width % head == 0), None)


def inf_cl_refuses(type, sizes):
    if type == FLOAT:
        return "left out: it multiplies float32 in TF32"
    if sizes["B"] % 64:
        return "left out: it reads out of bounds unless B is a multiple of 64"
    if inf_cl_head(sizes["D"]) is None:
        return "left out: D must be a multiple of 16"
    if sizes["B"] > 65536:
        return "left out: its 20 B²D operations in TF32 would take seconds"
    return None


def siglip_form(inputs):
    """Computes the sum over all pairs divided by B, from normalised rows. For 16-bit inputs it takes chunks of rows through
    three products of cuBLAS and a kernel for the sigmoid."""
    import siglip_kernel

    def form(image, text, log_scale, bias):
        return siglip_kernel.fused_siglip_loss(unit(image), unit(text), log_scale, bias)

    return form


@contextlib.contextmanager
def without(module):
    """Within it the module cannot be imported, unless it was before."""
    hidden = module not in sys.modules
    if hidden:
        sys.modules[module] = None
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


def liger_form(inputs):
    """Computes the mean over tokens, from chunks of products by cuBLAS and a kernel for the softmax. All gradients are
    computed in its forward pass."""
    with without("peft"):  # only asked whether it is there, which takes seconds
        from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss
    loss = LigerFusedLinearCrossEntropyLoss()
    return lambda hidden, weight, bias, target: loss(weight, hidden, target, bias)


ALL = [
    Peer("memeff", "0.3.1", "memeff", "info_nce", memeff_form, memeff_refuses, constant=("log_scale",)),
    Peer("inf-cl", "1.2.1", "inf_cl", "info_nce", inf_cl_form, inf_cl_refuses),
    Peer("siglip-kernel", "0.1.2", "siglip_kernel", "pairwise_sigmoid", siglip_form),
    Peer("liger-kernel", "0.8.5", "liger_kernel", "token_cross_entropy", liger_form),
]


def of(loss):
    """The peers of a loss, installed or not."""
    return [peer for peer in ALL if peer.loss == loss]


def named(name):
    return next(peer for peer in ALL if peer.name == name)
