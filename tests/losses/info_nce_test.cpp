#include "pairs.hpp"
#include "support/device.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "support/sparse_memory.hpp"

#include <vlp/losses/cpu/info_nce.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/info_nce.cuh>
#else
#include "literal.hpp"
#include "literal_contrast.hpp"

#include <rapidcheck.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace {

using namespace vlp::test;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::InfoNceOptions;
using vlp::Random;

template <class Scalar>
using InfoNce = vlp::InfoNce<Scalar, Device>;

}  // namespace

TEMPLATE_TEST_CASE("InfoNCE agrees with the golden vectors", "", VLP_TEST_SCALARS) {
  check_golden<InfoNce<TestType>>();
}

TEMPLATE_TEST_CASE("InfoNCE agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  Random random(9);
  for (auto [batch, features] :
       {std::pair<Index, Index>{1, 7}, {2, 33}, {33, 1}, {7, 129}, {127, 128}, {129, 200}, {200, 2}}) {
    const Arrays arrays = random_pairs(random, batch, features, 1 + static_cast<int>(batch) / 3);
    // With one pair, or in one dimension, gradients are nothing but what cancels.
    const double floor = batch == 1 || features == 1 ? 10 : 1e-3;
    CAPTURE(batch, features);
    check_against<InfoNce<TestType>>(arrays, {}, {1, 0}, floor);
    check_against<InfoNce<TestType>>(arrays, {DuplicatePolicy::positives, 0.1, 0, 1}, {}, floor);
    check_against<InfoNce<TestType>>(arrays, {DuplicatePolicy::ignore, 0.2, 0.3, 0.9}, {3, 0}, floor);
    check_against<InfoNce<TestType>>(arrays, {DuplicatePolicy::ignore, 0, 1, 0}, {8, 0}, floor);
  }
}

TEMPLATE_TEST_CASE("InfoNCE agrees with double at any scale", "", VLP_TEST_SCALARS) {
  // A CUDA device sums exponentials without their maximum for scales of 2^-20 to 64.
  Random random(10);
  for (double scale : {1e-30, 9e-7, 1e-6, 1.0, 63.9, 64.1, 150.0}) {
    const Arrays arrays = random_pairs(random, 33, 70, 11, scale);
    CAPTURE(scale);
    check_against<InfoNce<TestType>>(arrays, {});
    check_against<InfoNce<TestType>>(arrays, {DuplicatePolicy::ignore, 0.2, 0.3, 0.9, 33 * 33 * 8}, {3, 0});
    check_against<InfoNce<TestType>>(arrays, {DuplicatePolicy::positives, 0.1, 0, 1});
  }
}

TEMPLATE_TEST_CASE("InfoNCE with extra texts agrees with double", "", VLP_TEST_SCALARS) {
  Random random(17);
  for (Rectangle shape : {Rectangle{1, 3, 70, 1}, Rectangle{33, 70, 70}, Rectangle{40, 129, 70, 1, 3},
                          Rectangle{130, 300, 70, 0, 2}}) {
    shape.groups = 11;
    shape.leaves_out = true;
    for (DuplicatePolicy policy : policies)
      for (bool smooths : {false, true}) {
        shape.ids_of_images = smooths;
        CAPTURE(shape.images, shape.texts, static_cast<int>(policy), smooths);
        const Arrays arrays = random_rectangle(random, shape);
        const double floor = shape.images == 1 ? 10 : 1e-3;  // gradients that are what cancels
        InfoNceOptions options{policy, smooths ? 0.1 : 0, 0.3, 0.9};
        check_against<InfoNce<TestType>>(arrays, options, {3, 0}, floor);
        if (smooths) continue;
        options.false_negative_margin = 0.05;
        check_against<InfoNce<TestType>>(arrays, options, {}, floor);
      }
  }
}

TEMPLATE_TEST_CASE("InfoNCE keeps texts that equal an image's own at any margin", "", VLP_TEST_SCALARS) {
  check_margin_of_equal_texts<InfoNce<TestType>>();
}

#ifndef VLP_TEST_CUDA
TEST_CASE("InfoNCE refuses own texts that are not valid") {
  Random random(15);
  Arrays arrays = random_rectangle(random, {3, 7, 4, 1, 2});
  arrays["valid"] = {{7}, {1, 1, 1, 0, 1, 1, 1}};
  CHECK(refusal_of<InfoNce<double>>(LossCase<InfoNce<double>>(arrays).inputs) ==
        "info_nce: text 3, which is image 1's own, is not valid");
}
#endif

