"""vlp's losses as functions of torch tensors, with gradients.

These rules hold for all of them:

- Embeddings (image, text, regions, words, hidden, weight, student, teacher) are float32 or float64. Those in float16
  and bfloat16 are taken as they are on CUDA devices, and converted to float32 on the CPU and beside float32 ones.
  Gradients have the type of their input. float64 beside others is refused.
- log_scale, perturbation_log_scale and the bias of pairwise_sigmoid are learned numbers: tensors of one element, of
  shape [] or [1] and any floating-point type, or Python numbers.
- Ids, counts and targets are tensors of any integer type; `valid` is a tensor of bool or of an integer type, 0 for no.
- Tensors may have any strides; those whose last dimension is not adjacent, or whose elements several places share
  (expand), are copied. All are on one device.
- The loss is a scalar of type float64 where embeddings are, and of float32 otherwise. Gradients cannot be
  differentiated again. Further outputs (`outputs`), named as the loss's documentation does, are detached; with them
  the result is a named tuple of the loss and these, in the order asked for.
- On the CPU the losses run on torch.get_num_threads() threads; results do not depend on how many.
- Where an input requires a gradient, pairwise_sigmoid and token_cross_entropy compute gradients with the loss, which
  takes a fifth less time than in backward. Call them under torch.no_grad() where only the loss is wanted.

All raise ValueError for shapes, numbers and options that do not fit together, and TypeError for tensors and options of
a wrong kind, in one sentence.
"""
from __future__ import annotations

import math
from typing import Any, Sequence

from torch import Tensor

from ._call import call

__all__ = ["distillation", "info_nce", "local_alignment", "multi_scale", "pairwise_sigmoid", "perturbation_sensitivity",
           "token_alignment", "token_cross_entropy"]


def info_nce(image: Tensor, text: Tensor, log_scale: Tensor | float, group: Tensor | None = None,
             valid: Tensor | None = None, *, images: int = 0, texts: int = 0, first_image: int = 0, first_text: int = 0,
             own_text: int = 0, own_text_step: int = 1, duplicate_policy: str = "negatives",
             label_smoothing: float = 0.0, image_to_text_weight: float = 0.5, text_to_image_weight: float = 0.5,
             kept_score_bytes: int = 0, false_negative_margin: float = math.inf) -> Tensor:
    """InfoNCE over the pairs of a batch, the loss of CLIP and ConVIRT.

    With rows normalised by max(norm, 1e-12), S = exp(log_scale) image text^T [B, N] and t_i the text of image i,

        loss = image_to_text_weight mean_i CE(S[i, :], t_i) + text_to_image_weight mean_i CE(S[:, t_i], i).

    S exists a tile at a time: B + N numbers are kept for backward.

    Args:
        image: [B, D] embeddings. They need not be normalised.
        text: [N, D], N >= B. Texts that are no image's own are negatives of every image (NegCLIP).
        log_scale: The logarithm of the factor of the cosines, which is exp(log_scale).
        group: [N], or [B] for the images' own texts: equal ids for equal texts; see duplicate_policy.
        valid: [N], 0 leaves an extra text out.
        images, texts, first_image, first_text: The place in a batch in blocks; a call takes the whole batch, where they
            are 0.
        own_text, own_text_step: Image i's own text is own_text + i * own_text_step.
        duplicate_policy: What texts of one group are to each other's images: "negatives", "positives" or "ignore".
        label_smoothing: The share of each target that is spread over all columns, in [0, 1).
        image_to_text_weight, text_to_image_weight: Weights of the two directions. Not negative.
        kept_score_bytes: How much memory may be spent to keep scores for backward, which then takes less work.
        false_negative_margin: Leaves out negatives whose cosine exceeds the positive's by more than this.

    Returns:
        The loss, a scalar.

    Source: van den Oord et al., 2018; Radford et al., "Learning transferable visual models from natural language
    supervision", ICML 2021; Zhang et al., "Contrastive learning of medical visual representations from paired images
    and text", MLHC 2022.
    """
    return call("info_nce", (image, text, log_scale, group, valid),
                (images, texts, first_image, first_text, own_text, own_text_step),
                (duplicate_policy, label_smoothing, image_to_text_weight, text_to_image_weight, kept_score_bytes,
                 false_negative_margin))


