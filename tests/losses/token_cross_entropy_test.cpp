#include "losses/tokens.hpp"
#include "support/device.hpp"
#include "support/golden.hpp"
#include "support/gradients.hpp"
#include "support/sparse_memory.hpp"

#include <vlp/core/into.hpp>
#include <vlp/losses/cpu/token_cross_entropy.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/token_cross_entropy.cuh>
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
using vlp::TokenCrossEntropyOptions;

template <class Scalar>
using TokenCrossEntropy = vlp::TokenCrossEntropy<Scalar, Device>;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

template <class Scalar>
constexpr bool has_forward_backward = requires {
  &TokenCrossEntropy<Scalar>::forward_backward;
};

static_assert(has_forward_backward<float> == on_cpu);

/// forward_backward in the shape of a loss, so that all that holds for losses is asked of it.
template <class Scalar>
class AtOnce : public TokenCrossEntropy<Scalar> {
  using Base = TokenCrossEntropy<Scalar>;

 public:
  using Base::Base, Base::backward;
  void backward(Device& device, const typename Base::Inputs& inputs, typename Base::Accumulator upstream,
                const typename Base::Gradients& gradients) {
    DeviceArray<typename Base::Accumulator> before({0}), after({0});
    Base::forward(device, inputs, {before.data()});
    Base::forward_backward(device, inputs, upstream, {after.data()}, gradients);
    wait_for(device);
    before.download();
    after.download();
    CHECK(after.host()[0] == Approx(before.host()[0]).epsilon(std::is_same_v<Scalar, double> ? 1e-13 : 1e-6));
  }
};

/// Calls check(loss) for the loss in two calls and, where the device has it, in one.
template <class Scalar, class Check>
void for_each_form(Check&& check) {
  check(TokenCrossEntropy<Scalar>());
  if constexpr (has_forward_backward<Scalar>) check(AtOnce<Scalar>());
}

/// Logits of up to ten thousand. Small integers and quarters: they are exact in float too.
Arrays large_logits() {
  Random random(9);
  Arrays arrays = random_tokens(random, 40, 4, 300);
  for (double& v : arrays.at("hidden").values) v = 100.0 * static_cast<double>(random.below(13)) - 600;
  for (double& v : arrays.at("weight").values) v = static_cast<double>(random.below(9)) - 4;
  for (double& v : arrays.at("bias").values) v = 0.25 * static_cast<double>(random.below(9));
  return arrays;
}

}  // namespace

TEMPLATE_TEST_CASE("Token cross-entropy agrees with the golden vectors", "", VLP_TEST_SCALARS) {
  for_each_form<TestType>([]<class L>(L) { check_golden<L, vlp::TokenCrossEntropy<double>>(); });
}

TEMPLATE_TEST_CASE("Token cross-entropy agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  struct Shape {
    Index rows, features, vocabulary, ignored;
  };
  Random random(2);
  for (auto [rows, features, vocabulary, ignored] : {Shape{1, 7, 1, 0},
                                                     {2, 33, 200, 0},
                                                     {33, 1, 7, 2},
                                                     {7, 129, 128, 3},
                                                     {127, 2, 129, 2},
                                                     {129, 200, 33, 5},
                                                     {200, 33, 2, 7}}) {
    CAPTURE(rows, features, vocabulary, ignored);
    const Arrays biased = random_tokens(random, rows, features, vocabulary, true, ignored);
    const Arrays without = random_tokens(random, rows, features, vocabulary, false, ignored);
    for_each_form<TestType>([&]<class L>(L) {
      const auto check = [](const Arrays& arrays, double smoothing, Padding padding) {
        check_against<L, vlp::TokenCrossEntropy<double>>(arrays, {.label_smoothing = smoothing}, padding);
      };
      check(biased, 0, {1, 0});
      check(without, 0, {});
      check(biased, 0.2, {8, 0});
    });
  }
}

TEMPLATE_TEST_CASE("Token cross-entropy keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(3);
  const auto check = [&](const TokenCrossEntropyOptions& options, const Arrays& arrays) {
    for_each_form<TestType>([&]<class L>(L) { check_loss_contract<L>(options, arrays, {"weight", "bias"}); });
  };
  check({}, random_tokens(random, 7, 19, 11, false));
  check({.label_smoothing = 0.1}, random_tokens(random, 33, 8, on_cpu ? 1300 : 300, true, 4));
  check({.label_smoothing = 0.1}, random_tokens(random, on_cpu ? 530 : 200, 6, 200, true, 50));
}

