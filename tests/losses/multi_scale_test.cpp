#include "scales.hpp"
#include "support/device.hpp"
#include "support/gradients.hpp"
#include "support/saved_memory.hpp"
#include "words_and_regions.hpp"

#include <vlp/core/into.hpp>
#include <vlp/losses/cpu/multi_scale.hpp>
#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/multi_scale.cuh>
#else
#include <rapidcheck.h>
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BatchView;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::MatrixView;
using vlp::MultiScaleOptions;
using vlp::Random;

template <class Scalar>
using MultiScale = vlp::MultiScale<Scalar, Device>;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// The first report of each pair.
Array first_reports(const Array& text) {
  const Index batch = text.shape[0], features = text.shape[2];
  Array out{{batch, features}, {}};
  for (Index b = 0; b < batch; ++b) {
    const auto row = text.values.begin() + b * text.shape[1] * features;
    out.values.insert(out.values.end(), row, row + features);
  }
  return out;
}

void add(double weight, const std::vector<double>& from, std::vector<double>& to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] += weight * from[i];
}

/// Loss and gradients as the weighted sum of the three losses, each called by itself, on the CPU in double.
struct Sum {
  Sum(const Arrays& in, const MultiScaleOptions& options) {
    Arrays global_in = in, perturbation_in = in;
    const std::vector<Index>& texts = in.at("text").shape;
    if (options.perturbed_as_negatives) {
      for (const char* name : {"text", "valid"}) {
        std::vector<Index>& shape = global_in.at(name).shape;
        shape[0] *= shape[1];
        shape.erase(shape.begin() + 1);
      }
    } else {
      global_in["text"] = first_reports(in.at("text"));
      global_in.erase("valid");
    }
    perturbation_in["log_scale"] = in.at("perturbation_log_scale");
    LossCase<vlp::InfoNce<double>> global(global_in);
    if (options.perturbed_as_negatives) global.inputs.block.own_text_step = texts[1];
    LossCase<vlp::LocalAlignment<double>> local(in);
    LossCase<vlp::PerturbationSensitivity<double>> perturbation(perturbation_in);
    terms = {global.run(options.global), local.run(options.local), perturbation.run(options.perturbation)};
    loss = terms[0] + options.alpha * terms[1] + options.beta * terms[2];

    for (const auto& [name, array] : local.gradient_values()) {
      gradients[name] = {array.shape, std::vector<double>(array.values.size())};
      add(options.alpha, array.values, gradients[name].values);
    }
    const Arrays from_global = global.gradient_values(), from_perturbation = perturbation.gradient_values();
    gradients["log_scale"] = from_global.at("log_scale");
    gradients["perturbation_log_scale"] = number(options.beta * from_perturbation.at("log_scale").values[0]);
    gradients["image"] = from_global.at("image");
    add(options.beta, from_perturbation.at("image").values, gradients["image"].values);
    Array& text = gradients["text"] = {in.at("text").shape, std::vector<double>(in.at("text").values.size())};
    add(options.beta, from_perturbation.at("text").values, text.values);
    const Index of_global = (options.perturbed_as_negatives ? texts[1] : 1) * texts[2];
    for (Index b = 0; b < texts[0]; ++b)
      for (Index d = 0; d < of_global; ++d)
        text.values[static_cast<std::size_t>(b * texts[1] * texts[2] + d)] +=
            from_global.at("text").values[static_cast<std::size_t>(b * of_global + d)];
  }

  double loss;
  std::array<double, 3> terms;
  Arrays gradients;
};

