"""vlp's losses in PyTorch: functions (vlp.torch.functional) and modules."""
from . import functional
from .modules import (Distillation, InfoNCE, LocalAlignment, MultiScale, PairwiseSigmoid, PerturbationSensitivity,
                      TokenAlignment, TokenCrossEntropy)

__all__ = ["Distillation", "InfoNCE", "LocalAlignment", "MultiScale", "PairwiseSigmoid", "PerturbationSensitivity",
           "TokenAlignment", "TokenCrossEntropy", "functional"]