TEMPLATE_TEST_CASE("Token cross-entropy never reads rows that are ignored", "", VLP_TEST_SCALARS) {
  Random random(6);
  Arrays arrays = random_tokens(random, 9, 5, 40, true, 4);  // rows 0, 4 and 8
  Arrays poisoned = arrays;
  for (Index n : {0, 4, 8}) std::fill_n(poisoned.at("hidden").values.begin() + n * 5, 5, not_a_number);
  const auto check = [&]<class L>(L) {
    LossCase<L> clean(arrays), other(poisoned);
    CHECK(clean.run({}) == other.run({}));
    const Arrays overwritten = other.gradient_values();
    CHECK(same_bits(clean.gradient_values(), overwritten));

    LossCase<L> accumulated(poisoned);
    accumulated.gradients.into = vlp::Into::add;
    accumulated.fill_gradient("hidden", 3);
    accumulated.run({});
    const Arrays added = accumulated.gradient_values();
    for (std::size_t n : {0, 4, 8})
      for (std::size_t k = 0; k < 5; ++k) {
        CHECK(overwritten.at("hidden").values[n * 5 + k] == 0);
        CHECK(added.at("hidden").values[n * 5 + k] == 3);
      }
  };
  for_each_form<TestType>(check);
}

TEMPLATE_TEST_CASE("Token cross-entropy of ignored targets alone is nothing", "", VLP_TEST_SCALARS) {
  Random random(7);
  Arrays arrays = random_tokens(random, 6, 5, 8);
  arrays.at("target").values.assign(6, 3);
  const TokenCrossEntropyOptions options{3, 0.1};  // ignore_index may be a token
  const auto check = [&]<class L>(L) {
    LossCase<L> overwritten(arrays), accumulated(arrays);
    CHECK(overwritten.run(options) == 0);
    for (const auto& [name, gradient] : overwritten.gradient_values()) {
      CAPTURE(name);
      CHECK(gradient.values == std::vector<double>(gradient.values.size(), 0));
    }
    accumulated.gradients.into = vlp::Into::add;
    for (const auto& [name, gradient] : overwritten.gradient_values()) accumulated.fill_gradient(name, 3);
    CHECK(accumulated.run(options) == 0);
    for (const auto& [name, gradient] : accumulated.gradient_values()) {
      CAPTURE(name);
      CHECK(gradient.values == std::vector<double>(gradient.values.size(), 3));
    }
  };
  for_each_form<TestType>(check);
}

TEMPLATE_TEST_CASE("Token cross-entropy of equal logits is the logarithm of the vocabulary", "",
                   VLP_TEST_SCALARS) {
  Random random(8);
  Arrays arrays = random_tokens(random, 5, 4, 300, false);
  arrays.at("hidden").values.assign(20, 0.0);
  for (double smoothing : {0.0, 0.3})
    CHECK(LossCase<TokenCrossEntropy<TestType>>(arrays).run({.label_smoothing = smoothing}) ==
          Approx(std::log(300.0)));
}

TEMPLATE_TEST_CASE("Token cross-entropy stays exact at logits of ten thousand", "", VLP_TEST_SCALARS) {
  for (double smoothing : {0.0, 0.1})
    for_each_form<TestType>([&]<class L>(L) {
      check_against<L, vlp::TokenCrossEntropy<double>>(large_logits(), {.label_smoothing = smoothing});
    });
}

TEMPLATE_TEST_CASE("Token cross-entropy with a bias of minus infinity bars a token", "", VLP_TEST_SCALARS) {
  constexpr double tolerance = tolerance_of<TestType>();
  Random random(10);
  const Arrays without = random_tokens(random, 12, 4, 200);
  Arrays barred = without;  // a whole piece of the vocabulary comes after, barred
  for (Index v = 0; v < 300; ++v) {
    barred.at("bias").values.push_back(-infinity);
    for (Index d = 0; d < 4; ++d) barred.at("weight").values.push_back(random.normal());
  }
  barred.at("bias").shape = {500};
  barred.at("weight").shape = {500, 4};
  LossCase<TokenCrossEntropy<TestType>> want(without), got(barred);
  CHECK(got.run({}) == Approx(want.run({})).epsilon(tolerance));
  Arrays gradients = got.gradient_values();
  for (const auto& [name, width] : {std::pair{"bias", 1}, {"weight", 4}}) {
    Array& gradient = gradients.at(name);
    for (auto k = static_cast<std::size_t>(200 * width); k < gradient.values.size(); ++k)
      CHECK(std::abs(gradient.values[k]) < 1e-30);
    gradient.values.resize(static_cast<std::size_t>(200 * width));
    gradient.shape[0] = 200;
  }
  CHECK(relative_error(gradients, want.gradient_values()) < tolerance);
}

