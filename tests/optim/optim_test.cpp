#include "support/catch.hpp"

#include <vlp/core/random.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/sgd.hpp>
#include <vlp/optim/warmup_cosine.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using Values = std::vector<double>;

namespace {

/// Two parameters, one of which decays, the first in more than one piece of work.
template <class Scalar>
struct Model {
  Parameter<Scalar> weight{{200, 100}, WeightDecay::yes}, bias{{3}};
  std::optional<Parameters<Scalar>> parameters;

  explicit Model(Cpu& device) {
    Random random(1);
    for (auto* p : {&weight, &bias}) p->initialise([&] { return random.normal(); });
    parameters.emplace(device, *this, "model");
  }
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), weight);
    visit(join_names(prefix, "bias"), bias);
  }
  [[nodiscard]] const ParameterList<Scalar>& list() const { return parameters->list(); }
  void draw_gradients(std::uint32_t step) {
    Random random(2, step);
    for (auto* p : {&weight, &bias})
      for (Index i = 0; i < p->size(); ++i) p->gradient()[i] = static_cast<Scalar>(random.normal());
  }
  [[nodiscard]] std::vector<Scalar> values() const {
    std::vector<Scalar> out(weight.value().data(), weight.value().data() + weight.size());
    out.insert(out.end(), bias.value().data(), bias.value().data() + bias.size());
    return out;
  }
};

double largest_difference(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= worst)) worst = std::abs(a[i] - b[i]);
  return worst;
}

/// Steps `optimizer` over `model` and `literal(x, g, state, t, decay factor, rate)` over a copy of each
/// element.
template <class Optimizer, class Literal>
void check_steps(Cpu& device, Model<double>& model, Optimizer& optimizer, Literal&& literal) {
  struct State {
    double a = 0, b = 0;
  };
  Values x = model.values();
  std::vector<State> state(x.size());
  for (int t = 1; t <= 5; ++t) {
    model.draw_gradients(static_cast<std::uint32_t>(t));
    const double rate = 0.01 * t;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto w = static_cast<std::size_t>(model.weight.size());
      const double g = i < w ? model.weight.gradient()[static_cast<Index>(i)]
                             : model.bias.gradient()[static_cast<Index>(i - w)];
      literal(x[i], g, state[i].a, state[i].b, t, i < w, rate);
    }
    optimizer.step(device, rate);
    CHECK(largest_difference(model.values(), x) < 1e-13);
  }
  CHECK(optimizer.steps() == 5);
}

}  // namespace

TEST_CASE("AdamW agrees with its formula over several steps") {
  Cpu device(2);
  Model<double> model(device);
  optim::AdamW<double> adamw(device, model.list(),
                             {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.3});
  check_steps(device, model, adamw,
              [](double& x, double g, double& m, double& v, int t, bool decays, double rate) {
                m = 0.8 * m + 0.2 * g;
                v = 0.95 * v + 0.05 * g * g;
                const double m_hat = m / (1 - std::pow(0.8, t)), v_hat = v / (1 - std::pow(0.95, t));
                x -= rate * (m_hat / (std::sqrt(v_hat) + 1e-3) + (decays ? 0.3 : 0.0) * x);
              });
}

TEST_CASE("SGD agrees with its formula over several steps") {
  const bool nesterov = GENERATE(false, true);
  Cpu device(2);
  Model<double> model(device);
  optim::Sgd<double> sgd(device, model.list(), {.momentum = 0.7, .nesterov = nesterov, .weight_decay = 0.2});
  check_steps(device, model, sgd,
              [&](double& x, double g, double& b, double&, int, bool decays, double rate) {
                const double d = g + (decays ? 0.2 : 0.0) * x;
                b = 0.7 * b + d;
                x -= rate * (nesterov ? d + 0.7 * b : b);
              });
}

TEST_CASE("optimisers resume from their state bit for bit, on any number of threads") {
  const auto check = [](auto make) {
    Cpu device(3), one_thread(1);
    Model<float> whole(device), halves(device);
    auto optimizer = make(device, whole.list());
    {
      for (std::uint32_t t = 0; t < 6; ++t) {
        whole.draw_gradients(t);
        optimizer.step(one_thread, 0.01);
      }
    }
    auto first = make(device, halves.list());
    for (std::uint32_t t = 0; t < 3; ++t) {
      halves.draw_gradients(t);
      first.step(device, 0.01);
    }
    auto second = make(device, halves.list());
    second.set_steps(first.steps());
    std::vector<std::pair<std::string, std::vector<float>>> saved;
    first.for_each_state([&](const std::string& name, const std::vector<Index>&, VectorView<float> buffer) {
      saved.emplace_back(name, std::vector<float>(buffer.data(), buffer.data() + buffer.size()));
    });
    std::size_t at = 0;
    second.for_each_state(
        [&](const std::string& name, const std::vector<Index>& extents, VectorView<float> buffer) {
          CHECK(name == saved[at].first);
          CHECK(name.starts_with("model."));
          CHECK(!extents.empty());
          std::copy(saved[at].second.begin(), saved[at].second.end(), buffer.data());
          ++at;
        });
    CHECK(at == saved.size());
    for (std::uint32_t t = 3; t < 6; ++t) {
      halves.draw_gradients(t);
      second.step(device, 0.01);
    }
    CHECK(halves.values() == whole.values());
  };
  check([](Cpu& device, const auto& list) { return optim::AdamW<float>(device, list); });
  check([](Cpu& device, const auto& list) { return optim::Sgd<float>(device, list); });
}

