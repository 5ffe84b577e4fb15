/// \file
/// The transformer block.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/feed_forward.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <array>
#include <string_view>

namespace vlp::nn {

/// Place of a block's normalisation: before each of its two layers (ViT) or after each residual sum (BERT).
enum class NormPlace { before, after };

struct TransformerBlockOptions {
  Index width = 128;
  Index heads = 4;
  Index hidden = 0;  ///< of the feed-forward layer; 0 = 4 width
  NormPlace norm = NormPlace::before;
  AttentionMask mask = AttentionMask::none;
  GeluForm gelu = GeluForm::tanh;
  double epsilon = 1e-5;  ///< of the norms
};

/// Self-attention and a feed-forward layer, each with a residual connection and layer normalisation, on
/// packed sequences x [T, width] (see MultiHeadAttention).
///
/// NormPlace::before: h = x + attention(norm1(x)), y = h + feed_forward(norm2(h)) (Xiong et al., "On layer
/// normalization in the transformer architecture", 2020). NormPlace::after: h = norm1(x + attention(x)),
/// y = norm2(h + feed_forward(h)) (Vaswani et al., 2017).
template <class Scalar, class Device = Cpu>
class TransformerBlock {
 public:
  TransformerBlock(const TransformerBlockOptions& options, Random& random)
      : norm_(options.norm),
        attention_(options.width, options.heads, random, options.mask),
        norm1_(options.width, options.epsilon),
        feed_forward_(options.width, options.hidden == 0 ? 4 * options.width : options.hidden, options.width,
                      random, options.gelu),
        norm2_(options.width, options.epsilon) {}

  [[nodiscard]] Index width() const { return attention_.width(); }

  void forward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
               MatrixView<Scalar> y) {
    detail::check_columns("TransformerBlock", "x", x, width());
    detail::check_matrix("TransformerBlock", "y", y, x.rows(), width());
    const auto a = a_.reshape(x.rows(), width()), b = b_.reshape(x.rows(), width()),
               c = c_.reshape(x.rows(), width());
    if (norm_ == NormPlace::before) {
      norm1_.forward(device, x, a);
      attention_.forward(device, a, sequences, b, x);
      norm2_.forward(device, b, c);
      feed_forward_.forward(device, c, y, b);
    } else {
      attention_.forward(device, x, sequences, a, x);
      norm1_.forward(device, a, b);
      feed_forward_.forward(device, b, c, b);
      norm2_.forward(device, c, y);
    }
  }

  /// d_x must be given; it may be d_y.
  void backward(Device& device, MatrixView<const Scalar> x, const Sequences<Device>& sequences,
                MatrixView<const Scalar> d_y, MatrixView<Scalar> d_x) {
    require(x.rows() * width() == a_.size(), "TransformerBlock: x of backward has ", x.rows(),
            " rows but that of forward had ", a_.size() / width());
    detail::check_matrix("TransformerBlock", "d_y", d_y, x.rows(), width());
    detail::check_matrix("TransformerBlock", "d_x", d_x, x.rows(), width());
    const std::array<Index, 2> shape{x.rows(), width()};
    const MatrixView<Scalar> a(a_.data(), shape), b(b_.data(), shape), c(c_.data(), shape);
    if (norm_ == NormPlace::before) {
      auto scope = device.scratch().scope();
      const auto branch = scope.template take_view<Scalar>(x.rows(), width());
      feed_forward_.backward(device, c, d_y, branch);
      if (d_x.data() != d_y.data()) assign_scaled<Scalar>(device, Scalar(1), d_y, d_x);
      norm2_.backward(device, b, branch, d_x, Into::add);
      attention_.backward(device, a, sequences, d_x, branch);
      norm1_.backward(device, x, branch, d_x, Into::add);
    } else {
      norm2_.backward(device, c, d_y, d_x);
      feed_forward_.backward(device, b, d_x, d_x, Into::add);
      norm1_.backward(device, a, d_x, d_x);
      attention_.backward(device, x, sequences, d_x, d_x, Into::add);
    }
  }

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    attention_.for_each_parameter(join_names(prefix, "attention"), visit);
    norm1_.for_each_parameter(join_names(prefix, "norm1"), visit);
    feed_forward_.for_each_parameter(join_names(prefix, "feed_forward"), visit);
    norm2_.for_each_parameter(join_names(prefix, "norm2"), visit);
  }

 private:
  NormPlace norm_;
  MultiHeadAttention<Scalar, Device> attention_;
  LayerNorm<Scalar, Device> norm1_;
  FeedForward<Scalar, Device> feed_forward_;
  LayerNorm<Scalar, Device> norm2_;
  // before: norm1(x), h, norm2(h); after: x + attention(x), h, h + feed_forward(h)
  typename Device::template Buffer<Scalar> a_, b_, c_;
};

}  // namespace vlp::nn
