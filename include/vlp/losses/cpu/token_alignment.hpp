/// \file
/// Token alignment on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/detail/unit_length.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/token_alignment.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

namespace vlp {

namespace detail {

/// TokenAlignment on the CPU. Forward saves nothing; backward computes a pair again: 16 W R D + 8 W^2 D flop
/// a pair in all. Scratch of each thread is (3 W + 2 R) D + 2 W R + 2 W^2 numbers.
template <class ScalarType>
class TokenAlignmentBackend<ScalarType, Cpu> : TokenAlignmentInterface<ScalarType> {
  using Interface = TokenAlignmentInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

 public:
  using Device = Cpu;
  struct State {};

  explicit TokenAlignmentBackend(const Options& options) : options_(options) {}

  static void check_values(const Inputs& inputs) {
    check_word_counts(name, inputs.word_count, inputs.words.extent(1));
  }

  static State lay_out(SavedArrays<HostMemory>&, const Inputs&) { return {}; }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, State) const {
    const Index batch = inputs.words.extent(0), longest = inputs.words.extent(1);
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const Tiles* const workers = make_workers(scratch, device, inputs, false);
    double* losses = scratch.template take<double>(batch);
    device.parallel_for(batch, [&](Index b, int worker) {
      const Index words = words_of(inputs, b);
      const Tiles tiles = workers[worker].of(words);
      losses[b] = forward_pair(inputs, b, tiles);
      if (!outputs.attention.given()) return;
      auto attention = as_eigen(outputs.attention[b]);
      attention.topRows(words) = as_eigen(tiles.attention);
      attention.bottomRows(longest - words).setZero();
    });
    if (outputs.loss != nullptr)
      *outputs.loss =
          static_cast<Accumulator>(std::accumulate(losses, losses + batch, 0.0) / static_cast<double>(batch));
  }

  void backward(Device& device, const Inputs& inputs, State, Accumulator upstream,
                const Gradients& gradients) const {
    if (!gradients.regions.given() && !gradients.words.given()) return;

    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const Tiles* const workers = make_workers(scratch, device, inputs, true);
    const Index batch = inputs.words.extent(0);
    const double factor = static_cast<double>(upstream) / static_cast<double>(batch);
    device.parallel_for(batch, [&](Index b, int worker) {
      backward_pair(inputs, factor, gradients, b, workers[worker].of(words_of(inputs, b)));
    });
  }

 private:
  /// Rows of unit length, and the inverse of the length that each had.
  struct UnitRows {
    MatrixView<Scalar> rows;
    Scalar* inverse = nullptr;
  };

  /// Room for one pair of W words, in the scratch of a thread.
  struct Tiles {
    UnitRows words;                // x [W, D]
    UnitRows regions;              // p [R, D]
    UnitRows unit_contexts;        // o [W, D]
    MatrixView<Scalar> attention;  // a [W, R]
    MatrixView<Scalar> scores;     // z [W, W], then the gradient of its rows' cross-entropy
    MatrixView<Scalar> mirrored;   // the same of z^T
    // for backward
    MatrixView<Scalar> d_attention;  // [W, R]
    MatrixView<Scalar> d_words;      // [W, D], of o and c before
    MatrixView<Scalar> d_regions;    // [R, D]

    /// The same, cut to a number of words.
    [[nodiscard]] Tiles of(Index count) const {
      Tiles tiles = *this;
      for (auto* rows : {&tiles.words.rows, &tiles.unit_contexts.rows, &tiles.attention, &tiles.d_attention,
                         &tiles.d_words})
        *rows = rows->slice(0, count);
      for (auto* square : {&tiles.scores, &tiles.mirrored}) *square = {square->data(), {count, count}};
      return tiles;
    }
  };

  /// The number of words of report b.
  [[nodiscard]] static Index words_of(const Inputs& inputs, Index b) {
    return inputs.word_count.empty() ? inputs.words.extent(1)
                                     : inputs.word_count[static_cast<std::size_t>(b)];
  }

