#include "support/device.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "support/sparse_memory.hpp"

#include <vlp/core/into.hpp>
#include <vlp/losses/cpu/distillation.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/distillation.cuh>
#else
#include "literal.hpp"

#include <rapidcheck.h>
#endif

#include <limits>
#include <string>

namespace {

using namespace vlp::test;
using vlp::DistillationOptions;
using vlp::Index;
using vlp::Random;

template <class Scalar>
using Distillation = vlp::Distillation<Scalar, Device>;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// student and teacher [N, V], and valid [N], which leaves out every `invalid`-th row.
Arrays random_logits(Random& random, Index rows, Index vocabulary, Index invalid = 0, double scale = 1) {
  Arrays out{{"student", normal(random, {rows, vocabulary}, scale)},
             {"teacher", normal(random, {rows, vocabulary}, scale)}};
  if (invalid > 0) {
    Array& valid = out["valid"] = {{rows}, {}};
    for (Index n = 0; n < rows; ++n) valid.values.push_back(n % invalid == 0 ? 0 : 1);
  }
  return out;
}

/// Multiples of 1000, and up to 2 more.
Arrays large_logits() {
  Random random(8);
  Arrays arrays = random_logits(random, 20, 600);
  for (const char* name : {"student", "teacher"})
    for (double& v : arrays.at(name).values)
      v = 1000.0 * static_cast<double>(random.below(21)) - 10000 +
          0.25 * static_cast<double>(random.below(9));
  return arrays;
}

}  // namespace

TEMPLATE_TEST_CASE("Distillation agrees with the golden vectors", "", VLP_TEST_SCALARS) {
  check_golden<Distillation<TestType>>();
}

TEMPLATE_TEST_CASE("Distillation agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  Random random(2);
  for (auto [rows, vocabulary] :
       {std::pair<Index, Index>{1, 1}, {1, 200}, {2, 33}, {7, 2}, {33, 129}, {2, 1025}, {1, 5001}})
    for (Index invalid : {0, 2})
      for (double temperature : {0.5, 4.0}) {
        CAPTURE(rows, vocabulary, invalid, temperature);
        const Arrays arrays = random_logits(random, rows, vocabulary, invalid, 3);
        check_against<Distillation<TestType>>(arrays, {temperature}, {invalid + 1, 0});
        check_against<Distillation<TestType>>(arrays, {temperature}, {invalid * 8, 0});
      }
}

TEMPLATE_TEST_CASE("Distillation keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(3);
  check_loss_contract<Distillation<TestType>>({}, random_logits(random, 5, 11));
  check_loss_contract<Distillation<TestType>>({2.5}, random_logits(random, on_cpu ? 61 : 13, 1300, 4));
}

TEMPLATE_TEST_CASE("Distillation never reads rows that are not valid", "", VLP_TEST_SCALARS) {
  Random random(4);
  const Arrays arrays = random_logits(random, 9, 5, 4);  // not rows 0, 4 and 8
  Arrays poisoned = arrays;
  for (const char* name : {"student", "teacher"})
    for (Index n : {0, 4, 8}) std::fill_n(poisoned.at(name).values.begin() + n * 5, 5, not_a_number);
  LossCase<Distillation<TestType>> clean(arrays), other(poisoned), accumulated(poisoned);
  CHECK(clean.run({}) == other.run({}));
  CHECK(same_bits(clean.gradient_values(), other.gradient_values()));
  accumulated.gradients.into = vlp::Into::add;
  accumulated.fill_gradient("student", 3);
  accumulated.run({});
  const Arrays overwritten = other.gradient_values(), added = accumulated.gradient_values();
  for (std::size_t n : {0, 4, 8})
    for (std::size_t v = 0; v < 5; ++v) {
      CHECK(overwritten.at("student").values[n * 5 + v] == 0);
      CHECK(added.at("student").values[n * 5 + v] == 3);
    }
}

TEMPLATE_TEST_CASE("Distillation without a valid row is nothing", "", VLP_TEST_SCALARS) {
  Random random(5);
  const Arrays arrays = random_logits(random, 3, 4, 1);
  LossCase<Distillation<TestType>> overwritten(arrays), accumulated(arrays);
  CHECK(overwritten.run({}) == 0);
  CHECK(overwritten.gradient_values().at("student").values == std::vector<double>(12, 0));
  accumulated.gradients.into = vlp::Into::add;
  accumulated.fill_gradient("student", 3);
  CHECK(accumulated.run({}) == 0);
  CHECK(accumulated.gradient_values().at("student").values == std::vector<double>(12, 3));
}

