/// \file
/// Token cross-entropy on the CPU.
#pragma once

#include <Eigen/Core>

#include <vlp/core/buffer.hpp>
#include <vlp/core/cpu.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>
#include <vlp/losses/loss.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace vlp {

namespace detail {

/// TokenCrossEntropy on the CPU. forward_backward keeps a strip of Z until it is differentiated, and so takes
/// a quarter less work: 6 N' D V flop.
template <class ScalarType>
class TokenCrossEntropyBackend<ScalarType, Cpu> : TokenCrossEntropyInterface<ScalarType> {
  using Interface = TokenCrossEntropyInterface<ScalarType>;
  using Interface::name;
  using typename Interface::Accumulator, typename Interface::Gradients, typename Interface::Inputs,
      typename Interface::Options, typename Interface::Outputs, typename Interface::Scalar;

  /// Sums over the columns of a row that were taken in so far.
  struct RowSum {
    Scalar max = std::numeric_limits<Scalar>::lowest();
    double sum = 0;       // of exp(Z - max)
    double expected = 0;  // sum of q Z

    void add(const RowSum& other) {
      const Scalar both = std::max(max, other.max);
      sum = sum * std::exp(static_cast<double>(max) - static_cast<double>(both)) +
            other.sum * std::exp(static_cast<double>(other.max) - static_cast<double>(both));
      expected += other.expected;
      max = both;
    }
  };

 public:
  using Device = Cpu;
  using State = VectorView<RowSum>;  // [N], of which the first are those of the rows that are not ignored

  explicit TokenCrossEntropyBackend(const Options& options) : options_(options) {}

  /// Each target is in the vocabulary or ignore_index.
  void check_values(const Inputs& inputs) const {
    const Index vocabulary = inputs.weight.rows();
    for (Index n = 0; n < inputs.hidden.rows(); ++n) {
      const Index y = target(inputs, n);
      require((y >= 0 && y < vocabulary) || y == options_.ignore_index, name, ": the target of row ", n,
              " is ", y, ", which is neither in [0, ", vocabulary, ") nor ignore_index, ",
              options_.ignore_index);
    }
  }

  static State lay_out(SavedArrays<HostMemory>& arrays, const Inputs& inputs) {
    return arrays.take_view<RowSum>(inputs.hidden.rows());
  }

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs, const State& state) const {
    auto scratch = device.scratch().scope();
    const Kept kept = begin(scratch, inputs, state);
    for_each_strip(device, inputs, kept, strip_rows,
                   [&](const Strip& strip) { take(device, inputs, kept, strip); });
    finish(kept, outputs);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Kept kept = find_kept(scratch, inputs, state);
    clear(device, inputs, kept, gradients);
    for_each_strip(device, inputs, kept, strip_rows, [&](const Strip& strip) {
      differentiate(device, inputs, kept, strip, upstream, gradients);
    });
  }

