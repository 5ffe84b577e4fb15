#include "support/gradients.hpp"
#include "words_and_regions.hpp"

#include <rapidcheck.h>

#include <vlp/losses/multi_scale.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BatchView;
using vlp::Cpu;
using vlp::DuplicatePolicy;
using vlp::Index;
using vlp::InfoNce;
using vlp::LocalAlignment;
using vlp::MatrixView;
using vlp::MultiScale;
using vlp::MultiScaleOptions;
using vlp::PerturbationSensitivity;
using vlp::Random;

/// Inputs of all three terms; every third perturbation is not valid.
Arrays all_scales(Random& random, Index batch, Index perturbations, Index features,
                  WordsAndRegions local = {}) {
  local.batch = batch;
  Arrays out = words_and_regions(random, local);
  out["image"] = normal(random, {batch, features});
  out["text"] = normal(random, {batch, 1 + perturbations, features});
  out["log_scale"] = number(1.5);
  out["perturbation_log_scale"] = number(0.8);
  Array& valid = out["valid"] = {{batch, 1 + perturbations}, {}};
  for (Index b = 0; b < batch; ++b)
    for (Index k = 0; k <= perturbations; ++k) valid.values.push_back(k == 0 || (b + k) % 3 != 0 ? 1 : 0);
  return out;
}

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

/// Loss and gradients as the weighted sum of the three losses, each called by itself.
struct Sum {
  Sum(const Arrays& in, const MultiScaleOptions& options) {
    Arrays global_in = in, perturbation_in = in;
    global_in["text"] = first_reports(in.at("text"));
    perturbation_in["log_scale"] = in.at("perturbation_log_scale");
    LossCase<InfoNce<double>> global(global_in);
    LossCase<LocalAlignment<double>> local(in);
    LossCase<PerturbationSensitivity<double>> perturbation(perturbation_in);
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
    const Index features = text.shape[2];
    for (Index b = 0; b < text.shape[0]; ++b)
      for (Index d = 0; d < features; ++d)
        text.values[static_cast<std::size_t>(b * text.shape[1] * features + d)] +=
            from_global.at("text").values[static_cast<std::size_t>(b * features + d)];
  }

  double loss;
  std::array<double, 3> terms;
  Arrays gradients;
};

}  // namespace

TEST_CASE("the multi-scale objective is the weighted sum of its terms") {
  Random random(1);
  const Arrays arrays = all_scales(random, 5, 4, 6, {.groups = 3});
  for (auto [alpha, beta] : {std::pair{0.1, 0.1}, {0.7, 2.0}, {1.0, 1e-3}}) {
    const MultiScaleOptions options{.global = {.duplicate_policy = DuplicatePolicy::positives},
                                    .local = vlp::LocalAlignmentOptions::published(),
                                    .alpha = alpha,
                                    .beta = beta};
    const Sum want(arrays, options);
    LossCase<MultiScale<double>> got(arrays);
    CHECK(got.run(options) == Approx(want.loss).epsilon(1e-13));
    CHECK(relative_error(got.gradient_values(), want.gradients) < 1e-12);

    double loss = 0;
    std::array<double, 3> terms{};
    std::vector<double> similarity(25), attention(5 * 5 * 4);
    Cpu device(2);
    MultiScale<double>(options).forward(
        device, got.inputs,
        {&loss, &terms[0], &terms[1], &terms[2], {similarity.data(), {5, 5}}, {attention.data(), {5, 5, 4}}});
    CHECK(loss == Approx(want.loss).epsilon(1e-13));
    for (std::size_t t = 0; t < 3; ++t) CHECK(terms[t] == Approx(want.terms[t]).epsilon(1e-13));
    CHECK(similarity[7] != 0);
    CHECK(attention[0] + attention[1] + attention[2] + attention[3] == Approx(1));
  }
  CHECK(MultiScaleOptions{}.alpha == 0.1);
  CHECK(MultiScaleOptions{}.beta == 0.1);
}

