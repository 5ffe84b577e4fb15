/// \file
/// Every loss as a user of LibTorch would write it, in LibTorch's own functions.
#pragma once

#include <torch/types.h>

#include <vlp/interop/torch.hpp>
#include <vlp/losses/all.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace vlp::test::plain {

inline torch::Tensor unit(const torch::Tensor& x, double shortest = 1e-12) {
  return x / x.norm(2, -1, true).clamp_min(shortest);
}

/// Half the cross-entropy over the rows of scores [B, B] and half that over the columns; each row's target is
/// on the diagonal.
inline torch::Tensor contrast(const torch::Tensor& scores, double label_smoothing = 0) {
  const auto target = torch::arange(scores.size(0));
  const auto entropy = [&](const torch::Tensor& rows) {
    return at::cross_entropy_loss(rows, target, {}, at::Reduction::Mean, -100, label_smoothing);
  };
  return 0.5 * (entropy(scores) + entropy(scores.t()));
}

inline torch::Tensor info_nce(const torch::Tensor& image, const torch::Tensor& text,
                              const torch::Tensor& log_scale, double label_smoothing = 0) {
  return contrast(log_scale.exp() * unit(image).mm(unit(text).t()), label_smoothing);
}

inline torch::Tensor perturbation_sensitivity(const torch::Tensor& image, const torch::Tensor& text,
                                              const torch::Tensor& log_scale,
                                              const torch::Tensor& valid = {}) {
  torch::Tensor scores = log_scale.exp() * (unit(image).unsqueeze(1) * unit(text)).sum(-1);
  if (valid.defined())
    scores = scores.masked_fill(valid.logical_not(), -std::numeric_limits<double>::infinity());
  return (scores.logsumexp(1) - scores.select(1, 0)).mean();
}

/// The words of report j.
inline torch::Tensor words_of(const NamedTensors& in, std::int64_t j) {
  return in.at("words")[j].slice(0, 0, in.at("word_count")[j].item<std::int64_t>());
}

inline torch::Tensor local_alignment(const NamedTensors& in) {
  const std::int64_t pairs = in.at("regions").size(0);
  std::vector<torch::Tensor> scores;
  for (std::int64_t i = 0; i < pairs; ++i)
    for (std::int64_t j = 0; j < pairs; ++j) {
      const torch::Tensor regions = in.at("regions")[i], words = words_of(in, j);
      const torch::Tensor attention = (4 * words.mm(regions.t()).softmax(0)).softmax(1);
      const torch::Tensor context = attention.mm(regions);
      const torch::Tensor cosine =
          (words * context).sum(1) / (words.norm(2, 1) * context.norm(2, 1)).clamp_min(1e-8);
      scores.push_back(10 * (5 * cosine).logsumexp(0));
    }
  return contrast(torch::stack(scores).reshape({pairs, pairs}));
}

inline torch::Tensor token_alignment(const NamedTensors& in) {
  std::vector<torch::Tensor> losses;
  for (std::int64_t i = 0; i < in.at("regions").size(0); ++i) {
    const torch::Tensor regions = unit(in.at("regions")[i]), words = unit(words_of(in, i));
    const torch::Tensor context = unit((words.mm(regions.t()) / 0.1).softmax(1).mm(regions));
    losses.push_back(contrast(words.mm(context.t()) / 0.1));
  }
  return torch::stack(losses).mean();
}

/// Loss L, with the options of options_to_compare.
template <Loss L>
torch::Tensor loss_of(const NamedTensors& in) {
  constexpr std::string_view name = L::name;
  if constexpr (name == "distillation") {
    const auto student = (in.at("student") / 2).log_softmax(1),
               teacher = (in.at("teacher") / 2).log_softmax(1);
    return 4 * (teacher.exp() * (teacher - student)).sum(1).mean();
  } else if constexpr (name == "info_nce") {
    return info_nce(in.at("image"), in.at("text"), in.at("log_scale"), 0.1);
  } else if constexpr (name == "local_alignment") {
    return local_alignment(in);
  } else if constexpr (name == "multi_scale") {
    return info_nce(in.at("image"), in.at("text").select(1, 0), in.at("log_scale")) +
           0.5 * local_alignment(in) +
           0.3 * perturbation_sensitivity(in.at("image"), in.at("text"), in.at("perturbation_log_scale"),
                                          in.at("valid"));
  } else if constexpr (name == "pairwise_sigmoid") {
    const auto image = unit(in.at("image")), text = unit(in.at("text"));
    const auto scores = in.at("log_scale").exp() * image.mm(text.t()) + in.at("bias");
    const auto sign = 2 * torch::eye(scores.size(0), scores.options()) - 1;
    return -at::log_sigmoid(sign * scores).sum() / scores.size(0);
  } else if constexpr (name == "perturbation_sensitivity") {
    return perturbation_sensitivity(in.at("image"), in.at("text"), in.at("log_scale"));
  } else if constexpr (name == "token_alignment") {
    return token_alignment(in);
  } else {
    static_assert(name == "token_cross_entropy", "a new loss: write it here in LibTorch's functions");
    return at::cross_entropy_loss(in.at("hidden").mm(in.at("weight").t()) + in.at("bias"), in.at("target"),
                                  {}, at::Reduction::Mean, -100, 0.2);
  }
}

template <Loss L>
typename L::Options options_to_compare() {
  constexpr std::string_view name = L::name;
  if constexpr (name == "distillation")
    return {.temperature = 2};
  else if constexpr (name == "info_nce")
    return {.label_smoothing = 0.1};
  else if constexpr (name == "multi_scale")
    return {.alpha = 0.5, .beta = 0.3};
  else if constexpr (name == "token_cross_entropy")
    return {.label_smoothing = 0.2};
  else
    return {};
}

}  // namespace vlp::test::plain
