#include "support/device.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "support/sparse_memory.hpp"

#include <vlp/losses/cpu/perturbation_sensitivity.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>
#else
#include "literal.hpp"

#include <rapidcheck.h>
#endif

#include <limits>
#include <string>

namespace {

using namespace vlp::test;
using vlp::Index;
using vlp::Random;

template <class Scalar>
using PerturbationSensitivity = vlp::PerturbationSensitivity<Scalar, Device>;

/// image [B, D], text [B, 1 + K, D], log_scale, and valid [B, 1 + K] with about a third of the perturbations
/// out.
Arrays random_candidates(Random& random, Index batch, Index perturbations, Index features, bool mask,
                         double scale = 1 / 0.07) {
  Arrays out{{"image", normal(random, {batch, features})},
             {"text", normal(random, {batch, 1 + perturbations, features})},
             {"log_scale", number(std::log(scale))}};
  if (mask) {
    Array& valid = out["valid"] = {{batch, 1 + perturbations}, {}};
    for (Index b = 0; b < batch; ++b)
      for (Index k = 0; k <= perturbations; ++k)
        valid.values.push_back(k == 0 || random.below(3) > 0 ? 1 : 0);
  }
  return out;
}

}  // namespace

TEMPLATE_TEST_CASE("Perturbation sensitivity agrees with the golden vectors", "", VLP_TEST_SCALARS) {
  check_golden<PerturbationSensitivity<TestType>>();
}

TEMPLATE_TEST_CASE("Perturbation sensitivity agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  struct Shape {
    Index batch, perturbations, features;
  };
  Random random(2);
  for (auto [batch, perturbations, features] : {Shape{1, 0, 7},
                                                {2, 1, 33},
                                                {7, 9, 2},
                                                {33, 2, 129},
                                                {129, 1, 1},
                                                {2, 200, 33},
                                                {1, 127, 128},
                                                {7, 32, 200},
                                                {1, 5, 1544}})
    for (bool mask : {false, true}) {
      CAPTURE(batch, perturbations, features, mask);
      // In one dimension nothing is left of gradients but what cancels.
      const double floor = features == 1 ? 10 : 1e-3;
      const Arrays arrays = random_candidates(random, batch, perturbations, features, mask);
      check_against<PerturbationSensitivity<TestType>>(arrays, {}, {}, floor);
      check_against<PerturbationSensitivity<TestType>>(arrays, {}, mask ? Padding{1, 3} : Padding{8, 0},
                                                       floor);
    }
}

TEMPLATE_TEST_CASE("Perturbation sensitivity keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(3);
  check_loss_contract<PerturbationSensitivity<TestType>>({}, random_candidates(random, 5, 3, 11, false));
  check_loss_contract<PerturbationSensitivity<TestType>>(
      {}, random_candidates(random, on_cpu ? 61 : 13, 9, 33, true));
}

TEMPLATE_TEST_CASE("Perturbation sensitivity never reads what is not valid", "", VLP_TEST_SCALARS) {
  Random random(4);
  Arrays arrays = random_candidates(random, 6, 4, 5, true);
  std::fill_n(arrays.at("valid").values.begin() + 11, 4, 0.0);  // row 2 has no negative left
  Arrays poisoned = arrays;
  std::size_t dropped = 0;
  for (std::size_t at = 0; at < 30; ++at) {
    if (arrays.at("valid").values[at] != 0) continue;
    ++dropped;
    std::fill_n(poisoned.at("text").values.begin() + static_cast<std::ptrdiff_t>(at * 5), 5,
                std::numeric_limits<double>::quiet_NaN());
  }
  REQUIRE(dropped > 4);
  LossCase<PerturbationSensitivity<TestType>> clean(arrays), other(poisoned);
  CHECK(clean.run({}) == other.run({}));
  const Arrays gradients = other.gradient_values();
  CHECK(same_bits(clean.gradient_values(), gradients));
  for (std::size_t k = 0; k < 5; ++k) CHECK(gradients.at("image").values[10 + k] == 0);
  for (std::size_t at = 0; at < 30; ++at)
    for (std::size_t k = 0; k < 5; ++k)
      if (arrays.at("valid").values[at] == 0 || at / 5 == 2)
        CHECK(gradients.at("text").values[at * 5 + k] == 0);
}