def pairwise_sigmoid(image: Tensor, text: Tensor, log_scale: Tensor | float, bias: Tensor | float,
                     group: Tensor | None = None, valid: Tensor | None = None, *, images: int = 0, texts: int = 0,
                     first_image: int = 0, first_text: int = 0, own_text: int = 0, own_text_step: int = 1,
                     duplicate_policy: str = "negatives", kept_score_bytes: int = 0, positive_weight: str = "one",
                     false_negative_margin: float = math.inf) -> Tensor:
    """The pairwise sigmoid loss of SigLIP.

    With rows normalised by max(norm, 1e-12), z_ij = 1 for matching pairs and -1 for others, and weights w_ij = 1 unless
    positive_weight says otherwise,

        loss = -1/B sum_ij w_ij log sigmoid(z_ij (exp(log_scale) <image_i, text_j> + bias)).

    It has no normaliser, so a call that is given part of a batch computes that part's share of the loss and gradients.

    Args:
        image: [b, D] embeddings. They need not be normalised.
        text: [n, D].
        log_scale: The logarithm of the factor of the cosines. Published start: ln 10.
        bias: What is added to each score. Published start: -10.
        group: Ids of the whole batch, equal for equal texts: one for each text, or one for each image's own text.
        valid: One for each text of the whole batch, 0 leaves an extra text out.
        images, texts: How many the whole batch has; 0 for first_image, first_text and as many as are given.
        first_image, first_text: The place in the batch of the first image and of the first text given.
        own_text, own_text_step: Image i's own text is own_text + i * own_text_step, both places in the batch.
        duplicate_policy: What texts of one group are to each other's images: "negatives", "positives" or "ignore".
        kept_score_bytes: How much memory may be spent to keep scores for a backward of its own.
        positive_weight: "one", or "one_over_count": an image with k positives counts each 1/k.
        false_negative_margin: Leaves out negatives whose cosine exceeds the positives' by more than this.

    Returns:
        The loss, a scalar.

    Source: Zhai et al., "Sigmoid loss for language image pre-training", ICCV 2023.
    """
    return call("pairwise_sigmoid", (image, text, log_scale, bias, group, valid),
                (images, texts, first_image, first_text, own_text, own_text_step),
                (duplicate_policy, kept_score_bytes, positive_weight, false_negative_margin))


def local_alignment(regions: Tensor, words: Tensor, word_count: Tensor | None = None, group: Tensor | None = None, *,
                    word_capacity: int = 0, images: int = 0, texts: int = 0, first_image: int = 0, first_text: int = 0,
                    own_text: int = 0, own_text_step: int = 1, attention_temperature: float = 4.0,
                    word_temperature: float = 5.0, pair_temperature: float = 10.0, duplicate_policy: str = "negatives",
                    label_smoothing: float = 0.0, image_to_text_weight: float = 0.5, text_to_image_weight: float = 0.5,
                    form: str = "automatic", false_negative_margin: float = math.inf,
                    outputs: Sequence[str] = ()) -> Any:
    """The attention-weighted alignment of words and regions, the local loss of GLoRIA.

    For image i with regions C [R, D] and report j with words T [W_j, D]:

        A = T C^T, A1 = softmax of A over the words, A2 = softmax of attention_temperature A1 over the regions,
        c_w = sum_r A2[w, r] C[r], cos_w = <T_w, c_w> / max(|T_w| |c_w|, 1e-8),
        S[i, j] = pair_temperature log sum_w exp(word_temperature cos_w),
        loss = image_to_text_weight CE(rows of S) + text_to_image_weight CE(columns of S).

    Args:
        regions: [B, R, D] of each image.
        words: [N, W, D] of each report, N >= B. Reports that are no image's own are negatives of every image.
        word_count: [N], each in 1 to W; without it all have W words. Padding is never read and gets gradient 0.
        group: [N], or [B] for the images' own reports: equal ids for equal reports; see duplicate_policy.
        word_capacity: An upper bound of the sum of word_count, which CUDA devices size their work by; 0 for N W.
        images, texts, first_image, first_text: The place in a batch in blocks; a call takes the whole batch, where they
            are 0.
        own_text, own_text_step: Image i's own report is own_text + i * own_text_step.
        attention_temperature: Sharpens the attention of a word over the regions. Above 0.
        word_temperature: The weight of the best aligned words in a pair's score. Above 0.
        pair_temperature: The scale of the pairs' scores. Above 0.
        duplicate_policy: What reports of one group are to each other's images: "negatives", "positives" or "ignore".
        label_smoothing: The share of each target that is spread over all columns, in [0, 1).
        image_to_text_weight, text_to_image_weight: Weights of the two directions, not negative; GLoRIA has 1 and 1.
        form: "automatic", or how context vectors are computed: "gram" or "direct".
        false_negative_margin: Leaves out negatives whose S / pair_temperature exceeds the positive's by more than this.
        outputs: "similarity", S [B, N], and "attention", A2 [B, W, R] of each image and its own report.

    Returns:
        The loss, a scalar; with outputs a named tuple of it and these.

    Source: Huang et al., "GLoRIA: a multimodal global-local representation learning framework for label-efficient
    medical image recognition", ICCV 2021, equations 3 to 9.
    """
    return call("local_alignment", (regions, words, word_count, group),
                (word_capacity, images, texts, first_image, first_text, own_text, own_text_step),
                (attention_temperature, word_temperature, pair_temperature, duplicate_policy, label_smoothing,
                 image_to_text_weight, text_to_image_weight, form, false_negative_margin), outputs)