/// Everything that forward can tell, for reports of 5 words and images of 4 regions.
template <class L>
struct Told {
  Told(LossCase<L>& given, const MultiScaleOptions& options) {
    const Index batch = given.inputs.image.rows();
    const auto anything = [](Index count) {
      return std::vector<typename L::Scalar>(static_cast<std::size_t>(count),
                                             not_a_result<typename L::Scalar>());
    };
    DeviceArray<typename L::Accumulator> values({7, 7, 7, 7});
    DeviceArray<typename L::Scalar> scores(anything(batch * (batch + 2))), weights(anything(batch * 21));
    auto device = make_device(2);
    L(options).forward(device, given.inputs,
                       {.loss = values.data(),
                        .global = values.data() + 1,
                        .local = values.data() + 2,
                        .perturbation = values.data() + 3,
                        .similarity = {scores.data(), {batch, batch}, {batch + 2, 1}},
                        .attention = {weights.data(), {batch, 5, 4}, {21, 4, 1}}});
    wait_for(device);
    values.download();
    scores.download();
    weights.download();
    loss = to_double(values.host()[0]);
    for (std::size_t t = 0; t < 3; ++t) terms[t] = to_double(values.host()[t + 1]);
    for (Index i = 0; i < batch; ++i) {
      for (Index j = 0; j < batch; ++j)
        similarity.push_back(to_double(scores.host()[static_cast<std::size_t>(i * (batch + 2) + j)]));
      for (Index k = 0; k < 20; ++k)
        attention.push_back(to_double(weights.host()[static_cast<std::size_t>(i * 21 + k)]));
    }
  }

  double loss = 0;
  std::array<double, 3> terms{};
  std::vector<double> similarity, attention;
};

}  // namespace

TEMPLATE_TEST_CASE("the multi-scale objective is the weighted sum of its terms", "", VLP_TEST_SCALARS) {
  using L = MultiScale<TestType>;
  constexpr double accuracy = accuracy_of_loss<L>();
  Random random(1);
  const Arrays arrays = rounded<L>(all_scales(random, 5, 4, 6, {.groups = 3}));
  for (auto [alpha, beta] : {std::pair{0.1, 0.1}, {0.7, 2.0}, {1.0, 1e-3}, {0.0, 0.5}, {0.5, 0.0}}) {
    CAPTURE(alpha, beta);
    const MultiScaleOptions options{.global = {.duplicate_policy = DuplicatePolicy::positives},
                                    .local = vlp::LocalAlignmentOptions::published(),
                                    .alpha = alpha,
                                    .beta = beta};
    const Sum want(arrays, options);
    LossCase<L> got(arrays, {1, 3});
    CHECK(to_double(got.run(options)) == Approx(want.loss).epsilon(accuracy));
    CHECK(relative_error(got.gradient_values(), want.gradients) <= accuracy);
    CHECK(got.padding_untouched());

    const Told<L> told(got, options);
    CHECK(told.loss == Approx(want.loss).epsilon(accuracy));
    const bool given[] = {true, alpha > 0, beta > 0};
    for (std::size_t t = 0; t < 3; ++t)
      CHECK(told.terms[t] == Approx(given[t] ? want.terms[t] : 0).epsilon(accuracy));
    if (alpha == 0) continue;
    CHECK(told.similarity[7] != 0);
    CHECK(told.attention[0] + told.attention[1] + told.attention[2] + told.attention[3] ==
          Approx(1).epsilon(accuracy));
  }
  CHECK(MultiScaleOptions{}.alpha == 0.1);
  CHECK(MultiScaleOptions{}.beta == 0.1);
}

TEMPLATE_TEST_CASE("perturbed reports are negatives of every image if the multi-scale objective says so", "",
                   VLP_TEST_SCALARS) {
  using L = MultiScale<TestType>;
  constexpr double accuracy = accuracy_of_loss<L>();
  Random random(7);
  const Arrays arrays = rounded<L>(all_scales(random, 5, 3, 6, {.groups = 3}));
  for (auto [alpha, beta] : {std::pair{0.0, 0.0}, {0.0, 0.5}, {0.4, 0.0}, {0.4, 0.5}})
    for (DuplicatePolicy policy :
         {DuplicatePolicy::negatives, DuplicatePolicy::positives, DuplicatePolicy::ignore}) {
      CAPTURE(alpha, beta, static_cast<int>(policy));
      MultiScaleOptions options = MultiScaleOptions::neg_clip();
      options.global.duplicate_policy = policy;
      options.alpha = alpha;
      options.beta = beta;
      const Sum want(arrays, options);
      LossCase<L> got(arrays), added(arrays);
      CHECK(to_double(got.run(options)) == Approx(want.loss).epsilon(accuracy));
      CHECK(relative_error(got.gradient_values(), want.gradients) <= accuracy);

      added.gradients.into = vlp::Into::add;
      added.fill_gradient("text", 3);
      added.run(options);
      const Array sums = added.gradient_values().at("text"), alone = got.gradient_values().at("text");
      for (std::size_t k = 0; k < sums.values.size(); ++k)
        CHECK(sums.values[k] == Approx(3 + alone.values[k]).epsilon(accuracy));
    }
}

