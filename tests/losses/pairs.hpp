/// \file
/// Random inputs for losses over image-report pairs.
#pragma once

#include "support/catch.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"

#include <vlp/losses/contrast.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace vlp::test {

inline const std::vector<DuplicatePolicy> policies{DuplicatePolicy::negatives, DuplicatePolicy::positives,
                                                   DuplicatePolicy::ignore};

/// image, text [B, D], log_scale, bias; with `groups` > 0 as many group ids, drawn at random.
inline Arrays random_pairs(Random& random, Index batch, Index features, int groups = 0,
                           double scale = 1 / 0.07) {
  Arrays out{{"image", normal(random, {batch, features})},
             {"text", normal(random, {batch, features})},
             {"log_scale", number(std::log(scale))},
             {"bias", number(-0.7)}};
  if (groups > 0) {
    Array ids{{batch}, {}};
    for (Index i = 0; i < batch; ++i)
      ids.values.push_back(static_cast<double>(random.below(static_cast<std::uint32_t>(groups))) - 1);
    out["group"] = ids;
  }
  return out;
}

/// More texts than images.
struct Rectangle {
  Index images, texts, features;
  Index own_text = 0, own_text_step = 1;
  int groups = 0;              ///< as many ids, at random, if above 0
  bool ids_of_images = false;  ///< an id for each image, not for each text
  bool leaves_out = false;     ///< a third of the extra texts are not valid, and hold NaN
};

/// image [B, D], text [N, D], log_scale, bias, perhaps group and valid, own_text and
/// own_text_step.
inline Arrays random_rectangle(Random& random, const Rectangle& shape) {
  Arrays out = random_pairs(random, shape.texts, shape.features, shape.groups, 5);
  out["image"] = normal(random, {shape.images, shape.features});
  if (shape.groups > 0 && shape.ids_of_images) {
    out.at("group").shape = {shape.images};
    out.at("group").values.resize(static_cast<std::size_t>(shape.images));
  }
  out["own_text"] = number(static_cast<double>(shape.own_text));
  out["own_text_step"] = number(static_cast<double>(shape.own_text_step));
  if (!shape.leaves_out) return out;
  const PairBlock batch{.images = shape.images,
                        .texts = shape.texts,
                        .own_text = shape.own_text,
                        .own_text_step = shape.own_text_step};
  Array valid{{shape.texts}, std::vector<double>(static_cast<std::size_t>(shape.texts), 1)};
  for (Index j = 0; j < shape.texts; ++j) {
    if (batch.image_of(j) >= 0 || random.below(3) > 0) continue;
    valid.values[static_cast<std::size_t>(j)] = 0;
    std::fill_n(out.at("text").values.begin() + j * shape.features, shape.features,
                std::numeric_limits<double>::quiet_NaN());
  }
  out["valid"] = valid;
  return out;
}

/// Calls visit(arrays) for rectangles within one tile and beyond, with group ids of either kind, with and
/// without texts that are left out.
template <class Visit>
void for_each_rectangle(Random& random, Visit&& visit) {
  for (Rectangle shape :
       {Rectangle{1, 4, 5, 2}, Rectangle{7, 19, 5}, Rectangle{5, 16, 5, 1, 3}, Rectangle{90, 300, 5, 0, 3}})
    for (bool ids_of_images : {false, true})
      for (bool leaves_out : {false, true}) {
        CAPTURE(shape.images, ids_of_images, leaves_out);
        shape.groups = 1 + static_cast<int>(shape.images) / 2;
        shape.ids_of_images = ids_of_images;
        shape.leaves_out = leaves_out;
        visit(random_rectangle(random, shape));
      }
}

/// Texts that equal an image's own are not beyond it, by rounding say: a margin of 0 leaves out what one a
/// little larger does.
template <Loss L>
void check_margin_of_equal_texts() {
  Random random(18);
  Arrays arrays = random_pairs(random, 150, 40, 0, 3);
  for (Index j : {Index{1}, Index{2}, Index{140}})
    std::copy_n(arrays.at("text").values.begin(), 40, arrays.at("text").values.begin() + j * 40);
  typename L::Options none, small;
  none.false_negative_margin = 0;
  small.false_negative_margin = 1e-4;
  LossCase<L> without(arrays), with(arrays);
  CHECK(to_double(without.run(none)) == Approx(to_double(with.run(small))).epsilon(1e-3));
}

/// More than a strip, or a tile, has.
inline constexpr Index many_pairs = on_cpu ? 600 : 300;

/// Scores kept for backward change nothing but the time: on the CPU two strips of 256 and a shorter one.
template <Loss L>
void check_kept_scores(typename L::Options options) {
  Random random(11);
  const Arrays arrays = random_pairs(random, many_pairs, 5, 150);
  constexpr std::size_t row = many_pairs * sizeof(typename L::Accumulator);
  LossCase<L> computed(arrays);
  const auto want = computed.run(options);
  for (std::size_t rows : {Index{255}, Index{256}, Index{511}, many_pairs - 1, many_pairs, Index{1000}}) {
    CAPTURE(rows);
    options.kept_score_bytes = rows * row;
    LossCase<L> kept(arrays);
    CHECK(kept.run(options, 2) == want);
    CHECK(same_bits(kept.gradient_values(), computed.gradient_values()));
  }
}

/// A batch smaller than the last, with the same loss, finds nothing of the last one's kept scores.
template <Loss L>
void check_kept_scores_of_batches_in_turn() {
  constexpr Index first = many_pairs / 2;
  Random random(12);
  typename L::Options options;
  options.kept_score_bytes = first * first * sizeof(typename L::Accumulator);
  auto device = make_device<typename L::Device>();
  L loss(options);
  for (Index batch : {first, Index{40}, many_pairs + 100}) {
    CAPTURE(batch);
    const Arrays arrays = random_pairs(random, batch, 5);
    LossCase<L> turn(arrays), alone(arrays);
    CHECK(turn.forward(loss, device) == alone.run({}));
    loss.backward(device, turn.inputs, 1, turn.gradients);
    wait_for(device);
    CHECK(same_bits(turn.gradient_values(), alone.gradient_values()));
  }
}

}  // namespace vlp::test
