"""The arguments of a loss's function, the same in every face that calls losses by name."""
from __future__ import annotations

import inspect
import operator
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ._library import Loss


def keyword(name: str) -> str:
    """The name of an option or an output as Python can write it: global_alpha for global.alpha, global_ for global."""
    return "global_" if name == "global" else name.replace(".", "_")


@dataclass(frozen=True)
class Given:
    """What a call gives: the inputs that are not None by name, the numbers in order, options as names and texts in turn."""

    inputs: Mapping[str, Any]
    numbers: tuple[int, ...]
    options: tuple[str, ...]


class Arguments:
    """The arguments of the function `module`.`loss`: inputs, in order or by name, numbers and options by name, and the
    keywords of the face, which have defaults too."""

    def __init__(self, module: str, loss: Loss, face: Sequence[inspect.Parameter], array: Any) -> None:
        self.function = f"{module}.{loss.name}"
        self.loss = loss
        self.inputs = tuple(one.name for one in loss.inputs)
        self.options = {keyword(name): option for name, option in loss.options.items()}
        by_name = inspect.Parameter.KEYWORD_ONLY
        self.signature = inspect.Signature([
            *(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=array | None)
              for name in self.inputs),
            *(inspect.Parameter(name, by_name, default=default, annotation=int)
              for name, default in loss.numbers.items()),
            *(inspect.Parameter(name, by_name, default=option.value, annotation=type(option.value))
              for name, option in self.options.items()),
            *face])

    def take(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> Given:
        """What is given; a TypeError for arguments that the function does not have, or of the wrong kind."""
        if len(inputs) > len(self.inputs):
            raise TypeError(f"{self.function}() takes {len(self.inputs)} arrays in order, but {len(inputs)} are given")
        arrays = dict(zip(self.inputs, inputs))
        numbers = dict(self.loss.numbers)
        options: list[str] = []
        for name, value in named.items():
            if name in arrays:
                raise TypeError(f"{self.function}() got {name} both in order and by name")
            if name in self.inputs:
                arrays[name] = value
            elif name in numbers:
                numbers[name] = self._whole(name, value)
            elif name in self.options:
                options += self.options[name].name, self.options[name].text(value)
            else:
                raise TypeError(f"{self.function}() has no argument {name}")
        given = {name: arrays[name] for name in self.inputs if arrays.get(name) is not None}
        return Given(given, tuple(numbers.values()), tuple(options))

    def _whole(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{self.function}(): {name} must be a whole number, but is {value!r}")
        return operator.index(value)

    def names(self, what: str, asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
        """The names of outputs or gradients that are asked for; a ValueError for one that there is not."""
        if isinstance(asked, str):
            raise TypeError(f"{self.function}(): {what} must be names in a list or tuple, but is {asked!r}")
        for name in asked:
            if name not in known:
                raise ValueError(f"{self.loss.name}: {what} has no {name!r}, but can be {', '.join(known) or 'empty'}")
        if len(set(asked)) != len(asked):
            raise ValueError(f"{self.loss.name}: {what} names one twice: {', '.join(asked)}")
        return tuple(asked)