TEMPLATE_TEST_CASE("the multi-scale objective agrees with double on ragged shapes", "", VLP_TEST_SCALARS) {
  Random random(5);
  const auto check = [&](Index batch, Index perturbations, Index features, const WordsAndRegions& local,
                         const MultiScaleOptions& options, Padding padding) {
    CAPTURE(batch, perturbations, features, options.alpha, options.beta);
    // With one pair, or in one dimension, gradients are nothing but what cancels.
    check_against<MultiScale<TestType>>(all_scales(random, batch, perturbations, features, local), options,
                                        padding, batch == 1 || features == 1 ? 10 : 1e-3);
  };
  const WordsAndRegions local{.regions = 9, .words = 4, .features = 24, .scale = 0.3};
  check(1, 1, 7, local, {}, {1, 0});
  check(3, 2, 1, {.regions = 1, .words = 1, .features = 5}, {.alpha = 1, .beta = 1}, {});
  check(6, 9, 32, local, {.alpha = 0.5, .beta = 3}, {8, 8});
  check(11, 1, 33, local, {.alpha = 0, .beta = 0.1}, {});
  check(11, 0, 24, local, {.alpha = 1, .beta = 0}, {3, 1});
  check(7, 3, 16, local, {.alpha = 0, .beta = 0}, {0, 5});
}

TEMPLATE_TEST_CASE("the multi-scale objective keeps to the contract of a loss", "", VLP_TEST_SCALARS) {
  Random random(2);
  const Arrays arrays = all_scales(random, on_cpu ? 9 : 4, 3, 8,
                                   {.regions = on_cpu ? 12 : 5, .words = 7, .features = 10, .groups = 5});
  check_loss_contract<MultiScale<TestType>>({}, arrays);
  check_loss_contract<MultiScale<TestType>>({.alpha = 0, .beta = 0.5}, arrays);
  Arrays without_valid = arrays;  // which must be contiguous
  without_valid.erase("valid");
  check_loss_contract<MultiScale<TestType>>(MultiScaleOptions::neg_clip(), without_valid, {}, {3, 0});
  if (!on_cpu) return;
  check_loss_contract<MultiScale<TestType>>({.alpha = 0.5, .beta = 0}, arrays);
  check_loss_contract<MultiScale<TestType>>({.alpha = 0, .beta = 0}, arrays);
}

