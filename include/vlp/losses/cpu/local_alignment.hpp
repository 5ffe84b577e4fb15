/// \file
/// Local alignment on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/cpu/detail/alignment_worker.hpp>
#include <vlp/losses/cpu/detail/contrast.hpp>
#include <vlp/losses/cpu/detail/packed_words.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace vlp {

namespace detail {

/// LocalAlignment on the CPU: 8 B^2 W R D flop, and for the contexts, each way in the cheaper form, up to
/// 8 B^2 W R D (direct) or about 5.2 B^2 W R^2 + 4.4 B R^2 D (Gram). Scratch is one copy of the words, one of
/// their gradients and, for each thread, some tiles and up to two arrays of all words times a strip of about
/// 512 regions (or those of one image).
template <class ScalarType>
class LocalAlignmentBackend<ScalarType, Cpu> : LocalAlignmentInterface<ScalarType> {
  using Interface = LocalAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;

  explicit LocalAlignmentBackend(const Options& options) : options_(options) {}

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    prepare(inputs);
    contrast_.begin(shape_.batch, inputs.group, options_);

    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const Rows rows = gather_rows(scratch, inputs);
    keep_word_norms(rows.words);
    clear_padding(outputs.attention);
    make_workers(scratch, device, false);
    const auto temperature = static_cast<Scalar>(options_.attention_temperature);
    const auto kept = words_in_images();
    device.parallel_for(shape_.strips(), [&](Index strip, int worker) {
      workers_[static_cast<std::size_t>(worker)].forward(strip, rows, temperature, kept, outputs.attention);
    });

    const auto similarity = similarity_.reshape(shape_.batch, shape_.batch);
    device.parallel_for(shape_.batch, [&](Index i, int) {
      for (Index j = 0; j < shape_.batch; ++j) similarity(i, j) = score(i, j);
    });
    if (outputs.similarity.given())
      as_eigen(outputs.similarity) = as_eigen(similarity).template cast<Scalar>();
    const double loss = contrast_.forward(device, similarity);
    if (outputs.loss != nullptr) *outputs.loss = static_cast<Accumulator>(loss);
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    if (!gradients.regions.given() && !gradients.words.given()) return;

    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const Rows rows = gather_rows(scratch, inputs);
    auto given = words_in_images();
    Scalar* word_norm_factor = scratch.template take<Scalar>(shape_.words);
    differentiate_scores(scratch, device, upstream, given, word_norm_factor);
    make_workers(scratch, device, true);
    const bool wants_words = gradients.words.given();
    MatrixView<Scalar> d_words;
    if (wants_words) d_words = scratch.template take_view<Scalar>(shape_.words, shape_.features);
    backward_strips(scratch, device, rows, given, gradients, d_words);
    if (!wants_words) return;
    for (Index w = 0; w < shape_.words; ++w)
      as_eigen(d_words).row(w) += word_norm_factor[w] * as_eigen(rows.words).row(w);
    words_.unpack<Scalar>(d_words, gradients.words, gradients.into);
  }

 private:
  static constexpr double smallest_norm_product = 1e-8;

  using Rows = AlignmentRows<Scalar>;

  void prepare(const Inputs& inputs) {
    words_.prepare(name, inputs.words.extent(0), inputs.words.extent(1), inputs.word_count);
    require(inputs.word_capacity == 0 || words_.rows() <= inputs.word_capacity, name, ": word_capacity is ",
            inputs.word_capacity, " but the reports have ", words_.rows(), " words");
    max_words_ = inputs.words.extent(1);
    shape_.batch = inputs.regions.extent(0);
    shape_.regions = inputs.regions.extent(1);
    shape_.features = inputs.regions.extent(2);
    shape_.words = words_.rows();
    choose_form();
  }

  /// The cheaper form each way, by multiplications for each image; of a symmetric product about six tenths
  /// are computed. Measured, those of the Gram form run at about 7/8 of the rate of the others.
  void choose_form() {
    const auto regions = static_cast<double>(shape_.regions), words = static_cast<double>(shape_.words),
               features = static_cast<double>(shape_.features);
    const double gram_products = words * regions * regions, gram = 0.6 * regions * regions * features,
                 direct = 7.0 / 8.0 * words * regions * features;
    const bool automatic = options_.form == LocalAlignmentForm::automatic;
    const bool forced = options_.form == LocalAlignmentForm::gram;
    shape_.gram_forward = automatic ? gram_products + gram < direct : forced;
    shape_.gram_backward =
        automatic ? 1.6 * gram_products + gram + regions * regions * features < 3 * direct : forced;
  }

  Rows gather_rows(Arena::Scope& scratch, const Inputs& inputs) const {
    const auto words = scratch.take_view<Scalar>(shape_.words, shape_.features);
    words_.pack(inputs.words, words);
    const auto& regions = inputs.regions;
    if (regions.extent(0) == 1 || regions.stride(0) == regions.extent(1) * regions.stride(1))
      return {words, flatten_rows(regions)};
    const auto copy = scratch.take_view<Scalar>(shape_.batch * shape_.regions, shape_.features);
    for (Index i = 0; i < shape_.batch; ++i)
      as_eigen(copy.slice(i * shape_.regions, shape_.regions)) = as_eigen(regions[i]);
    return {words, copy};
  }

  void keep_word_norms(MatrixView<const Scalar> words) {
    double* norm = word_norm_.resize(shape_.words);
    for (Index w = 0; w < shape_.words; ++w) norm[w] = as_eigen(words).row(w).template cast<double>().norm();
  }

