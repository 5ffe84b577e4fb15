#include "losses/pairs.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <cuda_runtime.h>

#include <vlp/core/into.hpp>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/pairwise_sigmoid.cuh>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/cpu/info_nce.hpp>
#include <vlp/losses/cpu/pairwise_sigmoid.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

// InfoNCE and the sigmoid loss on a CUDA device where the batch is not square, or not in one piece.

namespace {

using namespace vlp::test;
using vlp::Cuda;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::InfoNceOptions;
using vlp::Into;
using vlp::PairBlock;
using vlp::PairwiseSigmoidOptions;
using vlp::PositiveWeight;
using vlp::Random;

template <class Scalar>
using InfoNce = vlp::InfoNce<Scalar, Cuda>;
template <class Scalar>
using Sigmoid = vlp::PairwiseSigmoid<Scalar, Cuda>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// A batch of more texts than images.
struct Batch {
  Index images, texts, features;
  PairBlock block{};
  int groups = 0;          // ids of texts, drawn at random
  bool of_images = false;  // the same of images
  bool masks = false;      // every third text is not valid, unless it is an own one, and has NaN for numbers
  double scale = 1 / 0.07;
};

Arrays arrays_of(Random& random, const Batch& batch) {
  const auto& [images, texts, features, block, groups, of_images, masks, scale] = batch;
  const PairBlock whole = block.of(images, texts);
  Arrays out = random_pairs(random, batch.of_images ? images : texts, features, groups, scale);
  out["image"] = normal(random, {images, features});
  out["text"] = normal(random, {texts, features});
  if (masks) {
    Array valid{{texts}, {}};
    for (Index j = 0; j < texts; ++j) {
      const bool is_valid = j % 3 != 1 || whole.image_of(j) >= 0;
      valid.values.push_back(is_valid ? 1 : 0);
      for (Index d = 0; d < features && !is_valid; ++d)
        out.at("text").values[static_cast<std::size_t>(j * features + d)] = nan;
    }
    out["valid"] = valid;
  }
  return out;
}

/// Against the CPU's loss in double. What is nothing but what cancels is measured by a floor: all gradients
/// of one image alone, and the sum over all pairs that the scale's gradient is.
template <vlp::Loss L>
void check_batch(const Batch& batch, const typename L::Options& options, double sum_floor = 1e-3) {
  CAPTURE(batch.images, batch.texts, batch.features, batch.groups, batch.masks,
          static_cast<int>(options.duplicate_policy), options.false_negative_margin);
  constexpr double accuracy = accuracy_of_loss<L>(), upstream = 0.7;
  const double floor = batch.images == 1 ? 0.1 : 1e-3;
  Random random(3);
  const Arrays arrays = rounded<L>(arrays_of(random, batch));
  LossCase<ReferenceOf<L>> want(arrays);
  LossCase<L> got(arrays, {3, 0});
  want.inputs.block = got.inputs.block = batch.block;
  const double want_loss = want.run(options, 1, upstream);
  CHECK(relative_error(number(to_double(got.run(options, 2, upstream))), number(want_loss), 0.1) <= accuracy);
  const Arrays want_gradients = want.gradient_values();
  for (const auto& [name, gradient] : got.gradient_values()) {
    INFO("gradient of " << name);
    CHECK(relative_error(gradient, want_gradients.at(name),
                         name == "log_scale" ? std::max(sum_floor, floor) : floor) <= accuracy);
  }
  CHECK(got.padding_untouched());
}

/// Batches whose own texts lie apart, behind each other, and across the edges of tiles.
std::vector<Batch> batches() {
  return {
      {.images = 5, .texts = 9, .features = 7, .groups = 4},
      {.images = 1, .texts = 6, .features = 3, .block = {.own_text = 4}, .masks = true},
      {.images = 40, .texts = 161, .features = 20, .block = {.own_text_step = 4}, .groups = 60},
      {.images = 140, .texts = 300, .features = 12, .block = {.own_text = 100}, .groups = 90, .masks = true},
      {.images = 130,
       .texts = 270,
       .features = 8,
       .block = {.own_text = 3, .own_text_step = 2},
       .groups = 50,
       .of_images = true,
       .masks = true}};
}

}  // namespace

