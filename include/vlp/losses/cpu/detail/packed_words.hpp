/// \file
/// The words of all reports of a batch as the rows of one matrix, without padding.
#pragma once

#include <vlp/core/buffer.hpp>
#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

namespace vlp::detail {

/// Reports `first` to `last` (exclusive), whole.
struct ReportRange {
  Index first = 0, last = 0;
};

/// Where each report's words lie. Word w of report j of reports [n, W, D] is row begin(j) + w.
class PackedWords {
 public:
  /// `count` has one number, from 1 to `max_words`, for each report, or is empty when all reports have
  /// `max_words`.
  PackedWords(Arena::Scope& scratch, Index reports, Index max_words, std::span<const std::int64_t> count)
      : reports_(reports) {
    Index* begin = scratch.take<Index>(reports + 1);
    begin[0] = 0;
    for (Index j = 0; j < reports; ++j) {
      const Index words = count.empty() ? max_words : count[static_cast<std::size_t>(j)];
      begin[j + 1] = begin[j] + words;
      longest_ = std::max(longest_, words);
    }
    begin_ = begin;
  }

  [[nodiscard]] Index reports() const noexcept { return reports_; }
  [[nodiscard]] Index rows() const noexcept { return begin_[reports_]; }
  [[nodiscard]] Index begin(Index report) const noexcept { return begin_[report]; }
  [[nodiscard]] Index count(Index report) const noexcept { return begin_[report + 1] - begin_[report]; }

  /// Copies the words of reports [n, W, D] to rows [rows(), D].
  template <class Scalar>
  void pack(const BatchView<const Scalar>& words, const MatrixView<Scalar>& rows) const {
    for (Index j = 0; j < reports(); ++j)
      for (Index w = 0; w < count(j); ++w)
        std::copy_n(words[j][w].data(), rows.cols(), rows[begin(j) + w].data());
  }

  /// Copies rows back to a batch, or adds them; padding becomes 0, or stays.
  template <class Scalar>
  void unpack(const MatrixView<const Scalar>& rows, const BatchView<Scalar>& words, Into into) const {
    for (Index j = 0; j < reports(); ++j) {
      for (Index w = 0; w < words.extent(1); ++w) {
        Scalar* out = words[j][w].data();
        if (w >= count(j)) {
          if (into == Into::overwrite) std::fill_n(out, rows.cols(), Scalar(0));
          continue;
        }
        const Scalar* row = rows[begin(j) + w].data();
        if (into == Into::add)
          std::transform(out, out + rows.cols(), row, out, std::plus<>());
        else
          std::copy_n(row, rows.cols(), out);
      }
    }
  }

  /// Calls visit(range) for runs of whole reports of at most `target` rows in all, or of one longer report.
  template <class Visit>
  void for_each_tile(Index target, Visit&& visit) const {
    for (ReportRange tile; tile.first < reports(); tile.first = tile.last) {
      tile.last = tile.first + 1;
      while (tile.last < reports() && begin(tile.last + 1) - begin(tile.first) <= target) ++tile.last;
      visit(tile);
    }
  }

  /// The most rows that a tile can have.
  [[nodiscard]] Index tile_rows(Index target) const noexcept {
    return std::max(std::min(target, rows()), longest_);
  }

 private:
  Index reports_;
  const Index* begin_ = nullptr;  // [n + 1]
  Index longest_ = 0;
};

}  // namespace vlp::detail
