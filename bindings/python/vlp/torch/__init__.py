"""vlp's losses in PyTorch: functions (vlp.torch.functional), modules, and drop-ins for open_clip and GLoRIA."""
from . import functional, gloria
from .gloria import patch_gloria
from .modules import (Distillation, InfoNCE, LocalAlignment, MultiScale, PairwiseSigmoid, PerturbationSensitivity,
                      TokenAlignment, TokenCrossEntropy)
from .open_clip import ClipLoss, SigLipLoss, patch_open_clip

__all__ = ["ClipLoss", "Distillation", "InfoNCE", "LocalAlignment", "MultiScale", "PairwiseSigmoid",
           "PerturbationSensitivity", "SigLipLoss", "TokenAlignment", "TokenCrossEntropy", "functional", "gloria",
           "patch_gloria", "patch_open_clip"]