TEMPLATE_TEST_CASE("Token cross-entropy of a batch with a NaN is NaN", "", VLP_TEST_SCALARS) {
  Random random(11);
  for (const char* name : {"hidden", "weight", "bias"})
    for (double value : {not_a_number, infinity}) {
      CAPTURE(name, value);
      Arrays arrays = random_tokens(random, 60, 2, 700);
      arrays.at(name).values[100] = value;
      for (double smoothing : {0.0, 0.1})
        CHECK(std::isnan(LossCase<TokenCrossEntropy<TestType>>(arrays).run({.label_smoothing = smoothing})));
    }
}

TEST_CASE("Token cross-entropy options") {
  CHECK(TokenCrossEntropy<float>().options().ignore_index == -100);
  CHECK(TokenCrossEntropy<float>().options().label_smoothing == 0);
  for (double smoothing : {-0.1, 1.0, not_a_number})
    CHECK_THROWS_WITH(TokenCrossEntropy<float>({.label_smoothing = smoothing}),
                      ContainsSubstring("token_cross_entropy: label_smoothing must be in [0, 1)"));
}

TEST_CASE("Token cross-entropy says what does not fit") {
  using Loss = TokenCrossEntropy<float>;
  DeviceArray<float> memory(std::vector<float>(100));
  const auto view = [&](Index rows, Index cols) {
    return vlp::MatrixView<float>(memory.data(), {rows, cols});
  };
  const auto vector = [&](Index size) { return vlp::VectorView<float>(memory.data(), {size}); };
  DeviceArray<std::int64_t> tokens({4, -100, 0});
  const auto target = tokens.span();
  const std::string name = "token_cross_entropy: ";
  CHECK(refusal_of<Loss>({view(3, 2), view(5, 2), vector(5), target}) == "no error");
  CHECK(refusal_of<Loss>({view(3, 2), view(5, 2), {}, target}) == "no error");
  CHECK(refusal_of<Loss>({view(3, 2), view(5, 4), vector(5), target}) ==
        name + "hidden is 3 x 2 but weight is 5 x 4");
  CHECK(refusal_of<Loss>({view(3, 2), {}, vector(5), target}) ==
        name + "weight is 0 x 0, but every extent must be at least 1");
  CHECK(refusal_of<Loss>({view(0, 2), view(5, 2), vector(5), {}}) ==
        name + "hidden is 0 x 2, but every extent must be at least 1");
  CHECK(refusal_of<Loss>({view(3, 2), view(5, 2), vector(4), target}) ==
        name + "bias has 4 elements but weight is 5 x 2");
  CHECK(refusal_of<Loss>({view(4, 2), view(5, 2), {}, target}) ==
        name + "target has 3 tokens but hidden is 4 x 2");

  const Loss::Inputs inputs{view(3, 2), view(5, 2), vector(5), target};
  const auto check_gradients = [&](const Loss::Gradients& gradients, const std::string& message) {
    for_each_form<float>([&]<class L>(L) { CHECK(refusal_of<L>(inputs, gradients) == name + message); });
  };
  check_gradients({view(3, 4), {}}, "the gradient of hidden is 3 x 4 but hidden is 3 x 2");
  check_gradients({{}, view(4, 2)}, "the gradient of weight is 4 x 2 but weight is 5 x 2");
  check_gradients({{}, {}, vector(4)}, "the gradient of bias has 4 elements but weight is 5 x 2");

  auto device = make_device();
  Loss loss;
  loss.forward(device, inputs, {});
  CHECK_THROWS_WITH(
      loss.backward(device, {view(3, 2), view(6, 2), {}, target}, 1, {}),
      name + "backward is given 3 x 2 x 6 but forward had 3 x 2 x 5 (rows x features x tokens)");
}