def perturbation_sensitivity(image: Tensor, text: Tensor, log_scale: Tensor | float,
                             valid: Tensor | None = None) -> Tensor:
    """Picks the report of each image among the report and K perturbations of it.

    With rows normalised by max(norm, 1e-12) and z_bk = exp(log_scale) <image_b, text_bk>,

        loss = mean_b (log sum_k exp z_bk - z_b0).

    Args:
        image: [B, D] embeddings. They need not be normalised.
        text: [B, 1 + K, D], the report first.
        log_scale: The logarithm of the factor of the cosines; the usual start is ln(1 / 0.07).
        valid: [B, 1 + K], 0 drops a candidate, such as a perturbation that came out equal to the report. A row without
            any negative has loss 0 and counts in the mean.

    Returns:
        The loss, a scalar.

    Source: perturbed report discrimination; include/vlp/losses/perturbation_sensitivity.hpp has the definition.
    """
    return call("perturbation_sensitivity", (image, text, log_scale, valid), (), ())


def multi_scale(image: Tensor, text: Tensor, log_scale: Tensor | float,
                perturbation_log_scale: Tensor | float | None = None, valid: Tensor | None = None,
                regions: Tensor | None = None, words: Tensor | None = None, word_count: Tensor | None = None,
                group: Tensor | None = None, *, word_capacity: int = 0, alpha: float = 0.1, beta: float = 0.1,
                perturbed_as_negatives: bool = False, global_duplicate_policy: str = "negatives",
                global_label_smoothing: float = 0.0, global_image_to_text_weight: float = 0.5,
                global_text_to_image_weight: float = 0.5, global_kept_score_bytes: int = 0,
                global_false_negative_margin: float = math.inf, local_attention_temperature: float = 4.0,
                local_word_temperature: float = 5.0, local_pair_temperature: float = 10.0,
                local_duplicate_policy: str = "negatives", local_label_smoothing: float = 0.0,
                local_image_to_text_weight: float = 0.5, local_text_to_image_weight: float = 0.5,
                local_form: str = "automatic", local_false_negative_margin: float = math.inf,
                outputs: Sequence[str] = ()) -> Any:
    """The multi-scale objective: InfoNCE + alpha local alignment + beta perturbation sensitivity.

    A term of weight 0 costs nothing: its inputs are not looked at and may be None, and it is reported as 0.

    Args:
        image: [B, D] embeddings.
        text: [B, 1 + K, D], the report first; K >= 1 where perturbed reports are used.
        log_scale: That of info_nce.
        perturbation_log_scale: That of perturbation_sensitivity; needed where beta is not 0.
        valid: [B, 1 + K]; see perturbation_sensitivity.
        regions: [B, R, E]; needed where alpha is not 0, as are words.
        words: [B, W, E].
        word_count: [B]; see local_alignment.
        group: [B], equal ids for equal reports; perturbed reports are in no group.
        word_capacity: See local_alignment.
        alpha: The weight of local alignment. Not negative.
        beta: The weight of perturbation sensitivity. Not negative.
        perturbed_as_negatives: Makes the perturbed reports of the batch negatives of every image in the global term.
            With alpha and beta 0 this is NegCLIP.
        global_duplicate_policy, global_label_smoothing, global_image_to_text_weight, global_text_to_image_weight,
            global_kept_score_bytes, global_false_negative_margin: Options of info_nce.
        local_attention_temperature, local_word_temperature, local_pair_temperature, local_duplicate_policy,
            local_label_smoothing, local_image_to_text_weight, local_text_to_image_weight, local_form,
            local_false_negative_margin: Options of local_alignment.
        outputs: "global", "local" and "perturbation", each term before its weight; "similarity" and "attention" of
            local_alignment.

    Returns:
        The loss, a scalar; with outputs a named tuple of it and these. The field of "global" is global_, since Python
        has the word for itself.

    Source: include/vlp/losses/multi_scale.hpp; Yuksekgonul et al., "When and why vision-language models behave like
    bags-of-words, and what to do about it?", ICLR 2023 (NegCLIP).
    """
    return call("multi_scale",
                (image, text, log_scale, perturbation_log_scale, valid, regions, words, word_count, group),
                (word_capacity,),
                (alpha, beta, perturbed_as_negatives, global_duplicate_policy, global_label_smoothing,
                 global_image_to_text_weight, global_text_to_image_weight, global_kept_score_bytes,
                 global_false_negative_margin, local_attention_temperature, local_word_temperature,
                 local_pair_temperature, local_duplicate_policy, local_label_smoothing, local_image_to_text_weight,
                 local_text_to_image_weight, local_form, local_false_negative_margin), outputs)


