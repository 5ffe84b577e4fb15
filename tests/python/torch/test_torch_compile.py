"""The losses as operators: torch.library's own checks, torch.compile, fake tensors."""
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions
from torch._subclasses import FakeTensorMode

import vlp.torch
from vlp._library import library
from vlp.torch import _call, functional
from vlp.torch._operators import OPERATORS

LOSSES = library().losses


def leaves_of(inputs):
    return {name: one.detach().clone().requires_grad_(one.is_floating_point() and name != "teacher")
            for name, one in inputs.items()}


def arguments_of(name, leaves, keywords, at_once=False):
    """The arguments of a loss's operator."""
    loss = LOSSES[name]
    options = [one.default if one.kind == "choice" else {"number": float, "integer": int,
                                                         "bool": "true".__eq__}[one.kind](one.default)
               for one in loss.options.values()]
    options = [keywords.get(key.replace(".", "_"), value) for key, value in zip(loss.options, options)]
    return (*(leaves.get(one.name) for one in loss.inputs), *loss.numbers.values(), *options,
            [True] * (len(loss.outputs) - 1), [at_once] * sum(one.gradient for one in loss.inputs))


@pytest.fixture
def filled_memory():
    """What is saved has gaps that nobody writes, which opcheck compares."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_opcheck(name, filled_memory):
    inputs, keywords = definitions.batch(name)
    for at_once in {False, LOSSES[name].forward_backward}:
        arguments = arguments_of(name, leaves_of(inputs), keywords, at_once)
        torch.library.opcheck(OPERATORS[name].operator, arguments)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_opcheck_of_backward(name, filled_memory):
    inputs, keywords = definitions.batch(name)
    arguments = arguments_of(name, inputs, keywords)
    saved = OPERATORS[name].operator(*arguments)[1]
    wanted = [True] * (len(arguments[-1]) - 1) + [False]
    upstream = torch.tensor(0.5, dtype=torch.float64)
    torch.library.opcheck(OPERATORS[name].backward_operator, (upstream, saved, *arguments[:-2], wanted),
                          test_utils=("test_schema", "test_faketensor"))


def check_compiled(name, inputs, keywords, **how):
    function = getattr(functional, name)
    eager, compiled = leaves_of(inputs), leaves_of(inputs)
    loss = function(**eager, **keywords) * 3
    loss.backward()
    fast = torch.compile(lambda given: function(**given, **keywords) * 3, fullgraph=True, **how)
    other = fast(compiled)
    other.backward()
    torch.testing.assert_close(other, loss, rtol=1e-12, atol=1e-12)
    for key, one in eager.items():
        if one.requires_grad:
            torch.testing.assert_close(compiled[key].grad, one.grad, rtol=1e-12, atol=1e-12)
    return fast


@pytest.mark.parametrize("name", definitions.NAMES)
def test_compiled_is_eager(name):
    torch._dynamo.reset()
    check_compiled(name, *definitions.batch(name), backend="aot_eager")


@pytest.mark.parametrize("name", ["info_nce", "pairwise_sigmoid", "local_alignment"])
def test_compiled_with_sizes_that_change(name):
    torch._dynamo.reset()
    inputs, keywords = definitions.batch(name)
    fast = check_compiled(name, inputs, keywords, backend="aot_eager", dynamic=True)
    fewer = {key: one if not one.dim() else one[:, :4] if key == "words" else one for key, one in inputs.items()}
    if "word_count" in fewer:
        fewer["word_count"] = fewer["word_count"].clamp_max(4)
    else:
        fewer = {key: one[:4] if key == "image" else one for key, one in fewer.items()}
    mine = leaves_of(fewer)
    wanted = leaves_of(fewer)
    fast(mine).backward()
    (getattr(functional, name)(**wanted, **keywords) * 3).backward()
    for key, one in wanted.items():
        if one.requires_grad:
            torch.testing.assert_close(mine[key].grad, one.grad)


def test_inductor():
    torch._dynamo.reset()
    inputs, keywords = definitions.batch("info_nce")
    check_compiled("info_nce", inputs, keywords)


def test_compiled_outputs_and_numbers():
    torch._dynamo.reset()
    inputs, keywords = definitions.batch("local_alignment")
    _call._RESULT_TYPES.clear()

    def function(given):
        result = functional.local_alignment(**given, **keywords, outputs=("attention", "similarity"))
        return result.loss, result.attention * 2

    loss, attention = torch.compile(function, backend="aot_eager", fullgraph=True)(inputs)
    wanted = function(inputs)
    torch.testing.assert_close((loss, attention), wanted)


def test_compiled_modules_with_halves():
    torch._dynamo.reset()
    inputs, _ = definitions.batch("info_nce")
    module = vlp.torch.InfoNCE()
    fast = torch.compile(module, backend="aot_eager", fullgraph=True)
    image, text = inputs["image"].bfloat16(), inputs["text"].bfloat16()
    loss = fast(image, text)
    loss.backward()
    gradient, module.log_scale.grad = module.log_scale.grad, None
    wanted = module(image, text)
    wanted.backward()
    assert loss == wanted and gradient == module.log_scale.grad


def test_a_compiled_weight_that_changes():
    torch._dynamo.reset()
    inputs, _ = definitions.batch("multi_scale")
    function = torch.compile(lambda alpha: functional.multi_scale(**inputs, alpha=alpha), backend="aot_eager",
                             fullgraph=True)
    for alpha in (0.1, 0.2, 0.3):
        assert function(alpha) == functional.multi_scale(**inputs, alpha=alpha)


def test_compiled_shapes_that_do_not_fit():
    torch._dynamo.reset()
    # The shapes are seen while the compiler traces, which makes an error of its own of it.
    with pytest.raises(torch._dynamo.exc.TorchRuntimeError, match="info_nce: image is 5 x 6 but text is 8 x 7"):
        torch.compile(functional.info_nce, backend="aot_eager")(torch.ones(5, 6), torch.ones(8, 7), 1.0)


@pytest.mark.parametrize("name", definitions.NAMES)
def test_fake_tensors(name):
    inputs, keywords = definitions.batch(name)
    with FakeTensorMode() as mode:
        fakes = {key: mode.from_tensor(one).requires_grad_(one.is_floating_point() and key != "teacher")
                 for key, one in inputs.items()}
    loss = getattr(functional, name)(**fakes, **keywords)
    loss.backward()
    assert loss.shape == () and loss.dtype is torch.float64
    assert all(one.grad.shape == one.shape for one in fakes.values() if one.requires_grad)
