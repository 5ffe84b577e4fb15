#include "pairs.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"

#include <vlp/losses/cpu/pairwise_sigmoid.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/pairwise_sigmoid.cuh>
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
#include <vector>

namespace {

using namespace vlp::test;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::PairwiseSigmoidOptions;
using vlp::PositiveWeight;
using vlp::Random;

template <class Scalar>
using PairwiseSigmoid = vlp::PairwiseSigmoid<Scalar, Device>;

}  // namespace

TEMPLATE_TEST_CASE("Pairwise sigmoid agrees with double", "", VLP_TEST_SCALARS) {
  Random random(9);
  for (Rectangle shape : {Rectangle{1, 3, 70, 1}, Rectangle{33, 33, 70}, Rectangle{40, 129, 70, 1, 3},
                          Rectangle{130, 300, 70, 0, 2}}) {
    shape.groups = 11;
    shape.leaves_out = true;
    const Arrays arrays = random_rectangle(random, shape);
    for (DuplicatePolicy policy : policies)
      for (PositiveWeight weight : {PositiveWeight::one, PositiveWeight::one_over_count}) {
        CAPTURE(shape.images, shape.texts, static_cast<int>(policy), static_cast<int>(weight));
        check_against<PairwiseSigmoid<TestType>>(
            arrays, {.duplicate_policy = policy, .positive_weight = weight}, {3, 0});
        check_against<PairwiseSigmoid<TestType>>(
            arrays, {.duplicate_policy = policy, .positive_weight = weight, .false_negative_margin = 0.05});
      }
  }
}

TEMPLATE_TEST_CASE("Pairwise sigmoid gives the same bits with scores kept", "", VLP_TEST_SCALARS) {
  for (DuplicatePolicy policy : policies) check_kept_scores<PairwiseSigmoid<TestType>>({policy});
  check_kept_scores_of_batches_in_turn<PairwiseSigmoid<TestType>>();
}

TEMPLATE_TEST_CASE("Pairwise sigmoid keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(3);
  check_loss_contract<PairwiseSigmoid<TestType>>({}, random_pairs(random, 7, 19));
  check_loss_contract<PairwiseSigmoid<TestType>>({DuplicatePolicy::ignore}, random_pairs(random, 23, 130, 9));
  check_loss_contract<PairwiseSigmoid<TestType>>({DuplicatePolicy::positives},
                                                 random_pairs(random, on_cpu ? 530 : 270, 6, 200));
}

TEMPLATE_TEST_CASE("Pairwise sigmoid keeps texts that equal an image's own at any margin", "",
                   VLP_TEST_SCALARS) {
  check_margin_of_equal_texts<PairwiseSigmoid<TestType>>();
}

TEMPLATE_TEST_CASE("Pairwise sigmoid of a batch with a NaN is NaN", "", VLP_TEST_SCALARS) {
  Random random(8);
  for (const char* name : {"image", "text"}) {
    Arrays arrays = random_pairs(random, 300, 16);
    arrays.at(name).values[20] = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isnan(LossCase<PairwiseSigmoid<TestType>>(arrays).run({})));
  }
}

