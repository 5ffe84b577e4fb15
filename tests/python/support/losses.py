"""For tests of every loss: small inputs of each, and its value from its definition in plain NumPy."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

PAIRS, TEXTS, FEATURES, REGIONS, WORDS, CANDIDATES, ROWS, TOKENS = 5, 7, 6, 4, 3, 4, 6, 9


def inputs_of(loss: str, seed: int = 0) -> dict[str, np.ndarray]:
    """All inputs of a loss, in double."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal
    counts = random.integers(1, WORDS + 1, TEXTS)
    pairs = {"image": normal((PAIRS, FEATURES)), "text": normal((TEXTS, FEATURES)), "log_scale": np.array(0.7)}
    candidates = normal((PAIRS, CANDIDATES, FEATURES))
    valid = random.random((PAIRS, CANDIDATES)) < 0.7
    valid[:, 0] = True
    valid_texts = np.array([True] * PAIRS + [False, True])
    local = {"regions": normal((PAIRS, REGIONS, FEATURES)), "words": normal((TEXTS, WORDS, FEATURES)), "word_count": counts}
    return {
        "info_nce": {**pairs, "group": np.array([3, -1, 3, 5, 6]), "valid": valid_texts},
        "pairwise_sigmoid": {**pairs, "bias": np.array(-1.5), "group": np.array([3, -1, 3, 5, 6]), "valid": valid_texts},
        "local_alignment": {**local, "group": np.array([3, -1, 3, 5, 6, 2**40, 2**40])},
        "perturbation_sensitivity": {"image": pairs["image"], "text": candidates, "log_scale": np.array(0.4), "valid": valid},
        "multi_scale": {"image": pairs["image"], "text": candidates, "log_scale": np.array(0.7),
                        "perturbation_log_scale": np.array(0.4), "valid": valid, "regions": local["regions"],
                        "words": local["words"][:PAIRS], "word_count": counts[:PAIRS],
                        "group": np.array([3, -1, 3, 5, 6])},
        "token_alignment": {"regions": local["regions"], "words": local["words"][:PAIRS], "word_count": counts[:PAIRS]},
        "token_cross_entropy": {"hidden": normal((ROWS, FEATURES)), "weight": normal((TOKENS, FEATURES)),
                                "bias": normal(TOKENS), "target": np.array([0, 8, -100, 3, 3, -100])},
        "distillation": {"student": normal((ROWS, TOKENS)), "teacher": normal((ROWS, TOKENS)),
                         "valid": np.array([True, False, True, True, True, False])},
    }[loss]


# Options of each loss other than its defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    "info_nce": {"duplicate_policy": "ignore", "label_smoothing": 0.1, "image_to_text_weight": 0.75},
    "pairwise_sigmoid": {"duplicate_policy": "positives"},
    "local_alignment": {"attention_temperature": 3, "word_temperature": 4.5, "pair_temperature": 7, "duplicate_policy": "ignore"},
    "perturbation_sensitivity": {},
    "multi_scale": {"alpha": 0.3, "beta": 0.2, "local_word_temperature": 4.0, "global_duplicate_policy": "ignore"},
    "token_alignment": {"attention_temperature": 0.5, "contrast_temperature": 0.2},
    "token_cross_entropy": {"label_smoothing": 0.1},
    "distillation": {"temperature": 2.5},
}

_NEVER = -1e30  # the score of what is left out


def _unit(x: Any, least: float = 1e-12) -> Any:
    return x / np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), least)


def _log_sum_exp(x: Any, axis: int = -1) -> Any:
    most = x.max(axis, keepdims=True)
    return np.log(np.exp(x - most).sum(axis)) + np.squeeze(most, axis)


def _softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _cross_entropies(scores: Any, kept: np.ndarray, options: dict[str, Any]) -> Any:
    """Of the rows of scores [B, N] whose targets lie on the diagonal, and of the first B columns."""
    pairs = len(scores)
    smoothing = options.get("label_smoothing", 0)

    def mean(rows: Any, kept: np.ndarray) -> Any:
        target = np.stack([rows[i, i] for i in range(pairs)])
        spread = np.where(kept, rows, 0).sum(1) / kept.sum(1)
        return (_log_sum_exp(np.where(kept, rows, _NEVER)) - (1 - smoothing) * target - smoothing * spread).mean()

    return (options.get("image_to_text_weight", 0.5) * mean(scores, kept)
            + options.get("text_to_image_weight", 0.5) * mean(scores[:, :pairs].T, kept[:, :pairs].T))


def _same(group: np.ndarray, pairs: int, texts: int) -> np.ndarray:
    """[B, N] of images and other texts than their own that are of one group."""
    of_texts = np.full(texts, -2**50)
    of_texts[:len(group)] = group
    return (of_texts[:pairs, None] == of_texts[None]) & ~np.eye(pairs, texts, dtype=bool)