TEST_CASE("the schedule rises linearly and falls along half a cosine") {
  const optim::WarmupCosine rate({.peak = 2, .floor = 0.5, .warmup_steps = 4, .total_steps = 11});
  CHECK(rate(0) == 0.5);
  CHECK(rate(1) == 1.0);
  CHECK(rate(3) == 2.0);
  CHECK(rate(4) == 2.0);
  CHECK(rate(7) == Approx(1.25));
  CHECK(rate(10) == Approx(0.5));
  CHECK(rate(1000) == Approx(0.5));
  const optim::WarmupCosine one({.peak = 1});
  CHECK(one(0) == 1.0);
  const optim::WarmupCosine only_warmup({.peak = 1, .warmup_steps = 3, .total_steps = 3});
  CHECK(only_warmup(2) == 1.0);
  CHECK(std::isfinite(only_warmup(3)));
}

TEST_CASE("gradients are clipped by their joint norm") {
  Cpu device(2), serial(1);
  Model<float> model(device);
  model.draw_gradients(1);
  double sum = 0;
  for (const auto* p : {&model.weight, &model.bias})
    for (Index i = 0; i < p->size(); ++i) sum += std::pow(static_cast<double>(p->gradient()[i]), 2);
  const auto list = model.list();
  const double norm = optim::clip_gradient_norm(device, list);
  CHECK(norm == Approx(std::sqrt(sum)).epsilon(1e-12));
  CHECK(optim::clip_gradient_norm(serial, list) == norm);
  const float before = model.weight.gradient()[7];
  CHECK(optim::clip_gradient_norm(device, list, 2 * norm) == norm);
  CHECK(model.weight.gradient()[7] == before);
  CHECK(optim::clip_gradient_norm(device, list, 1.5) == norm);
  CHECK(optim::clip_gradient_norm(device, list) == Approx(1.5).epsilon(1e-6));
  CHECK(model.weight.gradient()[7] == Approx(before * 1.5 / norm));
  model.bias.gradient()[1] = std::numeric_limits<float>::quiet_NaN();
  const float kept = model.weight.gradient()[7];
  CHECK(std::isnan(optim::clip_gradient_norm(device, list, 0.1)));
  CHECK(model.weight.gradient()[7] == kept);
  model.parameters->zero_gradients(device);
  CHECK(optim::clip_gradient_norm(device, list, 1) == 0.0);
}

TEST_CASE("optimisers name what does not fit") {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  Cpu device(1);
  Model<float> model(device);
  optim::AdamW<float> adamw(device, model.list());
  optim::Sgd<float> sgd(device, model.list());
  const auto before = model.values();
  for (double rate : {nan, infinity, -1.0}) {
    CHECK_THROWS_AS(adamw.step(device, rate), std::invalid_argument);
    CHECK_THROWS_AS(sgd.step(device, rate), std::invalid_argument);
  }
  CHECK(model.values() == before);
  CHECK(adamw.steps() == 0);
  CHECK_THROWS_AS(optim::AdamW<float>(device, model.list(), {.beta1 = 1}), std::invalid_argument);
  CHECK_THROWS_AS(optim::AdamW<float>(device, model.list(), {.beta2 = nan}), std::invalid_argument);
  CHECK_THROWS_AS(optim::AdamW<float>(device, model.list(), {.epsilon = 0}), std::invalid_argument);
  CHECK_THROWS_AS(optim::AdamW<float>(device, model.list(), {.weight_decay = -1}), std::invalid_argument);
  CHECK_THROWS_AS(optim::Sgd<float>(device, model.list(), {.momentum = 1}), std::invalid_argument);
  CHECK_THROWS_AS(optim::clip_gradient_norm(device, model.list(), nan), std::invalid_argument);
  CHECK_THROWS_AS(optim::clip_gradient_norm(device, model.list(), 0), std::invalid_argument);
  CHECK_THROWS_AS(optim::WarmupCosine({.peak = nan}), std::invalid_argument);
  CHECK_THROWS_AS(optim::WarmupCosine({.peak = 1, .floor = 2}), std::invalid_argument);
  CHECK_THROWS_AS(optim::WarmupCosine({.total_steps = 0}), std::invalid_argument);
  CHECK_THROWS_AS(optim::WarmupCosine({.warmup_steps = 3, .total_steps = 2}), std::invalid_argument);
}
