/// \file
/// How local alignment is cut into tiles, and how its contexts are made.
#pragma once

#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/detail/packed_words.cuh>
#include <vlp/losses/local_alignment.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace vlp::cuda::detail {

/// A tile is a strip of rows of words against the regions of some images. All of this follows from the shape,
/// and from what the device allows a tile.
template <class Scalar>
struct AlignmentPlan {
  Index images, regions, features;  // b, R, D
  Index rows;                       // of packed words, including padding rows that belong to no report
  Index reports, most_words;        // n, W
  Index padded;                     // R + 1 in whole packs
  bool gram_forward = true, gram_backward = true;
  Index strip_images = 1, strip_rows = 1;  // of a tile

  AlignmentPlan(const Cuda& device, LocalAlignmentForm form, const BatchView<const Scalar>& image_regions,
                const PackedWords& words)
      : images(image_regions.extent(0)),
        regions(image_regions.extent(1)),
        features(image_regions.extent(2)),
        rows(words.rows()),
        reports(words.reports()),
        most_words(words.most_words()),
        padded(whole_packs<Scalar>(regions + 1)) {
    choose_form(form);
    choose_strips(device);
  }

  /// The most rows that a tile can have: those of a strip, and the rest of a report that begins in its last.
  [[nodiscard]] Index tile_rows() const { return std::min(strip_rows + most_words - 1, rows); }

  /// And the most reports that can begin in a strip.
  [[nodiscard]] Index tile_reports(bool are_counted) const {
    const Index shortest = are_counted ? 1 : most_words;
    return std::min(reports, (strip_rows + shortest - 1) / shortest);
  }

  /// 2^k, the first that is not less than R; or 2^15, which Half still holds.
  [[nodiscard]] float mean_scale() const {
    return std::exp2(std::min(std::ceil(std::log2(static_cast<float>(regions))), 15.0F));
  }

 private:
  /// The cheaper form each way, by multiplications for each image. Contexts [words, D] in memory, where the
  /// Gram form has none, cost 8 bytes forward and 14 backward an element; a byte takes the time of about 80
  /// multiplications of 16-bit numbers. The products of `take_gram_norms` run at about two thirds of the rate
  /// of others, by count.
  void choose_form(LocalAlignmentForm form) {
    const auto r = static_cast<double>(regions), w = static_cast<double>(rows),
               d = static_cast<double>(features);
    const double gram_products = w * r * r, gram = r * r * d, direct = w * r * d, byte = 80 * w * d;
    const bool automatic = form == LocalAlignmentForm::automatic, forced = form == LocalAlignmentForm::gram;
    gram_forward = automatic ? 1.5 * gram_products + gram < direct + 8 * byte : forced;
    gram_backward = automatic ? 2 * gram_products + 2 * gram < 3 * direct + 14 * byte : forced;
  }

  /// Sums of words grow in memory with each strip of images, those of regions with each tile; and each strip
  /// of words has up to W - 1 rows of the next for its last report: so tiles are about twice as wide as high.
  void choose_strips(const Cuda& device) {
    constexpr Index fewest_rows = 8, most_images = 65535;  // the latter what a grid has along y
    // Each tile costs some twenty launches, so it has twice the elements of a block of scores.
    constexpr Index times = 2;
    // In the direct form a tile also has contexts [words, D] for each image.
    const Index share = gram_forward && gram_backward ? 1 : std::max(Index{1}, features / regions);
    const auto elements =
        times * static_cast<Index>(device.options().score_block_bytes / sizeof(Scalar)) / share;
    const auto columns_of_tile = static_cast<Index>(std::sqrt(2 * static_cast<double>(elements)));
    const auto images_for = [&](Index columns) {
      const Index strip = std::clamp(columns / regions, Index{1}, std::min(images, most_images));
      return strip == images || strip < 8 ? strip : strip / 8 * 8;  // rows of gradients in whole packs
    };
    strip_images = images_for(columns_of_tile);
    const Index wanted = elements / (strip_images * regions);
    if (wanted >= rows) strip_images = std::max(strip_images, images_for(elements / rows));
    strip_rows = std::min(std::max(wanted / fewest_rows * fewest_rows, fewest_rows), rows);
  }
};

}  // namespace vlp::cuda::detail
