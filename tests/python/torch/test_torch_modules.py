"""The losses as modules."""
import copy
import inspect
import io
import math
import pickle

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions

import vlp.torch
from vlp.torch import functional

MODULES = {"Distillation": "distillation", "InfoNCE": "info_nce", "LocalAlignment": "local_alignment",
           "MultiScale": "multi_scale", "PairwiseSigmoid": "pairwise_sigmoid",
           "PerturbationSensitivity": "perturbation_sensitivity", "TokenAlignment": "token_alignment",
           "TokenCrossEntropy": "token_cross_entropy"}


def made(name):
    """The module with the options of the loss's batch, and what a call of it is given."""
    inputs, keywords = definitions.batch(MODULES[name])
    kind = getattr(vlp.torch, name)
    learned = {key: inputs.pop(key).item() for key in kind.learned}
    place = {"dtype": torch.float64} if learned else {}
    return kind(**learned, **keywords, **place), learned, inputs, keywords


@pytest.mark.parametrize("name", MODULES)
def test_modules_compute_their_functions(name):
    module, learned, inputs, keywords = made(name)
    loss = module(**inputs)
    assert loss == getattr(functional, MODULES[name])(**inputs, **learned, **keywords)
    assert set(dict(module.named_parameters())) == set(learned)
    if learned:
        loss.backward()
        assert all(one.grad.isfinite() and one.grad != 0 for one in module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_defaults_and_signatures(name):
    kind = getattr(vlp.torch, name)
    shown = inspect.signature(kind).parameters
    function = inspect.signature(getattr(functional, MODULES[name])).parameters
    call = inspect.signature(kind.forward).parameters
    for key, parameter in function.items():
        if key in kind.learned:
            assert shown[key].default == kind.learned[key]
        elif key in call:
            assert key not in shown
        else:
            assert shown[key].default == parameter.default
    module = kind()
    assert module.options == {key: one.default for key, one in shown.items()
                              if key not in (*kind.learned, "device", "dtype")}
    assert repr(module) == f"{name}()"


def test_usual_starts():
    assert vlp.torch.InfoNCE().log_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert vlp.torch.MultiScale().perturbation_log_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert vlp.torch.PerturbationSensitivity().log_scale.item() == pytest.approx(math.log(1 / 0.07))
    sigmoid = vlp.torch.PairwiseSigmoid()
    assert (sigmoid.log_scale.item(), sigmoid.bias.item()) == (pytest.approx(math.log(10)), -10)
    assert sigmoid.bias.dtype is torch.float32


def test_learned_numbers_that_a_call_is_given():
    inputs, _ = definitions.batch("info_nce")
    module = vlp.torch.InfoNCE(log_scale=None)
    assert not list(module.parameters()) and repr(module) == "InfoNCE(log_scale=None)"
    log_scale = inputs.pop("log_scale").requires_grad_()
    loss = module(**inputs, log_scale=log_scale)
    assert loss == functional.info_nce(**inputs, log_scale=log_scale)
    with pytest.raises(ValueError, match="info_nce: log_scale is not given"):
        module(**inputs)
    with pytest.raises(ValueError, match="InfoNCE: log_scale is learned here, so a call must not be given another"):
        vlp.torch.InfoNCE()(**inputs, log_scale=log_scale)


def test_repr_shows_what_is_not_the_default():
    module = vlp.torch.LocalAlignment(image_to_text_weight=1.0, duplicate_policy="ignore", outputs=("attention",))
    assert repr(module) == ("LocalAlignment(duplicate_policy='ignore', image_to_text_weight=1.0, "
                            "outputs=('attention',))")


def test_unknown_options():
    with pytest.raises(TypeError, match="InfoNCE has no option temperature; it has log_scale, duplicate_policy"):
        vlp.torch.InfoNCE(temperature=1)
    with pytest.raises(TypeError, match="TokenAlignment has no option dtype"):
        vlp.torch.TokenAlignment(dtype=torch.float64)


def test_outputs_of_modules():
    inputs, _ = definitions.batch("token_alignment")
    result = vlp.torch.TokenAlignment(outputs=("attention",))(**inputs)
    assert result._fields == ("loss", "attention")


@pytest.mark.parametrize("name", MODULES)
def test_copies(name):
    module, learned, inputs, _ = made(name)
    loss = module(**inputs)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other(**inputs) == loss and repr(other) == repr(module)
        assert all(a is not b for a, b in zip(other.parameters(), module.parameters()))


@pytest.mark.parametrize("name", [name for name in MODULES if getattr(vlp.torch, name).learned])
def test_states(name):
    module, learned, inputs, keywords = made(name)
    assert set(module.state_dict()) == set(learned)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = getattr(vlp.torch, name)(**keywords, dtype=torch.float64)
    assert other(**inputs) != module(**inputs)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other(**inputs) == module(**inputs)


def test_functional_call():
    module, _, inputs, keywords = made("InfoNCE")
    log_scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss = torch.func.functional_call(module, {"log_scale": log_scale}, (), inputs)
    assert loss == functional.info_nce(**inputs, log_scale=log_scale, **keywords)
    loss.backward()
    assert log_scale.grad is not None and module.log_scale.grad is None


def test_half_modules():
    inputs, _ = definitions.batch("info_nce")
    module = vlp.torch.InfoNCE().bfloat16()
    loss = module(inputs["image"].bfloat16(), inputs["text"].bfloat16())
    loss.backward()
    assert loss.dtype is torch.float32 and module.log_scale.grad.dtype is torch.bfloat16


def test_a_step_of_training():
    torch.manual_seed(0)
    images, texts = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
    module = vlp.torch.InfoNCE()
    optimizer = torch.optim.AdamW([*images.parameters(), *texts.parameters(), *module.parameters()], lr=1e-2)
    x, y = torch.randn(8, 6), torch.randn(8, 6)
    losses = []
    for _ in range(20):
        loss = module(images(x), texts(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
