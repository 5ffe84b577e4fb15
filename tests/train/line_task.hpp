/// \file
/// A task that fits a line, for tests of the training loop and its files.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/train/task.hpp>
#include <vlp/train/terms.hpp>
#include <vlp/train/times.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::test {

/// y = slope x + offset, learned from points drawn for each step: two terms, the error and a penalty.
class Line {
 public:
  using Scalar = float;
  using Device = Cpu;
  struct Batch {
    std::vector<double> x, y;
  };

  explicit Line(Cpu& device) : slope_({1}), offset_({1}), parameters_(device, *this) {}

  template <class Visit>
  void for_each_parameter(std::string_view prefix, Visit&& visit) {
    visit(join_names(prefix, "slope"), slope_);
    visit(join_names(prefix, "offset"), offset_);
  }

  Batch make_batch(Index step) const {
    if (step == stopped_batch) throw Stopped();
    Random random(1, 2, static_cast<std::uint32_t>(step));
    Batch batch;
    for (int i = 0; i < 8; ++i) {
      batch.x.push_back(static_cast<double>(random.normal()));
      batch.y.push_back(3 * batch.x.back() - 2);
    }
    if (step + 1 == bad_step) batch.y[3] = std::numeric_limits<double>::quiet_NaN();
    return batch;
  }
  Index examples_per_step() const { return 8; }
  Index steps_per_epoch() const { return 10; }
  train::Terms terms() const { return {0, {{"error", 1, 0, 0.0}, {"penalty", 0.01}}}; }
  std::vector<train::Reading> readings(Cpu&) const { return {{"slope", slope_.value()[0]}}; }
  const ParameterList<float>& parameters() const { return parameters_.list(); }
  const ParameterList<float>& trained() const { return parameters_.list(); }
  VectorView<float> gradients() const { return parameters_.gradients(); }
  train::Times& times() { return times_; }
  void constrain(Cpu& device) { ++constrained, static_cast<void>(device); }
  std::string describe(Cpu&, const Batch& batch) const {
    for (std::size_t i = 0; i < batch.y.size(); ++i)
      if (std::isnan(batch.y[i])) return std::to_string(i);
    return "none";
  }
  train::Terms step(Cpu&, const Batch& batch) {
    const auto stopwatch = times_.measure("line");
    if (++steps == stop_after && stop != nullptr) *stop = true;
    train::Terms terms = this->terms();
    for (std::size_t i = 0; i < batch.x.size(); ++i) {
      const double error = slope_.value()[0] * batch.x[i] + offset_.value()[0] - batch.y[i];
      terms.terms[0].value += error * error / 8;
      slope_.gradient()[0] += static_cast<float>(2 * error * batch.x[i] / 8);
      offset_.gradient()[0] += static_cast<float>(2 * error / 8);
    }
    terms.terms[0].chance = chance;
    terms.terms[1].value = slope_.value()[0];
    terms.total = terms.terms[0].value + 0.01 * terms.terms[1].value;
    slope_.gradient()[0] += 0.01f;
    return terms;
  }
  train::Terms held_out(Cpu&) {
    if (steps == stopped_held_out) throw Stopped();
    train::Terms terms = this->terms();
    terms.terms[0].chance = 2 * chance;
    if (epoch < held_out_losses.size()) {
      terms.total = held_out_losses[epoch++];
      return terms;
    }
    terms.terms[0].value = terms.total = std::abs(slope_.value()[0] - 3) + std::abs(offset_.value()[0] + 2);
    return terms;
  }

  static constexpr double chance = 13;  // the error of 0 x + 0, on average
  Index bad_step = -1;
  Index stopped_batch = -1;             // the step whose batch is not waited for
  int stopped_held_out = -1;            // the steps after which held-out losses are not
  std::vector<double> held_out_losses;  // of each epoch, in place of the true ones
  std::size_t epoch = 0;
  int steps = 0, constrained = 0, stop_after = -1;
  std::atomic<bool>* stop = nullptr;

 private:
  Parameter<float> slope_, offset_;
  Parameters<float> parameters_;
  train::Times times_;
};

}  // namespace vlp::test
