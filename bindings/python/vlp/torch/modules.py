"""vlp's losses as modules, which keep their options and learned numbers."""
from __future__ import annotations

import inspect
import math
from typing import Any, Callable, ClassVar

import torch
from torch import Tensor, nn

from . import functional

__all__ = ["Distillation", "InfoNCE", "LocalAlignment", "MultiScale", "PairwiseSigmoid", "PerturbationSensitivity",
           "TokenAlignment", "TokenCrossEntropy"]

_CLIP_LOG_SCALE = math.log(1 / 0.07)


class _Loss(nn.Module):
    """A function of vlp.torch.functional with its options, and its learned numbers as parameters."""

    function: ClassVar[Callable[..., Any]]
    learned: ClassVar[dict[str, float]] = {}  # learned numbers with the usual values to start from
    _options: ClassVar[dict[str, Any]]  # with their defaults

    def __init_subclass__(cls) -> None:
        """Gives the class the signature of its options, which are those of its function that are not of a call."""
        parameters = inspect.signature(cls.function).parameters
        of_a_call = set(inspect.signature(cls.forward).parameters) | set(cls.learned)
        cls._options = {name: one.default for name, one in parameters.items()
                        if one.kind is one.KEYWORD_ONLY and name not in of_a_call}
        kind = inspect.Parameter.KEYWORD_ONLY
        cls.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kind, default=start, annotation="float | None")
             for name, start in cls.learned.items()]
            + [parameters[name] for name in cls._options]
            + [inspect.Parameter(name, kind, default=None) for name in ("device", "dtype") if cls.learned])

    def __init__(self, **given: Any) -> None:
        super().__init__()
        place = {name: given.pop(name, None) for name in ("device", "dtype")} if self.learned else {}
        for name, start in self.learned.items():
            value = given.pop(name, start)
            self.register_parameter(
                name, None if value is None else nn.Parameter(torch.tensor(float(value), **place)))
        for name in given:
            if name not in self._options:
                raise TypeError(f"{type(self).__name__} has no option {name}; it has "
                                f"{', '.join((*self.learned, *self._options))}")
        self.options = {name: given.get(name, default) for name, default in self._options.items()}

    def _number(self, name: str, given: Tensor | float | None) -> Tensor | float | None:
        """The learned number, or the one that a call is given."""
        own = getattr(self, name)
        if own is not None and given is not None:
            raise ValueError(f"{type(self).__name__}: {name} is learned here, so a call must not be given another")
        return given if own is None else own

    def extra_repr(self) -> str:
        changed = {name: value for name, value in self.options.items() if value != self._options[name]}
        passed = {name: None for name in self.learned if getattr(self, name) is None}
        return ", ".join(f"{name}={value!r}" for name, value in {**passed, **changed}.items())


class InfoNCE(_Loss):
    """InfoNCE over the pairs of a batch; see functional.info_nce.

    Args:
        log_scale: The start of the learned log scale, CLIP's ln(1 / 0.07) by default; CLIP keeps exp(log_scale) at most
            100 by clamping after each step. None: log_scale is passed to each call.
        device, dtype: Those of the learned number.
        Further ones: options of functional.info_nce, with the same defaults.
    """

    function = staticmethod(functional.info_nce)
    learned = {"log_scale": _CLIP_LOG_SCALE}

    def forward(self, image: Tensor, text: Tensor, group: Tensor | None = None, valid: Tensor | None = None, *,
                log_scale: Tensor | float | None = None, images: int = 0, texts: int = 0, first_image: int = 0,
                first_text: int = 0, own_text: int = 0, own_text_step: int = 1) -> Tensor:
        """The loss of images [B, D] and texts [N, D]."""
        return functional.info_nce(image, text, self._number("log_scale", log_scale), group, valid, images=images,
                                   texts=texts, first_image=first_image, first_text=first_text, own_text=own_text,
                                   own_text_step=own_text_step, **self.options)


class PairwiseSigmoid(_Loss):
    """The pairwise sigmoid loss; see functional.pairwise_sigmoid.

    Args:
        log_scale, bias: Starts of the learned numbers, SigLIP's ln 10 and -10 by default. None: passed to each call.
        device, dtype: Those of the learned numbers.
        Further ones: options of functional.pairwise_sigmoid, with the same defaults.
    """

    function = staticmethod(functional.pairwise_sigmoid)
    learned = {"log_scale": math.log(10), "bias": -10.0}

    def forward(self, image: Tensor, text: Tensor, group: Tensor | None = None, valid: Tensor | None = None, *,
                log_scale: Tensor | float | None = None, bias: Tensor | float | None = None, images: int = 0,
                texts: int = 0, first_image: int = 0, first_text: int = 0, own_text: int = 0,
                own_text_step: int = 1) -> Tensor:
        """The loss of images [b, D] and texts [n, D]."""
        return functional.pairwise_sigmoid(image, text, self._number("log_scale", log_scale),
                                           self._number("bias", bias), group, valid, images=images, texts=texts,
                                           first_image=first_image, first_text=first_text, own_text=own_text,
                                           own_text_step=own_text_step, **self.options)