TEMPLATE_TEST_CASE("Distillation of equal logits is exactly nothing", "", VLP_TEST_SCALARS) {
  Random random(6);
  for (double scale : {1.0, 1e4})
    for (Index vocabulary : {1, 7, 700, 2001}) {
      CAPTURE(scale, vocabulary);
      Arrays arrays = random_logits(random, 5, vocabulary, 0, scale);
      arrays.at("teacher") = arrays.at("student");
      // Rows that start off the alignment of registers.
      LossCase<Distillation<TestType>> equal(arrays, {3, 0});
      CHECK(equal.run({1.7}) == 0);
      CHECK(equal.gradient_values().at("student").values ==
            std::vector<double>(static_cast<std::size_t>(5 * vocabulary), 0));
    }
}

TEMPLATE_TEST_CASE("Distillation stays finite at logits of ten thousand", "", VLP_TEST_SCALARS) {
  for (double temperature : {0.5, 1.0, 8.0}) {
    CAPTURE(temperature);
    check_against<Distillation<TestType>>(large_logits(), {temperature});
  }
}

TEMPLATE_TEST_CASE("Distillation of a batch with a NaN or an infinity is NaN", "", VLP_TEST_SCALARS) {
  Random random(9);
  for (const char* name : {"student", "teacher"})
    for (double value : {not_a_number, std::numeric_limits<double>::infinity()})
      for (std::size_t at : {0, 700, 1399}) {
        CAPTURE(name, value, at);
        Arrays arrays = random_logits(random, 2, 700);
        arrays.at(name).values[at] = value;
        CHECK(std::isnan(LossCase<Distillation<TestType>>(arrays).run({})));
      }
}

TEST_CASE("Distillation options") {
  CHECK(Distillation<float>().options().temperature == 1);
  for (double temperature : {0.0, -1.0, std::numeric_limits<double>::infinity(), not_a_number})
    CHECK_THROWS_WITH(Distillation<float>({temperature}),
                      ContainsSubstring("distillation: temperature must be finite and above 0, but is "));
}

TEST_CASE("Distillation says what does not fit") {
  using Loss = Distillation<float>;
  DeviceArray<float> memory(std::vector<float>(100));
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  DeviceArray<std::uint8_t> bytes(std::vector<std::uint8_t>(5));
  const vlp::VectorView<const std::uint8_t> valid(bytes.data(), {3}), longer(bytes.data(), {5});
  const std::string name = "distillation: ";
  CHECK(refusal_of<Loss>({view(3, 4), view(3, 4), valid}) == "no error");
  CHECK(refusal_of<Loss>({view(3, 4), view(3, 4), {}}) == "no error");
  CHECK(refusal_of<Loss>({view(3, 4), view(3, 5), valid}) == name + "student is 3 x 4 but teacher is 3 x 5");
  CHECK(refusal_of<Loss>({view(3, 4), view(2, 4), valid}) == name + "student is 3 x 4 but teacher is 2 x 4");
  CHECK(refusal_of<Loss>({view(3, 4), {}, valid}) ==
        name + "teacher is 0 x 0, but every extent must be at least 1");
  CHECK(refusal_of<Loss>({view(3, 0), view(3, 0), valid}) ==
        name + "student is 3 x 0, but every extent must be at least 1");
  CHECK(refusal_of<Loss>({view(3, 4), view(3, 4), longer}) ==
        name + "valid has 5 elements but student is 3 x 4");
  CHECK(refusal_of<Loss>({view(3, 4), view(3, 4), valid}, {view(3, 5)}) ==
        name + "the gradient of student is 3 x 5 but student is 3 x 4");

  auto device = make_device();
  Loss loss;
  loss.forward(device, {view(3, 4), view(3, 4), valid}, {});
  CHECK_THROWS_WITH(loss.backward(device, {view(2, 4), view(2, 4), {}}, 1, {}),
                    name + "backward is given 2 x 4 but forward had 3 x 4 (rows x tokens)");
}

#if !defined(VLP_TEST_CUDA) || defined(VLP_CUDA_EMULATION)  // memory of the host
TEST_CASE("Distillation reads and writes rows whose offsets exceed 32 bits") {
  constexpr Index rows = 3, vocabulary = 8, stride = Index{3} << 30;
  const SparseMemory<float> memory(rows * stride), gradient(rows * stride);
  const auto view = [&](const SparseMemory<float>& m, Index column) {
    return vlp::MatrixView<float>(m.data() + column, {rows, vocabulary}, {stride, 1});
  };
  Random random(10);
  const Arrays arrays = random_logits(random, rows, vocabulary);
  LossCase<Distillation<float>> near(arrays), far(arrays);
  for (Index n = 0; n < rows; ++n)
    for (Index v = 0; v < vocabulary; ++v) {
      const auto at = static_cast<std::size_t>(n * vocabulary + v);
      view(memory, 0)(n, v) = near.values("student")[at];
      view(memory, 8)(n, v) = near.values("teacher")[at];
    }
  far.inputs.student = view(memory, 0);
  far.inputs.teacher = view(memory, 8);
  far.gradients.student = view(gradient, 0);
  CHECK(far.run({}) == Approx(near.run({})));
  CHECK(relative_error(far.gradient_values(), near.gradient_values()) < 1e-6);
}
#endif

