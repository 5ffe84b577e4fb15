"""The losses under autograd: which gradients are computed, when, and of what kinds of tensors."""
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions

from vlp.torch import functional
from vlp.torch._losses import times


def leaves_of(inputs):
    return {name: one.detach().clone().requires_grad_(one.is_floating_point() and name != "teacher")
            for name, one in inputs.items()}


def differentiable(inputs):
    return [name for name, one in inputs.items() if one.is_floating_point() and name != "teacher"]


@pytest.mark.parametrize("name", definitions.NAMES)
def test_gradcheck(name):
    inputs, keywords = definitions.batch(name)
    leaves = leaves_of(inputs)
    names = differentiable(inputs)

    def function(*values):
        return getattr(functional, name)(**{**leaves, **dict(zip(names, values))}, **keywords)

    assert torch.autograd.gradcheck(function, [leaves[one] for one in names])


@pytest.mark.parametrize("name", definitions.NAMES)
def test_gradients_of_some_inputs_only(name):
    inputs, keywords = definitions.batch(name)
    function = getattr(functional, name)
    leaves = leaves_of(inputs)
    function(**leaves, **keywords).backward()
    for one in differentiable(inputs):
        mine = inputs[one].clone().requires_grad_()
        function(**{**inputs, one: mine}, **keywords).backward()
        torch.testing.assert_close(mine.grad, leaves[one].grad)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_two_forwards_before_their_backwards(name):
    inputs, keywords = definitions.batch(name)
    function = getattr(functional, name)
    first, second = leaves_of(inputs), leaves_of(inputs)
    changed = differentiable(inputs)[0]
    with torch.no_grad():
        second[changed].mul_(-1.3)
    alone = leaves_of(second)
    function(**alone, **keywords).backward()

    loss, other = function(**first, **keywords), function(**second, **keywords)
    loss.backward()
    other.backward()
    torch.testing.assert_close(second[changed].grad, alone[changed].grad, rtol=0, atol=0)
    assert not torch.equal(first[changed].grad, second[changed].grad)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_a_graph_that_is_kept_gives_the_same_again(name):
    inputs, keywords = definitions.batch(name)
    leaves = leaves_of(inputs)
    loss = getattr(functional, name)(**leaves, **keywords)
    first = torch.autograd.grad(loss * 3, [leaves[one] for one in differentiable(inputs)], retain_graph=True)
    for one in first:
        one.fill_(7)  # what was given is the caller's
    once = torch.autograd.grad(loss, [leaves[one] for one in differentiable(inputs)], retain_graph=True)
    thrice = torch.autograd.grad(loss * 3, [leaves[one] for one in differentiable(inputs)])
    for a, b in zip(once, thrice):
        torch.testing.assert_close(3 * a, b)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_double_backward_is_refused(name):
    inputs, keywords = definitions.batch(name)
    leaves = leaves_of(inputs)
    first = leaves[differentiable(inputs)[0]]
    gradient, = torch.autograd.grad(getattr(functional, name)(**leaves, **keywords), first, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"^{name}: its gradients cannot be differentiated again$"):
        gradient.sum().backward()


def test_create_graph_of_other_parts():
    inputs, _ = definitions.batch("info_nce")
    leaves = leaves_of(inputs)
    penalty = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss = functional.info_nce(**leaves) + penalty ** 3
    gradient, = torch.autograd.grad(loss, penalty, create_graph=True)
    gradient.backward()  # does not reach the loss's own


@pytest.mark.parametrize("name", definitions.NAMES)
def test_strides_of_any_kind(name):
    inputs, keywords = definitions.batch(name)
    function = getattr(functional, name)
    leaves = leaves_of(inputs)
    function(**leaves, **keywords).backward()

    def spread(one):  # every second row, and the last dimension first in memory
        wide = torch.full((*(2 * size for size in one.shape),), 3, dtype=one.dtype)
        place = wide[tuple(slice(None, None, 2) for _ in one.shape)]
        place.copy_(one)
        return place.mT.contiguous().mT if place.dim() >= 2 else place

    def swap(one):  # the first two of three dimensions
        return one.transpose(0, 1).contiguous().transpose(0, 1) if one.dim() == 3 else one.clone()

    def rows(one):  # every second row
        return one.repeat_interleave(2, 0)[::2] if one.dim() else one.clone()

    for change in (spread, swap, rows):
        strided = {key: change(one.detach()).requires_grad_(one.requires_grad) for key, one in leaves.items()}
        assert change is swap or not next(iter(strided.values())).is_contiguous()
        loss = function(**strided, **keywords)
        loss.backward()
        for key in differentiable(inputs):
            torch.testing.assert_close(strided[key].grad, leaves[key].grad)