  /// Takes 64 to 512 rows of Z (16 MB of float where they fit) as scratch.
  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) const {
    auto scratch = device.scratch().scope();
    const Kept kept = begin(scratch, inputs, scratch.template take_view<RowSum>(inputs.hidden.rows()));
    clear(device, inputs, kept, gradients);
    const Index vocabulary = inputs.weight.rows();
    const Index rows =
        std::min(kept.count, std::clamp(kept_logits / vocabulary / 16 * 16, Index{64}, strip_rows));
    const auto logits = scratch.template take_view<Scalar>(rows, vocabulary);
    for_each_strip(device, inputs, kept, std::max<Index>(rows, 1), [&](Strip strip) {
      strip.logits = logits.slice(0, strip.hidden.rows());
      take(device, inputs, kept, strip);
      differentiate(device, inputs, kept, strip, upstream, gradients);
    });
    finish(kept, outputs);
  }

 private:
  /// Rows that are worked on together, and the most columns of a tile: measured; a tile of float stays in the
  /// second-level cache, and d_weight is read and written once for 512 rows.
  static constexpr Index strip_rows = 512, tile_cols = 256;
  /// Logits that forward_backward may hold: 16 MB of float.
  static constexpr Index kept_logits = Index{1} << 22;

  /// The rows that are not ignored, in order, and the sums of each.
  struct Kept {
    const Index* rows;
    Index count;
    RowSum* sums;
  };

  /// Rows kept.rows[first] and following, packed, and, where they are held, all their logits.
  struct Strip {
    Index first;
    MatrixView<const Scalar> hidden;  // [R, D]
    MatrixView<Scalar> logits{};      // [R, V], or empty
  };

  /// The vocabulary in pieces, each the work of one thread at a time: by shape alone, so that sums over the
  /// pieces are the same for any number of threads.
  struct Pieces {
    explicit Pieces(const Inputs& inputs) {
      const Index features = inputs.weight.cols(), vocabulary = inputs.weight.rows();
      // Each piece has its own sum for d_hidden [R, D]: together 8 MB of float, if that leaves 8 pieces.
      const Index most = std::clamp((Index{1} << 21) / (strip_rows * features), Index{8}, Index{32});
      cols = std::max<Index>(128, round_up((vocabulary + most - 1) / most));
      count = (vocabulary + cols - 1) / cols;
      const Index tiles = (cols + tile_cols - 1) / tile_cols;
      tile = round_up((cols + tiles - 1) / tiles);
    }
    static Index round_up(Index n) { return (n + 15) / 16 * 16; }

    Index cols, count;
    Index tile;  // columns of a tile
  };

  [[nodiscard]] static Index target(const Inputs& inputs, Index row) {
    return inputs.target[static_cast<std::size_t>(row)];
  }

  Kept find_kept(Arena::Scope& scratch, const Inputs& inputs, const State& state) const {
    Index* const rows = scratch.take<Index>(inputs.hidden.rows());
    Index count = 0;
    for (Index n = 0; n < inputs.hidden.rows(); ++n)
      if (target(inputs, n) != options_.ignore_index) rows[count++] = n;
    return {rows, count, state.data()};
  }

  /// The rows that are not ignored, with sums over no columns.
  Kept begin(Arena::Scope& scratch, const Inputs& inputs, const State& state) const {
    const Kept kept = find_kept(scratch, inputs, state);
    std::fill_n(kept.sums, kept.count, RowSum{});
    return kept;
  }

  static void finish(const Kept& kept, const Outputs& outputs) {
    if (outputs.loss == nullptr) return;
    double sum = 0;
    for (Index k = 0; k < kept.count; ++k)
      sum += static_cast<double>(kept.sums[k].max) + std::log(kept.sums[k].sum) - kept.sums[k].expected;
    *outputs.loss = static_cast<Accumulator>(kept.count > 0 ? sum / static_cast<double>(kept.count) : 0);
  }

  template <class Visit>
  static void for_each_strip(Device& device, const Inputs& inputs, const Kept& kept, Index most_rows,
                             Visit&& visit) {
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto hidden =
        scratch.template take_view<Scalar>(std::min(most_rows, kept.count), inputs.hidden.cols());
    for (Index first = 0; first < kept.count; first += most_rows) {
      const Index rows = std::min(most_rows, kept.count - first);
      for (Index r = 0; r < rows; ++r)
        as_eigen(hidden).row(r) = as_eigen(inputs.hidden).row(kept.rows[first + r]);
      visit(Strip{first, hidden.slice(0, rows)});
    }
  }

  /// Calls visit(tile of logits, its first column, piece) for each tile of a strip: pieces in parallel, the
  /// tiles of a piece in order. The logits are computed first unless `computed`. visit may overwrite them.
  template <class Visit>
  static void for_each_tile(Device& device, const Inputs& inputs, const Strip& strip, bool computed,
                            Visit&& visit) {
    const Pieces pieces(inputs);
    const Index rows = strip.hidden.rows(), vocabulary = inputs.weight.rows();
    auto scratch = device.scratch().scope();
    MatrixView<Scalar> memory;
    if (!strip.logits.given())
      memory = scratch.template take_view<Scalar>(device.threads() * rows, pieces.tile);
    device.parallel_for(pieces.count, [&](Index piece, int worker) {
      const Index end = std::min(vocabulary, (piece + 1) * pieces.cols);
      for (Index column = piece * pieces.cols; column < end; column += pieces.tile) {
        const Index cols = std::min(pieces.tile, end - column);
        const auto tile = strip.logits.given() ? block(strip.logits, 0, column, rows, cols)
                                               : block(memory, worker * rows, 0, rows, cols);
        if (!computed) compute(inputs, strip.hidden, column, tile);
        visit(tile, column, piece);
      }
    });
  }

  /// tile = hidden E^T + b for the columns from `column` on.
  static void compute(const Inputs& inputs, MatrixView<const Scalar> hidden, Index column,
                      MatrixView<Scalar> tile) {
    const bool biased = inputs.bias.given();
    if (biased) as_eigen(tile).rowwise() = as_row(inputs.bias.slice(column, tile.cols())).matrix();
    matmul_serial<Scalar>(hidden, Op::none, inputs.weight.slice(column, tile.cols()), Op::transpose, tile, 1,
                          biased ? 1 : 0);
  }

  template <class T>
  static auto as_row(const VectorView<T>& view) {
    using Row = Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Row, Row>>(view.data(), view.extent(0));
  }

  /// Takes the strip's logits into the sums of its rows.
  void take(Device& device, const Inputs& inputs, const Kept& kept, const Strip& strip) const {
    const Index rows = strip.hidden.rows(), pieces = Pieces(inputs).count;
    auto scratch = device.scratch().scope();
    const auto partial = scratch.template take_view<RowSum>(pieces, rows);
    std::fill_n(partial.data(), partial.size(), RowSum{});
    const double hit = 1 - options_.label_smoothing;
    const double spread = options_.label_smoothing / static_cast<double>(inputs.weight.rows());
    for_each_tile(device, inputs, strip, false, [&](MatrixView<Scalar> tile, Index column, Index piece) {
      for (Index r = 0; r < rows; ++r) {
        const auto logits = as_row(tile[r]);
        RowSum row;
        row.max = std::max(logits.maxCoeff(), row.max);
        row.sum = static_cast<double>((logits - row.max).exp().sum());
        if (spread > 0) row.expected = spread * static_cast<double>(logits.sum());
        const Index at = target(inputs, kept.rows[strip.first + r]) - column;
        if (at >= 0 && at < tile.cols()) row.expected += hit * static_cast<double>(logits[at]);
        partial(piece, r).add(row);
      }
    });
    for (Index piece = 0; piece < pieces; ++piece)
      for (Index r = 0; r < rows; ++r) kept.sums[strip.first + r].add(partial(piece, r));
  }

  /// Writes 0 to gradients that are to be overwritten and that no strip overwrites.
  static void clear(Device& device, const Inputs& inputs, const Kept& kept, const Gradients& gradients) {
    if (gradients.into == Into::add) return;
    if (gradients.bias.given()) as_row(gradients.bias).setZero();
    if (gradients.hidden.given() && kept.count < inputs.hidden.rows()) set_zero(device, gradients.hidden);
    if (gradients.weight.given() && kept.count == 0) set_zero(device, gradients.weight);
  }

  static void set_zero(Device& device, MatrixView<Scalar> out) {
    device.parallel_ranges(
        out.rows(), 64, [&](Index begin, Index end) { as_eigen(out.slice(begin, end - begin)).setZero(); });
  }

  /// Adds the strip's share of the gradients, once its rows' sums are complete. Overwrites held logits.
  void differentiate(Device& device, const Inputs& inputs, const Kept& kept, const Strip& strip,
                     Accumulator upstream, const Gradients& gradients) const {
    const Pieces pieces(inputs);
    const Index rows = strip.hidden.rows();
    const bool overwrite = strip.first == 0 && gradients.into == Into::overwrite;
    auto scratch = device.scratch().scope();
    BatchView<Scalar> d_hidden;
    if (gradients.hidden.given())
      d_hidden = scratch.template take_view<Scalar>(pieces.count, rows, inputs.hidden.cols());
    for_each_tile(device, inputs, strip, strip.logits.given(),
                  [&](MatrixView<Scalar> tile, Index column, Index piece) {
                    const Index cols = tile.cols();
                    differentiate_tile(inputs, kept, strip.first, column, upstream, tile);
                    if (gradients.bias.given()) add_column_sums(tile, gradients.bias.slice(column, cols));
                    if (gradients.weight.given())
                      matmul_serial<Scalar>(tile, Op::transpose, strip.hidden, Op::none,
                                            gradients.weight.slice(column, cols), 1, overwrite ? 0 : 1);
                    if (gradients.hidden.given())
                      matmul_serial<Scalar>(tile, Op::none, inputs.weight.slice(column, cols), Op::none,
                                            d_hidden[piece], 1, column == piece * pieces.cols ? 0 : 1);
                  });
    if (!gradients.hidden.given()) return;
    device.parallel_ranges(rows, 16, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) {
        auto out = as_row(gradients.hidden[kept.rows[strip.first + r]]);
        if (gradients.into == Into::overwrite) out.setZero();
        for (Index piece = 0; piece < pieces.count; ++piece) out += as_row(d_hidden[piece][r]);
      }
    });
  }

  /// From logits to upstream * dL/dlogits, in place.
  void differentiate_tile(const Inputs& inputs, const Kept& kept, Index first, Index column,
                          Accumulator upstream, MatrixView<Scalar> tile) const {
    const double factor = static_cast<double>(upstream) / static_cast<double>(kept.count);
    const auto hit = static_cast<Scalar>(factor * (1 - options_.label_smoothing));
    const auto spread =
        static_cast<Scalar>(factor * options_.label_smoothing / static_cast<double>(inputs.weight.rows()));
    for (Index r = 0; r < tile.rows(); ++r) {
      const RowSum& row = kept.sums[first + r];
      auto gradient = as_row(tile[r]);
      gradient = (gradient - row.max).exp() * static_cast<Scalar>(factor / row.sum) - spread;
      const Index at = target(inputs, kept.rows[first + r]) - column;
      if (at >= 0 && at < tile.cols()) gradient[at] -= hit;
    }
  }

  /// out[c] += sum_r tile[r, c], summed apart first: out has the sums of all strips before.
  static void add_column_sums(MatrixView<const Scalar> tile, VectorView<Scalar> out) {
    Eigen::Array<Scalar, 1, Eigen::Dynamic, Eigen::RowMajor, 1, static_cast<int>(tile_cols)> sum(tile.cols());
    sum.setZero();
    for (Index r = 0; r < tile.rows(); ++r) sum += as_row(tile[r]);
    as_row(out) += sum;
  }

  Options options_;
};

}  // namespace detail

static_assert(Loss<TokenCrossEntropy<float>> && Loss<TokenCrossEntropy<double>>);

}  // namespace vlp