TEMPLATE_TEST_CASE("InfoNCE gives the same bits with scores kept", "", VLP_TEST_SCALARS) {
  for (DuplicatePolicy policy : policies) check_kept_scores<InfoNce<TestType>>({policy});
  check_kept_scores_of_batches_in_turn<InfoNce<TestType>>();
}

TEMPLATE_TEST_CASE("InfoNCE keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(3);
  check_loss_contract<InfoNce<TestType>>({}, random_pairs(random, 7, 19));
  check_loss_contract<InfoNce<TestType>>({DuplicatePolicy::ignore, 0.1}, random_pairs(random, 23, 130, 9));
  check_loss_contract<InfoNce<TestType>>({DuplicatePolicy::positives},
                                         random_pairs(random, on_cpu ? 530 : 270, 6, 200));
}

TEMPLATE_TEST_CASE("InfoNCE of one pair is nothing", "", VLP_TEST_SCALARS) {
  Random random(4);
  for (DuplicatePolicy policy : policies) {
    LossCase<InfoNce<TestType>> one(random_pairs(random, 1, 7, 1, 100));
    CHECK(one.run({policy, 0.1}) == Approx(0).margin(1e-5));
    for (const auto& [name, gradient] : one.gradient_values())
      CHECK(relative_error(gradient, {gradient.shape, std::vector<double>(gradient.values.size())}, 1) <
            1e-5);
  }
}

namespace {

/// Six equal pairs, and group ids.
Arrays equal_pairs() {
  Random random(5);
  Arrays arrays = random_pairs(random, 6, 4, 3);
  for (const char* name : {"image", "text"})
    for (Index i = 1; i < 6; ++i)
      std::copy_n(arrays.at(name).values.begin(), 4, arrays.at(name).values.begin() + i * 4);
  return arrays;
}

/// Rows of length 0, of next to nothing, and very long.
Arrays extreme_pairs() {
  Random random(6);
  Arrays arrays = random_pairs(random, 40, 8, 10, 100);
  for (std::size_t k = 0; k < 8; ++k) {
    arrays.at("image").values[k] = 0;
    arrays.at("text").values[8 + k] = 0;
    arrays.at("text").values[16 + k] *= 1e-13;  // a norm below the smallest, but not by much
    arrays.at("image").values[24 + k] *= 1e15;
  }
  return arrays;
}

}  // namespace

TEMPLATE_TEST_CASE("InfoNCE of equal pairs", "", VLP_TEST_SCALARS) {
  Arrays arrays = equal_pairs();
  LossCase<InfoNce<TestType>> equal(arrays);
  CHECK(equal.run({}) == Approx(std::log(6.0)));
  for (DuplicatePolicy policy : policies) check_against<InfoNce<TestType>>(arrays, {policy, 0.1}, {}, 10);

  arrays.at("group").values.assign(6, 4);  // all reports equal: nothing to tell apart
  LossCase<InfoNce<TestType>> ignored(arrays);
  CHECK(ignored.run({DuplicatePolicy::ignore}) == Approx(0).margin(tolerance_of<TestType>()));
}

TEMPLATE_TEST_CASE("InfoNCE stays finite where float could overflow or divide by nothing", "",
                   VLP_TEST_SCALARS) {
  Arrays arrays = rounded<InfoNce<TestType>>(extreme_pairs());
  const auto check = [&](double scale, double tolerance) {
    arrays["log_scale"] = number(std::log(scale));
    for (DuplicatePolicy policy : policies) {
      CAPTURE(scale, static_cast<int>(policy));
      LossCase<vlp::InfoNce<double>> want(arrays);
      LossCase<InfoNce<TestType>> got(arrays);
      const double loss = want.run({policy, 0.1});
      CHECK(relative_error(number(to_double(got.run({policy, 0.1}))), number(loss)) < tolerance);
      // Those of rows without length are beyond Half.
      const Arrays gradients = rounded<InfoNce<TestType>>(want.gradient_values());
      CHECK(relative_error(got.gradient_values(), gradients) < 20 * tolerance + tolerance_of<TestType>());
    }
  };
  check(100, 1e-5);
  check(1e4, 1e-4);
}

