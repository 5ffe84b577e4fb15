"""The functions of vlp.torch.functional have the signatures that the library describes."""
import inspect

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import definitions

from vlp._library import library
from vlp.torch import functional

LOSSES = library().losses


def test_every_loss_has_a_function():
    assert set(functional.__all__) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_signatures_are_the_library_s(name):
    loss = LOSSES[name]
    parameters = inspect.signature(getattr(functional, name)).parameters
    places = [key for key, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert places == [one.name for one in loss.inputs]
    keywords = {key: one.default for key, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    read = {"number": float, "integer": int, "bool": lambda text: text == "true", "choice": str}
    wanted = dict(loss.numbers)
    wanted |= {key.replace(".", "_"): read[one.kind](one.default) for key, one in loss.options.items()}
    if len(loss.outputs) > 1:
        wanted["outputs"] = ()
    assert list(keywords.items()) == list(wanted.items())
    assert all(type(one) is type(wanted[key]) for key, one in keywords.items())


@pytest.mark.parametrize("name", LOSSES)
def test_docstrings_say_what_everything_is(name):
    function = getattr(functional, name)
    documentation = inspect.getdoc(function)
    described = documentation.split("Args:")[1].split("Returns:")[0]
    for key in inspect.signature(function).parameters:
        assert key in described
    for one in LOSSES[name].outputs[1:]:
        assert f'"{one.name}"' in described
    assert "Source:" in documentation and "[" in described


@pytest.mark.parametrize("name", LOSSES)
def test_arguments_reach_their_option(name):
    """Every option and number, changed alone, is refused or reaches the library, under its own name."""
    loss = LOSSES[name]
    inputs, _ = definitions.batch(name)
    keywords = {}
    for key, option in loss.options.items():
        keywords[key] = {"number": "x", "integer": "x", "bool": "x", "choice": 1}[option.kind]
    for key, value in keywords.items():
        with pytest.raises(TypeError, match=f"^{key} must be a {loss.options[key].kind}"):
            getattr(functional, name)(**inputs, **{key.replace(".", "_"): value})
    for key in loss.numbers:
        with pytest.raises(TypeError, match=f"{name}: {key} must be a whole number"):
            getattr(functional, name)(**inputs, **{key: "x"})