namespace {

/// Each small batch with all of the options, each that has several tiles with two of them.
template <class L>
void check_batches(const std::vector<Batch>& batches, const std::vector<typename L::Options>& options,
                   double scale, double sum_floor = 1e-3) {
  for (std::size_t k = 0; k < batches.size(); ++k) {
    Batch batch = batches[k];
    batch.scale = scale;
    for (std::size_t i = 0; i < options.size(); ++i)
      if (batch.images < 10 || i == k % options.size() || i == (k + 2) % options.size())
        check_batch<L>(batch, options[i], sum_floor);
  }
}

constexpr std::size_t some_rows = std::size_t{128} * 300 * sizeof(float);  // of the scores of several tiles

}  // namespace

TEMPLATE_TEST_CASE("CUDA InfoNCE of more texts than images", "", VLP_TEST_SCALARS) {
  const std::vector<InfoNceOptions> options{{},
                                            {DuplicatePolicy::positives, 0.1, 0.3, 0.9},
                                            {DuplicatePolicy::ignore, 0.2, 0, 1, some_rows},
                                            {DuplicatePolicy::ignore, 0, 1, 0},
                                            {DuplicatePolicy::positives}};
  for (double scale : {14.0, 100.0})  // without maxima and with them
    check_batches<InfoNce<TestType>>(batches(), options, scale);
}

TEMPLATE_TEST_CASE("CUDA InfoNCE leaves probable false negatives out", "", VLP_TEST_SCALARS) {
  std::vector<InfoNceOptions> options;
  for (double margin : {0.05, 0.4})
    for (DuplicatePolicy policy : policies)
      options.push_back({.duplicate_policy = policy, .false_negative_margin = margin});
  options.push_back({.image_to_text_weight = 0, .false_negative_margin = 0.1});
  options.push_back({.text_to_image_weight = 0, .kept_score_bytes = some_rows, .false_negative_margin = 0.2});
  check_batches<InfoNce<TestType>>(batches(), options, 5, 0.05);
}

TEMPLATE_TEST_CASE("CUDA sigmoid of square batches and of more texts than images", "", VLP_TEST_SCALARS) {
  std::vector<Batch> all = batches();
  all.push_back({.images = 1, .texts = 1, .features = 5});
  all.push_back({.images = 7, .texts = 7, .features = 5});
  all.push_back({.images = 150, .texts = 150, .features = 33});
  all.push_back({.images = 129, .texts = 129, .features = 5, .groups = 40});
  const std::vector<PairwiseSigmoidOptions> options{
      {},
      {DuplicatePolicy::ignore, some_rows},
      {DuplicatePolicy::positives, 0, PositiveWeight::one},
      {DuplicatePolicy::positives, 0, PositiveWeight::one_over_count}};
  check_batches<Sigmoid<TestType>>(all, options, 14);
}

TEMPLATE_TEST_CASE("CUDA sigmoid leaves probable false negatives out", "", VLP_TEST_SCALARS) {
  std::vector<PairwiseSigmoidOptions> options;
  for (double margin : {0.05, 0.4})
    for (DuplicatePolicy policy : policies)
      options.push_back({.duplicate_policy = policy, .false_negative_margin = margin});
  options.push_back({.kept_score_bytes = some_rows, .false_negative_margin = 0.2});
  check_batches<Sigmoid<TestType>>(batches(), options, 5, 0.05);
}