#if !defined(VLP_TEST_CUDA) || defined(VLP_CUDA_EMULATION)  // memory of the host
TEST_CASE("Token cross-entropy reads and writes rows whose offsets exceed 32 bits") {
  constexpr Index rows = 3, vocabulary = 4, features = 8, stride = Index{3} << 30;
  const SparseMemory<float> memory(vocabulary * stride), gradients(vocabulary * stride);
  const auto view = [&](const SparseMemory<float>& m, Index count, Index column) {
    return vlp::MatrixView<float>(m.data() + column, {count, features}, {stride, 1});
  };
  Random random(12);
  const Arrays arrays = random_tokens(random, rows, features, vocabulary);
  const auto check = [&]<class L>(L) {
    LossCase<L> near(arrays), far(arrays);
    for (Index k = 0; k < features; ++k) {
      for (Index n = 0; n < rows; ++n)
        view(memory, rows, 0)(n, k) = near.values("hidden")[static_cast<std::size_t>(n * features + k)];
      for (Index v = 0; v < vocabulary; ++v)
        view(memory, vocabulary, 8)(v, k) = near.values("weight")[static_cast<std::size_t>(v * features + k)];
    }
    far.inputs.hidden = view(memory, rows, 0);
    far.inputs.weight = view(memory, vocabulary, 8);
    far.gradients.hidden = view(gradients, rows, 0);
    far.gradients.weight = view(gradients, vocabulary, 8);
    CHECK(far.run({}) == Approx(near.run({})));
    CHECK(relative_error(far.gradient_values(), near.gradient_values()) < 1e-6);
  };
  for_each_form<float>(check);
}
#endif

#ifndef VLP_TEST_CUDA
namespace {

/// The loss and its gradients with all logits at once.
literal::Result literal_token_cross_entropy(const Arrays& in, const TokenCrossEntropyOptions& options) {
  using literal::Matrix;
  const Matrix hidden = literal::matrix(in.at("hidden")), weight = literal::matrix(in.at("weight"));
  const std::size_t rows = hidden.shape(0), vocabulary = weight.shape(0);
  Matrix bias = xt::zeros<double>({std::size_t{1}, vocabulary});
  if (in.contains("bias")) bias = xt::adapt(in.at("bias").values, {std::size_t{1}, vocabulary});
  Matrix q = xt::ones<double>({rows, vocabulary});
  q *= options.label_smoothing / static_cast<double>(vocabulary);
  Matrix keep = xt::ones<double>({rows, std::size_t{1}});
  for (std::size_t n = 0; n < rows; ++n) {
    const double target = in.at("target").values[n];
    if (static_cast<std::int64_t>(target) == options.ignore_index)
      keep(n, 0) = 0;
    else
      q(n, static_cast<std::size_t>(target)) += 1 - options.label_smoothing;
  }
  const double count = std::max(1.0, xt::sum(keep)());
  const Matrix z = literal::dot(hidden, literal::transpose(weight)) + bias;
  const Matrix max = literal::row_maxima(z);
  const Matrix lse = max + xt::log(literal::row_sums(xt::exp(z - max)));
  const Matrix d = keep * (xt::exp(z - lse) - q) / count;
  literal::Result out{xt::sum(keep * q * (lse - z))() / count,
                      {{"hidden", literal::array(literal::dot(d, weight))},
                       {"weight", literal::array(literal::dot(literal::transpose(d), hidden))}}};
  if (in.contains("bias")) {
    const Matrix sums = literal::row_sums(literal::transpose(d));
    out.gradients["bias"] = {in.at("bias").shape, {sums.begin(), sums.end()}};
  }
  return out;
}

template <vlp::Loss L>
void check_against_result(const literal::Result& want, const Arrays& arrays,
                          const TokenCrossEntropyOptions& options, double loss_tolerance,
                          double gradient_tolerance) {
  LossCase<L> got(arrays);
  CHECK(relative_error(number(static_cast<double>(got.run(options, 2))), number(want.loss), 1e-3) <
        loss_tolerance);
  CHECK(relative_error(got.gradient_values(), want.gradients, 1e-3) < gradient_tolerance);
}

/// The loss in two calls and in one, both in double.
void check_against_literal(const Arrays& arrays, const TokenCrossEntropyOptions& options) {
  const literal::Result want = literal_token_cross_entropy(arrays, options);
  check_against_result<TokenCrossEntropy<double>>(want, arrays, options, 1e-12, 1e-10);
  check_against_result<AtOnce<double>>(want, arrays, options, 1e-12, 1e-10);
}

}  // namespace