@pytest.mark.parametrize("dimension", [0, 1])
def test_expanded_inputs(dimension):
    row = torch.randn(6, dtype=torch.float64, requires_grad=True)
    text = torch.randn(4, 6, dtype=torch.float64)
    image = row.expand(4, 6) if dimension == 0 else row[:4, None].expand(4, 6)
    log_scale = torch.zeros(())
    loss = functional.info_nce(image, text, log_scale)
    torch.testing.assert_close(loss, functional.info_nce(image.contiguous(), text, log_scale))
    loss.backward()
    gradient, row.grad = row.grad, None
    functional.info_nce(image.contiguous(), text, log_scale).backward()
    torch.testing.assert_close(gradient, row.grad)


@pytest.mark.parametrize("strides", [(1, 1), (3, 1), (0, 1), (1, 4), (1, 0)])
@pytest.mark.parametrize("name", ["info_nce", "pairwise_sigmoid", "token_cross_entropy", "distillation"])
def test_elements_that_several_places_share(name, strides):
    inputs, keywords = definitions.batch(name)
    for key in list(inputs)[:2]:
        one = torch.randn(80, dtype=torch.float64).as_strided(inputs[key].shape, strides)
        loss = getattr(functional, name)(**{**inputs, key: one}, **keywords)
        assert loss == getattr(functional, name)(**{**inputs, key: one.clone(memory_format=torch.contiguous_format)},
                                                 **keywords)


def test_hooks_and_accumulation():
    inputs, keywords = definitions.batch("token_alignment")
    leaves = leaves_of(inputs)
    seen = []
    hidden = leaves["words"] * 2
    hidden.register_hook(seen.append)
    hidden.register_hook(lambda one: one * 10)
    functional.token_alignment(leaves["regions"], hidden, leaves["word_count"]).backward()
    torch.testing.assert_close(leaves["words"].grad, seen[0] * 20)

    once = leaves["regions"].grad.clone()
    functional.token_alignment(leaves["regions"], leaves["words"] * 2, leaves["word_count"]).backward()
    torch.testing.assert_close(leaves["regions"].grad, 2 * once)


def test_one_tensor_for_two_inputs():
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: functional.info_nce(x, x, torch.ones((), dtype=torch.float64)), x)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", definitions.NAMES)
def test_modes_without_gradients(name, mode):
    inputs, keywords = definitions.batch(name)
    with mode():
        loss = getattr(functional, name)(**leaves_of(inputs), **keywords)
    assert not loss.requires_grad
    torch.testing.assert_close(loss.clone(), getattr(functional, name)(**inputs, **keywords))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", definitions.NAMES)
def test_halves_on_the_cpu(name, dtype):
    inputs, keywords = definitions.batch(name)
    halves = {key: one.to(dtype) if one.is_floating_point() else one for key, one in inputs.items()}
    leaves = leaves_of(halves)
    single = leaves_of({key: one.float() if one.is_floating_point() else one for key, one in halves.items()})
    loss = getattr(functional, name)(**leaves, **keywords)
    other = getattr(functional, name)(**single, **keywords)
    assert loss.dtype is torch.float32 and loss == other
    loss.backward()
    other.backward()
    for key in differentiable(inputs):
        assert leaves[key].grad.dtype is dtype
        torch.testing.assert_close(leaves[key].grad, single[key].grad.to(dtype))


