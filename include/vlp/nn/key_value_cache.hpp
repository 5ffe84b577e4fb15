/// \file
/// Keys and values of tokens that are written one at a time.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/view.hpp>
#include <vlp/nn/checks.hpp>
#include <vlp/nn/ops/operations.hpp>

#include <algorithm>
#include <utility>

namespace vlp::nn {

/// Rows of keys and values [T, 2 width] of one attention layer. Rows are appended and never moved or changed:
/// a sequence is a list of row numbers, and sequences that begin alike have rows in common.
template <class Scalar, class Device = Cpu>
class KeyValueCache {
 public:
  explicit KeyValueCache(Index width) : width_(width) {
    detail::check_positive("KeyValueCache", "width", width);
  }

  [[nodiscard]] Index width() const noexcept { return width_; }
  /// Number of rows, T.
  [[nodiscard]] Index rows() const noexcept { return memory_.size() / (2 * width_); }

  /// Keeps the first `kept` rows and makes `count` new ones behind them, which it returns [count, 2 width]:
  /// the caller writes keys, then values. Throws std::invalid_argument where there are not so many to keep.
  MatrixView<Scalar> append(Device& device, Index kept, Index count) {
    require(kept >= 0 && kept <= rows() && count >= 0, "KeyValueCache: ", kept, " rows are to be kept and ",
            count, " appended, but there are ", rows());
    const Index size = (kept + count) * 2 * width_;
    if (size > memory_.capacity()) {
      typename Device::template Buffer<Scalar> more(std::max(size, 2 * memory_.capacity()));
      copy(device, memory_.data(), kept * 2 * width_, more.data());
      std::swap(memory_, more);
    }
    memory_.resize(size);
    return all().slice(kept, count);
  }

  /// Keys and values of all rows, [T, width] each.
  [[nodiscard]] MatrixView<const Scalar> keys() const { return column_range(all(), 0, width_); }
  [[nodiscard]] MatrixView<const Scalar> values() const { return column_range(all(), width_, width_); }

 private:
  [[nodiscard]] MatrixView<Scalar> all() const { return {memory_.data(), {rows(), 2 * width_}}; }

  Index width_;
  typename Device::template Buffer<Scalar> memory_;
};

}  // namespace vlp::nn