TEST_CASE("Token cross-entropy agrees with the literal definition within one tile and beyond") {
  Random random(1);
  const auto check = [&](Index rows, Index features, Index vocabulary) {
    CAPTURE(rows, features, vocabulary);
    check_against_literal(random_tokens(random, rows, features, vocabulary, false), {});
    check_against_literal(random_tokens(random, rows, features, vocabulary, true, 3),
                          {.label_smoothing = 0.2});
  };
  for (Index rows : {1, 2, 37})
    for (Index vocabulary : {1, 2, 15, 128, 129, 700}) check(rows, 5, vocabulary);
  check(513, 2, 131);   // more rows than a strip has
  check(800, 2, 20);    // so many that a strip is left when a third is ignored
  check(4, 3, 9001);    // pieces of two tiles
  check(3, 520, 2100);  // the fewest pieces
}

TEST_CASE("Token cross-entropy gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Index rows = *rc::gen::inRange<Index>(1, 9), features = *rc::gen::inRange<Index>(1, 7),
                vocabulary = *rc::gen::inRange<Index>(1, 14), ignored = *rc::gen::inRange<Index>(0, 4);
    const TokenCrossEntropyOptions options{.label_smoothing = *rc::gen::element(0.0, 0.1, 0.9)};
    const Arrays arrays =
        random_tokens(random, rows, features, vocabulary, *rc::gen::arbitrary<bool>(), ignored);
    const double error = gradient_error<TokenCrossEntropy<double>>(options, arrays);
    RC_LOG() << rows << " x " << features << " onto " << vocabulary << ", error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
  Random random(2);
  CHECK(directional_error<TokenCrossEntropy<double>>(
            {.label_smoothing = 0.1}, random_tokens(random, 530, 4, 300, true, 5), random) < 1e-7);
}

TEMPLATE_TEST_CASE("Token cross-entropy at once agrees with forward and backward over strips of two sizes",
                   "", VLP_TEST_SCALARS) {
  // A vocabulary of which 64 rows of logits are as much as is held.
  Random random(4);
  const Arrays arrays = random_tokens(random, 150, 2, 70000, true, 7);
  LossCase<TokenCrossEntropy<TestType>> twice(arrays);
  LossCase<AtOnce<TestType>> once(arrays);
  const TokenCrossEntropyOptions options{.label_smoothing = 0.1};
  CHECK(twice.run(options, 2, 0.7) == once.run(options, 2, 0.7));
  CHECK(relative_error(once.gradient_values(), twice.gradient_values()) < tolerance_of<TestType>());
}

TEST_CASE("Token cross-entropy at once leaves the forward before it as it was") {
  Random random(5);
  const Arrays arrays = random_tokens(random, 20, 4, 30, true, 3);
  LossCase<TokenCrossEntropy<double>> want(arrays), got(arrays), other(random_tokens(random, 9, 5, 40));
  want.run({}, 1, 2);
  auto device = make_device();
  TokenCrossEntropy<double> loss;
  got.forward(loss, device);
  loss.forward_backward(device, other.inputs, 1, {}, other.gradients);
  loss.backward(device, got.inputs, 2, got.gradients);
  CHECK(same_bits(got.gradient_values(), want.gradient_values()));
}

TEST_CASE("Token cross-entropy agrees with the literal definition at logits of ten thousand") {
  const Arrays arrays = large_logits();
  for (double smoothing : {0.0, 0.1}) {
    const TokenCrossEntropyOptions options{.label_smoothing = smoothing};
    const literal::Result want = literal_token_cross_entropy(arrays, options);
    REQUIRE(want.loss > 1000);
    check_against_result<TokenCrossEntropy<float>>(want, arrays, options, 1e-6, 1e-5);
    check_against_result<AtOnce<float>>(want, arrays, options, 1e-6, 1e-5);
    check_against_literal(arrays, options);
  }
}

TEST_CASE("Token cross-entropy says which target is none") {
  Random random(13);
  Arrays arrays = random_tokens(random, 3, 2, 5);
  const auto refusal_with = [&](double target, std::size_t row) {
    arrays.at("target").values = {4, -100, 0};
    arrays.at("target").values[row] = target;
    return refusal_of<TokenCrossEntropy<float>>(LossCase<TokenCrossEntropy<float>>(arrays).inputs);
  };
  CHECK(refusal_with(5, 2) ==
        "token_cross_entropy: the target of row 2 is 5, which is neither in [0, 5) nor ignore_index, -100");
  CHECK(refusal_with(-1, 1) ==
        "token_cross_entropy: the target of row 1 is -1, which is neither in [0, 5) nor ignore_index, -100");
}
#endif