def test_autocast():
    projection = torch.nn.Linear(6, 5)
    image = torch.randn(4, 6)
    text = torch.randn(4, 5)
    log_scale = torch.nn.Parameter(torch.tensor(2.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = projection(image)
        assert embedded.dtype is torch.bfloat16
        loss = functional.info_nce(embedded, text, log_scale)
    loss.backward()
    assert loss.dtype is torch.float32 and projection.weight.grad.dtype is torch.float32
    torch.testing.assert_close(loss, functional.info_nce(projection(image), text, log_scale), rtol=2e-2, atol=2e-2)


def test_learned_numbers():
    inputs, _ = definitions.batch("pairwise_sigmoid")
    loss = functional.pairwise_sigmoid(**inputs)
    numbers = {"log_scale": inputs["log_scale"].item(), "bias": inputs["bias"].item()}
    assert functional.pairwise_sigmoid(**{**inputs, **numbers}) == loss
    one = inputs["log_scale"].reshape(1).requires_grad_()
    functional.pairwise_sigmoid(**{**inputs, "log_scale": one}).backward()
    assert one.grad.shape == (1,)
    single = inputs["log_scale"].float().requires_grad_()
    functional.pairwise_sigmoid(**{**inputs, "log_scale": single}).backward()
    torch.testing.assert_close(single.grad, one.grad[0].float())


def test_integers_of_other_types():
    inputs, keywords = definitions.batch("info_nce")
    loss = functional.info_nce(**inputs, **keywords)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        other = {**inputs, "group": inputs["group"].to(dtype), "valid": inputs["valid"].to(dtype) * 2}
        assert functional.info_nce(**other, **keywords) == loss


@pytest.mark.parametrize("negated", [lambda one: torch._neg_view(-one),
                                     lambda one: torch.complex(one, -one).conj().imag])
def test_negated_views(negated):
    inputs, _ = definitions.batch("info_nce")
    image = negated(inputs["image"])
    assert image.is_neg() and torch.equal(image, inputs["image"])
    assert functional.info_nce(image, inputs["text"], 1.0) == functional.info_nce(inputs["image"], inputs["text"], 1.0)
    log_scale = negated(inputs["log_scale"])
    assert functional.info_nce(inputs["image"], inputs["text"], log_scale) == functional.info_nce(
        inputs["image"], inputs["text"], inputs["log_scale"])


def test_subclasses_of_tensor():
    class Named(torch.Tensor):
        pass

    inputs, _ = definitions.batch("info_nce")
    image = inputs["image"].clone().as_subclass(Named).requires_grad_()
    loss = functional.info_nce(image, inputs["text"], inputs["log_scale"])
    loss.backward()
    plain = inputs["image"].clone().requires_grad_()
    functional.info_nce(plain, inputs["text"], inputs["log_scale"]).backward()
    torch.testing.assert_close(image.grad.as_subclass(torch.Tensor), plain.grad)


def test_threads():
    inputs, keywords = definitions.batch("local_alignment")
    leaves = leaves_of(inputs)
    functional.local_alignment(**leaves, **keywords).backward()
    failures = []

    def work():
        try:
            for _ in range(30):
                mine = leaves_of(inputs)
                functional.local_alignment(**mine, **keywords).backward()
                torch.testing.assert_close(mine["words"].grad, leaves["words"].grad, rtol=0, atol=0)
        except BaseException as error:  # of whatever kind, it must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failures


@pytest.mark.parametrize("name", definitions.NAMES)
def test_functional_gradients(name):
    inputs, keywords = definitions.batch(name)
    leaves = leaves_of(inputs)
    getattr(functional, name)(**leaves, **keywords).backward()
    first = differentiable(inputs)[0]

    def function(one):
        return getattr(functional, name)(**{**inputs, first: one}, **keywords)

    torch.testing.assert_close(torch.func.grad(function)(inputs[first]), leaves[first].grad)
    with pytest.raises(NotImplementedError, match=f"{name}: its gradients cannot be differentiated again"):
        torch.func.grad(lambda one: torch.func.grad(function)(one).sum())(inputs[first])


def test_checkpointing():
    inputs, keywords = definitions.batch("pairwise_sigmoid")
    leaves, others = leaves_of(inputs), leaves_of(inputs)
    functional.pairwise_sigmoid(**leaves, **keywords).backward()
    torch.utils.checkpoint.checkpoint(lambda: functional.pairwise_sigmoid(**others, **keywords),
                                      use_reentrant=False).backward()
    torch.testing.assert_close(others["image"].grad, leaves["image"].grad, rtol=0, atol=0)


def test_saved_tensors_may_move():
    inputs, keywords = definitions.batch("info_nce")
    leaves, others = leaves_of(inputs), leaves_of(inputs)
    functional.info_nce(**leaves, **keywords).backward()
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
        loss = functional.info_nce(**others, **keywords)
    loss.backward()
    torch.testing.assert_close(others["image"].grad, leaves["image"].grad, rtol=0, atol=0)


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """Keeps the names and the arguments of vlp's operators."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "vlp":
            self.seen.append((function.__name__, args))
        return function(*args, **(kwargs or {}))


def test_modes_that_watch_operators_see_them():
    with Watch() as watch:
        functional.info_nce(**leaves_of(definitions.batch("info_nce")[0])).backward()
    assert [name for name, _ in watch.seen] == ["info_nce.default", "info_nce_backward.default"]


@pytest.mark.parametrize("mode, at_once", [(torch.enable_grad, [True, False, True, True]),
                                           (torch.no_grad, [False] * 4)])
def test_operators_compute_gradients_with_the_loss_where_they_are_needed(mode, at_once):
    leaves = leaves_of(definitions.batch("pairwise_sigmoid")[0])
    leaves["text"].requires_grad_(False)
    with Watch() as watch:
        with mode():
            loss = functional.pairwise_sigmoid(**leaves)
        if loss.requires_grad:
            loss.backward()
    (name, arguments), = watch.seen
    assert name == "pairwise_sigmoid.default" and list(arguments[-1]) == at_once


@pytest.mark.parametrize("image", [torch.randn(7, 5, dtype=torch.float64).T,
                                   torch.randn(7, dtype=torch.float64).expand(5, 7)])
def test_functional_gradients_of_strided_tensors(image):
    inputs, _ = definitions.batch("info_nce")
    wanted = image.clone(memory_format=torch.contiguous_format).requires_grad_()
    functional.info_nce(wanted, inputs["text"], 1.0).backward()
    gradient = torch.func.grad(lambda one: functional.info_nce(one, inputs["text"], 1.0))(image)
    torch.testing.assert_close(gradient, wanted.grad)


def test_vmap_is_refused():
    inputs, _ = definitions.batch("info_nce")
    with pytest.raises(NotImplementedError, match="info_nce: has no vmap"):
        torch.vmap(lambda image: functional.info_nce(image, inputs["text"], 1.0))(inputs["image"][None].repeat(2, 1, 1))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_mode_is_refused(requires_grad):
    inputs, _ = definitions.batch("info_nce")
    with torch.autograd.forward_ad.dual_level():
        image = torch.autograd.forward_ad.make_dual(inputs["image"], torch.ones_like(inputs["image"]))
        with pytest.raises(NotImplementedError, match="info_nce: has no forward-mode derivative"):
            functional.info_nce(image.requires_grad_(requires_grad), inputs["text"], 1.0)
    with pytest.raises(NotImplementedError, match="info_nce: has no forward-mode derivative"):
        torch.func.jvp(lambda image: functional.info_nce(image, inputs["text"], 1.0), (inputs["image"],),
                       (inputs["image"],))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_gradient_is_multiplied_before_it_is_rounded(dtype):
    gradient = torch.tensor([1.0, 1.5, 3.0, 9.0, 2.0 ** -14], dtype=dtype)
    upstream = torch.tensor(1.0 + 2.0 ** -8)  # 1 in bfloat16
    assert torch.equal(times(gradient, upstream), (gradient.double() * upstream.double()).to(dtype))
    scale = torch.tensor(2.0 ** 20)  # infinite in float16
    assert times(torch.tensor([2.0 ** -14], dtype=dtype), scale).item() == 64