namespace {

/// Texts 1 and 2 equal text 0: as close to image 0 as its own.
template <vlp::Loss L>
double margin_0_of_equal_texts() {
  Random random(5);
  Arrays arrays = random_pairs(random, 150, 40, 0, 3);
  for (Index j : {Index{1}, Index{2}, Index{140}})
    std::copy_n(arrays.at("text").values.begin(), 40, arrays.at("text").values.begin() + j * 40);
  LossCase<L> got(arrays);
  typename L::Options options;
  options.false_negative_margin = 0;
  const double loss = to_double(got.run(options));
  options.false_negative_margin = 1e-9;  // more than the rounding of double
  return std::abs(loss - LossCase<ReferenceOf<L>>(rounded<L>(arrays)).run(options));
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA texts equal to an image's own are not beyond it by rounding", "", VLP_TEST_SCALARS) {
  CHECK(margin_0_of_equal_texts<InfoNce<TestType>>() < 1e-4);
  CHECK(margin_0_of_equal_texts<Sigmoid<TestType>>() < 1e-3);
}

TEMPLATE_TEST_CASE("CUDA sigmoid keeps what easy pairs contribute", "", VLP_TEST_SCALARS) {
  // Far from the boundary each term is exp(-|logit|): far below the rounding of 1, and not nothing.
  Arrays arrays{{"image", {{6, 6}, std::vector<double>(36)}},
                {"log_scale", number(std::log(60))},
                {"bias", number(-30)}};
  for (std::size_t i = 0; i < 6; ++i) arrays.at("image").values[7 * i] = 2;
  arrays["text"] = arrays.at("image");
  const double want = LossCase<ReferenceOf<Sigmoid<TestType>>>(arrays).run({});
  REQUIRE(want < 1e-11);
  CHECK(to_double(LossCase<Sigmoid<TestType>>(arrays).run({})) / want == Approx(1).epsilon(1e-4));
}

TEST_CASE("CUDA sigmoid of logits of any size is finite") {
  Random random(6);
  Arrays arrays = random_pairs(random, 40, 8, 10);
  for (std::size_t k = 0; k < 8; ++k) {
    arrays.at("image").values[k] = 0;
    arrays.at("text").values[8 + k] = 0;
  }
  for (double scale : {100.0, 1e4})
    for (double bias : {-10.0, 1e4}) {
      arrays["log_scale"] = number(std::log(scale));
      arrays["bias"] = number(bias);
      LossCase<ReferenceOf<Sigmoid<float>>> want(rounded<Sigmoid<float>>(arrays));
      LossCase<Sigmoid<float>> got(arrays);
      const double loss = want.run({DuplicatePolicy::positives});
      CHECK(relative_error(number(to_double(got.run({DuplicatePolicy::positives}))), number(loss)) < 1e-4);
      CHECK(relative_error(got.gradient_values(), want.gradient_values()) < 2e-3);
    }
}

TEMPLATE_TEST_CASE("CUDA sigmoid at once is forward and backward", "", VLP_TEST_SCALARS) {
  using L = Sigmoid<TestType>;
  Random random(2);
  for (const std::size_t block_bytes : {std::size_t{1}, std::size_t{16} << 20}) {
    for (const Batch& batch : {batches()[0], batches()[3]}) {
      const Arrays arrays = arrays_of(random, batch);
      const typename L::Options options{DuplicatePolicy::positives, 1 << 20, PositiveWeight::one_over_count};
      Cuda device(nullptr, {.score_block_bytes = block_bytes});
      L loss(options);
      LossCase<L> apart(arrays), at_once(arrays);
      apart.inputs.block = at_once.inputs.block = batch.block;
      const float value = apart.forward(loss, device);
      loss.backward(device, apart.inputs, 0.7F, apart.gradients);
      at_once.forward(loss, device);  // which brings inputs to the device
      DeviceArray<float> result({0});
      loss.forward_backward(device, at_once.inputs, 0.7F, {result.data()}, at_once.gradients);
      wait_for(device);
      result.download();
      CHECK(result.host()[0] == Approx(value).epsilon(1e-6));
      CHECK(same_bits(at_once.gradient_values(), apart.gradient_values()));

      at_once.gradients.into = Into::add;
      loss.forward_backward(device, at_once.inputs, 1.4F, {}, at_once.gradients);
      wait_for(device);
      Arrays want = apart.gradient_values();
      for (auto& [name, gradient] : want)
        for (double& v : gradient.values) v *= 3;
      CHECK(relative_error(at_once.gradient_values(), want, 1e-3) <= tolerance_of<TestType>());

      // Any results alone are the same.
      result.host() = {0};
      result.upload();
      loss.forward_backward(device, at_once.inputs, 0.7F, {result.data()}, {});
      wait_for(device);
      result.download();
      CHECK(result.host()[0] == Approx(value).epsilon(1e-6));
      typename L::Gradients alone{};
      alone.bias = at_once.gradients.bias;
      loss.forward_backward(device, at_once.inputs, 0.7F, {}, alone);
      wait_for(device);
      CHECK(at_once.gradient_values().at("bias").values == apart.gradient_values().at("bias").values);
      alone = {};
      alone.log_scale = at_once.gradients.log_scale;
      loss.forward_backward(device, at_once.inputs, 0.7F, {}, alone);
      wait_for(device);
      CHECK(at_once.gradient_values().at("log_scale").values ==
            apart.gradient_values().at("log_scale").values);
    }
  }
}

namespace {

/// Some images or texts of a batch.
struct Piece {
  Index first, count;
};

/// A batch's views cut to a block of it.
template <class Given>
Given cut(Given given, const PairBlock& batch, const Piece& images, const Piece& texts) {
  given.image = given.image.slice(images.first, images.count);
  given.text = given.text.slice(texts.first, texts.count);
  if constexpr (requires { given.block; }) {
    given.block = batch;
    given.block.first_image = images.first;
    given.block.first_text = texts.first;
  }
  return given;
}

template <class T>
vlp::LogSumExps<T> cut(const vlp::LogSumExps<T>& sums, const Piece& piece) {
  return {sums.max.slice(piece.first, piece.count), sums.sum.slice(piece.first, piece.count)};
}

/// Sums of some rows and columns, in device memory.
struct SumsInMemory {
  SumsInMemory(Index rows, Index columns)
      : memory(std::vector<float>(static_cast<std::size_t>(2 * (rows + columns)), NAN)),
        target_score(std::vector<double>{NAN}) {
    const auto view = [&](Index begin, Index count) {
      return vlp::VectorView<float>(memory.data() + begin, {count});
    };
    sums = {{view(0, rows), view(rows, rows)},
            {view(2 * rows, columns), view(2 * rows + columns, columns)},
            target_score.data()};
  }

