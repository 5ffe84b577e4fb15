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
#include <vlp/losses/loss.hpp>
#include <vlp/losses/token_cross_entropy.hpp>

#include <algorithm>
#include <array>
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

 public:
  using Device = Cpu;

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

  void forward(Device& device, const Inputs& inputs, const Outputs& outputs) {
    begin(inputs);
    for_each_strip(device, inputs, strip_rows, [&](const Strip& strip) { take(device, inputs, strip); });
    finish(outputs);
  }

  void backward(Device& device, const Inputs& inputs, Accumulator upstream, const Gradients& gradients) {
    clear(device, gradients);
    for_each_strip(device, inputs, strip_rows,
                   [&](const Strip& strip) { differentiate(device, inputs, strip, upstream, gradients); });
  }

  /// Takes 64 to 512 rows of Z (16 MB of float where they fit) as scratch.
  void forward_backward(Device& device, const Inputs& inputs, Accumulator upstream, const Outputs& outputs,
                        const Gradients& gradients) {
    begin(inputs);
    clear(device, gradients);
    const Index vocabulary = shape_[2];
    const Index rows =
        std::min(kept(), std::clamp(kept_logits / vocabulary / 16 * 16, Index{64}, strip_rows));
    auto scratch = device.scratch().scope();
    const auto logits = scratch.template take_view<Scalar>(rows, vocabulary);
    for_each_strip(device, inputs, std::max<Index>(rows, 1), [&](Strip strip) {
      strip.logits = logits.slice(0, strip.hidden.rows());
      take(device, inputs, strip);
      differentiate(device, inputs, strip, upstream, gradients);
    });
    finish(outputs);
  }

 private:
  using Shape = std::array<Index, 3>;  // N, D, V

  /// Rows that are worked on together, and the most columns of a tile: measured; a tile of float stays in the
  /// second-level cache, and d_weight is read and written once for 512 rows.
  static constexpr Index strip_rows = 512, tile_cols = 256;
  /// Logits that forward_backward may hold: 16 MB of float.
  static constexpr Index kept_logits = Index{1} << 22;

  /// Rows kept_[first] and following, packed, and, where they are held, all their logits.
  struct Strip {
    Index first;
    MatrixView<const Scalar> hidden;  // [R, D]
    MatrixView<Scalar> logits{};      // [R, V], or empty
  };

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

  /// The vocabulary in pieces, each the work of one thread at a time: by shape alone, so that sums over the
  /// pieces are the same for any number of threads.
  struct Pieces {
    explicit Pieces(const Shape& shape) {
      // Each piece has its own sum for d_hidden [R, D]: together 8 MB of float, if that leaves 8 pieces.
      const Index most = std::clamp((Index{1} << 21) / (strip_rows * shape[1]), Index{8}, Index{32});
      cols = std::max<Index>(128, round_up((shape[2] + most - 1) / most));
      count = (shape[2] + cols - 1) / cols;
      const Index tiles = (cols + tile_cols - 1) / tile_cols;
      tile = round_up((cols + tiles - 1) / tiles);
    }
    static Index round_up(Index n) { return (n + 15) / 16 * 16; }

    Index cols, count;
    Index tile;  // columns of a tile
  };

  static Shape shape_of(const Inputs& inputs) {
    return {inputs.hidden.rows(), inputs.hidden.cols(), inputs.weight.rows()};
  }

  /// Number of rows that are not ignored.
  [[nodiscard]] Index kept() const noexcept { return rows_.size(); }

  [[nodiscard]] static Index target(const Inputs& inputs, Index row) {
    return inputs.target[static_cast<std::size_t>(row)];
  }

  void begin(const Inputs& inputs) {
    shape_ = shape_of(inputs);
    Index* out = kept_.resize(shape_[0]);
    for (Index n = 0; n < shape_[0]; ++n)
      if (target(inputs, n) != options_.ignore_index) *out++ = n;
    const Index count = out - kept_.data();
    std::fill_n(rows_.resize(count), count, RowSum{});
  }

  void finish(const Outputs& outputs) const {
    if (outputs.loss == nullptr) return;
    double sum = 0;
    for (Index k = 0; k < kept(); ++k)
      sum += static_cast<double>(rows_[k].max) + std::log(rows_[k].sum) - rows_[k].expected;
    *outputs.loss = static_cast<Accumulator>(kept() > 0 ? sum / static_cast<double>(kept()) : 0);
  }

  template <class Visit>
  void for_each_strip(Device& device, const Inputs& inputs, Index most_rows, Visit&& visit) const {
    const SerialProducts serial;
    auto scratch = device.scratch().scope();
    const auto hidden = scratch.template take_view<Scalar>(std::min(most_rows, kept()), shape_[1]);
    for (Index first = 0; first < kept(); first += most_rows) {
      const Index rows = std::min(most_rows, kept() - first);
      for (Index r = 0; r < rows; ++r)
        as_eigen(hidden).row(r) = as_eigen(inputs.hidden).row(kept_[first + r]);
      visit(Strip{first, hidden.slice(0, rows)});
    }
  }

  /// Calls visit(tile of logits, its first column, piece) for each tile of a strip: pieces in parallel, the
  /// tiles of a piece in order. The logits are computed first unless `computed`. visit may overwrite them.
  template <class Visit>
  void for_each_tile(Device& device, const Inputs& inputs, const Strip& strip, bool computed,
                     Visit&& visit) const {
    const Pieces pieces(shape_);
    const Index rows = strip.hidden.rows(), vocabulary = shape_[2];
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
  void take(Device& device, const Inputs& inputs, const Strip& strip) {
    const Index rows = strip.hidden.rows(), pieces = Pieces(shape_).count;
    auto scratch = device.scratch().scope();
    const auto partial = scratch.template take_view<RowSum>(pieces, rows);
    std::fill_n(partial.data(), partial.size(), RowSum{});
    const double hit = 1 - options_.label_smoothing;
    const double spread = options_.label_smoothing / static_cast<double>(shape_[2]);
    for_each_tile(device, inputs, strip, false, [&](MatrixView<Scalar> tile, Index column, Index piece) {
      for (Index r = 0; r < rows; ++r) {
        const auto logits = as_row(tile[r]);
        RowSum row;
        row.max = std::max(logits.maxCoeff(), row.max);
        row.sum = static_cast<double>((logits - row.max).exp().sum());
        if (spread > 0) row.expected = spread * static_cast<double>(logits.sum());
        const Index at = target(inputs, kept_[strip.first + r]) - column;
        if (at >= 0 && at < tile.cols()) row.expected += hit * static_cast<double>(logits[at]);
        partial(piece, r).add(row);
      }
    });
    for (Index piece = 0; piece < pieces; ++piece)
      for (Index r = 0; r < rows; ++r) rows_[strip.first + r].add(partial(piece, r));
  }

  /// Writes 0 to gradients that are to be overwritten and that no strip overwrites.
  void clear(Device& device, const Gradients& gradients) const {
    if (gradients.into == Into::add) return;
    if (gradients.bias.given()) as_row(gradients.bias).setZero();
    if (gradients.hidden.given() && kept() < shape_[0]) set_zero(device, gradients.hidden);
    if (gradients.weight.given() && kept() == 0) set_zero(device, gradients.weight);
  }

  static void set_zero(Device& device, MatrixView<Scalar> out) {
    device.parallel_ranges(
        out.rows(), 64, [&](Index begin, Index end) { as_eigen(out.slice(begin, end - begin)).setZero(); });
  }

  /// Adds the strip's share of the gradients, once its rows' sums are complete. Overwrites held logits.
  void differentiate(Device& device, const Inputs& inputs, const Strip& strip, Accumulator upstream,
                     const Gradients& gradients) const {
    const Pieces pieces(shape_);
    const Index rows = strip.hidden.rows();
    const bool overwrite = strip.first == 0 && gradients.into == Into::overwrite;
    auto scratch = device.scratch().scope();
    BatchView<Scalar> d_hidden;
    if (gradients.hidden.given())
      d_hidden = scratch.template take_view<Scalar>(pieces.count, rows, shape_[1]);
    for_each_tile(device, inputs, strip, strip.logits.given(),
                  [&](MatrixView<Scalar> tile, Index column, Index piece) {
                    const Index cols = tile.cols();
                    differentiate_tile(inputs, strip.first, column, upstream, tile);
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
        auto out = as_row(gradients.hidden[kept_[strip.first + r]]);
        if (gradients.into == Into::overwrite) out.setZero();
        for (Index piece = 0; piece < pieces.count; ++piece) out += as_row(d_hidden[piece][r]);
      }
    });
  }

  /// From logits to upstream * dL/dlogits, in place.
  void differentiate_tile(const Inputs& inputs, Index first, Index column, Accumulator upstream,
                          MatrixView<Scalar> tile) const {
    const double factor = static_cast<double>(upstream) / static_cast<double>(kept());
    const auto hit = static_cast<Scalar>(factor * (1 - options_.label_smoothing));
    const auto spread =
        static_cast<Scalar>(factor * options_.label_smoothing / static_cast<double>(shape_[2]));
    for (Index r = 0; r < tile.rows(); ++r) {
      const RowSum& row = rows_[first + r];
      auto gradient = as_row(tile[r]);
      gradient = (gradient - row.max).exp() * static_cast<Scalar>(factor / row.sum) - spread;
      const Index at = target(inputs, kept_[first + r]) - column;
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
  Shape shape_{};
  Buffer<Index> kept_;   // rows that are not ignored, in order
  Buffer<RowSum> rows_;  // of each of them
};

}  // namespace detail

static_assert(Loss<TokenCrossEntropy<float>> && Loss<TokenCrossEntropy<double>>);

}  // namespace vlp