class LocalAlignment(_Loss):
    """The alignment of words and regions; see functional.local_alignment.

    Args:
        Options of functional.local_alignment, with the same defaults; outputs too.
    """

    function = staticmethod(functional.local_alignment)

    def forward(self, regions: Tensor, words: Tensor, word_count: Tensor | None = None, group: Tensor | None = None, *,
                word_capacity: int = 0, images: int = 0, texts: int = 0, first_image: int = 0, first_text: int = 0,
                own_text: int = 0, own_text_step: int = 1) -> Any:
        """The loss of regions [B, R, D] and words [N, W, D], and the outputs that the module is made with."""
        return functional.local_alignment(regions, words, word_count, group, word_capacity=word_capacity, images=images,
                                          texts=texts, first_image=first_image, first_text=first_text,
                                          own_text=own_text, own_text_step=own_text_step, **self.options)


class PerturbationSensitivity(_Loss):
    """Picks each image's report among perturbations of it; see functional.perturbation_sensitivity.

    Args:
        log_scale: The start of the learned log scale, ln(1 / 0.07) by default. None: passed to each call.
        device, dtype: Those of the learned number.
    """

    function = staticmethod(functional.perturbation_sensitivity)
    learned = {"log_scale": _CLIP_LOG_SCALE}

    def forward(self, image: Tensor, text: Tensor, valid: Tensor | None = None, *,
                log_scale: Tensor | float | None = None) -> Tensor:
        """The loss of images [B, D] and texts [B, 1 + K, D]."""
        return functional.perturbation_sensitivity(image, text, self._number("log_scale", log_scale), valid)


class MultiScale(_Loss):
    """The multi-scale objective; see functional.multi_scale.

    Args:
        log_scale, perturbation_log_scale: Starts of the learned log scales, ln(1 / 0.07) by default. None: passed to
            each call.
        device, dtype: Those of the learned numbers.
        Further ones: options of functional.multi_scale, with the same defaults; outputs too.
    """

    function = staticmethod(functional.multi_scale)
    learned = {"log_scale": _CLIP_LOG_SCALE, "perturbation_log_scale": _CLIP_LOG_SCALE}

    def forward(self, image: Tensor, text: Tensor, valid: Tensor | None = None, regions: Tensor | None = None,
                words: Tensor | None = None, word_count: Tensor | None = None, group: Tensor | None = None, *,
                log_scale: Tensor | float | None = None, perturbation_log_scale: Tensor | float | None = None,
                word_capacity: int = 0) -> Any:
        """The loss of images [B, D], texts [B, 1 + K, D], regions [B, R, E] and words [B, W, E], and outputs."""
        return functional.multi_scale(image, text, self._number("log_scale", log_scale),
                                      self._number("perturbation_log_scale", perturbation_log_scale), valid, regions,
                                      words, word_count, group, word_capacity=word_capacity, **self.options)


class TokenAlignment(_Loss):
    """Aligns words with what they see of their image; see functional.token_alignment.

    Args:
        Options of functional.token_alignment, with the same defaults; outputs too.
    """

    function = staticmethod(functional.token_alignment)

    def forward(self, regions: Tensor, words: Tensor, word_count: Tensor | None = None) -> Any:
        """The loss of regions [B, R, D] and words [B, W, D], and the outputs that the module is made with."""
        return functional.token_alignment(regions, words, word_count, **self.options)


class TokenCrossEntropy(_Loss):
    """Cross-entropy under a linear layer over the vocabulary; see functional.token_cross_entropy.

    Args:
        Options of functional.token_cross_entropy, with the same defaults.
    """

    function = staticmethod(functional.token_cross_entropy)

    def forward(self, hidden: Tensor, weight: Tensor, bias: Tensor | None = None,
                target: Tensor | None = None) -> Tensor:
        """The loss of positions [N, D] under an output layer's weight [V, D] and bias [V], for targets [N]."""
        return functional.token_cross_entropy(hidden, weight, bias, target, **self.options)


class Distillation(_Loss):
    """The divergence of a student from a teacher; see functional.distillation.

    Args:
        Options of functional.distillation, with the same defaults.
    """

    function = staticmethod(functional.distillation)

    def forward(self, student: Tensor, teacher: Tensor, valid: Tensor | None = None) -> Tensor:
        """The loss of logits [N, V] of both."""
        return functional.distillation(student, teacher, valid, **self.options)