TEMPLATE_TEST_CASE(
    "Perturbation sensitivity of a report like its perturbations is the logarithm of their number", "",
    VLP_TEST_SCALARS) {
  Random random(5);
  Arrays arrays = random_candidates(random, 3, 4, 6, false);
  for (Index b = 0; b < 3; ++b)
    for (Index k = 1; k < 5; ++k)
      std::copy_n(arrays.at("text").values.begin() + b * 30, 6,
                  arrays.at("text").values.begin() + b * 30 + k * 6);
  CHECK(LossCase<PerturbationSensitivity<TestType>>(arrays).run({}) == Approx(std::log(5.0)));
}

TEMPLATE_TEST_CASE("Perturbation sensitivity of a batch with a NaN is NaN", "", VLP_TEST_SCALARS) {
  Random random(6);
  for (const char* name : {"image", "text"}) {
    Arrays arrays = random_candidates(random, 4, 3, 20, false);
    arrays.at(name).values[25] = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isnan(LossCase<PerturbationSensitivity<TestType>>(arrays).run({})));
  }
}

TEST_CASE("Perturbation sensitivity says what does not fit") {
  DeviceArray<float> memory(std::vector<float>(100)), number({0});
  const vlp::MatrixView<float> image(memory.data(), {2, 4});
  const vlp::BatchView<float> text(memory.data(), {2, 3, 4}), longer(memory.data(), {3, 3, 4}),
      wider(memory.data(), {2, 3, 5}), none(memory.data(), {2, 0, 4});
  const float* const scale = number.data();
  DeviceArray<std::uint8_t> bytes({1, 0, 0, 1, 1, 1});
  const vlp::MatrixView<const std::uint8_t> valid(bytes.data(), {2, 3}), narrow(bytes.data(), {2, 2});
  const std::string name = "perturbation_sensitivity: ";
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, text, scale}) == "no error");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, longer, scale}) ==
        name + "image is 2 x 4 but text is 3 x 3 x 4");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, wider, scale}) ==
        name + "image is 2 x 4 but text is 2 x 3 x 5");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, none, scale}) ==
        name + "text is 2 x 0 x 4, but every extent must be at least 1");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, text, nullptr}) ==
        name + "log_scale is not given");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, text, scale, narrow}) ==
        name + "valid is 2 x 2 but text is 2 x 3 x 4");
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, text, scale, valid}) == "no error");
  const PerturbationSensitivity<float>::Gradients gradients{{}, longer};
  CHECK(refusal_of<PerturbationSensitivity<float>>({image, text, scale}, gradients) ==
        name + "the gradient of text is 3 x 3 x 4 but text is 2 x 3 x 4");

  auto device = make_device();
  PerturbationSensitivity<float> loss;
  loss.forward(device, {image, text, scale}, {});
  CHECK_THROWS_WITH(loss.backward(device, {image, none, scale}, 1, {}),
                    ContainsSubstring("text is 2 x 0 x 4"));
  CHECK_THROWS_WITH(
      loss.backward(device, {image.slice(0, 1), text.slice(0, 1), scale}, 1, {}),
      ContainsSubstring(
          "backward is given 1 x 3 x 4 but forward had 2 x 3 x 4 (pairs x candidates x features)"));
}

#if !defined(VLP_TEST_CUDA) || defined(VLP_CUDA_EMULATION)  // memory of the host
TEST_CASE("Perturbation sensitivity reads and writes candidates whose offsets exceed 32 bits") {
  constexpr Index batch = 2, candidates = 3, features = 4, stride = Index{3} << 30;
  const SparseMemory<float> memory(batch * candidates * stride), gradient(batch * candidates * stride);
  Random random(7);
  const Arrays arrays = random_candidates(random, batch, candidates - 1, features, false);
  LossCase<PerturbationSensitivity<float>> near(arrays), far(arrays);
  const auto view = [&](const SparseMemory<float>& m) {
    return vlp::BatchView<float>(m.data(), {batch, candidates, features}, {candidates * stride, stride, 1});
  };
  for (Index b = 0; b < batch; ++b)
    for (Index k = 0; k < candidates; ++k)
      for (Index d = 0; d < features; ++d)
        view(memory)(b, k, d) =
            near.values("text")[static_cast<std::size_t>((b * candidates + k) * features + d)];
  far.inputs.text = view(memory);
  far.gradients.text = view(gradient);
  CHECK(far.run({}) == Approx(near.run({})));
  CHECK(relative_error(far.gradient_values(), near.gradient_values()) < 1e-6);
}
#endif

