#include "literal.hpp"
#include "pairs.hpp"
#include "support/gradients.hpp"

#include <rapidcheck.h>

#include <vlp/losses/pairwise_sigmoid.hpp>

#include <limits>

namespace {

using namespace vlp::test;
using vlp::Cpu;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::PairwiseSigmoid;
using vlp::PairwiseSigmoidOptions;
using vlp::Random;

/// The loss of the paper's algorithm 1, and its gradients.
literal::Result literal_pairwise_sigmoid(const Arrays& in, const PairwiseSigmoidOptions& options) {
  using literal::Matrix;
  const literal::Pairs pairs(in);
  const std::size_t batch = pairs.image.shape(0);
  const auto n = static_cast<double>(batch);
  const Matrix eye = xt::eye<double>(batch), same = literal::same_group(in, batch);
  const Matrix keep = options.duplicate_policy == DuplicatePolicy::ignore ? Matrix(1 - (same - eye))
                                                                          : Matrix(xt::ones_like(eye));
  const Matrix z = 2 * (options.duplicate_policy == DuplicatePolicy::positives ? same : eye) - 1;
  const Matrix logits = z * (pairs.scores + in.at("bias").values[0]);
  // -log sigmoid(a) = max(-a, 0) + log(1 + exp(-|a|))
  const Matrix losses = xt::maximum(-logits, 0.0) + xt::log1p(xt::exp(-xt::abs(logits)));
  const Matrix d_scores = -keep * z / (1 + xt::exp(logits)) / n;
  literal::Result out{xt::sum(keep * losses)() / n, pairs.backward(d_scores)};
  out.gradients["bias"] = number(xt::sum(d_scores)());
  return out;
}

void check_against_literal(const Arrays& arrays, const PairwiseSigmoidOptions& options) {
  const literal::Result want = literal_pairwise_sigmoid(arrays, options);
  LossCase<PairwiseSigmoid<double>> got(arrays);
  CHECK(relative_error(number(got.run(options, 2)), number(want.loss), 1e-3) < 1e-12);
  CHECK(relative_error(got.gradient_values(), want.gradients, 1e-3) < 1e-10);
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

TEST_CASE("Pairwise sigmoid gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index batch = *rc::gen::inRange<Index>(1, 9), features = *rc::gen::inRange<Index>(2, 8);
    const PairwiseSigmoidOptions options{*rc::gen::elementOf(policies)};
    const Arrays arrays = random_pairs(random, batch, features, *rc::gen::inRange(0, 5), 5);
    const double error = gradient_error<PairwiseSigmoid<double>>(options, arrays);
    RC_LOG() << "batch " << batch << ", features " << features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}

TEMPLATE_TEST_CASE("Pairwise sigmoid gives the same bits with scores kept", "", float, double) {
  for (DuplicatePolicy policy : policies) check_kept_scores<PairwiseSigmoid<TestType>>({policy});
  check_kept_scores_of_batches_in_turn<PairwiseSigmoid<TestType>>();
}

TEMPLATE_TEST_CASE("Pairwise sigmoid keeps to the contract of a loss", "", float, double) {
  Random random(3);
  check_loss_contract<PairwiseSigmoid<TestType>>({}, random_pairs(random, 7, 19));
  check_loss_contract<PairwiseSigmoid<TestType>>({DuplicatePolicy::ignore}, random_pairs(random, 23, 130, 9));
  check_loss_contract<PairwiseSigmoid<TestType>>({DuplicatePolicy::positives},
                                                 random_pairs(random, 530, 6, 200));
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

TEST_CASE("Pairwise sigmoid of a batch with a NaN is NaN") {
  Random random(8);
  for (const char* name : {"image", "text"}) {
    Arrays arrays = random_pairs(random, 300, 16);
    arrays.at(name).values[20] = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isnan(LossCase<PairwiseSigmoid<float>>(arrays).run({})));
  }
}

TEST_CASE("Pairwise sigmoid says what does not fit") {
  std::vector<float> memory(100);
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  const float number = 0;
  const std::vector<std::int64_t> group(5);
  Cpu device(1);
  PairwiseSigmoid<float> loss;
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 5), &number, &number, {}}, {}),
                    "pairwise_sigmoid: image is 4 x 3 but text is 4 x 5");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), nullptr, &number, {}}, {}),
                    "pairwise_sigmoid: log_scale is not given");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), &number, nullptr, {}}, {}),
                    "pairwise_sigmoid: bias is not given");
  CHECK_THROWS_WITH(loss.forward(device, {view(4, 3), view(4, 3), &number, &number, group}, {}),
                    "pairwise_sigmoid: group has 5 ids but the batch has 4 pairs");
  loss.forward(device, {view(4, 3), view(4, 3), &number, &number, {}}, {});
  CHECK_THROWS_WITH(loss.backward(device, {view(3, 3), view(3, 3), &number, &number, {}}, 1, {}),
                    ContainsSubstring("backward is given 3 x 3 but forward had 4 x 3 (pairs x features)"));
  CHECK_THROWS_WITH(
      loss.backward(device, {view(4, 3), view(4, 3), &number, &number, {}}, 1, {view(4, 2), {}}),
      "pairwise_sigmoid: the gradient of image is 4 x 2 but image is 4 x 3");
}
