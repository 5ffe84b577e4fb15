/// \file
/// Local alignment on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/cpu/detail/alignment_worker.hpp>
#include <vlp/losses/cpu/detail/contrast.hpp>
#include <vlp/losses/cpu/detail/margin_thresholds.hpp>
#include <vlp/losses/cpu/detail/packed_words.hpp>
#include <vlp/losses/cpu/detail/pair_targets.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/local_alignment.hpp>
#include <vlp/losses/loss.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

namespace vlp {

namespace detail {

/// Blocks of LocalAlignment on the CPU, of b images and n reports with W words: 8 b n W R D flop, and for the
/// contexts, each way in the cheaper form, up to 8 b n W R D (direct) or about 5.2 b n W R^2 + 4.4 b R^2 D
/// (Gram). Scratch is one copy of the words, one of their gradients and, for each thread, some tiles and up
/// to two arrays of all words times a strip of about 512 regions (or those of one image).
template <class ScalarType>
class LocalAlignmentBackend<ScalarType, Cpu> : LocalAlignmentInterface<ScalarType> {
  using Interface = LocalAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;
  using Sums = ContrastSums<Accumulator>;

 public:
  using Device = Cpu;
  struct State {
    Scalar *dot, *squared_norm, *inverse_sum;  // [b, words], see WordsInImages
    MatrixView<Accumulator> similarity;        // S [b, n]
  };

  explicit LocalAlignmentBackend(const Options& options) : options_(options) {}

  /// Word counts are in range, and fit the capacity.
  static void check_values(const Inputs& inputs) {
    const Index reports = inputs.words.extent(0), longest = inputs.words.extent(1);
    check_word_counts(name, inputs.word_count, longest);
    const Index words = inputs.word_count.empty()
                            ? reports * longest
                            : std::accumulate(inputs.word_count.begin(), inputs.word_count.end(), Index{0});
    require(inputs.word_capacity == 0 || words <= inputs.word_capacity, name, ": word_capacity is ",
            inputs.word_capacity, " but the reports have ", words, " words");
  }

  State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) const {
    const Index images = inputs.regions.extent(0), reports = inputs.words.extent(0);
    const Index most_words = reports * inputs.words.extent(1);
    const std::array<Index, 2> extents{
        images, inputs.word_capacity > 0 ? std::min(inputs.word_capacity, most_words) : most_words};
    const auto of_words = [&] { return arrays.template take<Scalar>(checked_size("saved", extents)); };
    State out;
    out.dot = of_words();
    out.squared_norm = of_words();
    out.inverse_sum = of_words();
    out.similarity = arrays.template take_view<Accumulator>(images, reports);
    return out;
  }

  void accumulate(Device& device, const Inputs& inputs, const Outputs& outputs, const Sums& sums, Into into,
                  const State& state) const {
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const Pass pass(scratch, inputs, state, options_);
    const OwnAttention<Scalar> own{outputs.attention, pass.own_reports(scratch)};
    pass.clear_rest(own);
    auto* workers = make_workers(scratch, device, pass, false);
    const auto temperature = static_cast<Scalar>(options_.attention_temperature);
    device.parallel_for(pass.shape.strips(), [&](Index strip, int worker) {
      workers[worker].forward(strip, pass.rows, temperature, pass.kept, own);
    });

    const auto& similarity = state.similarity;
    device.parallel_for(similarity.rows(), [&](Index i, int) {
      for (Index j = 0; j < similarity.cols(); ++j)
        similarity(i, j) = static_cast<Accumulator>(pass.score(options_, i, j));
    });
    if (outputs.similarity.given())
      as_eigen(outputs.similarity) = as_eigen(similarity).template cast<Scalar>();
    const auto contrast = contrast_of(scratch, sums, pass);
    if (into == Into::overwrite) contrast.clear();
    contrast.take_all(device, similarity);
  }

  static void merge(Device&, const Sums& from, const Sums& to) { Contrast<Accumulator>::merge(from, to); }

  void finish(Device&, const PairBlock& block, const Sums& sums, Accumulator* loss) const {
    *loss = static_cast<Accumulator>(Contrast<Accumulator>::finish(block, sums, options_));
  }

  void differentiate(Device& device, const Inputs& inputs, const Sums& sums, const State& state,
                     Accumulator upstream, const Gradients& gradients) const {
    if (!gradients.regions.given() && !gradients.words.given()) return;

    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    Pass pass(scratch, inputs, state, options_);
    const auto d_similarity =
        scratch.template take_view<Accumulator>(state.similarity.rows(), state.similarity.cols());
    contrast_of(scratch, sums, pass)
        .differentiate(state.similarity, 0, 0, static_cast<double>(upstream), d_similarity);
    Scalar* word_norm_factor = scratch.template take<Scalar>(pass.shape.words);
    differentiate_scores(scratch, device, d_similarity, pass, word_norm_factor);
    auto* workers = make_workers(scratch, device, pass, true);
    const bool wants_words = gradients.words.given();
    MatrixView<Scalar> d_words;
    if (wants_words) d_words = scratch.template take_view<Scalar>(pass.shape.words, pass.shape.features);
    backward_strips(scratch, device, pass, workers, gradients, d_words);
    if (!wants_words) return;
    for (Index w = 0; w < pass.shape.words; ++w)
      as_eigen(d_words).row(w) += word_norm_factor[w] * as_eigen(pass.rows.words).row(w);
    pass.words.template unpack<Scalar>(d_words, gradients.words, gradients.into);
  }