def token_alignment(regions: Tensor, words: Tensor, word_count: Tensor | None = None, *,
                    attention_temperature: float = 0.1, contrast_temperature: float = 0.1,
                    outputs: Sequence[str] = ()) -> Any:
    """Aligns each word with what it sees of its own image, against the other words of its report.

    For each pair, with words x and regions p normalised by max(norm, 1e-12):

        a_w = softmax over r of <x_w, p_r> / attention_temperature, o_w = normalised sum_r a_w[r] p_r,
        z = x o^T / contrast_temperature, loss = mean over pairs of 1/2 (CE(rows of z) + CE(columns of z)).

    Args:
        regions: [B, R, D] of each image.
        words: [B, W, D] of each report.
        word_count: [B], each in 1 to W; without it all have W words. Padding is never read and gets gradient 0.
        attention_temperature: That of a word's attention over the regions: lower is sharper. Above 0.
        contrast_temperature: Divides the cosines in the cross-entropies. Above 0.
        outputs: "attention", a [B, W, R] of each word over its own image; 0 in padding.

    Returns:
        The loss, a scalar; with outputs a named tuple of it and these.

    Source: Wang et al., "Multi-granularity cross-modal alignment for generalized medical visual representation
    learning", NeurIPS 2022, in the direction of the words; HybridMED, arXiv 2410.00448.
    """
    return call("token_alignment", (regions, words, word_count), (), (attention_temperature, contrast_temperature),
                outputs)


def token_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None = None, target: Tensor | None = None, *,
                        ignore_index: int = -100, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of tokens under a linear layer over the vocabulary, without the logits in memory.

    Computes torch.nn.functional.cross_entropy(hidden @ weight.T + bias, target), a mean over the rows whose target is
    not ignore_index, and 0 when there is none.

    Args:
        hidden: [N, D], one row for each position; flatten batches of sequences first.
        weight: [V, D], the output layer's.
        bias: [V], or None for 0; of the type of the embeddings. A bias of -inf bars a token.
        target: [N], each in 0 to V - 1 or ignore_index. Must be given.
        ignore_index: Rows of this target are not read, get gradient 0 and do not count in the mean.
        label_smoothing: The share of each target that is spread over the whole vocabulary, in [0, 1).

    Returns:
        The loss, a scalar.

    Source: include/vlp/losses/token_cross_entropy.hpp.
    """
    return call("token_cross_entropy", (hidden, weight, bias, target), (), (ignore_index, label_smoothing))


def distillation(student: Tensor, teacher: Tensor, valid: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
    """The divergence of a student's predictions from a teacher's, who gets no gradient.

        loss = temperature^2 mean_n KL(softmax(teacher[n] / temperature) || softmax(student[n] / temperature)),

    a mean over the valid rows, and 0 when there is none.

    Args:
        student: Logits [N, V].
        teacher: Logits [N, V].
        valid: [N], 0 leaves a row out, which is then never read and gets gradient 0.
        temperature: Above 1, what the teacher holds unlikely counts for more. Above 0.

    Returns:
        The loss, a scalar.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015.
    """
    return call("distillation", (student, teacher, valid), (), (temperature,))
