"""The losses as operators torch.ops.vlp.*, which torch.compile and all other machinery of PyTorch can see."""
from __future__ import annotations

from typing import Any, Sequence

import torch
from torch import Tensor

from ._losses import LOSSES, Arguments, TorchLoss, accumulator_of, times
from ._once import once

_SCHEMA_TYPES = {"number": "float", "integer": "int", "bool": "bool", "choice": "str"}


def _is_static(values: Sequence[int]) -> bool:
    """Whether all values are known while compiling."""
    return not any(isinstance(value, torch.SymInt) for value in values)


def filled(first: Tensor, results: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor, ...]:
    """Results at the places where one is wanted, and empty tensors elsewhere."""
    rest = iter(results)
    return tuple(next(rest) if one else first.new_empty((0,)) for one in wanted)


class Operator:
    """A loss as two operators: vlp::NAME and vlp::NAME_backward.

    The first takes inputs, numbers, options, and for each further output and each differentiable input whether its
    output or gradient is wanted; it gives the loss, what is saved, outputs and gradients. The second takes upstream
    and what is saved, then the same except for outputs, and gives the gradients. Results that are not wanted are empty.
    """

    def __init__(self, definitions: torch.library.Library, loss: TorchLoss) -> None:
        self.loss = loss
        self.ends = [len(loss.inputs)]  # of inputs, numbers and options among the arguments
        for part in (loss.numbers, loss.options):
            self.ends.append(self.ends[-1] + len(part))

        # Only the first input is sure to be given: the library says by name which other is missing.
        first = loss.input_names[0]
        inputs = ", ".join(f"{'Tensor' if name == first else 'Tensor?'} {name}" for name in loss.input_names)
        rest = "".join(f", SymInt {name}" for name in loss.numbers)
        rest += "".join(f", {_SCHEMA_TYPES[one.kind]} {one.name.replace('.', '_')}" for one in loss.options)
        made = ", ".join("Tensor" for _ in loss.differentiable)
        results = ", ".join("Tensor" for _ in loss.outputs)
        definitions.define(f"{loss.name}({inputs}{rest}, bool[] outputs, bool[] gradients) -> "
                           f"(Tensor, Tensor, {results + ', ' if results else ''}{made})")
        definitions.define(f"{loss.name}_backward(Tensor upstream, Tensor saved, {inputs}{rest}, bool[] gradients) -> "
                           f"({made})")
        for key in ("CPU", "CUDA"):
            definitions.impl(loss.name, self.forward, key)
            definitions.impl(f"{loss.name}_backward", self.backward, key)
        name, backward_name = f"vlp::{loss.name}", f"vlp::{loss.name}_backward"
        torch.library.register_fake(name, self.fake_forward, lib=definitions)
        torch.library.register_fake(backward_name, self.fake_backward, lib=definitions)
        torch.library.register_autograd(name, self.differentiate, setup_context=self.setup_context, lib=definitions)
        if hasattr(torch.library, "register_vmap"):  # PyTorch 2.5
            torch.library.register_vmap(name, self.refuse_vmap, lib=definitions)
            torch.library.register_vmap(backward_name, self.refuse_vmap, lib=definitions)
        self.operator = getattr(torch.ops.vlp, loss.name).default
        self.backward_operator = getattr(torch.ops.vlp, f"{loss.name}_backward").default

    def split(self, arguments: Sequence[Any]) -> tuple[tuple[Tensor | None, ...], tuple[int, ...], tuple[Any, ...]]:
        """The tensors, numbers and options among arguments."""
        tensors, numbers, options = self.ends
        return tuple(arguments[:tensors]), tuple(arguments[tensors:numbers]), tuple(arguments[numbers:options])

    def places(self, wanted: Sequence[bool]) -> tuple[int, ...]:
        """The inputs whose gradients are wanted, by their places."""
        return tuple(i for i, one in zip(self.loss.differentiable, wanted) if one)

    def output_names(self, wanted: Sequence[bool]) -> tuple[str, ...]:
        return tuple(name for name, one in zip(self.loss.output_names, wanted) if one)

    def forward(self, *arguments: Any) -> tuple[Tensor, ...]:
        tensors, numbers, options = self.split(arguments)
        want_outputs, want_gradients = arguments[-2:]
        given = Arguments(numbers, options, self.output_names(want_outputs))
        ready = self.loss.ready(tensors, options)
        if any(want_gradients):
            value, others, made = self.loss.forward_backward(ready, given, self.places(want_gradients))
            saved = tensors[0].new_empty((0,), dtype=torch.uint8)
        else:
            value, saved, others = self.loss.forward(ready, given)
            made = []
        first = tensors[0]
        return value, saved, *filled(first, others, want_outputs), *filled(first, made, want_gradients)

    def backward(self, upstream: Tensor, saved: Tensor, *arguments: Any) -> Any:
        tensors, numbers, options = self.split(arguments)
        made = self.loss.backward(upstream, saved, self.loss.ready(tensors, options), Arguments(numbers, options, ()),
                                  self.places(arguments[-1]))
        made = filled(tensors[0], made, arguments[-1])
        return made if len(made) > 1 else made[0]

    def fake_forward(self, *arguments: Any) -> tuple[Tensor, ...]:
        tensors, numbers, options = self.split(arguments)
        want_outputs, want_gradients = arguments[-2:]
        first = tensors[0]
        if any(want_gradients):
            size = 0
        elif _is_static(numbers) and all(one is None or _is_static(one.shape) for one in tensors):
            size = self.loss.saved_bytes(tensors, numbers, options)
        else:
            size = torch.library.get_ctx().new_dynamic_size()  # the library's formula is not one of symbols
        others = [self.loss.new_output(name, tensors) for name in self.output_names(want_outputs)]
        made = self.loss.new_gradients(tensors, self.places(want_gradients))
        return (first.new_empty((), dtype=accumulator_of(first.dtype)), first.new_empty((size,), dtype=torch.uint8),
                *filled(first, others, want_outputs), *filled(first, made, want_gradients))

    def fake_backward(self, upstream: Tensor, saved: Tensor, *arguments: Any) -> Any:
        tensors, _, _ = self.split(arguments)
        made = filled(tensors[0], self.loss.new_gradients(tensors, self.places(arguments[-1])), arguments[-1])
        return made if len(made) > 1 else made[0]

    def setup_context(self, ctx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        count = len(self.loss.inputs)
        ctx.set_materialize_grads(False)
        ctx.arguments, ctx.made_at_once = inputs[count:-2], tuple(inputs[-1])
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:count], output[1], *output[2 + len(self.loss.outputs):])

    def differentiate(self, ctx, upstream: Tensor | None, *_) -> tuple[Any, ...]:
        count = len(self.loss.inputs)
        if upstream is None:
            return (None,) * (self.ends[-1] + 2)
        tensors, (saved, *made) = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        wanted = [ctx.needs_input_grad[i] for i in self.loss.differentiable]
        if any(ctx.made_at_once):
            made = [times(one, upstream) for one in made]
        else:
            made = self.backward_operator(upstream, saved, *tensors, *ctx.arguments, wanted)
            made = [made] if isinstance(made, Tensor) else made
        made = [one for one, need in zip(made, wanted) if need]
        if torch.is_grad_enabled():
            made = once(self.loss.name, made, upstream, *tensors)
        out: list[Tensor | None] = [None] * (self.ends[-1] + 2)
        for i, one in zip(self.places(wanted), made):
            out[i] = one
        return tuple(out)

    def refuse_vmap(self, info, in_dims, *arguments):
        raise NotImplementedError(f"{self.loss.name}: has no vmap; call it once for each batch")

    def __call__(self, tensors: Sequence[Tensor | None], given: Arguments) -> tuple[Tensor, ...]:
        """The loss and the outputs asked for."""
        want_outputs = [name in given.outputs for name in self.loss.output_names]
        wanted = [False] * len(self.loss.differentiable)
        if torch._C._are_functorch_transforms_active():
            results = _Transformed.apply(*tensors, *given.numbers, *given.options, want_outputs, wanted, self)
        else:
            if torch.is_grad_enabled() and self.loss.at_once(tensors[0]):
                wanted = [tensors[i] is not None and tensors[i].requires_grad for i in self.loss.differentiable]
            results = self.operator(*tensors, *given.numbers, *given.options, want_outputs, wanted)
        return results[0], *(results[2 + self.loss.output_names.index(name)] for name in given.outputs)


class _Transformed(torch.autograd.Function):
    """An operator under torch.func, whose transforms do not take gradients that are registered with operators."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        return arguments[-1].operator(*arguments[:-1])

    @staticmethod
    def setup_context(ctx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.of = inputs[-1]
        ctx.of.setup_context(ctx, inputs[:-1], output)

    @staticmethod
    def backward(ctx, *upstream: Tensor | None) -> tuple[Any, ...]:
        return *ctx.of.differentiate(ctx, *upstream), None

    @staticmethod
    def vmap(info, in_dims, *arguments: Any):
        arguments[-1].refuse_vmap(info, in_dims)

    @staticmethod
    def jvp(ctx, *_):
        raise NotImplementedError(f"{ctx.of.loss.name}: has no forward-mode derivative")


_definitions = torch.library.Library("vlp", "DEF")
OPERATORS = {name: Operator(_definitions, loss) for name, loss in LOSSES.items()}
