#include "support/catch.hpp"
#include "support/layer_gradient.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/optim/adamw.hpp>
#include <vlp/optim/clamp_above.hpp>
#include <vlp/optim/clip_gradient_norm.hpp>
#include <vlp/optim/sgd.hpp>
#include <vlp/optim/warmup_cosine.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

/// Two parameters, one of which decays, the first in more than one piece of work.
template <class Scalar, class Device>
struct Model {
  Parameter<Scalar, Device> weight{{200, 100}, WeightDecay::yes}, bias{{3}};
  std::optional<Parameters<Scalar, Device>> parameters;

  explicit Model(Device& device) {
    Random random(1);
    for (auto* p : {&weight, &bias}) p->initialise([&] { return random.normal(); });
    parameters.emplace(device, *this, "model");
  }
  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "weight"), weight);
    visit(join_names(prefix, "bias"), bias);
  }
  [[nodiscard]] const ParameterList<Scalar, Device>& list() const { return parameters->list(); }

  /// Sets all gradients, and returns them one behind the other.
  std::vector<Scalar> draw_gradients(Device& device, std::uint32_t step) {
    Random random(2, step);
    std::vector<Scalar> all;
    for (auto* p : {&weight, &bias}) {
      std::vector<Scalar> gradient(static_cast<std::size_t>(p->size()));
      for (Scalar& g : gradient) g = static_cast<Scalar>(random.normal());
      upload(device, gradient, p->gradient().data());
      all.insert(all.end(), gradient.begin(), gradient.end());
    }
    return all;
  }
  [[nodiscard]] std::vector<Scalar> values(Device& device) const {
    std::vector<Scalar> out = download_value(device, weight);
    for (Scalar x : download_value(device, bias)) out.push_back(x);
    return out;
  }
};

/// Steps what `make(device, list)` makes, on every device, and `literal(x, g, state, t, decays, rate)` over a
/// copy of each element.
template <class Make, class Literal>
void check_steps(Make&& make, Literal&& literal) {
  on_every_device(
      [&](auto& device) {
        using Device = DeviceOf<decltype(device)>;
        struct State {
          double a = 0, b = 0;
        };
        Model<double, Device> model(device);
        auto optimizer = make(device, model.list());
        Values x = model.values(device);
        std::vector<State> state(x.size());
        for (int t = 1; t <= 5; ++t) {
          const Values g = model.draw_gradients(device, static_cast<std::uint32_t>(t));
          const double rate = 0.01 * t;
          const auto decaying = static_cast<std::size_t>(model.weight.size());
          for (std::size_t i = 0; i < x.size(); ++i)
            literal(x[i], g[i], state[i].a, state[i].b, t, i < decaying, rate);
          optimizer.step(device, rate);
          CHECK(largest_difference(model.values(device), x) < 1e-13);
        }
        CHECK(optimizer.steps() == 5);
        return model.values(device);
      },
      2);
}

template <class Scalar, class Device>
optim::AdamW<Scalar, Device> make_adamw(Device& device, const ParameterList<Scalar, Device>& list,
                                        const optim::AdamWOptions& options = {}) {
  return {device, list, options};
}
template <class Scalar, class Device>
optim::Sgd<Scalar, Device> make_sgd(Device& device, const ParameterList<Scalar, Device>& list,
                                    const optim::SgdOptions& options = {}) {
  return {device, list, options};
}

/// Six steps on one thread, and three and three with state saved and loaded in between on three threads.
template <class Device, class Make>
void check_resuming(Make&& make) {
  using Numbers = std::vector<float>;
  Device device(3), one_thread(1);
  Model<float, Device> whole(device), halves(device);
  auto optimizer = make(device, whole.list());
  for (std::uint32_t t = 0; t < 6; ++t) {
    whole.draw_gradients(device, t);
    optimizer.step(one_thread, 0.01);
  }
  auto first = make(device, halves.list());
  for (std::uint32_t t = 0; t < 3; ++t) {
    halves.draw_gradients(device, t);
    first.step(device, 0.01);
  }
  auto second = make(device, halves.list());
  second.set_steps(first.steps());
  std::vector<std::pair<std::string, Numbers>> saved;
  first.for_each_state([&](const std::string& name, const std::vector<Index>&, VectorView<float> state) {
    saved.emplace_back(name, downloaded<float>(device, state.data(), state.size()));
  });
  std::size_t at = 0;
  second.for_each_state(
      [&](const std::string& name, const std::vector<Index>& extents, VectorView<float> state) {
        CHECK(name == saved[at].first);
        CHECK(name.starts_with("model."));
        Index size = 1;
        for (Index extent : extents) size *= extent;
        CHECK(state.size() == size);
        CHECK(downloaded<float>(device, state.data(), state.size()) ==
              Numbers(static_cast<std::size_t>(size)));  // zero at first
        upload(device, saved[at].second, state.data());
        ++at;
      });
  CHECK(at == saved.size());
  for (std::uint32_t t = 3; t < 6; ++t) {
    halves.draw_gradients(device, t);
    second.step(device, 0.01);
  }
  CHECK(halves.values(device) == whole.values(device));
}

}  // namespace

