"""The losses as their definitions read, in plain differentiable PyTorch, and a batch of inputs for each."""
from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F


def _unit(x):
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _matches(images, texts, own, group):
    """Which texts are an image's own [B, N], and which are of the same group as its own text."""
    is_own = torch.zeros(images, texts, dtype=torch.bool)
    is_own[torch.arange(images), own] = True
    if group is None:
        return is_own, is_own
    ids = torch.full((texts,), -1)
    if len(group) == texts:
        ids = group
        mine = group[own]
    else:
        ids[own] = group
        mine = group
    return is_own, mine[:, None] == ids[None, :]


def _contrast(scores, cosines, own, group, valid, duplicate_policy, label_smoothing, image_to_text_weight,
              text_to_image_weight, false_negative_margin):
    images, texts = scores.shape
    is_own, same = _matches(images, texts, own, group)
    own_cosine = cosines.detach()[torch.arange(images), own]

    def cross_entropy(scores, cosines, is_own, same, kept):
        kept = kept & (is_own | (cosines.detach() <= own_cosine[:, None] + false_negative_margin))
        target = is_own.to(scores.dtype)
        if duplicate_policy == "ignore":
            kept = kept & (is_own | ~same)
        elif duplicate_policy == "positives":
            target = (same & kept).to(scores.dtype)
            target = target / target.sum(1, keepdim=True)
        target = (1 - label_smoothing) * target + label_smoothing * kept.to(scores.dtype) / kept.sum(1, keepdim=True)
        logarithms = scores.masked_fill(~kept, -math.inf).log_softmax(1).masked_fill(~kept, 0)
        return -(target * logarithms).sum(1).mean()

    kept = torch.ones(images, texts, dtype=torch.bool) if valid is None else (valid.bool() | is_own.any(0)).expand(
        images, -1)
    rows = cross_entropy(scores, cosines, is_own, same, kept)
    everything = torch.ones(images, images, dtype=torch.bool)
    columns = cross_entropy(scores[:, own].T, cosines[:, own].T, is_own[:, own].T, same[:, own].T, everything)
    return image_to_text_weight * rows + text_to_image_weight * columns


def info_nce(image, text, log_scale, group=None, valid=None, own_text=0, own_text_step=1, duplicate_policy="negatives",
             label_smoothing=0.0, image_to_text_weight=0.5, text_to_image_weight=0.5, kept_score_bytes=0,
             false_negative_margin=math.inf):
    cosines = _unit(image) @ _unit(text).T
    own = own_text + own_text_step * torch.arange(len(image))
    return _contrast(log_scale.exp() * cosines, cosines, own, group, valid, duplicate_policy, label_smoothing,
                     image_to_text_weight, text_to_image_weight, false_negative_margin)


def pairwise_sigmoid(image, text, log_scale, bias, group=None, valid=None, own_text=0, own_text_step=1,
                     duplicate_policy="negatives", kept_score_bytes=0, positive_weight="one"):
    images, texts = len(image), len(text)
    own = own_text + own_text_step * torch.arange(images)
    is_own, same = _matches(images, texts, own, group)
    positive = same if duplicate_policy == "positives" else is_own
    weight = torch.ones(images, texts, dtype=image.dtype)
    if duplicate_policy == "ignore":
        weight = weight.masked_fill(same & ~is_own, 0)
    if positive_weight == "one_over_count":
        weight = torch.where(positive, weight / positive.sum(1, keepdim=True), weight)
    if valid is not None:
        weight = weight * (valid.bool() | is_own.any(0))
    scores = log_scale.exp() * (_unit(image) @ _unit(text).T) + bias
    return -(weight * F.logsigmoid(torch.where(positive, scores, -scores))).sum() / images


def local_scores(regions, words, word_count, attention_temperature, word_temperature, pair_temperature):
    """S [B, N], and A2 [B, W, R] of each image and the report of the same place."""
    images, texts = len(regions), len(words)
    scores = torch.zeros(images, texts, dtype=regions.dtype)
    attention = torch.zeros(images, words.shape[1], regions.shape[1], dtype=regions.dtype)
    rows = []
    for i in range(images):
        row = []
        for j in range(texts):
            t = words[j] if word_count is None else words[j, :word_count[j]]
            a2 = ((t @ regions[i].T).softmax(0) * attention_temperature).softmax(1)
            if i == j:
                attention[i, :len(t)] = a2.detach()
            c = a2 @ regions[i]
            cosine = (t * c).sum(1) / (t.norm(dim=1) * c.norm(dim=1)).clamp_min(1e-8)
            row.append(pair_temperature * (word_temperature * cosine).logsumexp(0))
        rows.append(torch.stack(row))
    return torch.stack(rows), attention


def local_alignment(regions, words, word_count=None, group=None, word_capacity=0, own_text=0, own_text_step=1,
                    attention_temperature=4.0, word_temperature=5.0, pair_temperature=10.0,
                    duplicate_policy="negatives", label_smoothing=0.0, image_to_text_weight=0.5,
                    text_to_image_weight=0.5, form="automatic", false_negative_margin=math.inf):
    scores, _ = local_scores(regions, words, word_count, attention_temperature, word_temperature, pair_temperature)
    own = own_text + own_text_step * torch.arange(len(regions))
    return _contrast(scores, scores / pair_temperature, own, group, None, duplicate_policy, label_smoothing,
                     image_to_text_weight, text_to_image_weight, false_negative_margin)