#ifndef VLP_TEST_CUDA
namespace {

/// The loss and its gradients, one image after the other.
literal::Result literal_perturbation_sensitivity(const Arrays& in) {
  using literal::Matrix;
  const Matrix image = literal::matrix(in.at("image"));
  const auto shape = in.at("text").shape;
  const auto batch = static_cast<std::size_t>(shape[0]), candidates = static_cast<std::size_t>(shape[1]),
             features = static_cast<std::size_t>(shape[2]);
  const xt::xtensor<double, 3> text = xt::adapt(in.at("text").values, {batch, candidates, features});
  Matrix keep = xt::ones<double>({batch, candidates});
  if (in.contains("valid")) keep = literal::matrix(in.at("valid"));
  const double scale = std::exp(in.at("log_scale").values[0]);

  literal::Result out;
  Matrix d_image = xt::zeros_like(image);
  xt::xtensor<double, 3> d_text = xt::zeros_like(text);
  double d_log_scale = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    const Matrix x = xt::view(image, xt::range(b, b + 1), xt::all());
    const Matrix y = xt::view(text, b, xt::all(), xt::all());
    const Matrix kept = xt::view(keep, xt::range(b, b + 1), xt::all());
    const Matrix scores =
        scale * literal::dot(literal::normalize(x), literal::transpose(literal::normalize(y)));
    const Matrix z = xt::where(kept > 0, scores, -std::numeric_limits<double>::infinity());
    const double max = xt::amax(z)();
    const double lse = max + std::log(xt::sum(xt::exp(z - max))());
    out.loss += (lse - z(0, 0)) / static_cast<double>(batch);
    Matrix d = xt::exp(z - lse);
    d(0, 0) -= 1;
    d /= static_cast<double>(batch);
    xt::view(d_image, xt::range(b, b + 1), xt::all()) =
        literal::normalize_backward(x, scale * literal::dot(d, literal::normalize(y)));
    xt::view(d_text, b, xt::all(), xt::all()) =
        literal::normalize_backward(y, scale * literal::dot(literal::transpose(d), literal::normalize(x)));
    d_log_scale += xt::sum(d * scores)();
  }
  out.gradients = {{"image", literal::array(d_image)},
                   {"text", {shape, {d_text.begin(), d_text.end()}}},
                   {"log_scale", number(d_log_scale)}};
  return out;
}

}  // namespace

TEST_CASE("Perturbation sensitivity agrees with the literal definition") {
  Random random(1);
  for (bool mask : {false, true})
    for (double scale : {1 / 0.07, 100.0, 1e4}) {
      Arrays arrays = random_candidates(random, 37, 9, 12, mask, scale);
      std::fill_n(arrays.at("image").values.begin() + 12, 12, 0.0);
      std::fill_n(arrays.at("text").values.begin() + 500, 30, 0.0);
      const literal::Result want = literal_perturbation_sensitivity(arrays);
      LossCase<PerturbationSensitivity<double>> got(arrays);
      CAPTURE(mask, scale);
      CHECK(relative_error(number(got.run({}, 2)), number(want.loss)) < 1e-12);
      CHECK(relative_error(got.gradient_values(), want.gradients) < 1e-10);
      LossCase<PerturbationSensitivity<float>> single(arrays);
      CHECK(relative_error(number(single.run({})), number(want.loss)) < 1e-5);
      CHECK(relative_error(single.gradient_values(), want.gradients) < 1e-7 * scale + 1e-5);
    }
}

TEST_CASE("Perturbation sensitivity gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index batch = *rc::gen::inRange<Index>(1, 12), perturbations = *rc::gen::inRange<Index>(0, 6),
                features = *rc::gen::inRange<Index>(2, 8);
    const Arrays arrays =
        random_candidates(random, batch, perturbations, features, *rc::gen::arbitrary<bool>(), 5);
    const double error = gradient_error<PerturbationSensitivity<double>>({}, arrays);
    RC_LOG() << batch << " x " << 1 + perturbations << " x " << features << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}

TEST_CASE("Perturbation sensitivity says which report is not valid") {
  Random random(8);
  Arrays arrays = random_candidates(random, 2, 2, 4, true);
  arrays.at("valid").values = {1, 0, 0, 0, 1, 1};
  LossCase<PerturbationSensitivity<float>> loss_case(arrays);
  CHECK_THROWS_WITH(loss_case.run({}), "perturbation_sensitivity: the report (k = 0) of row 1 is not valid");
}
#endif