TEST_CASE("AdamW agrees with its formula over several steps") {
  check_steps(
      [](auto& device, const auto& list) {
        return make_adamw(device, list, {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.3});
      },
      [](double& x, double g, double& m, double& v, int t, bool decays, double rate) {
        m = 0.8 * m + 0.2 * g;
        v = 0.95 * v + 0.05 * g * g;
        const double m_hat = m / (1 - std::pow(0.8, t)), v_hat = v / (1 - std::pow(0.95, t));
        x -= rate * (m_hat / (std::sqrt(v_hat) + 1e-3) + (decays ? 0.3 : 0.0) * x);
      });
}

TEST_CASE("SGD agrees with its formula over several steps") {
  const bool nesterov = GENERATE(false, true);
  check_steps(
      [&](auto& device, const auto& list) {
        return make_sgd(device, list, {.momentum = 0.7, .nesterov = nesterov, .weight_decay = 0.2});
      },
      [&](double& x, double g, double& b, double&, int, bool decays, double rate) {
        const double d = g + (decays ? 0.2 : 0.0) * x;
        b = 0.7 * b + d;
        x -= rate * (nesterov ? d + 0.7 * b : b);
      });
}

TEMPLATE_TEST_CASE("optimisers resume from their state bit for bit, on any number of threads", "", Cpu,
                   Guarded) {
  check_resuming<TestType>([](auto& device, const auto& list) { return make_adamw(device, list); });
  check_resuming<TestType>([](auto& device, const auto& list) { return make_sgd(device, list); });
}

TEMPLATE_TEST_CASE("an optimiser of some parameters leaves the others alone", "", Cpu, Guarded) {
  TestType device(1);
  Model<float, TestType> model(device);
  const auto before = download_value(device, model.weight);
  const auto bias = download_value(device, model.bias);
  ParameterList<float, TestType> trained{model.list()[1]};
  optim::AdamW<float, TestType> adamw(device, trained);
  model.draw_gradients(device, 1);
  adamw.step(device, 0.1);
  CHECK(download_value(device, model.weight) == before);
  CHECK(download_value(device, model.bias) != bias);
}

TEMPLATE_TEST_CASE("scales are clamped from above", "", Cpu, Guarded) {
  TestType device(1);
  Model<float, TestType> model(device);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  upload_value(device, model.bias, std::vector<float>{1, 5, nan});
  optim::clamp_above(device, model.bias, 4.5f);
  const auto values = download_value(device, model.bias);
  CHECK(values[0] == 1);
  CHECK(values[1] == 4.5f);
  CHECK(std::isnan(values[2]));
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

TEMPLATE_TEST_CASE("gradients are clipped by their joint norm", "", Cpu, Guarded) {
  TestType device(2), serial(1);
  Model<float, TestType> model(device);
  double sum = 0;
  for (float g : model.draw_gradients(device, 1)) sum += std::pow(static_cast<double>(g), 2);
  const auto seventh = [&] { return download_gradient(device, model.weight)[7]; };
  const auto& list = model.list();
  const double norm = optim::clip_gradient_norm(device, list);
  CHECK(norm == Approx(std::sqrt(sum)).epsilon(1e-12));
  CHECK(optim::clip_gradient_norm(serial, list) == norm);
  const float before = seventh();
  CHECK(optim::clip_gradient_norm(device, list, 2 * norm) == norm);
  CHECK(seventh() == before);
  CHECK(optim::clip_gradient_norm(device, list, 1.5) == norm);
  CHECK(optim::clip_gradient_norm(device, list) == Approx(1.5).epsilon(1e-6));
  CHECK(seventh() == Approx(before * 1.5 / norm));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  upload(device, std::span<const float>(&nan, 1), model.bias.gradient().data() + 1);
  const float kept = seventh();
  CHECK(std::isnan(optim::clip_gradient_norm(device, list, 0.1)));
  CHECK(seventh() == kept);
  model.parameters->zero_gradients(device);
  CHECK(optim::clip_gradient_norm(device, list, 1) == 0.0);
}

TEST_CASE("optimisers name what does not fit") {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  Cpu device(1);
  Model<float, Cpu> model(device);
  optim::AdamW<float> adamw(device, model.list());
  optim::Sgd<float> sgd(device, model.list());
  const auto before = model.values(device);
  for (double rate : {nan, infinity, -1.0}) {
    CHECK_THROWS_AS(adamw.step(device, rate), std::invalid_argument);
    CHECK_THROWS_AS(sgd.step(device, rate), std::invalid_argument);
  }
  CHECK(model.values(device) == before);
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
