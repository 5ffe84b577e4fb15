/// \file
/// Checks that several losses make of their arguments. Each throws std::invalid_argument.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp::detail {

template <class T, std::size_t Rank>
std::string extents_text(const View<T, Rank>& view) {
  return extents_text(view.extents());
}

/// An input is there and has something along each dimension.
template <class T, std::size_t Rank>
void check_input(std::string_view loss, std::string_view name, const View<T, Rank>& input) {
  for (Index extent : input.extents())
    require(extent > 0, loss, ": ", name, " is ", extents_text(input),
            ", but every extent must be at least 1");
  require(input.given(), loss, ": ", name, " has no data");
}

/// An output has a place of its own in memory for each of its elements.
template <class T, std::size_t Rank>
void check_places(std::string_view loss, std::string_view of, std::string_view name,
                  const View<T, Rank>& output) {
  if (output.given() && overlaps_itself(output)) [[unlikely]]
    require(false, loss, ": ", of, name, " is ", extents_text(output), " with strides of ",
            extents_text(output.strides()), ", so that its rows overlap");
}

/// A gradient is skipped or of its input's extents.
template <class T, std::size_t Rank>
void check_gradient(std::string_view loss, std::string_view name,
                    const View<std::type_identity_t<T>, Rank>& gradient, const View<const T, Rank>& input) {
  require(!gradient.given() || gradient.extents() == input.extents(), loss, ": the gradient of ", name,
          " is ", extents_text(gradient), " but ", name, " is ", extents_text(input));
  check_places(loss, "the gradient of ", name, gradient);
}

/// A result is skipped or of the extents it must have.
template <class T, std::size_t Rank>
void check_output(std::string_view loss, std::string_view name, const View<T, Rank>& output,
                  const std::type_identity_t<std::array<Index, Rank>>& extents) {
  require(!output.given() || output.extents() == extents, loss, ": ", name, " is ", extents_text(output),
          ", not ", extents_text(extents));
  check_places(loss, "", name, output);
}

/// An option, a temperature say, is finite and above 0.
inline void check_above_zero(std::string_view loss, std::string_view option, double value) {
  require(value > 0 && std::isfinite(value), loss, ": ", option, " must be finite and above 0, but is ",
          value);
}

/// The options that contrastive losses share (see InfoNceOptions).
template <class Options>
void check_contrast_options(std::string_view loss, const Options& options) {
  const double rows = options.image_to_text_weight, columns = options.text_to_image_weight;
  require(options.label_smoothing >= 0 && options.label_smoothing < 1, loss,
          ": label_smoothing must be in [0, 1), but is ", options.label_smoothing);
  require(
      rows >= 0 && columns >= 0 && rows + columns > 0 && std::isfinite(rows + columns), loss,
      ": image_to_text_weight and text_to_image_weight must be finite, not negative and not both 0, but are ",
      rows, " and ", columns);
}

/// Group ids are not given, or one for each pair.
inline void check_group(std::string_view loss, std::span<const std::int64_t> group, Index batch) {
  require(group.empty() || static_cast<Index>(group.size()) == batch, loss, ": group has ", group.size(),
          " ids but the batch has ", batch, " pairs");
}

/// Word counts are not given, or one for each report.
inline void check_word_count(std::string_view loss, std::span<const std::int64_t> count, Index reports) {
  require(count.empty() || static_cast<Index>(count.size()) == reports, loss, ": word_count has ",
          count.size(), " numbers but words has ", reports, " reports");
}

/// A bound on the number of words of all reports is not given, or leaves each its one.
inline void check_word_capacity(std::string_view loss, Index capacity, Index reports) {
  require(capacity == 0 || capacity >= reports, loss, ": word_capacity is ", capacity,
          ", less than a word for each of the ", reports, " reports");
}

/// Regions [B, R, D] of images and words [B, W, D] of their reports.
template <class Scalar>
void check_regions_and_words(std::string_view loss, const View<const Scalar, 3>& regions,
                             const View<const Scalar, 3>& words) {
  check_input(loss, "regions", regions);
  check_input(loss, "words", words);
  require(regions.extent(0) == words.extent(0) && regions.extent(2) == words.extent(2), loss, ": regions is ",
          extents_text(regions), " but words is ", extents_text(words),
          "; images and reports, and features, must be as many");
}

/// Embeddings of pairs, both [B, D], and a scale.
template <class Scalar, class Accumulator>
void check_pairs(std::string_view loss, const View<const Scalar, 2>& image, const View<const Scalar, 2>& text,
                 const Accumulator* log_scale) {
  check_input(loss, "image", image);
  check_input(loss, "text", text);
  require(image.extents() == text.extents(), loss, ": image is ", extents_text(image), " but text is ",
          extents_text(text));
  require(log_scale != nullptr, loss, ": log_scale is not given");
}

}  // namespace vlp::detail
