/// \file
/// The transformer block of a decoder.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/cross_attention.hpp>
#include <vlp/nn/feed_forward.hpp>
#include <vlp/nn/key_value_cache.hpp>
#include <vlp/nn/layer_norm.hpp>
#include <vlp/nn/multi_head_attention.hpp>
#include <vlp/nn/ops/operations.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/types.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::nn {

struct DecoderBlockOptions {
  Index width = 128;
  Index heads = 4;
  Index hidden = 0;                                 ///< of the feed-forward layer; 0 = 4 width
  Index context_width = 0;                          ///< features of the contexts; 0 = width
  std::vector<std::string> branches = {"context"};  ///< names, one for each branch, all different
  GeluForm gelu = GeluForm::tanh;
  double epsilon = 1e-5;  ///< of the norms
};

/// Causal self-attention, attention to a context and a feed-forward layer, each with a residual connection
/// and a layer normalisation before it, on packed sequences x [T, width]:
///
///   h = x + self(norm1(x)),  g = h + cross(norm2(h), context),  y = g + feed_forward(norm3(g))
///
/// (Vaswani et al., "Attention is all you need", 2017, section 3.1, in the pre-norm order of Xiong et al.,
/// 2020). A block may have several branches, each for a context of another kind: they share every weight
/// except those of `cross`. One forward pass at a time is in flight, of one branch.
///
/// Sequences may also be written a token at a time: begin() projects their contexts, and each step() computes
/// the row of y of one more token of each sequence, which is what forward would make of the whole sequence.
template <class Scalar, class Device = Cpu>
class DecoderBlock {
 public:
  struct Inputs {
    MatrixView<const Scalar> x;          ///< [T, width]
    const Sequences<Device>& sequences;  ///< of x
    MatrixView<const Scalar> context;    ///< [Tc, context width]
    const Sequences<Device>& contexts;   ///< of the context, as many
    Index branch = 0;                    ///< the branch that attends to it
  };

  /// Keys and values of sequences that are written a token at a time. One that is filled by begin() serves
  /// until the next, whatever the block does meanwhile, as long as its weights stay the same.
  struct Cache {
    explicit Cache(Index width) : tokens(width) {}

    KeyValueCache<Scalar, Device> tokens;
    typename Device::template Buffer<Scalar> context;  ///< keys and values [Tc, 2 width]
    Index branch = 0;                                  ///< the branch that attends to the context
  };

  /// The next token of each of N sequences, those of the first context first, then those of the second, and
  /// so on.
  struct StepInputs {
    MatrixView<const Scalar> x;          ///< [N, width], of the tokens
    MatrixView<const Index> rows;        ///< [N, K] cached rows of all tokens of a sequence, these included
    Index written = 0;                   ///< cached rows of earlier tokens; those of these ones follow
    const Sequences<Device>& sequences;  ///< which of the N belong to each context
    const Sequences<Device>& contexts;   ///< of the context that begin() was given
  };

