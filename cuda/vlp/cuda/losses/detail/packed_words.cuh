/// \file
/// The words of a batch without padding, laid out on the device.
#pragma once

#include <cuda_runtime.h>

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/launch.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/reduce.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/word_counts.cuh>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>

namespace vlp::cuda::detail {

/// Where each report's words lie, as kernels take it: word w of report j is row begin[j] + w. The rows are
/// cut into strips of equal height, and a report belongs to the strip in which it begins.
struct WordRows {
  const int* begin;         // [B + 1]; all 0 where the counts are not what they must be
  const int* first_report;  // [strips + 1] of each strip; B at the end
  int reports;              // B

  /// Says whether all counts are in range; if one is not, there are no words at all.
  [[nodiscard]] __device__ bool counts_are_valid() const { return begin[reports] > 0; }
  [[nodiscard]] __device__ int count(int report) const { return begin[report + 1] - begin[report]; }

  /// The report whose word row `row` is; `reports` for padding rows that belong to no report.
  [[nodiscard]] __device__ int report_of(int row) const {
    int below = 0,
        above = reports + 1;  // begin[below] <= row < begin[above], as if begin ended with infinity
    while (above - below > 1) {
      const int middle = (below + above) / 2;
      (begin[middle] <= row ? below : above) = middle;
    }
    return below;
  }
};

/// Fills WordRows, by one block. A count out of range, or more words than rows, leaves no words at all.
template <class Row>
__global__ void __launch_bounds__(1024)
    lay_out_words(WordCounts counts, Row reports, Row rows, Row strip_rows, Row strips, Row* begin,
                  Row* first_report) {
  auto& room = shared_memory<BlockRoom<Index>>();
  const Row each = (reports + 1023) / 1024, thread = static_cast<Row>(threadIdx.x);
  const Row first = min(thread * each, reports), last = min(first + each, reports);
  const Index too_many = Index{rows} + 1;
  Index own = 0;
  for (Row j = first; j < last; ++j) own += counts[j] > 0 ? counts[j] : too_many;
  const BlockPrefix<Index> sum = block_prefix_sum(own, room);
  const bool is_valid = sum.all <= rows;
  Row at = static_cast<Row>(is_valid ? sum.before : 0);
  // A strip that begins after the report before, and not after this one, has this one as its first.
  Row next_strip =
      first == 0 ? 0 : (at - (is_valid ? static_cast<Row>(counts[first - 1]) : 0)) / strip_rows + 1;
  for (Row j = first; j < last; ++j) {
    begin[j] = at;
    for (; is_valid && next_strip <= at / strip_rows; ++next_strip) first_report[next_strip] = j;
    if (is_valid) at += static_cast<Row>(counts[j]);
  }
  if (last < reports || first == last) return;
  begin[reports] = at;
  if (!is_valid) next_strip = 0;
  for (; next_strip <= strips; ++next_strip) first_report[next_strip] = reports;
}

/// Says whether the rows of a batch of matrices are those of one matrix, as products take it.
template <class T>
[[nodiscard]] bool are_rows(const BatchView<T>& batch) {
  return batch.stride(1) >= batch.extent(2) &&
         (batch.extent(0) == 1 || batch.stride(0) == batch.extent(1) * batch.stride(1));
}

/// Row by row, a warp each: copies words to `out` unless it has no data, with 0 in padding rows that belong
/// to no report; and measures |T_w|.
template <class Scalar, int Width>
__global__ void __launch_bounds__(256) pack_words(WordRows words, BatchRows<const Scalar> from,
                                                  Index features, Rows<Scalar> out, Index rows, float* norm) {
  using Piece = Pack<Scalar, Width>;
  const Index row = static_cast<Index>(blockIdx.x) * (256 / warp_size) + warp();
  if (row >= rows) return;
  const int report = words.report_of(static_cast<int>(row));
  const bool is_word = report < words.reports;
  const Scalar* source = is_word ? from(report, row - words.begin[report]) : nullptr;
  double sum = 0;
  for (Index d = Index{lane()} * Width; d < features; d += warp_size * Width) {
    Piece piece;
    if (is_word) {
      piece = *reinterpret_cast<const Piece*>(source + d);
    } else {
#pragma unroll
      for (int e = 0; e < Width; ++e) piece.value[e] = from_float<Scalar>(0);
    }
#pragma unroll
    for (int e = 0; e < Width; ++e) {
      const double v = to_float(piece.value[e]);
      sum += v * v;
    }
    if (out.data != nullptr) *reinterpret_cast<Piece*>(out[row] + d) = piece;
  }
  sum = warp_sum(sum);
  if (lane() == 0) norm[row] = static_cast<float>(sqrt(sum));
}

/// The words of a batch, and where they lie once they are laid out: O(B) numbers in scratch memory.
class PackedWords {
 public:
  /// `count` is empty or has a number for each report, in device memory. Throws std::invalid_argument for
  /// more words than can be counted, or than `capacity` if it is not 0 and that can be known.
  PackedWords(std::string_view loss, Index reports, Index most_words, std::span<const std::int64_t> count,
              Index capacity)
      : reports_(reports),
        rows_(rows_of_batch(loss, reports, most_words, capacity)),
        counts_{count.data(), most_words} {
    require(rows_ <= most_rows, loss, ": ", rows_, " words are more than ", most_rows);
    require(!count.empty() || rows_ == reports * most_words, loss, ": word_capacity is ", capacity,
            " but the reports have ", reports * most_words, " words");
  }