def perturbation_sensitivity(image, text, log_scale, valid=None):
    scores = log_scale.exp() * (_unit(image)[:, None] * _unit(text)).sum(2)
    if valid is not None:
        scores = scores.masked_fill(~valid.bool(), -math.inf)
    return (scores.logsumexp(1) - scores[:, 0]).mean()


def multi_scale(image, text, log_scale, perturbation_log_scale=None, valid=None, regions=None, words=None,
                word_count=None, group=None, word_capacity=0, alpha=0.1, beta=0.1, perturbed_as_negatives=False,
                **options):
    of = {term: {name.removeprefix(term): value for name, value in options.items() if name.startswith(term)}
          for term in ("global_", "local_")}
    if perturbed_as_negatives:
        loss = info_nce(image, text.flatten(0, 1), log_scale, group, None if valid is None else valid.flatten(),
                        own_text_step=text.shape[1], **of["global_"])
    else:
        loss = info_nce(image, text[:, 0], log_scale, group, **of["global_"])
    if alpha:
        loss = loss + alpha * local_alignment(regions, words, word_count, group, **of["local_"])
    if beta:
        loss = loss + beta * perturbation_sensitivity(image, text, perturbation_log_scale, valid)
    return loss


def token_alignment(regions, words, word_count=None, attention_temperature=0.1, contrast_temperature=0.1):
    losses = []
    for b in range(len(words)):
        x = _unit(words[b] if word_count is None else words[b, :word_count[b]])
        p = _unit(regions[b])
        o = _unit((x @ p.T / attention_temperature).softmax(1) @ p)
        z = x @ o.T / contrast_temperature
        target = torch.arange(len(x))
        losses.append((F.cross_entropy(z, target) + F.cross_entropy(z.T, target)) / 2)
    return torch.stack(losses).mean()


def token_cross_entropy(hidden, weight, bias=None, target=None, ignore_index=-100, label_smoothing=0.0):
    return F.cross_entropy(F.linear(hidden, weight, bias), target, ignore_index=ignore_index,
                           label_smoothing=label_smoothing)


def distillation(student, teacher, valid=None, temperature=1.0):
    if valid is not None:
        student, teacher = student[valid.bool()], teacher[valid.bool()]
    return temperature ** 2 * F.kl_div((student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1),
                                       log_target=True, reduction="batchmean")


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


# A batch for each loss: inputs, then numbers and options.
def batch(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Inputs in double that are different in every call's memory, and keywords."""
    pairs = {"image": _random(5, 7, seed=1), "text": _random(8, 7, seed=2), "log_scale": _number(1.2)}
    of_pairs = {"group": torch.tensor([3, 4, 3, 5, 4, 6, 7, 8]), "valid": torch.tensor([1, 1, 1, 1, 1, 1, 0, 1]).bool()}
    tokens = {"regions": _random(4, 6, 5, seed=3), "words": _random(4, 5, 5, seed=4),
              "word_count": torch.tensor([5, 2, 3, 1])}
    candidates = {"image": _random(4, 7, seed=5), "text": _random(4, 3, 7, seed=6), "log_scale": _number(1.1)}
    is_valid = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]]).bool()
    return {
        "info_nce": (pairs | of_pairs, {"duplicate_policy": "positives", "label_smoothing": 0.1,
                                        "image_to_text_weight": 0.7}),
        "pairwise_sigmoid": (pairs | {"bias": _number(-1.5)} | of_pairs, {"duplicate_policy": "positives",
                                                                          "positive_weight": "one_over_count"}),
        "local_alignment": (tokens | {"group": torch.tensor([1, 2, 1, 3])},
                            {"duplicate_policy": "ignore", "attention_temperature": 3.0}),
        "perturbation_sensitivity": (candidates | {"valid": is_valid}, {}),
        "multi_scale": (candidates | {"perturbation_log_scale": _number(0.9), "valid": is_valid} | tokens
                        | {"group": torch.tensor([1, 2, 1, 3])},
                        {"alpha": 0.3, "beta": 0.2, "perturbed_as_negatives": True, "local_word_temperature": 4.0}),
        "token_alignment": (tokens, {"contrast_temperature": 0.2}),
        "token_cross_entropy": ({"hidden": _random(6, 5, seed=7), "weight": _random(9, 5, seed=8),
                                 "bias": _random(9, seed=9), "target": torch.tensor([1, -7, 8, 0, 0, -7])},
                                {"ignore_index": -7, "label_smoothing": 0.1}),
        "distillation": ({"student": _random(4, 6, seed=10), "teacher": _random(4, 6, seed=11),
                          "valid": torch.tensor([1, 0, 1, 1]).bool()}, {"temperature": 2.0}),
    }[name]


NAMES = ("distillation", "info_nce", "local_alignment", "multi_scale", "pairwise_sigmoid", "perturbation_sensitivity",
         "token_alignment", "token_cross_entropy")