  /// Tiles for the longest report, one set a thread.
  static Tiles* make_workers(Arena::Scope& scratch, const Device& device, const Inputs& inputs,
                             bool backward) {
    const Index words = inputs.words.extent(1), regions = inputs.regions.extent(1),
                features = inputs.regions.extent(2);
    const auto matrix = [&](Index rows, Index cols) { return scratch.take_view<Scalar>(rows, cols); };
    const auto unit_rows = [&](Index rows) {
      return UnitRows{matrix(rows, features), scratch.take<Scalar>(rows)};
    };
    Tiles* const workers = scratch.take<Tiles>(device.threads());
    for (int t = 0; t < device.threads(); ++t) {
      Tiles tiles{unit_rows(words),
                  unit_rows(regions),
                  unit_rows(words),
                  matrix(words, regions),
                  matrix(words, words),
                  matrix(words, words),
                  {},
                  {},
                  {}};
      if (backward) {
        tiles.d_attention = matrix(words, regions);
        tiles.d_words = matrix(words, features);
        tiles.d_regions = matrix(regions, features);
      }
      std::construct_at(workers + t, tiles);
    }
    return workers;
  }

  /// out = the first rows of x, each of unit length. x may be out's own rows.
  static void to_unit_length(MatrixView<const Scalar> x, const UnitRows& out) {
    for (Index i = 0; i < out.rows.rows(); ++i) {
      out.inverse[i] = inverse_norm(x[i].data(), x.cols());
      as_eigen(out.rows).row(i) = out.inverse[i] * as_eigen(x).row(i);
    }
  }

  /// From the gradients of unit rows to those of the rows before, written or added to the first rows of out;
  /// the others are padding. out may be d_unit.
  static void hand_on(const UnitRows& unit, MatrixView<const Scalar> d_unit, const MatrixView<Scalar>& out,
                      Into into) {
    for (Index i = 0; i < d_unit.rows(); ++i) {
      const auto row = as_eigen(unit.rows).row(i);
      const auto d_row = as_eigen(d_unit).row(i);
      const Scalar inverse = unit.inverse[i];
      const Scalar along = projection(inverse, static_cast<double>(row.dot(d_row))) / inverse;
      auto d = as_eigen(out).row(i);
      if (into == Into::add)
        d += inverse * d_row - along * row;
      else
        d = inverse * d_row - along * row;
    }
    if (into == Into::overwrite) as_eigen(out).bottomRows(out.rows() - d_unit.rows()).setZero();
  }

  /// Sum over the rows of z [W, W] of -log softmax(z[w, :])[w]; z becomes the gradient of that sum.
  static double row_cross_entropy(const MatrixView<Scalar>& z) {
    double loss = 0;
    for (Index w = 0; w < z.rows(); ++w) {
      auto row = as_eigen(z).row(w).array();
      const Scalar max = row.maxCoeff(), target = row[w];
      row = (row - max).exp();
      // The target's p - 1 is taken as minus the sum of the others, which does not cancel when p is near 1.
      const Scalar own = row[w];
      row[w] = 0;
      const Scalar others = row.sum();
      row *= 1 / (own + others);
      row[w] = -others / (own + others);
      loss += static_cast<double>(max) - static_cast<double>(target) +
              std::log(static_cast<double>(own) + static_cast<double>(others));
    }
    return loss;
  }

