/// \file
/// Checks that several losses make of their arguments. Each throws std::invalid_argument.
#pragma once

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/contrast.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
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

/// Says whether probable false negatives are left out.
template <class Options>
[[nodiscard]] bool has_margin(const Options& options) {
  return !(options.false_negative_margin == std::numeric_limits<double>::infinity());
}

/// A margin of probable false negatives is not negative, or infinite: no margin.
template <class Options>
void check_margin(std::string_view loss, const Options& options) {
  require(options.false_negative_margin >= 0, loss, ": false_negative_margin must not be negative, but is ",
          options.false_negative_margin);
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
  check_margin(loss, options);
  require(!has_margin(options) || options.label_smoothing == 0, loss,
          ": false_negative_margin and label_smoothing cannot be combined, but are ",
          options.false_negative_margin, " and ", options.label_smoothing);
}

/// A part of a batch does not hold the own texts of all its images, which a margin is measured from.
template <class Options>
void check_block_options(std::string_view loss, const Options& options) {
  require(!has_margin(options), loss, ": false_negative_margin needs the whole batch in one call, but is ",
          options.false_negative_margin);
}

/// A part of a batch of which `images` images and `texts` texts are given.
inline void check_block(std::string_view loss, const PairBlock& given, Index images, Index texts) {
  const PairBlock block = given.of(images, texts);
  const auto check_range = [&](std::string_view what, Index first, Index count, Index all) {
    require(first >= 0 && first <= all - count, loss, ": ", count, " ", what, " from ", first,
            " on are given, of ", all, " in the batch");
  };
  check_range("images", block.first_image, images, block.images);
  check_range("texts", block.first_text, texts, block.texts);
  require(block.own_text >= 0 && block.own_text_step >= 1, loss,
          ": own_text must be at least 0 and own_text_step at least 1, but they are ", block.own_text,
          " and ", block.own_text_step);
  require(
      block.images == 0 || (block.own_text < block.texts &&
                            (block.images - 1) <= (block.texts - 1 - block.own_text) / block.own_text_step),
      loss, ": image ", block.images - 1, " of the batch has text ", block.own_text, " + ", block.images - 1,
      " x ", block.own_text_step, ", but there are ", block.texts, " texts");
}

/// Group ids are not given, or one for each image's own text, or one for each text of the batch.
inline void check_group(std::string_view loss, std::span<const std::int64_t> group, const PairBlock& batch) {
  const auto ids = static_cast<Index>(group.size());
  require(ids == 0 || ids == batch.images || ids == batch.texts, loss, ": group has ", ids,
          " ids but the batch has ", batch.images, " images and ", batch.texts, " texts");
}

/// Which part of which batch the image and text of a loss over pairs are, its groups and valid texts.
template <class Inputs>
void check_pair_block(std::string_view loss, const Inputs& inputs) {
  check_block(loss, inputs.block, inputs.image.rows(), inputs.text.rows());
  const PairBlock batch = inputs.block.of(inputs.image.rows(), inputs.text.rows());
  check_group(loss, inputs.group, batch);
  require(!inputs.valid.given() || inputs.valid.extent(0) == batch.texts, loss, ": valid has ",
          inputs.valid.extent(0), " elements but the batch has ", batch.texts, " texts");
}

/// Visits the numbers of a PairBlock by name.
template <class Block, class Visit>
void for_each_number(Block& block, Visit&& visit) {
  visit("images", block.images);
  visit("texts", block.texts);
  visit("first_image", block.first_image);
  visit("first_text", block.first_text);
  visit("own_text", block.own_text);
  visit("own_text_step", block.own_text_step);
}

/// Sums of a contrastive loss have a maximum for each sum, and are there if there are any.
template <class Accumulator>
void check_sums(std::string_view loss, const ContrastSums<Accumulator>& sums) {
  const auto check_side = [&](std::string_view side, const LogSumExps<Accumulator>& of) {
    require(of.max.extents() == of.sum.extents() && of.max.given() == of.sum.given(), loss, ": ", side,
            " have ", of.max.extent(0), " maxima but ", of.sum.extent(0), " sums");
    require(of.max.given() || of.max.extent(0) == 0, loss, ": ", of.max.extent(0), " ", side,
            " have sums without data");
  };
  check_side("rows", sums.rows);
  check_side("columns", sums.columns);
}

/// Sums to be merged are as many as those that they are merged into, or not given.
template <class Accumulator>
void check_merge(std::string_view loss, std::string_view side, const LogSumExps<Accumulator>& from,
                 const LogSumExps<Accumulator>& to) {
  require(
      !from.max.given() ||
          (from.sum.given() && to.max.given() && to.sum.given() && from.max.extents() == from.sum.extents() &&
           from.max.extents() == to.max.extents() && from.max.extents() == to.sum.extents()),
      loss, ": ", from.max.extent(0), " ", side, " are given to merge into ", to.max.extent(0));
}

/// Word counts are not given, or one for each report.
inline void check_word_count(std::string_view loss, std::span<const std::int64_t> count, Index reports) {
  require(count.empty() || static_cast<Index>(count.size()) == reports, loss, ": word_count has ",
          count.size(), " numbers but words has ", reports, " reports");
}

/// Word counts, which the host can read, are within reports of `words` words.
inline void check_word_counts(std::string_view loss, std::span<const std::int64_t> count, Index words) {
  for (std::size_t j = 0; j < count.size(); ++j)
    require(count[j] >= 1 && count[j] <= words, loss, ": word_count of report ", j, " is ", count[j],
            ", not in 1 to ", words);
}

/// A bound on the number of words of all reports is not given, or leaves each its one.
inline void check_word_capacity(std::string_view loss, Index capacity, Index reports) {
  require(capacity == 0 || capacity >= reports, loss, ": word_capacity is ", capacity,
          ", less than a word for each of the ", reports, " reports");
}

/// Regions [b, R, D] of images and words [n, W, D] of reports.
template <class Scalar>
void check_regions_and_words(std::string_view loss, const View<const Scalar, 3>& regions,
                             const View<const Scalar, 3>& words) {
  check_input(loss, "regions", regions);
  check_input(loss, "words", words);
  require(regions.extent(2) == words.extent(2), loss, ": regions is ", extents_text(regions),
          " but words is ", extents_text(words), "; features must be as many");
}

/// Embeddings of images [b, D] and texts [n, D], and a scale.
template <class Scalar, class Accumulator>
void check_pairs(std::string_view loss, const View<const Scalar, 2>& image, const View<const Scalar, 2>& text,
                 const Accumulator* log_scale) {
  check_input(loss, "image", image);
  check_input(loss, "text", text);
  require(image.cols() == text.cols(), loss, ": image is ", extents_text(image), " but text is ",
          extents_text(text));
  require(log_scale != nullptr, loss, ": log_scale is not given");
}

}  // namespace vlp::detail