#ifndef VLP_TEST_CUDA
namespace {

/// The loss by its definition, and its gradients.
literal::Result literal_pairwise_sigmoid(Arrays in, const PairwiseSigmoidOptions& options) {
  for (double& x : in.at("text").values) x = std::isnan(x) ? 0 : x;  // texts that are not valid
  const literal::Pairs pairs(in);
  const auto batch = literal::contrast_batch<PairwiseSigmoid<double>>(in, options, pairs.scores, pairs.scale);
  const Index images = batch.block.images, texts = batch.block.texts;
  const double bias = in.at("bias").values[0];
  literal::Result out;
  literal::Matrix d_scores = xt::zeros_like(pairs.scores);
  double d_bias = 0;
  for (Index i = 0; i < images; ++i) {
    double positives = 0;
    for (Index j = 0; j < texts; ++j)
      positives +=
          batch.is_member(i, j) && (batch.valid.empty() || batch.valid[static_cast<std::size_t>(j)] != 0) ? 1
                                                                                                          : 0;
    for (Index j = 0; j < texts; ++j) {
      const bool is_own = j == batch.block.text_of(i);
      const bool matches =
          is_own || (options.duplicate_policy == DuplicatePolicy::positives && batch.is_member(i, j));
      const Index image = batch.block.image_of(j);
      const double own =
          std::max(batch.score(i, batch.block.text_of(i)),
                   image < 0 ? -std::numeric_limits<double>::infinity() : batch.score(image, j));
      if (!batch.is_kept(i, j, own)) continue;
      const double weight = matches && options.positive_weight == PositiveWeight::one_over_count &&
                                    options.duplicate_policy == DuplicatePolicy::positives
                                ? 1 / positives
                                : 1;
      const double z = matches ? 1 : -1, logit = z * (batch.score(i, j) + bias);
      // -log sigmoid(a) = max(-a, 0) + log(1 + exp(-|a|))
      const auto n = static_cast<double>(images);
      out.loss += weight / n * (std::max(-logit, 0.0) + std::log1p(std::exp(-std::abs(logit))));
      const double d = -weight / n * z / (1 + std::exp(logit));
      d_scores(i, j) = d;
      d_bias += d;
    }
  }
  out.gradients = pairs.backward(d_scores);
  out.gradients["bias"] = number(d_bias);
  return out;
}

void check_against_literal(const Arrays& arrays, const PairwiseSigmoidOptions& options) {
  const literal::Result want = literal_pairwise_sigmoid(arrays, options);
  LossCase<PairwiseSigmoid<double>> got(arrays);
  CHECK(relative_error(number(got.run(options, 2)), number(want.loss), 1e-3) < 1e-12);
  CHECK(relative_error(got.gradient_values(), want.gradients, 1e-3) < 1e-10);
  LossCase<PairwiseSigmoid<double>> at_once(arrays);
  vlp::Cpu device(2);
  double loss = -1;
  const PairwiseSigmoid<double> pure(options);
  pure.forward_backward(device, at_once.inputs, 1, {&loss}, at_once.gradients);
  CHECK(relative_error(number(loss), number(want.loss), 1e-3) < 1e-12);
  CHECK(same_bits(at_once.gradient_values(), got.gradient_values()));
}

}  // namespace

TEST_CASE("Pairwise sigmoid agrees with the literal definition within one tile and beyond") {
  Random random(1);
  for (Index batch : {1, 2, 33, 256, 300})
    for (DuplicatePolicy policy : policies) {
      CAPTURE(batch, static_cast<int>(policy));
      check_against_literal(random_pairs(random, batch, 5, 1 + static_cast<int>(batch) / 3), {policy});
    }
  check_against_literal(random_pairs(random, 600, 3), {});
}

TEST_CASE("Pairwise sigmoid with extra texts agrees with the literal definition") {
  Random random(2);
  for_each_rectangle(random, [](const Arrays& arrays) {
    for (DuplicatePolicy policy : policies)
      for (PositiveWeight weight : {PositiveWeight::one, PositiveWeight::one_over_count})
        for (double margin : {std::numeric_limits<double>::infinity(), 0.0, 0.3}) {
          CAPTURE(static_cast<int>(policy), static_cast<int>(weight), margin);
          check_against_literal(
              arrays,
              {.duplicate_policy = policy, .positive_weight = weight, .false_negative_margin = margin});
        }
  });
}