  /// The loss of pair b. The scores become the gradients of the sums of their rows' cross-entropies.
  double forward_pair(const Inputs& inputs, Index b, const Tiles& tiles) const {
    to_unit_length(inputs.words[b], tiles.words);
    to_unit_length(inputs.regions[b], tiles.regions);
    matmul_serial<Scalar>(tiles.words.rows, Op::none, tiles.regions.rows, Op::transpose, tiles.attention, 1,
                          0);
    const auto attention_temperature = static_cast<Scalar>(options_.attention_temperature);
    for (Index w = 0; w < tiles.attention.rows(); ++w) {
      auto row = as_eigen(tiles.attention).row(w).array();
      row = ((row - row.maxCoeff()) / attention_temperature).exp();
      row /= row.sum();
    }
    matmul_serial<Scalar>(tiles.attention, Op::none, tiles.regions.rows, Op::none, tiles.unit_contexts.rows,
                          1, 0);
    to_unit_length(tiles.unit_contexts.rows, tiles.unit_contexts);
    matmul_serial<Scalar>(tiles.words.rows, Op::none, tiles.unit_contexts.rows, Op::transpose, tiles.scores,
                          static_cast<Scalar>(1 / options_.contrast_temperature), 0);
    as_eigen(tiles.mirrored) = as_eigen(tiles.scores).transpose();
    const double sum = row_cross_entropy(tiles.scores) + row_cross_entropy(tiles.mirrored);
    return sum / static_cast<double>(2 * tiles.attention.rows());
  }

  /// Writes `factor` times the gradients of the loss of pair b.
  ///
  /// With E, F the gradients of the two sums of cross-entropies for z and z^T, u = x o^T and s = x p^T:
  ///   du = (E + F^T) / (2 W t_contrast),
  ///   do = du^T x,  dc = (do - o <o, do>) / |c|,        since u = x o^T and o = c / |c|,
  ///   da = dc p^T,  ds = a (da - <a, da>) / t_attention,  since c = a p and a = softmax(s / t_attention),
  ///   dx = du o + ds p,  dp = a^T dc + ds^T x,
  /// and x, p hand on to the words and regions as o does to c. Where a norm is below the smallest, the
  /// division is by that and the projection on the row itself is left out. (<a, da> = <c, dc> is 0 except for
  /// rounding; taking it off keeps ds exact where attention is on one region.)
  void backward_pair(const Inputs& inputs, double factor, const Gradients& gradients, Index b,
                     const Tiles& tiles) const {
    forward_pair(inputs, b, tiles);
    const auto scale = static_cast<Scalar>(
        factor / (static_cast<double>(2 * tiles.attention.rows()) * options_.contrast_temperature));
    const auto& d_cosines = tiles.scores;
    as_eigen(d_cosines) = scale * (as_eigen(tiles.scores) + as_eigen(tiles.mirrored).transpose());

    const auto& d_context = tiles.d_words;
    matmul_serial<Scalar>(d_cosines, Op::transpose, tiles.words.rows, Op::none, d_context, 1, 0);
    hand_on(tiles.unit_contexts, d_context, d_context, Into::overwrite);
    matmul_serial<Scalar>(d_context, Op::none, tiles.regions.rows, Op::transpose, tiles.d_attention, 1, 0);
    if (gradients.regions.given())
      matmul_serial<Scalar>(tiles.attention, Op::transpose, d_context, Op::none, tiles.d_regions, 1, 0);
    const auto attention_temperature = static_cast<Scalar>(options_.attention_temperature);
    for (Index w = 0; w < tiles.attention.rows(); ++w) {
      const auto a = as_eigen(tiles.attention).row(w).array();
      auto d = as_eigen(tiles.d_attention).row(w).array();
      d = a * (d - (a * d).sum()) / attention_temperature;
    }
    if (gradients.regions.given()) {
      matmul_serial<Scalar>(tiles.d_attention, Op::transpose, tiles.words.rows, Op::none, tiles.d_regions, 1,
                            1);
      hand_on(tiles.regions, tiles.d_regions, gradients.regions[b], gradients.into);
    }
    if (!gradients.words.given()) return;
    matmul_serial<Scalar>(d_cosines, Op::none, tiles.unit_contexts.rows, Op::none, tiles.d_words, 1, 0);
    matmul_serial<Scalar>(tiles.d_attention, Op::none, tiles.regions.rows, Op::none, tiles.d_words, 1, 1);
    hand_on(tiles.words, tiles.d_words, gradients.words[b], gradients.into);
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<TokenAlignment<float>> && Loss<TokenAlignment<double>>);

}  // namespace vlp