  /// Rows of packed words as far as the host knows, for reports of at most `most_words` words and, unless it
  /// is 0, at most `capacity` in all.
  [[nodiscard]] static Index rows_of_batch(std::string_view loss, Index reports, Index most_words,
                                           Index capacity) {
    const Index all = vlp::detail::checked_size(loss, std::array<Index, 2>{reports, most_words});
    return capacity > 0 ? std::min(capacity, all) : all;
  }

  /// Lays them out in strips of `strip_rows`, for as long as what is taken from `scratch` lives.
  template <class Scope>
  void lay_out(Scope& scratch, Cuda& device, Index strip_rows) {
    strip_rows_ = strip_rows;
    begin_ = scratch.template take<int>(reports_ + 1);
    first_report_ = scratch.template take<int>(strips() + 1);
    launch(lay_out_words<int>, 1, 1024, sizeof(BlockRoom<Index>), device.stream(), counts_,
           static_cast<int>(reports_), static_cast<int>(rows_), static_cast<int>(strip_rows),
           static_cast<int>(strips()), begin_, first_report_);
  }

  [[nodiscard]] WordRows view() const { return {begin_, first_report_, static_cast<int>(reports_)}; }
  [[nodiscard]] Index reports() const noexcept { return reports_; }
  /// Says whether reports may be shorter than others.
  [[nodiscard]] bool are_counted() const noexcept { return counts_.count != nullptr; }
  [[nodiscard]] Index most_words() const noexcept { return counts_.most; }
  /// Rows of packed words as far as the host knows, including padding rows that belong to no report.
  [[nodiscard]] Index rows() const noexcept { return rows_; }
  [[nodiscard]] Index strips() const noexcept { return (rows_ + strip_rows_ - 1) / strip_rows_; }
  [[nodiscard]] Index strip_rows() const noexcept { return strip_rows_; }
  /// Says whether a batch [B, W, D] is packed as it stands.
  template <class T>
  [[nodiscard]] bool is_packed(const BatchView<T>& words) const {
    return counts_.count == nullptr && are_rows(words);
  }

  /// Measures the norms [rows()] of the words, and copies these to `rows` [rows(), D] unless it is empty.
  template <class Scalar>
  void pack(Cuda& device, const BatchView<const Scalar>& words, const MatrixView<Scalar>& rows,
            float* norm) const {
    const auto from = batch_rows_of(words);
    const bool by_packs =
        from.aligned() && rows_of(rows).aligned() && words.extent(2) % pack_size<Scalar> == 0;
    launch(by_packs ? pack_words<Scalar, pack_size<Scalar>> : pack_words<Scalar, 1>,
           blocks(rows_, 256 / warp_size), 256, 0, device.stream(), view(), from, words.extent(2),
           rows_of(rows), rows_, norm);
  }

 private:
  static constexpr Index most_rows = Index{1} << 30;  // they are counted in 32 bits

  Index reports_, rows_, strip_rows_ = 1;
  WordCounts counts_;
  int *begin_ = nullptr, *first_report_ = nullptr;
};

}  // namespace vlp::cuda::detail