  void clear_padding(const BatchView<Scalar>& attention) const {
    if (!attention.given()) return;
    for (Index j = 0; j < shape_.batch; ++j)
      for (Index w = words_.count(j); w < max_words_; ++w)
        std::fill_n(attention[j][w].data(), shape_.regions, Scalar(0));
  }

  void make_workers(Arena::Scope& scratch, const Device& device, bool backward) {
    workers_.clear();
    for (int t = 0; t < device.threads(); ++t) workers_.emplace_back(scratch, shape_, words_, backward);
  }

  WordsInImages<Scalar> words_in_images() {
    const Index batch = shape_.batch, words = shape_.words;
    return {dot_.reshape(batch, words),
            squared_norm_.reshape(batch, words),
            inverse_sum_.reshape(batch, words),
            {},
            {}};
  }

  /// |T_w| |c_w| of word w (of all) in image i.
  [[nodiscard]] double norm_product(Index i, Index w) const {
    return word_norm_[w] * std::sqrt(static_cast<double>(squared_norm_[i * shape_.words + w]));
  }

  [[nodiscard]] double cosine(Index i, Index w) const {
    return static_cast<double>(dot_[i * shape_.words + w]) /
           std::max(norm_product(i, w), smallest_norm_product);
  }

  /// S[i, j].
  [[nodiscard]] double score(Index i, Index j) const {
    const Index begin = words_.begin(j), end = begin + words_.count(j);
    double max = cosine(i, begin);
    for (Index w = begin + 1; w < end; ++w) max = std::max(max, cosine(i, w));
    double sum = 0;
    for (Index w = begin; w < end; ++w) sum += std::exp(options_.word_temperature * (cosine(i, w) - max));
    return options_.pair_temperature * (options_.word_temperature * max + std::log(sum));
  }

  /// From upstream * dL/dS to the gradients of dot and |c_w|^2, and of the words through their norms:
  /// word_norm_factor [words] is the factor of T_w itself.
  void differentiate_scores(Arena::Scope& scratch, Device& device, Accumulator upstream,
                            WordsInImages<Scalar>& given, Scalar* word_norm_factor) {
    const MatrixView<double> similarity(similarity_.data(), {shape_.batch, shape_.batch});
    const auto d_similarity = scratch.take_view<double>(shape_.batch, shape_.batch);
    contrast_.backward(similarity, static_cast<double>(upstream), d_similarity);
    const auto d_dot = scratch.take_view<Scalar>(shape_.batch, shape_.words);
    const auto d_norm2 = scratch.take_view<Scalar>(shape_.batch, shape_.words);
    const double both = options_.pair_temperature * options_.word_temperature;
    device.parallel_for(shape_.batch, [&](Index j, int) {
      for (Index w = words_.begin(j); w < words_.begin(j) + words_.count(j); ++w) {
        double d_log_norm = 0;
        for (Index i = 0; i < shape_.batch; ++i) {
          const double cos = cosine(i, w), product = norm_product(i, w);
          const double share =
              std::exp(options_.word_temperature * cos - similarity(i, j) / options_.pair_temperature);
          const double d_cos = both * share * d_similarity(i, j);
          const bool clamped = product < smallest_norm_product;
          d_dot(i, w) = static_cast<Scalar>(d_cos / std::max(product, smallest_norm_product));
          d_norm2(i, w) = clamped ? Scalar(0) : static_cast<Scalar>(-d_cos * cos / given.squared_norm(i, w));
          if (!clamped) d_log_norm -= d_cos * cos;
        }
        const double norm2 = word_norm_[w] * word_norm_[w];
        word_norm_factor[w] = d_log_norm == 0 ? Scalar(0) : static_cast<Scalar>(d_log_norm / norm2);
      }
    });
    given.d_dot = d_dot;
    given.d_norm2 = d_norm2;
  }

  /// Strips of images in parallel; after each group of them, their products with the regions are added to
  /// d_words one after the other, in the same order whatever the number of threads.
  void backward_strips(Arena::Scope& scratch, Device& device, const Rows& rows,
                       const WordsInImages<Scalar>& given, const Gradients& gradients,
                       const MatrixView<Scalar>& d_words) {
    const auto temperature = static_cast<Scalar>(options_.attention_temperature);
    const Index strips = shape_.strips(), group = std::min<Index>(strips, 2 * device.threads());
    const auto d_scores = scratch.take_view<Scalar>(group, shape_.words, shape_.columns<Scalar>());
    for (Index first = 0; first < strips; first += group) {
      const Index count = std::min(group, strips - first);
      device.parallel_for(count, [&](Index k, int worker) {
        workers_[static_cast<std::size_t>(worker)].backward(first + k, rows, temperature, given, d_scores[k],
                                                            gradients.regions, gradients.into);
      });
      if (!d_words.given()) continue;
      for (Index k = 0; k < count; ++k) {
        const Index row = shape_.first_image(first + k) * shape_.regions;
        const Index columns = shape_.images(first + k) * shape_.regions;
        matmul<Scalar>(device, block(d_scores[k], 0, 0, shape_.words, columns), Op::none,
                       rows.regions.slice(row, columns), Op::none, d_words, 1, first + k == 0 ? 0 : 1);
      }
    }
  }

  Options options_;
  AlignmentShape shape_;
  PackedWords words_;
  Index max_words_ = 0;
  Contrast<double> contrast_;
  Buffer<Scalar> dot_, squared_norm_, inverse_sum_;  // [B, words]
  Buffer<double> word_norm_;                         // [words]
  Buffer<double> similarity_;                        // [B, B]
  std::vector<AlignmentWorker<Scalar>> workers_;
};

}  // namespace detail

static_assert(Loss<LocalAlignment<float>> && Loss<LocalAlignment<double>>);

}  // namespace vlp