  /// Throws std::invalid_argument where there is no branch, or one without a name or with that of another.
  DecoderBlock(const DecoderBlockOptions& options, Random& random)
      : branches_(options.branches),
        self_attention_(options.width, options.heads, random, AttentionMask::causal),
        norm1_(options.width, options.epsilon),
        norm2_(options.width, options.epsilon),
        feed_forward_(options.width, options.hidden == 0 ? 4 * options.width : options.hidden, options.width,
                      random, options.gelu),
        norm3_(options.width, options.epsilon) {
    require(!branches_.empty(), "DecoderBlock: there must be at least one branch");
    cross_attention_.reserve(branches_.size());
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      require(!branches_[i].empty(), "DecoderBlock: branch ", i, " has no name");
      require(std::find(branches_.begin(), branches_.begin() + static_cast<std::ptrdiff_t>(i),
                        branches_[i]) == branches_.begin() + static_cast<std::ptrdiff_t>(i),
              "DecoderBlock: there are two branches '", branches_[i], "'");
      cross_attention_.emplace_back(options.width,
                                    options.context_width == 0 ? options.width : options.context_width,
                                    options.heads, random);
    }
  }

  [[nodiscard]] Index width() const { return self_attention_.width(); }
  [[nodiscard]] Index branches() const { return static_cast<Index>(branches_.size()); }

  /// Throws std::invalid_argument for inputs that forward would refuse.
  void check(const Inputs& in) {
    detail::check_columns("DecoderBlock", "x", in.x, width());
    branch(in.branch).check({in.x, in.sequences, in.context, in.contexts});
  }

  /// y [T, width]. `attention`, if given, gets the weights of the context's rows for each token, the mean
  /// over heads, [T, longest context] (see CrossAttention).
  void forward(Device& device, const Inputs& in, MatrixView<Scalar> y, MatrixView<Scalar> attention = {}) {
    check(in);
    detail::check_matrix("DecoderBlock", "y", y, in.x.rows(), width());
    forward_branch_ = in.branch;
    run(
        device, in.x, y,
        [&](const auto& a, const auto& h) { self_attention_.forward(device, a, in.sequences, h, in.x); },
        [&](const auto& b, const auto& g, const auto& h) {
          branch(in.branch).forward(device, {b, in.sequences, in.context, in.contexts}, g, h, attention);
        });
  }

  /// Fills a cache for sequences that have contexts [Tc, context width].
  void begin(Device& device, MatrixView<const Scalar> context, Index of_branch, Cache& cache) {
    branch(of_branch).project_context(device, context, cache.context.reshape(context.rows(), 2 * width()));
    cache.branch = of_branch;
  }

  /// y [N, width], which may be x. `attention`, if given, as for forward, [N, longest context]. Backward does
  /// not follow.
  void step(Device& device, const StepInputs& in, Cache& cache, MatrixView<Scalar> y,
            MatrixView<Scalar> attention = {}) {
    detail::check_columns("DecoderBlock", "x", in.x, width());
    detail::check_matrix("DecoderBlock", "y", y, in.x.rows(), width());
    forward_branch_ = no_branch;
    const MatrixView<const Scalar> context(cache.context.data(),
                                           {cache.context.size() / (2 * width()), 2 * width()});
    run(
        device, in.x, y,
        [&](const auto& a, const auto& h) {
          self_attention_.step(device, a, in.rows, in.written, cache.tokens, h, in.x);
        },
        [&](const auto& b, const auto& g, const auto& h) {
          branch(cache.branch).attend(device, b, in.sequences, context, in.contexts, g, h, attention);
        });
  }

  /// `in` are the inputs of the last forward. d_x must be given; it may be d_y. d_context is added to, or
  /// skipped when it is not given.
  void backward(Device& device, const Inputs& in, MatrixView<const Scalar> d_y, MatrixView<Scalar> d_x,
                MatrixView<Scalar> d_context = {}) {
    const Index rows = in.x.rows();
    require(rows * width() == a_.size(), "DecoderBlock: x of backward has ", rows,
            " rows but that of forward had ", a_.size() / width());
    require(in.branch == forward_branch_, "DecoderBlock: backward of branch ", in.branch,
            " does not follow its forward");
    detail::check_matrix("DecoderBlock", "d_y", d_y, rows, width());
    detail::check_matrix("DecoderBlock", "d_x", d_x, rows, width());
    const std::array<Index, 2> shape{rows, width()};
    const MatrixView<Scalar> a(a_.data(), shape), h(h_.data(), shape), b(b_.data(), shape),
        g(g_.data(), shape), c(c_.data(), shape);
    auto scope = device.scratch().scope();
    const auto branch_gradient = scope.template take_view<Scalar>(rows, width());
    feed_forward_.backward(device, c, d_y, branch_gradient);
    if (d_x.data() != d_y.data()) assign_scaled<Scalar>(device, Scalar(1), d_y, d_x);
    norm3_.backward(device, g, branch_gradient, d_x, Into::add);
    branch(in.branch).backward(device, {b, in.sequences, in.context, in.contexts}, d_x,
                               {.x = branch_gradient, .context = d_context, .into_context = Into::add});
    norm2_.backward(device, h, branch_gradient, d_x, Into::add);
    self_attention_.backward(device, a, in.sequences, d_x, branch_gradient);
    norm1_.backward(device, in.x, branch_gradient, d_x, Into::add);
  }

  /// Visits first the parameters that branches share, then `cross_attention.NAME` of each.
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    self_attention_.for_each_parameter(join_names(prefix, "self_attention"), visit);
    norm1_.for_each_parameter(join_names(prefix, "norm1"), visit);
    norm2_.for_each_parameter(join_names(prefix, "norm2"), visit);
    feed_forward_.for_each_parameter(join_names(prefix, "feed_forward"), visit);
    norm3_.for_each_parameter(join_names(prefix, "norm3"), visit);
    for (std::size_t i = 0; i < branches_.size(); ++i)
      cross_attention_[i].for_each_parameter(join_names(prefix, "cross_attention." + branches_[i]), visit);
  }

 private:
  static constexpr Index no_branch = -1;

  CrossAttention<Scalar, Device>& branch(Index i) {
    require(i >= 0 && i < branches(), "DecoderBlock: there is no branch ", i, ", there are ", branches());
    return cross_attention_[static_cast<std::size_t>(i)];
  }

  /// The whole block: h = self(a) + x, g = cross(b) + h, where self_attend(a, h) and cross_attend(b, g, h)
  /// compute these.
  template <class SelfAttend, class CrossAttend>
  void run(Device& device, MatrixView<const Scalar> x, MatrixView<Scalar> y, SelfAttend&& self_attend,
           CrossAttend&& cross_attend) {
    const auto of_buffer = [&](auto& buffer) { return buffer.reshape(x.rows(), width()); };
    const auto a = of_buffer(a_), h = of_buffer(h_), b = of_buffer(b_), g = of_buffer(g_), c = of_buffer(c_);
    norm1_.forward(device, x, a);
    self_attend(a, h);
    norm2_.forward(device, h, b);
    cross_attend(b, g, h);
    norm3_.forward(device, g, c);
    feed_forward_.forward(device, c, y, g);
  }

  std::vector<std::string> branches_;
  MultiHeadAttention<Scalar, Device> self_attention_;
  LayerNorm<Scalar, Device> norm1_, norm2_;
  FeedForward<Scalar, Device> feed_forward_;
  LayerNorm<Scalar, Device> norm3_;
  std::vector<CrossAttention<Scalar, Device>> cross_attention_;  // [branches]
  typename Device::template Buffer<Scalar> a_, h_, b_, g_, c_;   // norm1(x), h, norm2(h), g, norm3(g)
  Index forward_branch_ = no_branch;                             // of the forward pass in flight
};

}  // namespace vlp::nn
