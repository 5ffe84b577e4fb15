/// \file
/// Two models that write one text together.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/models/detail/token_logits.hpp>
#include <vlp/models/token_model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vlp::models {

/// Two token models of one vocabulary that write a text together, each about a context of its own kind, such
/// as an image and its findings. The logits are the mean of the two models' log-probabilities, so that the
/// probability of a token is the geometric mean of both, normalised (a product of experts: Hinton, "Training
/// products of experts by minimizing contrastive divergence", 2002; as in ensembles of translation models).
/// The models must outlive it and be used by nobody else meanwhile.
template <class Scalar, class Device, class First, class Second>
requires TokenModel<First, Scalar, Device> && TokenModel<Second, Scalar, Device>
class TokenEnsemble {
 public:
  /// Throws std::invalid_argument where the models have vocabularies of different sizes.
  TokenEnsemble(First& first, Second& second) : first_(first), second_(second) {
    require(first.vocabulary() == second.vocabulary(), "TokenEnsemble: the models have vocabularies of ",
            first.vocabulary(), " and of ", second.vocabulary(), " tokens");
  }

  [[nodiscard]] Index vocabulary() const { return first_.vocabulary(); }
  [[nodiscard]] Index positions() const { return std::min(first_.positions(), second_.positions()); }

  /// See TokenModel; where one model refuses, the other may have gone on.
  MatrixView<const Scalar> next(Device& device, std::span<const Index> parents,
                                std::span<const std::int32_t> tokens) {
    detail::download_logits<Scalar>(device, first_.next(device, parents, tokens), tokens.size(), host_);
    const MatrixView<const Scalar> second = second_.next(device, parents, tokens);
    detail::download_logits<Scalar>(device, second, tokens.size(), other_);
    const auto columns = static_cast<std::size_t>(second.cols());
    for (std::size_t begin = 0; begin < host_.size(); begin += columns) {
      const std::span<Scalar> row = std::span(host_).subspan(begin, columns);
      detail::log_softmax<Scalar>(row, log_first_);
      detail::log_softmax<Scalar>(std::span(other_).subspan(begin, columns), log_second_);
      for (std::size_t i = 0; i < columns; ++i)
        row[i] = static_cast<Scalar>((log_first_[i] + log_second_[i]) / 2);
    }
    Scalar* const out = logits_.resize(static_cast<Index>(host_.size()));
    upload(device, std::span<const Scalar>(host_), out);
    return {out, second.extents()};
  }

 private:
  First& first_;
  Second& second_;
  std::vector<Scalar> host_, other_;
  std::vector<double> log_first_, log_second_;
  typename Device::template Buffer<Scalar> logits_;
};

}  // namespace vlp::models