TEST_CASE("multi-scale gradients agree with central differences") {
  CHECK(rc::check([](std::uint64_t seed) {
    Random random(seed);
    const Arrays arrays = all_scales(
        random, *rc::gen::inRange<Index>(1, 5), *rc::gen::inRange<Index>(1, 4),
        *rc::gen::inRange<Index>(2, 5),
        {.regions = *rc::gen::inRange<Index>(1, 5), .words = *rc::gen::inRange<Index>(1, 4), .features = 3});
    MultiScaleOptions options{.alpha = *rc::gen::element(0.0, 0.1, 1.0),
                              .beta = *rc::gen::element(0.0, 0.1, 1.0)};
    options.local.pair_temperature = 2;
    const double error = gradient_error<MultiScale<double>>(options, arrays, 3e-6);
    RC_LOG() << "error " << error << "\n";
    RC_ASSERT(error < 1e-6);
  }));
}

TEMPLATE_TEST_CASE("the multi-scale objective keeps to the contract of a loss", "", float, double) {
  Random random(2);
  const Arrays arrays = all_scales(random, 9, 3, 8, {.regions = 12, .words = 7, .features = 10, .groups = 5});
  check_loss_contract<MultiScale<TestType>>({}, arrays);
  check_loss_contract<MultiScale<TestType>>({.alpha = 0, .beta = 0.5}, arrays);
  check_loss_contract<MultiScale<TestType>>({.alpha = 0.5, .beta = 0}, arrays);
  check_loss_contract<MultiScale<TestType>>({.alpha = 0, .beta = 0}, arrays);
}

TEST_CASE("a term of weight 0 looks at nothing") {
  Random random(3);
  const Arrays arrays = all_scales(random, 4, 2, 5);
  const double global = Sum(arrays, {}).terms[0];
  const auto spoil = [](Array& array) {
    std::fill(array.values.begin(), array.values.end(), std::numeric_limits<double>::quiet_NaN());
  };

  Arrays spoilt = arrays;  // what is given but not looked at
  for (const char* name : {"regions", "words", "perturbation_log_scale"}) spoil(spoilt.at(name));
  for (Index b = 0; b < 4; ++b)
    std::fill_n(spoilt.at("text").values.begin() + b * 15 + 5, 10, std::numeric_limits<double>::quiet_NaN());
  spoilt.at("word_count").values.assign(4, 99);
  LossCase<MultiScale<double>> looked(spoilt);
  CHECK(looked.run({.alpha = 0, .beta = 0}) == Approx(global).epsilon(1e-14));
  const Arrays gradients = looked.gradient_values();
  CHECK(relative_error(gradients, Sum(arrays, {.alpha = 0, .beta = 0}).gradients) < 1e-13);
  for (const char* name : {"regions", "words", "perturbation_log_scale"})
    for (double g : gradients.at(name).values) REQUIRE(g == 0);

  Arrays bare = arrays;  // what is not there
  for (const char* name : {"regions", "words", "word_count", "valid", "perturbation_log_scale"})
    bare.erase(name);
  const Array text = first_reports(arrays.at("text"));
  bare["text"] = {{4, 1, 5}, text.values};
  LossCase<MultiScale<double>> missing(bare);
  CHECK(missing.run({.alpha = 0, .beta = 0}) == Approx(global).epsilon(1e-14));
  CHECK(missing.gradient_values().size() == 3);

  std::vector<double> similarity(16, 7.0), attention(4 * 5 * 4, 7.0);
  double local = 7, perturbation = 7;
  Cpu device(1);
  MultiScale<double>({.alpha = 0, .beta = 0})
      .forward(device, missing.inputs,
               {.local = &local,
                .perturbation = &perturbation,
                .similarity = {similarity.data(), {4, 4}},
                .attention = {attention.data(), {4, 5, 4}}});
  CHECK(local == 0);
  CHECK(perturbation == 0);
  CHECK(similarity == std::vector<double>(16));
  CHECK(attention == std::vector<double>(4 * 5 * 4));
}

TEST_CASE("multi-scale options are visited by their full names") {
  MultiScaleOptions options;
  int visited = 0;
  MultiScale<float>::for_each_option(options, [&](std::string_view name, auto& option) {
    ++visited;
    if constexpr (requires { option = 0.25; })
      if (name == "local.word_temperature" || name == "global.image_to_text_weight" || name == "beta")
        option = 0.25;
  });
  CHECK(visited >= 13);
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

  for (double bad :
       {-0.1, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_WITH(MultiScale<float>({.alpha = bad}),
                      ContainsSubstring("multi_scale: alpha must be finite"));
    CHECK_THROWS_WITH(MultiScale<float>({.beta = bad}),
                      ContainsSubstring("multi_scale: beta must be finite"));
  }
}