TEMPLATE_TEST_CASE("InfoNCE of a batch with a NaN is NaN", "", VLP_TEST_SCALARS) {
  Random random(7);
  for (const char* name : {"image", "text"})
    for (Index batch : {3, 300})
      for (double value :
           {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        CAPTURE(name, batch, value);
        Arrays arrays = random_pairs(random, batch, 16);
        arrays.at(name).values[20] = value;
        CHECK(std::isnan(LossCase<InfoNce<TestType>>(arrays).run({})));
      }
}

TEST_CASE("InfoNCE options") {
  CHECK(InfoNceOptions::clip().image_to_text_weight == 0.5);
  CHECK(InfoNceOptions::clip().text_to_image_weight == 0.5);
  CHECK(InfoNceOptions::convirt(0.75).image_to_text_weight == 0.75);
  CHECK(InfoNceOptions::convirt(0.75).text_to_image_weight == 0.25);

  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (double smoothing : {-0.1, 1.0, nan})
    CHECK_THROWS_WITH(InfoNce<float>({.label_smoothing = smoothing}),
                      ContainsSubstring("info_nce: label_smoothing must be in [0, 1)"));
  for (auto [rows, columns] : {std::pair{-1.0, 2.0}, {2.0, -1.0}, {0.0, 0.0}, {nan, 1.0}})
    CHECK_THROWS_WITH(InfoNce<float>({.image_to_text_weight = rows, .text_to_image_weight = columns}),
                      ContainsSubstring("info_nce: image_to_text_weight and text_to_image_weight must be"));
}

TEST_CASE("InfoNCE says what does not fit") {
  DeviceArray<float> memory(std::vector<float>(100)), number({0});
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  const float* const scale = number.data();
  DeviceArray<std::int64_t> group(std::vector<std::int64_t>(5));
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(4, 3), scale, {}}) == "no error");
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(4, 5), scale, {}}) ==
        "info_nce: image is 4 x 3 but text is 4 x 5");
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(5, 3), scale, {}}) == "no error");
  CHECK(refusal_of<InfoNce<float>>({view(5, 3), view(4, 3), scale, {}}) ==
        "info_nce: image 4 of the batch has text 0 + 4 x 1, but there are 4 texts");
  CHECK(refusal_of<InfoNce<float>>({view(0, 3), view(0, 3), scale, {}}) ==
        "info_nce: image is 0 x 3, but every extent must be at least 1");
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), {}, scale, {}}) ==
        "info_nce: text is 0 x 0, but every extent must be at least 1");
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(4, 3), nullptr, {}}) ==
        "info_nce: log_scale is not given");
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(4, 3), scale, group.span()}) ==
        "info_nce: group has 5 ids but the batch has 4 images and 4 texts");
  const InfoNce<float>::Gradients gradients{{}, view(4, 2)};
  CHECK(refusal_of<InfoNce<float>>({view(4, 3), view(4, 3), scale, {}}, gradients) ==
        "info_nce: the gradient of text is 4 x 2 but text is 4 x 3");

  auto device = make_device();
  InfoNce<float> loss;
  loss.forward(device, {view(4, 3), view(4, 3), scale, {}}, {});
  CHECK_THROWS_WITH(
      loss.backward(device, {view(3, 3), view(3, 3), scale, {}}, 1, {}),
      ContainsSubstring("backward is given 3 x 3 x 3 but forward had 4 x 4 x 3 (images x texts x features)"));
}

#if !defined(VLP_TEST_CUDA) || defined(VLP_CUDA_EMULATION)  // memory of the host
TEST_CASE("InfoNCE reads and writes rows whose offsets exceed 32 bits") {
  constexpr Index batch = 3, features = 8, stride = Index{3} << 30;
  const SparseMemory<float> memory(2 * batch * stride), gradients(2 * batch * stride);
  const auto rows = [&](const SparseMemory<float>& m, Index k) {
    return vlp::MatrixView<float>(m.data() + k * features, {batch, features}, {stride, 1});
  };
  Random random(8);
  const Arrays arrays = random_pairs(random, batch, features);
  LossCase<InfoNce<float>> near(arrays), far(arrays);
  for (Index i = 0; i < batch; ++i)
    for (Index k = 0; k < features; ++k) {
      const auto at = static_cast<std::size_t>(i * features + k);
      rows(memory, 0)(i, k) = near.values("image")[at];
      rows(memory, 1)(i, k) = near.values("text")[at];
    }
  far.inputs.image = rows(memory, 0);
  far.inputs.text = rows(memory, 1);
  far.gradients.image = rows(gradients, 0);
  far.gradients.text = rows(gradients, 1);
  CHECK(far.run({}) == Approx(near.run({})));
  CHECK(relative_error(far.gradient_values(), near.gradient_values()) < 1e-6);
}
#endif