TEMPLATE_TEST_CASE("a term of weight 0 looks at nothing", "", VLP_TEST_SCALARS) {
  using L = MultiScale<TestType>;
  constexpr double accuracy = accuracy_of_loss<L>();
  constexpr MultiScaleOptions neither{.alpha = 0, .beta = 0};
  Random random(3);
  const Arrays arrays = rounded<L>(all_scales(random, 4, 2, 5));
  const Sum want(arrays, neither);
  const auto spoil = [](Array& array) { std::fill(array.values.begin(), array.values.end(), not_a_number); };

  Arrays spoilt = arrays;  // what is given but not looked at
  for (const char* name : {"regions", "words", "perturbation_log_scale"}) spoil(spoilt.at(name));
  for (Index b = 0; b < 4; ++b) std::fill_n(spoilt.at("text").values.begin() + b * 15 + 5, 10, not_a_number);
  spoilt.at("word_count").values.assign(4, 99);
  LossCase<L> looked(spoilt), added(spoilt);
  CHECK(to_double(looked.run(neither)) == Approx(want.terms[0]).epsilon(accuracy));
  const Arrays gradients = looked.gradient_values();
  CHECK(relative_error(gradients, want.gradients) <= accuracy);
  for (const char* name : {"regions", "words", "perturbation_log_scale"})
    for (double g : gradients.at(name).values) REQUIRE(g == 0);

  added.gradients.into = vlp::Into::add;
  for (const char* name : {"regions", "words", "image", "text"}) added.fill_gradient(name, 3);
  added.run(neither);
  const Arrays sums = added.gradient_values();
  for (const char* name : {"regions", "words"})
    for (double g : sums.at(name).values) REQUIRE(g == 3);
  for (std::size_t k = 5; k < 15; ++k) CHECK(sums.at("text").values[k] == 3);
  CHECK(sums.at("text").values[0] != 3);

  Arrays bare = arrays;  // what is not there
  for (const char* name : {"regions", "words", "word_count", "valid", "perturbation_log_scale"})
    bare.erase(name);
  const Array text = first_reports(arrays.at("text"));
  bare["text"] = {{4, 1, 5}, text.values};
  LossCase<L> missing(bare);
  CHECK(to_double(missing.run(neither)) == Approx(want.terms[0]).epsilon(accuracy));
  CHECK(missing.gradient_values().size() == 3);

  const Told<L> told(missing, neither);
  CHECK(told.terms[0] == Approx(want.terms[0]).epsilon(accuracy));
  CHECK(told.loss == told.terms[0]);
  CHECK(told.terms[1] == 0);
  CHECK(told.terms[2] == 0);
  CHECK(told.similarity == std::vector<double>(16));
  CHECK(told.attention == std::vector<double>(4 * 5 * 4));
}

#ifdef VLP_TEST_CUDA
TEMPLATE_TEST_CASE("the multi-scale objective says by NaN what the device alone can see", "",
                   VLP_TEST_SCALARS) {
  using L = MultiScale<TestType>;
  Random random(6);
  const Arrays arrays = all_scales(random, 3, 2, 5);
  Arrays long_report = arrays, dropped = arrays;
  long_report.at("word_count").values[2] = 6;
  dropped.at("valid").values[3] = 0;
  LossCase<L> good(arrays), local(long_report), perturbation(dropped);
  const Told<L> all(good, {}), by_local(local, {}), by_perturbation(perturbation, {});
  CHECK(std::isnan(by_local.loss));
  CHECK(std::isnan(by_local.terms[1]));
  CHECK(by_local.terms[0] == all.terms[0]);
  CHECK(by_local.terms[2] == all.terms[2]);
  CHECK(std::isnan(by_perturbation.loss));
  CHECK(std::isnan(by_perturbation.terms[2]));
  CHECK(by_perturbation.terms[0] == all.terms[0]);
  CHECK(by_perturbation.terms[1] == all.terms[1]);
}
#endif

TEMPLATE_TEST_CASE("perturbed reports as negatives are the literal NegCLIP", "", VLP_TEST_SCALARS) {
  using L = MultiScale<TestType>;
  constexpr Index pairs = 4, texts = 3, features = 5;
  Random random(7);
  Arrays arrays = rounded<L>(all_scales(random, pairs, texts - 1, features));
  for (const char* name : {"regions", "words", "word_count", "perturbation_log_scale"}) arrays.erase(name);
  const auto row = [&](const std::string& name, Index i) {
    const auto begin = arrays.at(name).values.begin() + i * features;
    std::vector<double> out(begin, begin + features);
    double square = 0;
    for (double x : out) square += x * x;
    for (double& x : out) x /= std::sqrt(square);
    return out;
  };
  const auto score = [&](Index image, Index text) {
    double out = 0;
    for (std::size_t d = 0; d < features; ++d) out += row("image", image)[d] * row("text", text)[d];
    return std::exp(arrays.at("log_scale").values[0]) * out;
  };
  double want = 0;
  for (Index i = 0; i < pairs; ++i) {
    double over_texts = 0, over_images = 0;
    for (Index n = 0; n < pairs * texts; ++n)
      if (arrays.at("valid").values[static_cast<std::size_t>(n)] != 0) over_texts += std::exp(score(i, n));
    for (Index k = 0; k < pairs; ++k) over_images += std::exp(score(k, i * texts));
    want += (std::log(over_texts) + std::log(over_images)) / 2 - score(i, i * texts);
  }
  want /= pairs;

  // Perturbed reports that are not valid are never read.
  for (std::size_t n = 0; n < pairs * texts; ++n)
    if (arrays.at("valid").values[n] == 0)
      std::fill_n(arrays.at("text").values.begin() + static_cast<std::ptrdiff_t>(n * features), features,
                  not_a_number);
  LossCase<L> got(arrays);
  CHECK(to_double(got.run(MultiScaleOptions::neg_clip())) == Approx(want).epsilon(accuracy_of<TestType>()));
  const std::vector<double> d_text = got.gradient_values().at("text").values;
  for (std::size_t n = 0; n < pairs * texts; ++n)
    CHECK((d_text[n * features] == 0) == (arrays.at("valid").values[n] == 0));
  CHECK(MultiScaleOptions::neg_clip().alpha == 0);
  CHECK(MultiScaleOptions::neg_clip().beta == 0);
  CHECK(!MultiScaleOptions{}.perturbed_as_negatives);
}