 private:
  static constexpr double smallest_norm_product = 1e-8;

  using Worker = AlignmentWorker<Scalar>;

  /// All that both steps read, and what forward fills in.
  struct Pass {
    PackedWords words;
    PairTargets targets;
    AlignmentShape shape;
    AlignmentRows<Scalar> rows;
    WordsInImages<Scalar> kept;
    MatrixView<const Accumulator> similarity;
    const double* word_norm;  // [words]

    Pass(Arena::Scope& scratch, const Inputs& inputs, const State& state, const Options& options)
        : words(scratch, inputs.words.extent(0), inputs.words.extent(1), inputs.word_count),
          targets(scratch, inputs.block.of(inputs.regions.extent(0), inputs.words.extent(0)), inputs.group,
                  {}, options.duplicate_policy, options.label_smoothing),
          similarity(state.similarity) {
      shape.all_images = inputs.regions.extent(0);
      shape.regions = inputs.regions.extent(1);
      shape.features = inputs.regions.extent(2);
      shape.words = words.rows();
      choose_form(options.form);
      rows = gather_rows(scratch, inputs);
      const std::array<Index, 2> extents{shape.all_images, shape.words};
      kept = {{state.dot, extents}, {state.squared_norm, extents}, {state.inverse_sum, extents}, {}, {}};
      double* norm = scratch.take<double>(shape.words);
      for (Index w = 0; w < shape.words; ++w)
        norm[w] = as_eigen(rows.words).row(w).template cast<double>().norm();
      word_norm = norm;
    }

    /// The cheaper form each way, by multiplications for each image; of a symmetric product about six tenths
    /// are computed. Measured, those of the Gram form run at about 7/8 of the rate of the others.
    void choose_form(LocalAlignmentForm form) {
      const auto region_count = static_cast<double>(shape.regions),
                 word_count = static_cast<double>(shape.words),
                 features = static_cast<double>(shape.features);
      const double gram_products = word_count * region_count * region_count,
                   gram = 0.6 * region_count * region_count * features,
                   direct = 7.0 / 8.0 * word_count * region_count * features;
      const bool automatic = form == LocalAlignmentForm::automatic;
      const bool forced = form == LocalAlignmentForm::gram;
      shape.gram_forward = automatic ? gram_products + gram < direct : forced;
      shape.gram_backward =
          automatic ? 1.6 * gram_products + gram + region_count * region_count * features < 3 * direct
                    : forced;
    }

    AlignmentRows<Scalar> gather_rows(Arena::Scope& scratch, const Inputs& inputs) const {
      const auto packed = scratch.take_view<Scalar>(shape.words, shape.features);
      words.pack(inputs.words, packed);
      const auto& regions = inputs.regions;
      if (regions.extent(0) == 1 || regions.stride(0) == regions.extent(1) * regions.stride(1))
        return {packed, flatten_rows(regions)};
      const auto copy = scratch.take_view<Scalar>(shape.all_images * shape.regions, shape.features);
      for (Index i = 0; i < shape.all_images; ++i)
        as_eigen(copy.slice(i * shape.regions, shape.regions)) = as_eigen(regions[i]);
      return {packed, copy};
    }

    /// The place in the block of each image's own report.
    const Index* own_reports(Arena::Scope& scratch) const {
      const PairBlock& block = targets.block();
      Index* out = scratch.take<Index>(shape.all_images);
      for (Index i = 0; i < shape.all_images; ++i)
        out[i] = block.text_of(block.first_image + i) - block.first_text;
      return out;
    }

    /// Zeroes attention that no word of the block writes.
    void clear_rest(const OwnAttention<Scalar>& own) const {
      if (!own.attention.given()) return;
      for (Index i = 0; i < shape.all_images; ++i) {
        const Index j = own.report[i];
        for (Index w = j < 0 || j >= words.reports() ? 0 : words.count(j); w < own.attention.extent(1); ++w)
          std::fill_n(own.attention[i][w].data(), shape.regions, Scalar(0));
      }
    }

    /// |T_w| |c_w| of word w (of all) in image i.
    [[nodiscard]] double norm_product(Index i, Index w) const {
      return word_norm[w] * std::sqrt(static_cast<double>(kept.squared_norm(i, w)));
    }

    [[nodiscard]] double cosine(Index i, Index w) const {
      return static_cast<double>(kept.dot(i, w)) / std::max(norm_product(i, w), smallest_norm_product);
    }

