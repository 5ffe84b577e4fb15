"""The documentation of the losses' functions, in the words of include/vlp/losses/NAME.hpp, where the equations are."""
from __future__ import annotations

import textwrap

from ._library import Loss

# Descriptions of the losses, with their sources.
_LOSSES = {
    "info_nce": """
        InfoNCE over the pairs of a batch, with a learnable scale: the mean cross-entropy of picking each image's report
        and each report's image by exp(log_scale) times the cosine of their embeddings.

        Van den Oord et al., 2018; as in CLIP (Radford et al., ICML 2021) by default, as in ConVIRT (Zhang et al., MLHC
        2022) with other weights of the two directions. Embeddings are normalised here. More texts than images are
        negatives of every image, as in NegCLIP (Yuksekgonul et al., ICLR 2023).""",
    "pairwise_sigmoid": """
        The sigmoid loss of every pair of image and text of a batch, with a learnable scale and bias.

        Zhai et al., "Sigmoid loss for language image pre-training" (SigLIP), ICCV 2023; published start: log_scale
        log(10), bias -10. Embeddings are normalised here.""",
    "local_alignment": """
        Attention-weighted alignment of the words of reports and the regions of images, over the pairs of a batch.

        Huang et al., "GLoRIA: a multimodal global-local representation learning framework for label-efficient medical
        image recognition", ICCV 2021, equations 3 to 9; with both weights 1 as published there.""",
    "perturbation_sensitivity": """
        Each image against its own report and K perturbations of that report: the mean cross-entropy of picking the report
        by exp(log_scale) times the cosine of the embeddings. Embeddings are normalised here.""",
    "multi_scale": """
        InfoNCE of images and reports, plus alpha times local alignment of regions and words, plus beta times perturbation
        sensitivity of images and perturbed reports. Inputs of a term of weight 0 may be missing.""",
    "token_alignment": """
        Words against what they see of their own image: each word has to be picked, among the words of its report, by the
        regions that it attends to.

        In the form of the token-wise alignment of Wang et al., "Multi-granularity cross-modal alignment for generalized
        medical visual representation learning", NeurIPS 2022, without projections and token weights.""",
    "token_cross_entropy": """
        Mean cross-entropy of the next token under a linear layer over the vocabulary, whose logits are never in memory as
        a whole.""",
    "distillation": """
        Temperature squared times the mean Kullback-Leibler divergence of the student's tokens from the teacher's.

        Hinton et al., "Distilling the knowledge in a neural network", 2015. The teacher has no gradient.""",
}

_EMBEDDINGS = {
    "image": "[B, D], embeddings of images",
    "text": "[N, D], N >= B, embeddings of texts; text i is image i's own unless own_text and own_text_step say otherwise",
    "log_scale": "a number, the log of the scale",
    "bias": "a number, added to the scores",
    "group": "[N] or [B] whole numbers, equal for equal texts; None: all texts differ",
    "valid": "[N] bool, False leaves a further text out; None: all are valid",
}
_LOCAL = {
    "regions": "[B, R, D], features of image regions",
    "words": "[N, W, D], features of words",
    "word_count": "[N] whole numbers in 1 to W, the words that a report has; None: all W",
    "group": "[N] or [B] whole numbers, equal for equal reports; None: all reports differ",
}

# The shapes of the inputs of each loss, and what they are.
_INPUTS = {
    "info_nce": _EMBEDDINGS,
    "pairwise_sigmoid": _EMBEDDINGS,
    "local_alignment": _LOCAL,
    "perturbation_sensitivity": {
        "image": _EMBEDDINGS["image"],
        "text": "[B, 1 + K, D], embeddings of the report, first, and of its perturbations",
        "log_scale": _EMBEDDINGS["log_scale"],
        "valid": "[B, 1 + K] bool, False drops a perturbation; None: all are valid",
    },
    "multi_scale": {
        "image": _EMBEDDINGS["image"],
        "text": "[B, 1 + K, D], embeddings of the report, first, and of its perturbations",
        "log_scale": "a number, the log of the global term's scale",
        "perturbation_log_scale": "a number, the log of the perturbation term's scale",
        "valid": "[B, 1 + K] bool, False drops a perturbation; None: all are valid",
        "regions": "[B, R, E], features of image regions",
        "words": "[B, W, E], features of words",
        "word_count": "[B] whole numbers in 1 to W, the words that a report has; None: all W",
        "group": "[B] whole numbers, equal for equal reports; None: all reports differ",
    },
    "token_alignment": {
        "regions": _LOCAL["regions"],
        "words": "[B, W, D], features of words",
        "word_count": "[B] whole numbers in 1 to W, the words that a report has; None: all W",
    },
    "token_cross_entropy": {
        "hidden": "[N, D], what the linear layer takes",
        "weight": "[V, D], the layer's weight",
        "bias": "[V], the layer's bias; None: 0",
        "target": "[N] whole numbers, in 0 to V - 1 or ignore_index",
    },
    "distillation": {
        "student": "[N, V], logits",
        "teacher": "[N, V], logits",
        "valid": "[N] bool, False leaves a row out; None: all are valid",
    },
}

_OUTPUTS = {
    "similarity": "[B, N], the score of each image and report",
    "attention": "of each image and its own report, [B, W, R]: each word over the regions, 0 in padding",
    "global": "the global term before its weight",
    "local": "the local term before its weight",
    "perturbation": "the perturbation term before its weight",
}


def docstring(loss: Loss, further: str) -> str:
    """The documentation of the function of a loss; `further` says what holds for all functions of a face."""
    lines = [textwrap.dedent(_LOSSES[loss.name]).strip(), "", "Arrays:"]
    lines += [f"    {array.name}: {_INPUTS[loss.name][array.name]}" for array in loss.inputs]
    further_outputs = [array.name for array in loss.outputs if array.name != "loss"]
    if further_outputs:
        lines += ["", "Further outputs:"]
        lines += [f"    {name}: {_OUTPUTS[name]}" for name in further_outputs]
    lines += ["", textwrap.dedent(further).strip(), "",
              f"Options and numbers are those of include/vlp/losses/{loss.name}.hpp."]
    return "\n".join(lines)