TEST_CASE("multi-scale options are visited by their full names") {
  MultiScaleOptions options;
  int visited = 0;
  MultiScale<float>::for_each_option(options, [&](std::string_view name, auto& option) {
    ++visited;
    if constexpr (std::is_floating_point_v<std::remove_reference_t<decltype(option)>>)
      if (name == "local.word_temperature" || name == "global.image_to_text_weight" || name == "beta")
        option = 0.25;
  });
  CHECK(visited == 18);
  CHECK(options.local.word_temperature == 0.25);
  CHECK(options.global.image_to_text_weight == 0.25);
  CHECK(options.local.image_to_text_weight == 0.5);
  CHECK(options.beta == 0.25);
}

TEST_CASE("the multi-scale objective says what does not fit") {
  Random random(4);
  const Arrays arrays = all_scales(random, 4, 2, 5);
  LossCase<MultiScale<float>> good(arrays);
  CHECK(refusal_of<MultiScale<float>>(good.inputs) == "no error");

  auto inputs = good.inputs;
  inputs.text = {};
  CHECK(refusal_of<MultiScale<float>>(inputs) ==
        "multi_scale: text is 0 x 0 x 0, but every extent must be at least 1");
  inputs = good.inputs;
  inputs.text = BatchView<const float>(good.inputs.text.data(), {4, 1, 5});
  CHECK(refusal_of<MultiScale<float>>(inputs) ==
        "multi_scale: text is 4 x 1 x 5, without perturbations, but beta is 0.1");
  inputs = good.inputs;
  inputs.regions = inputs.regions.slice(0, 3);
  CHECK(refusal_of<MultiScale<float>>(inputs) == "multi_scale: regions is 3 x 4 x 6 but image is 4 x 5");
  inputs = good.inputs;
  inputs.words = inputs.words.slice(0, 3);
  CHECK(refusal_of<MultiScale<float>>(inputs) == "multi_scale: words is 3 x 5 x 6 but image is 4 x 5");
  inputs = good.inputs;
  inputs.image = inputs.image.slice(0, 3);
  CHECK(refusal_of<MultiScale<float>>(inputs) == "multi_scale: image is 3 x 5 but text is 4 x 3 x 5");
  inputs = good.inputs;
  inputs.words = {};
  CHECK_THAT(refusal_of<MultiScale<float>>(inputs), ContainsSubstring("local_alignment: words is 0 x 0 x 0"));
  inputs = good.inputs;
  inputs.log_scale = nullptr;
  CHECK(refusal_of<MultiScale<float>>(inputs) == "info_nce: log_scale is not given");
  inputs = good.inputs;
  inputs.perturbation_log_scale = nullptr;
  CHECK(refusal_of<MultiScale<float>>(inputs) == "perturbation_sensitivity: log_scale is not given");
  auto gradients = good.gradients;
  gradients.image = MatrixView<float>(gradients.image.data(), {2, 5});
  CHECK(refusal_of<MultiScale<float>>(good.inputs, gradients) ==
        "multi_scale: the gradient of image is 2 x 5 but image is 4 x 5");

  // Nothing is written where the inputs of any term are wrong.
  LossCase<MultiScale<float>> wrong(arrays);
  SavedMemory saved(MultiScale<float>().saved_bytes(wrong.inputs), 0);
  auto other = make_device();
  MultiScale<float>().forward(other, wrong.inputs, {}, saved.span());
  wrong.inputs.log_scale = nullptr;
  CHECK_THROWS_WITH(MultiScale<float>().backward(other, wrong.inputs, saved.span(), 1, wrong.gradients),
                    "info_nce: log_scale is not given");
  wait_for(other);
  CHECK(std::isnan(wrong.gradient_values().at("regions").values[0]));

  const auto refusal_of_negatives = [&](const typename MultiScale<float>::Inputs& of,
                                        const typename MultiScale<float>::Gradients& to) {
    return message_of<std::invalid_argument>([&] {
      auto device = make_device();
      MultiScale<float> loss(MultiScaleOptions::neg_clip());
      loss.forward(device, of, {});
      loss.backward(device, of, 1, to);
    });
  };
  CHECK(refusal_of_negatives(good.inputs, good.gradients) == "no error");
  inputs = good.inputs;
  inputs.text = BatchView<const float>(good.inputs.text.data(), {4, 2, 5}, {15, 5, 1});
  inputs.valid = {};
  CHECK(refusal_of_negatives(inputs, {}) ==
        "multi_scale: text is 4 x 2 x 5 with strides of 15 x 5 x 1, but with perturbed_as_negatives its rows "
        "must lie evenly");
  gradients = good.gradients;
  gradients.text = BatchView<float>(gradients.text.data(), {3, 3, 5}, {20, 5, 1});
  CHECK_THAT(
      refusal_of_negatives(
          {good.inputs.image.slice(0, 3), good.inputs.text.slice(0, 3), good.inputs.log_scale, nullptr, {}},
          {.text = gradients.text}),
      ContainsSubstring("the gradient of text is 3 x 3 x 5 with strides of 20 x 5 x 1"));
  inputs = good.inputs;
  inputs.text = BatchView<const float>(good.inputs.text.data(), {4, 1, 5});
  CHECK_THAT(refusal_of_negatives(inputs, {}), ContainsSubstring("but perturbed_as_negatives is set"));
  inputs = good.inputs;
  inputs.valid = MatrixView<const std::uint8_t>(good.inputs.valid.data(), {6, 2});
  CHECK(refusal_of_negatives(inputs, {}) == "multi_scale: valid is 6 x 2 but text is 4 x 3 x 5");
  inputs.valid = MatrixView<const std::uint8_t>(good.inputs.valid.data(), {4, 3}, {2, 1});
  CHECK(refusal_of_negatives(inputs, {}) ==
        "multi_scale: valid is 4 x 3 with strides of 2 x 1, but with perturbed_as_negatives it must be "
        "contiguous");

  for (double bad : {-0.1, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_WITH(MultiScale<float>({.alpha = bad}),
                      ContainsSubstring("multi_scale: alpha must be finite"));
    CHECK_THROWS_WITH(MultiScale<float>({.beta = bad}),
                      ContainsSubstring("multi_scale: beta must be finite"));
  }
}

#ifndef VLP_TEST_CUDA
TEST_CASE("multi-scale gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Arrays arrays = all_scales(
        random, *rc::gen::inRange<Index>(1, 5), *rc::gen::inRange<Index>(1, 4),
        *rc::gen::inRange<Index>(2, 5),
        {.regions = *rc::gen::inRange<Index>(1, 5), .words = *rc::gen::inRange<Index>(1, 4), .features = 3});
    MultiScaleOptions options{.alpha = *rc::gen::element(0.0, 0.1, 1.0),
                              .beta = *rc::gen::element(0.0, 0.1, 1.0),
                              .perturbed_as_negatives = *rc::gen::arbitrary<bool>()};
    options.local.pair_temperature = 2;
    const double error = gradient_error<MultiScale<double>>(options, arrays, 3e-6);
    RC_LOG() << "error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}
#endif