  DeviceArray<float> memory;
  DeviceArray<double> target_score;
  vlp::ContrastSums<float> sums;
};

const std::vector<Piece> image_pieces{{0, 128}, {128, 22}}, text_pieces{{0, 40}, {40, 130}, {170, 160}};

/// Pieces of a batch of 150 images and 330 texts.
Batch batch_in_pieces(int groups) {
  return {.images = 150,
          .texts = 330,
          .features = 10,
          .block = {.images = 150, .texts = 330, .own_text = 5, .own_text_step = 2},
          .groups = groups,
          .masks = true};
}

/// Blocks' sums, merged or added, give the loss of the batch, and their gradients its gradients.
template <class L>
void check_info_nce_in_blocks(const InfoNceOptions& options, double scale, bool merges) {
  CAPTURE(static_cast<int>(options.duplicate_policy), scale, merges);
  constexpr double tolerance = tolerance_of<typename L::Scalar>();
  Random random(4);
  Batch batch = batch_in_pieces(100);
  batch.scale = scale;
  const Arrays arrays = arrays_of(random, batch);
  LossCase<L> whole(arrays), parts(arrays);
  whole.inputs.block = batch.block;
  const double want = to_double(whole.run(options));

  Cuda device = make_device();
  L loss(options);
  parts.inputs.block = batch.block;
  parts.forward(loss, device);  // which brings inputs to the device
  SumsInMemory all(batch.images, batch.texts);
  std::vector<DeviceArray<std::byte>> saved(image_pieces.size() * text_pieces.size());
  const auto for_each_block = [&](auto&& visit) {
    std::size_t k = 0;
    for (const Piece& images : image_pieces)
      for (const Piece& texts : text_pieces) visit(images, texts, saved[k++]);
  };
  const vlp::ContrastSums<float>& sums = all.sums;
  const auto sums_of = [&](const Piece& images, const Piece& texts) {
    return vlp::ContrastSums<float>{cut(sums.rows, images), cut(sums.columns, texts), sums.target_score};
  };
  for (float& v : all.memory.host()) v = 0;
  for (Index i = 0; i < batch.images; ++i)  // no score at all
    all.memory.host()[static_cast<std::size_t>(i)] = std::numeric_limits<float>::lowest();
  for (Index j = 0; j < batch.texts; ++j)
    all.memory.host()[static_cast<std::size_t>(2 * batch.images + j)] = std::numeric_limits<float>::lowest();
  all.memory.upload();
  all.target_score.host() = {0};
  all.target_score.upload();
  for_each_block([&](const Piece& images, const Piece& texts, DeviceArray<std::byte>& memory) {
    const auto inputs = cut(parts.inputs, batch.block, images, texts);
    memory.host().assign(loss.block_saved_bytes(inputs), std::byte{0xff});
    memory.upload();
    if (merges) {
      SumsInMemory of_block(images.count, texts.count);
      loss.accumulate(device, inputs, {}, of_block.sums, Into::overwrite, memory.span());
      loss.merge(device, of_block.sums, sums_of(images, texts));
      wait_for(device);
    } else {
      loss.accumulate(device, inputs, {}, sums_of(images, texts), Into::add, memory.span());
    }
  });
  DeviceArray<float> value({0}), shares({0, 0, 0, 0});
  loss.finish(device, batch.block, sums, value.data());
  // The same by shares: two pieces of rows, one of columns, the target scores.
  PairBlock rest = batch.block;
  rest.first_image = 128;
  rest.first_text = 40;
  loss.finish(device, batch.block, {cut(sums.rows, {0, 128}), cut(sums.columns, {0, 40}), nullptr},
              shares.data());
  loss.finish(device, rest, {cut(sums.rows, {128, 22}), {}, nullptr}, shares.data() + 1);
  loss.finish(device, rest, {{}, cut(sums.columns, {40, 290}), nullptr}, shares.data() + 2);
  loss.finish(device, batch.block, {{}, {}, sums.target_score}, shares.data() + 3);
  wait_for(device);
  value.download();
  shares.download();
  CHECK(to_double(value.host()[0]) == Approx(want).epsilon(1e-5));
  double of_shares = 0;
  for (float share : shares.host()) of_shares += to_double(share);
  CHECK(of_shares == Approx(want).epsilon(1e-5));

  for (const char* name : {"image", "text"}) parts.fill_gradient(name, 0);
  DeviceArray<float> d_log_scale({0});
  for_each_block([&](const Piece& images, const Piece& texts, DeviceArray<std::byte>& memory) {
    auto gradients = cut(parts.gradients, batch.block, images, texts);
    gradients.log_scale = d_log_scale.data();
    gradients.into = Into::add;
    loss.differentiate(device, cut(parts.inputs, batch.block, images, texts), sums_of(images, texts),
                       memory.span(), 1, gradients);
  });
  wait_for(device);
  d_log_scale.download();
  Arrays got = parts.gradient_values(), want_gradients = whole.gradient_values();
  got["log_scale"] = number(to_double(d_log_scale.host()[0]));
  for (const auto& [name, gradient] : got) {
    INFO("gradient of " << name);
    CHECK(relative_error(gradient, want_gradients.at(name), 1e-3) <= 4 * tolerance);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("CUDA InfoNCE in blocks is that of the batch", "", VLP_TEST_SCALARS) {
  for (double scale : {10.0, 100.0})  // without maxima and with them
    check_info_nce_in_blocks<InfoNce<TestType>>({DuplicatePolicy::positives, 0.1, 0.3, 0.9}, scale, true);
  check_info_nce_in_blocks<InfoNce<TestType>>(
      {DuplicatePolicy::ignore, 0, 0.5, 0.5, std::size_t{128} * 160 * sizeof(float)}, 20, false);
}

TEMPLATE_TEST_CASE("CUDA sigmoid in blocks adds up to that of the batch", "", VLP_TEST_SCALARS) {
  using L = Sigmoid<TestType>;
  Random random(4);
  const Batch batch = batch_in_pieces(100);
  const Arrays arrays = arrays_of(random, batch);
  const PairwiseSigmoidOptions options{DuplicatePolicy::positives, 0, PositiveWeight::one_over_count};
  LossCase<L> whole(arrays), parts(arrays);
  whole.inputs.block = batch.block;
  const double want = to_double(whole.run(options));
  Cuda device = make_device();
  L loss(options);
  parts.inputs.block = batch.block;
  parts.forward(loss, device);
  for (const char* name : {"image", "text"}) parts.fill_gradient(name, 0);
  DeviceArray<float> value({0}), d_log_scale({0}), d_bias({0});
  double sum = 0;
  for (const Piece& images : image_pieces)
    for (const Piece& texts : text_pieces) {
      const auto inputs = cut(parts.inputs, batch.block, images, texts);
      auto gradients = cut(parts.gradients, batch.block, images, texts);
      gradients.log_scale = d_log_scale.data();
      gradients.bias = d_bias.data();
      gradients.into = Into::add;
      loss.forward_backward(device, inputs, 1, {value.data()}, gradients);
      wait_for(device);
      value.download();
      sum += to_double(value.host()[0]);
    }
  CHECK(sum == Approx(want).epsilon(1e-5));
  d_log_scale.download();
  d_bias.download();
  Arrays got = parts.gradient_values(), want_gradients = whole.gradient_values();
  got["log_scale"] = number(to_double(d_log_scale.host()[0]));
  got["bias"] = number(to_double(d_bias.host()[0]));
  for (const auto& [name, gradient] : got) {
    INFO("gradient of " << name);
    CHECK(relative_error(gradient, want_gradients.at(name), 1e-3) <= 4 * tolerance_of<TestType>());
  }
}