TEST_CASE("Pairwise sigmoid gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index batch = *rc::gen::inRange<Index>(1, 9), features = *rc::gen::inRange<Index>(2, 8);
    const PairwiseSigmoidOptions options{
        .duplicate_policy = *rc::gen::elementOf(policies),
        .positive_weight = *rc::gen::element(PositiveWeight::one, PositiveWeight::one_over_count)};
    Rectangle shape{batch, batch, features, *rc::gen::inRange<Index>(0, 3), *rc::gen::inRange<Index>(1, 4)};
    shape.texts = shape.own_text + (batch - 1) * shape.own_text_step + *rc::gen::inRange<Index>(1, 4);
    shape.groups = *rc::gen::inRange(0, 5);
    const Arrays arrays = random_rectangle(random, shape);
    const double error = gradient_error<PairwiseSigmoid<double>>(options, arrays);
    RC_LOG() << "batch " << batch << ", features " << features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}

TEST_CASE("Pairwise sigmoid stays finite where float could overflow or divide by nothing") {
  Random random(6);
  Arrays arrays = random_pairs(random, 40, 8, 10);
  for (std::size_t k = 0; k < 8; ++k) {
    arrays.at("image").values[k] = 0;
    arrays.at("text").values[8 + k] = 0;
  }
  for (double scale : {100.0, 1e4})
    for (double bias : {-10.0, 1e4})
      for (DuplicatePolicy policy : policies) {
        CAPTURE(scale, bias, static_cast<int>(policy));
        arrays["log_scale"] = number(std::log(scale));
        arrays["bias"] = number(bias);
        const literal::Result want = literal_pairwise_sigmoid(arrays, {policy});
        LossCase<PairwiseSigmoid<float>> single(arrays);
        CHECK(relative_error(number(single.run({policy})), number(want.loss)) < 1e-4);
        CHECK(relative_error(single.gradient_values(), want.gradients) < 2e-3);
        check_against_literal(arrays, {policy});
      }
}

TEST_CASE("Pairwise sigmoid keeps what easy pairs contribute") {
  // Far from the boundary each term is exp(-|logit|): far below the rounding of 1, and not nothing.
  Random random(7);
  Arrays arrays = random_pairs(random, 5, 6);
  arrays.at("text") = arrays.at("image");
  arrays["log_scale"] = number(std::log(60.0));
  arrays["bias"] = number(-30);
  for (std::size_t i = 0; i < 30; ++i)
    arrays.at("text").values[i] = arrays.at("image").values[i] = i % 7 == 0 ? 1 : 0;
  const literal::Result want = literal_pairwise_sigmoid(arrays, {});
  REQUIRE(want.loss < 1e-8);
  LossCase<PairwiseSigmoid<float>> single(arrays);
  CHECK(single.run({}) / want.loss == Approx(1).epsilon(1e-4));
}

TEST_CASE("Pairwise sigmoid says what does not fit") {
  std::vector<float> memory(100);
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  const float number = 0;
  const std::vector<std::int64_t> group(5);
  vlp::Cpu device(1);
  PairwiseSigmoid<float> loss;
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 5), &number, &number, {}}, {}),
                    "pairwise_sigmoid: image is 4 x 3 but text is 4 x 5");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), nullptr, &number, {}}, {}),
                    "pairwise_sigmoid: log_scale is not given");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), &number, nullptr, {}}, {}),
                    "pairwise_sigmoid: bias is not given");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), &number, &number, group}, {}),
                    "pairwise_sigmoid: group has 5 ids but the batch has 4 images and 4 texts");
  loss.forward(device, {view(4, 3), view(4, 3), &number, &number, {}}, {});
  CHECK_THROWS_WITH(
      loss.backward(device, {view(3, 3), view(3, 3), &number, &number, {}}, 1, {}),
      ContainsSubstring("backward is given 3 x 3 x 3 but forward had 4 x 4 x 3 (images x texts x features)"));
  CHECK_THROWS_WITH(
      loss.backward(device, {view(4, 3), view(4, 3), &number, &number, {}}, 1, {view(4, 2), {}}),
      "pairwise_sigmoid: the gradient of image is 4 x 2 but image is 4 x 3");
}
#endif