def _kept(inputs: dict[str, Any], options: dict[str, Any], pairs: int, texts: int) -> np.ndarray:
    kept = np.ones((pairs, texts), bool)
    if options.get("duplicate_policy") == "ignore":
        kept &= ~_same(inputs["group"], pairs, texts)
    return kept & np.asarray(inputs.get("valid", np.ones(texts, bool)))


def info_nce(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    scores = np.exp(inputs["log_scale"]) * _unit(inputs["image"]) @ _unit(inputs["text"]).T
    return _cross_entropies(scores, _kept(inputs, options, *scores.shape), options)


def pairwise_sigmoid(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    scores = np.exp(inputs["log_scale"]) * _unit(inputs["image"]) @ _unit(inputs["text"]).T + inputs["bias"]
    pairs, texts = scores.shape
    positive = np.eye(pairs, texts, dtype=bool)
    if options.get("duplicate_policy") == "positives":
        positive |= _same(inputs["group"], pairs, texts)
    losses = np.log1p(np.exp(np.where(positive, -scores, scores)))
    return np.where(_kept(inputs, options, pairs, texts), losses, 0).sum() / pairs


def local_alignment(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    regions, words = inputs["regions"], inputs["words"]

    def score(i: int, j: int) -> Any:
        of_report = words[j, :int(inputs["word_count"][j])]
        seen = _softmax(of_report @ regions[i].T, axis=0)
        context = _softmax(options.get("attention_temperature", 4) * seen) @ regions[i]
        lengths = np.sqrt((of_report**2).sum(1)) * np.sqrt((context**2).sum(1))
        cosine = (of_report * context).sum(1) / np.maximum(lengths, 1e-8)
        return options.get("pair_temperature", 10) * _log_sum_exp(options.get("word_temperature", 5) * cosine)

    scores = np.stack([np.stack([score(i, j) for j in range(len(words))]) for i in range(len(regions))])
    return _cross_entropies(scores, _kept(inputs, options, *scores.shape), options)


def perturbation_sensitivity(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    scores = np.exp(inputs["log_scale"]) * (_unit(inputs["image"])[:, None] * _unit(inputs["text"])).sum(-1)
    return (_log_sum_exp(np.where(inputs["valid"], scores, _NEVER)) - scores[:, 0]).mean()


def multi_scale(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    def of(term: str) -> dict[str, Any]:
        return {name.removeprefix(f"{term}_"): value for name, value in options.items() if name.startswith(f"{term}_")}

    whole = info_nce({"image": inputs["image"], "text": inputs["text"][:, 0], "log_scale": inputs["log_scale"],
                          "group": inputs["group"]}, of("global"))
    local = local_alignment({name: inputs[name] for name in ("regions", "words", "word_count", "group")}, of("local"))
    perturbation = perturbation_sensitivity({**inputs, "log_scale": inputs["perturbation_log_scale"]}, {})
    return whole + options.get("alpha", 0.1) * local + options.get("beta", 0.1) * perturbation


def token_alignment(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    attention_temperature, contrast_temperature = options["attention_temperature"], options["contrast_temperature"]

    def of_pair(regions: Any, words: Any) -> Any:
        words, regions = _unit(words), _unit(regions)
        context = _unit(_softmax(words @ regions.T / attention_temperature) @ regions)
        scores = words @ context.T / contrast_temperature
        diagonal = (words * context).sum(1) / contrast_temperature
        return 0.5 * sum((_log_sum_exp(scores, axis) - diagonal).mean() for axis in (0, 1))

    losses = [of_pair(inputs["regions"][b], inputs["words"][b, :int(inputs["word_count"][b])])
              for b in range(len(inputs["words"]))]
    return sum(losses) / len(losses)


def token_cross_entropy(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    logits = inputs["hidden"] @ inputs["weight"].T + inputs["bias"]
    rows = [n for n, target in enumerate(np.asarray(inputs["target"])) if target != -100]
    smoothing = options.get("label_smoothing", 0)
    losses = [_log_sum_exp(logits[n]) - (1 - smoothing) * logits[n, int(inputs["target"][n])]
              - smoothing * logits[n].mean() for n in rows]
    return sum(losses) / len(losses)


def distillation(inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    temperature = options.get("temperature", 1)
    student, teacher = inputs["student"] / temperature, inputs["teacher"] / temperature
    target = _softmax(teacher)
    divergence = (target * (np.log(target) - student + _log_sum_exp(student)[:, None])).sum(1)
    valid = np.asarray(inputs["valid"])
    return temperature**2 * np.where(valid, divergence, 0).sum() / valid.sum()


DEFINITIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], float]] = {
    one.__name__: one for one in (info_nce, pairwise_sigmoid, local_alignment, perturbation_sensitivity, multi_scale,
                                  token_alignment, token_cross_entropy, distillation)}