#ifndef VLP_TEST_CUDA
namespace {

/// The loss and its gradient from logarithms of probabilities.
literal::Result literal_distillation(const Arrays& in, const DistillationOptions& options) {
  using literal::Matrix;
  const auto log_softmax = [&](const char* name) -> Matrix {
    const Matrix z = literal::matrix(in.at(name)) / options.temperature;
    const Matrix below = z - literal::row_maxima(z);
    return below - xt::log(literal::row_sums(xt::exp(below)));
  };
  const Matrix log_q = log_softmax("student"), log_p = log_softmax("teacher");
  Matrix keep = xt::ones<double>({log_p.shape(0), std::size_t{1}});
  if (in.contains("valid")) keep = xt::adapt(in.at("valid").values, {log_p.shape(0), std::size_t{1}});
  const double count = std::max(1.0, xt::sum(keep)()), t = options.temperature;
  const Matrix kl = literal::row_sums(xt::exp(log_p) * (log_p - log_q));
  const Matrix d = keep * (xt::exp(log_q) - xt::exp(log_p)) * t / count;
  return {t * t * xt::sum(keep * kl)() / count, {{"student", literal::array(d)}}};
}

template <class Scalar>
void check_against_literal(const Arrays& arrays, const DistillationOptions& options, double loss_tolerance,
                           double gradient_tolerance) {
  const literal::Result want = literal_distillation(arrays, options);
  LossCase<Distillation<Scalar>> got(arrays);
  CHECK(relative_error(number(static_cast<double>(got.run(options, 2))), number(want.loss), 1e-3) <
        loss_tolerance);
  CHECK(relative_error(got.gradient_values(), want.gradients) < gradient_tolerance);
}

}  // namespace

TEST_CASE("Distillation agrees with the literal definition within one run of columns and beyond") {
  Random random(1);
  for (Index vocabulary : {1, 2, 15, 512, 513, 1100, 20000})
    for (Index invalid : {0, 3})
      for (double temperature : {0.5, 1.0, 4.0}) {
        CAPTURE(vocabulary, invalid, temperature);
        const Arrays arrays = random_logits(random, 7, vocabulary, invalid, 3);
        check_against_literal<double>(arrays, {temperature}, 1e-12, 1e-12);
        check_against_literal<float>(arrays, {temperature}, 1e-5, 1e-5);
      }
  check_against_literal<double>(random_logits(random, 3000, 11, 5), {2}, 1e-12, 1e-12);
}

TEST_CASE("Distillation gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index rows = *rc::gen::inRange<Index>(1, 9), vocabulary = *rc::gen::inRange<Index>(1, 14),
                invalid = *rc::gen::inRange<Index>(0, 4);
    const DistillationOptions options{*rc::gen::element(0.7, 1.0, 3.0)};
    const double error =
        gradient_error<Distillation<double>>(options, random_logits(random, rows, vocabulary, invalid));
    RC_LOG() << rows << " x " << vocabulary << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}

TEST_CASE("Distillation does not change when a row's logits all move by as much") {
  Random random(7);
  const Arrays arrays = random_logits(random, 4, 30);
  Arrays moved = arrays;
  for (double& v : moved.at("student").values) v += 1e4;
  for (double& v : moved.at("teacher").values) v -= 1e4;
  LossCase<Distillation<double>> here(arrays), there(moved);
  CHECK(there.run({}) == Approx(here.run({})).epsilon(1e-10));
  CHECK(relative_error(there.gradient_values(), here.gradient_values()) < 1e-10);
}

TEST_CASE("Distillation agrees with the literal definition at logits of ten thousand") {
  for (double temperature : {0.5, 1.0, 8.0}) {
    CAPTURE(temperature);
    REQUIRE(literal_distillation(large_logits(), {temperature}).loss > 1000);
    check_against_literal<float>(large_logits(), {temperature}, 1e-5, 1e-5);
    check_against_literal<double>(large_logits(), {temperature}, 1e-12, 1e-12);
  }
}
#endif