    /// S[i, j], from the numbers of the words.
    [[nodiscard]] double score(const Options& options, Index i, Index j) const {
      const Index begin = words.begin(j), end = begin + words.count(j);
      double max = cosine(i, begin);
      for (Index w = begin + 1; w < end; ++w) max = std::max(max, cosine(i, w));
      double sum = 0;
      for (Index w = begin; w < end; ++w) sum += std::exp(options.word_temperature * (cosine(i, w) - max));
      return options.pair_temperature * (options.word_temperature * max + std::log(sum));
    }

    /// S[i, j], once it has been computed.
    [[nodiscard]] Accumulator score(Index i, Index j) const { return similarity(i, j); }
  };

  Contrast<Accumulator> contrast_of(Arena::Scope& scratch, const Sums& sums, const Pass& pass) const {
    MarginThresholds<Accumulator> margin;
    if (has_margin(options_))
      margin = own_thresholds(scratch, pass, pass.targets.block(), options_.false_negative_margin,
                              options_.pair_temperature, std::numeric_limits<Accumulator>::infinity());
    return {scratch, pass.targets, sums, options_, margin};
  }

  /// One worker a thread.
  static Worker* make_workers(Arena::Scope& scratch, const Device& device, const Pass& pass, bool backward) {
    auto* workers = scratch.take<Worker>(device.threads());
    for (int t = 0; t < device.threads(); ++t)
      std::construct_at(workers + t, scratch, pass.shape, pass.words, backward);
    return workers;
  }

  /// From dL/dS to the gradients of dot and |c_w|^2, and of the words through their norms: word_norm_factor
  /// [words] is the factor of T_w itself.
  void differentiate_scores(Arena::Scope& scratch, Device& device, MatrixView<const Accumulator> d_similarity,
                            Pass& pass, Scalar* word_norm_factor) const {
    const Index images = pass.shape.all_images;
    const auto d_dot = scratch.take_view<Scalar>(images, pass.shape.words);
    const auto d_norm2 = scratch.take_view<Scalar>(images, pass.shape.words);
    const double both = options_.pair_temperature * options_.word_temperature;
    device.parallel_for(pass.words.reports(), [&](Index j, int) {
      for (Index w = pass.words.begin(j); w < pass.words.begin(j) + pass.words.count(j); ++w) {
        double d_log_norm = 0;
        for (Index i = 0; i < images; ++i) {
          const double cos = pass.cosine(i, w), product = pass.norm_product(i, w);
          const double share =
              std::exp(options_.word_temperature * cos -
                       static_cast<double>(pass.similarity(i, j)) / options_.pair_temperature);
          const double d_cos = both * share * static_cast<double>(d_similarity(i, j));
          const bool clamped = product < smallest_norm_product;
          d_dot(i, w) = static_cast<Scalar>(d_cos / std::max(product, smallest_norm_product));
          d_norm2(i, w) =
              clamped ? Scalar(0) : static_cast<Scalar>(-d_cos * cos / pass.kept.squared_norm(i, w));
          if (!clamped) d_log_norm -= d_cos * cos;
        }
        const double norm2 = pass.word_norm[w] * pass.word_norm[w];
        word_norm_factor[w] = d_log_norm == 0 ? Scalar(0) : static_cast<Scalar>(d_log_norm / norm2);
      }
    });
    pass.kept.d_dot = d_dot;
    pass.kept.d_norm2 = d_norm2;
  }

  /// Strips of images in parallel; after each group of them, their products with the regions are added to
  /// d_words one after the other, in the same order whatever the number of threads.
  void backward_strips(Arena::Scope& scratch, Device& device, const Pass& pass, Worker* workers,
                       const Gradients& gradients, const MatrixView<Scalar>& d_words) const {
    const AlignmentShape& shape = pass.shape;
    const auto temperature = static_cast<Scalar>(options_.attention_temperature);
    const Index strips = shape.strips(), group = std::min<Index>(strips, 2 * device.threads());
    const auto d_scores = scratch.take_view<Scalar>(group, shape.words, shape.columns<Scalar>());
    for (Index first = 0; first < strips; first += group) {
      const Index count = std::min(group, strips - first);
      device.parallel_for(count, [&](Index k, int worker) {
        workers[worker].backward(first + k, pass.rows, temperature, pass.kept, d_scores[k], gradients.regions,
                                 gradients.into);
      });
      if (!d_words.given()) continue;
      for (Index k = 0; k < count; ++k) {
        const Index row = shape.first_image(first + k) * shape.regions;
        const Index columns = shape.images(first + k) * shape.regions;
        matmul<Scalar>(device, block(d_scores[k], 0, 0, shape.words, columns), Op::none,
                       pass.rows.regions.slice(row, columns), Op::none, d_words, 1, first + k == 0 ? 0 : 1);
      }
    }
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<LocalAlignment<float>> && Loss<LocalAlignment<double>>);

}  // namespace vlp