#ifndef VLP_TEST_CUDA
namespace {

/// InfoNCE and its gradients by their definition.
literal::Result literal_info_nce(Arrays in, const InfoNceOptions& o) {
  for (double& x : in.at("text").values) x = std::isnan(x) ? 0 : x;  // texts that are not valid
  const literal::Pairs pairs(in);
  const literal::ContrastResult result =
      literal::contrast(literal::contrast_batch<InfoNce<double>>(in, o, pairs.scores, pairs.scale));
  literal::Matrix d_scores = pairs.scores;
  std::copy(result.d_scores.begin(), result.d_scores.end(), d_scores.begin());
  return {result.loss, pairs.backward(d_scores)};
}

void check_against_literal(const Arrays& arrays, const InfoNceOptions& options) {
  const literal::Result want = literal_info_nce(arrays, options);
  LossCase<InfoNce<double>> got(arrays);
  CHECK(relative_error(number(got.run(options, 2)), number(want.loss), 0.1) < 1e-12);
  CHECK(relative_error(got.gradient_values(), want.gradients, 1e-3) < 1e-10);
}

}  // namespace

TEST_CASE("InfoNCE agrees with the literal definition within one tile and beyond") {
  Random random(1);
  for (Index batch : {1, 2, 33, 256, 300}) {
    const Arrays arrays = random_pairs(random, batch, 5, 1 + static_cast<int>(batch) / 3);
    for (DuplicatePolicy policy : policies)
      for (double smoothing : {0.0, 0.2}) {
        CAPTURE(batch, static_cast<int>(policy), smoothing);
        check_against_literal(arrays, {policy, smoothing, 0.3, 0.9});
      }
  }
  check_against_literal(random_pairs(random, 600, 3), InfoNceOptions::convirt());
}

TEST_CASE("InfoNCE with extra texts agrees with the literal definition") {
  Random random(13);
  for_each_rectangle(random, [](const Arrays& arrays) {
    for (DuplicatePolicy policy : policies)
      for (double smoothing : {0.0, 0.2}) {
        CAPTURE(static_cast<int>(policy), smoothing);
        check_against_literal(arrays, {policy, smoothing, 0.3, 0.9});
      }
  });
}

TEST_CASE("InfoNCE without probable false negatives agrees with the literal definition") {
  Random random(14);
  for (const Rectangle& shape : {Rectangle{8, 8, 5}, Rectangle{6, 17, 5, 1, 3}, Rectangle{300, 300, 5}})
    for (DuplicatePolicy policy : policies)
      for (double margin : {0.0, 0.2, 5.0})
        for (double scale : {5.0, 200.0}) {
          CAPTURE(shape.images, shape.texts, static_cast<int>(policy), margin, scale);
          Rectangle grouped = shape;
          grouped.groups = 4;
          grouped.leaves_out = true;
          Arrays arrays = random_rectangle(random, grouped);
          arrays["log_scale"] = number(std::log(scale));
          InfoNceOptions options{policy, 0, 0.3, 0.9};
          options.false_negative_margin = margin;
          check_against_literal(arrays, options);
          options.kept_score_bytes = std::size_t{1} << 30;
          check_against_literal(arrays, options);
        }
}

TEST_CASE("InfoNCE gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index batch = *rc::gen::inRange<Index>(1, 9), features = *rc::gen::inRange<Index>(2, 8);
    const InfoNceOptions options{*rc::gen::elementOf(policies), *rc::gen::element(0.0, 0.1, 0.9),
                                 *rc::gen::element(0.0, 0.75), *rc::gen::element(0.25, 1.0)};
    Rectangle shape{batch, batch, features, *rc::gen::inRange<Index>(0, 3), *rc::gen::inRange<Index>(1, 4)};
    shape.texts = shape.own_text + (batch - 1) * shape.own_text_step + *rc::gen::inRange<Index>(1, 4);
    shape.groups = *rc::gen::inRange(0, 5);
    shape.ids_of_images = *rc::gen::arbitrary<bool>();
    const Arrays arrays = random_rectangle(random, shape);
    const double error = gradient_error<InfoNce<double>>(options, arrays);
    RC_LOG() << "batch " << batch << ", features " << features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
  Random random(2);
  CHECK(directional_error<InfoNce<double>>({DuplicatePolicy::ignore, 0.1}, random_pairs(random, 270, 4, 90),
                                           random) < 1e-7);
}

TEST_CASE("InfoNCE of pairs that are equal or extreme agrees with the literal definition") {
  for (DuplicatePolicy policy : policies) check_against_literal(equal_pairs(), {policy, 0.1});
  Arrays arrays = extreme_pairs();
  for (double scale : {100.0, 1e4}) {
    arrays["log_scale"] = number(std::log(scale));
    for (DuplicatePolicy policy : policies) {
      CAPTURE(scale, static_cast<int>(policy));
      const literal::Result want = literal_info_nce(arrays, {policy, 0.1});
      LossCase<InfoNce<double>> got(arrays);
      CHECK(relative_error(number(got.run({policy, 0.1})), number(want.loss)) < 1e-12);
      CHECK(relative_error(got.gradient_values(), want.gradients) < 1e-9);
    }
  }
}
#endif
