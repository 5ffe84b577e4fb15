/// \file
/// Multi-head self-attention.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/linear.hpp>
#include <vlp/nn/ops/attention.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <string_view>

namespace vlp::nn {

/// Multi-head self-attention over packed sequences (Vaswani et al., "Attention is all you need", 2017,
/// section 3.2.2): x [T, width] holds the tokens of sequence s in a run of rows.
/// Query, key and value come from one product. Keeps those [T, 3 width], the heads' outputs [T, width] and a
/// number per token and head.
template <class Scalar, class Device = Cpu>
class MultiHeadAttention {
 public:
  MultiHeadAttention(Index width, Index heads, Random& random, AttentionMask mask = AttentionMask::none)
      : heads_(heads),
        mask_(mask),
        query_key_value_(width, 3 * width, random, 3),
        output_(width, width, random) {
    detail::check_positive("MultiHeadAttention", "heads", heads);
    require(width % heads == 0, "MultiHeadAttention: the width ", width, " is not a multiple of the ", heads,
            " heads");
  }

  [[nodiscard]] Index width() const { return output_.outputs(); }

  /// y = attention (+ residual), [T, width].
  void forward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
               MatrixView<Scalar> y, MatrixView<const Scalar> residual = {}) {
    detail::check_tokens("MultiHeadAttention", "x", sequences, x.rows());
    const auto packed = packed_.reshape(x.rows(), 3 * width());
    const auto attended = attended_.reshape(x.rows(), width());
    log_sum_exp_.resize(heads_ * x.rows());
    query_key_value_.forward(device, x, packed);
    attention_forward<Scalar>(device, packed, sequences.view(), heads_, mask_, attended, log_sum_exp_.data());
    output_.forward(device, attended, y, residual);
  }

  /// d_x may be d_y when it is added to.
  void backward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
                MatrixView<const Scalar> d_y, MatrixView<Scalar> d_x, Into into = Into::overwrite) {
    detail::check_tokens("MultiHeadAttention", "x", sequences, x.rows());
    require(x.rows() * width() == attended_.size(), "MultiHeadAttention: x of backward has ", x.rows(),
            " rows but that of forward had ", attended_.size() / width());
    const MatrixView<Scalar> packed(packed_.data(), {x.rows(), 3 * width()});
    const MatrixView<Scalar> attended(attended_.data(), {x.rows(), width()});
    auto scope = device.scratch().scope();
    const auto d_attended = scope.template take_view<Scalar>(x.rows(), width());
    const auto d_packed = scope.template take_view<Scalar>(x.rows(), 3 * width());
    output_.backward(device, attended, d_y, d_attended);
    attention_backward<Scalar>(device, packed, sequences.view(), heads_, mask_, log_sum_exp_.data(),
                               d_attended, d_packed);
    query_key_value_.backward(device, x, d_packed, d_x, into);
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    query_key_value_.for_each_parameter(join_names(prefix, "query_key_value"), visit);
    output_.for_each_parameter(join_names(prefix, "output"), visit);
  }

 private:
  Index heads_;
  AttentionMask mask_;
  Linear<Scalar, Device> query_key_value_, output_;
  typename Device::template Buffer<Scalar> packed_, attended_, log_sum_exp_;
};

}  // namespace vlp::nn
