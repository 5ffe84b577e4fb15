// The training loop, on a task that fits a line.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/train/trainer.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace vlp;
using test::message_of;
using test::TemporaryFolder;

namespace {

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
  train::Terms terms() const { return {0, {{"error", 1}, {"penalty", 0.01}}}; }
  std::vector<train::Reading> readings(Cpu&) const { return {{"slope", slope_.value()[0]}}; }
  const ParameterList<float>& parameters() const { return parameters_.list(); }
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
    terms.terms[1].value = slope_.value()[0];
    terms.total = terms.terms[0].value + 0.01 * terms.terms[1].value;
    slope_.gradient()[0] += 0.01f;
    return terms;
  }
  train::Terms held_out(Cpu&) {
    train::Terms terms = this->terms();
    if (epoch < held_out_losses.size()) {
      terms.total = held_out_losses[epoch++];
      return terms;
    }
    terms.terms[0].value = terms.total = std::abs(slope_.value()[0] - 3) + std::abs(offset_.value()[0] + 2);
    return terms;
  }

  Index bad_step = -1;
  std::vector<double> held_out_losses;  // of each epoch, in place of the true ones
  std::size_t epoch = 0;
  int steps = 0, constrained = 0, stop_after = -1;
  std::atomic<bool>* stop = nullptr;

 private:
  Parameter<float> slope_, offset_;
  Parameters<float> parameters_;
  train::Times times_;
};

static_assert(train::Task<Line>);

/// A rank of a group whose other ranks hold the same gradients.
struct Doubling : dist::SelfCommunicator {
  template <class T>
  void all_reduce(Cpu&, VectorView<T> values, dist::Reduction reduction) const {
    if (reduction != dist::Reduction::sum) return;
    for (Index i = 0; i < values.size(); ++i) values[i] *= 2;
    ++*calls;
  }
  std::shared_ptr<int> calls = std::make_shared<int>(0);
};

const train::TrainingOptions options{
    .epochs = 5, .lr = 0.2, .warmup = 0.1, .weight_decay = 0, .clip = 100, .checkpoint_every = 3};
const train::Provenance provenance{{{"lr", 0.2}}, "points"};

struct Session {
  explicit Session(const std::string& path) : folder(path), task(device) {}
  Cpu device{1};
  train::RunFolder folder;
  Line task;
  std::atomic<bool> stop{false};
  train::Trainer<Line> trainer{device, task, options, folder, provenance};
};

std::vector<std::string> results_of(const TemporaryFolder& folder, const std::string& run) {
  std::vector<std::string> bytes;
  for (const char* file : {"/log.csv", "/held_out.csv", "/last.safetensors", "/best.safetensors"})
    bytes.push_back(io::read_file(folder / (run + file)));
  return bytes;
}

}  // namespace

TEST_CASE("a task is trained, logged and saved") {
  const TemporaryFolder folder;
  Session session((folder / "run").string());
  session.folder.start(provenance.settings, [] {});
  CHECK(session.trainer.total_steps() == 50);
  CHECK(session.trainer.run(session.stop, nullptr));
  CHECK(session.task.constrained == 50);
  const train::Log& log = session.trainer.log();
  CHECK(log.columns() == std::vector<std::string>{"step", "epoch", "loss", "error", "penalty",
                                                  "learning_rate", "gradient_norm", "slope"});
  CHECK(log.rows().size() == 50);
  CHECK(log.column("epoch")[9] == 1);
  CHECK(log.column("epoch")[10] == 2);
  CHECK(log.column("loss").back() < 0.1 * log.column("loss").front());
  // A reading is that after the update; the term is that of the step.
  CHECK(log.column("penalty")[1] == log.column("slope")[0]);
  CHECK(log.column("penalty")[0] == 0);
  CHECK(std::abs(log.column("learning_rate")[0] - 0.04) < 1e-12);
  CHECK(session.trainer.held_out_log().columns() ==
        std::vector<std::string>{"epoch", "step", "loss", "error", "penalty"});
  CHECK(session.trainer.held_out_log().column("step") == std::vector<double>{10, 20, 30, 40, 50});
  const auto losses = session.trainer.held_out_log().column("loss");
  CHECK(session.trainer.progression().best_loss == *std::min_element(losses.begin(), losses.end()));
  CHECK(session.trainer.timing().seconds > 0);
  CHECK(session.trainer.timing().parts.entries()[0].work == "line");
  CHECK(session.trainer.run(session.stop, nullptr));  // nothing is left
  CHECK(session.task.steps == 50);
}

TEST_CASE("the best checkpoint is that of the lowest held-out loss") {
  const TemporaryFolder folder;
  Session session((folder / "run").string());
  session.folder.start(provenance.settings, [] {});
  session.task.held_out_losses = {5, 3, 4, 3, 6};
  CHECK(session.trainer.run(session.stop, nullptr));
  CHECK(session.trainer.progression().best_step == 20);
  CHECK(session.trainer.progression().best_loss == 3);
  const auto slopes = session.trainer.log().column("slope");
  const auto slope = [&] { return static_cast<double>(session.task.parameters()[0].parameter->value()[0]); };
  CHECK(slope() == slopes[49]);
  session.trainer.load_best();
  CHECK(slope() == slopes[19]);
  CHECK(session.trainer.progression().step == 20);
}

TEST_CASE("a run that is stopped goes on to the same bytes") {
  const TemporaryFolder folder;
  {
    Session whole((folder / "whole").string());
    whole.folder.start(provenance.settings, [] {});
    CHECK(whole.trainer.run(whole.stop, nullptr));
  }
  for (const int after : {1, 10, 13}) {
    const std::string run = "cut " + std::to_string(after);
    {
      Session session((folder / run).string());
      session.folder.start(provenance.settings, [] {});
      session.task.stop = &session.stop;
      session.task.stop_after = after;
      CHECK_FALSE(session.trainer.run(session.stop, nullptr));
      CHECK(session.trainer.progression().step == after);
    }
    Session session((folder / run).string());
    session.folder.lock();
    session.trainer.resume();
    CHECK(session.trainer.progression().step == after);
    CHECK(session.trainer.run(session.stop, nullptr));
    CHECK(results_of(folder, run) == results_of(folder, "whole"));
  }
}

TEST_CASE("a term that is not finite ends the run with its name, step and rows, and harms no checkpoint") {
  const TemporaryFolder folder;
  Session session((folder / "run").string());
  session.folder.start(provenance.settings, [] {});
  session.task.bad_step = 6;
  const std::string message = message_of([&] { session.trainer.run(session.stop, nullptr); });
  CHECK(message.find("the error loss is nan at step 6; rows of the batch that are not finite: 3; ") == 0);
  CHECK(message.find("last.safetensors holds the last good step") != std::string::npos);
  const io::SafeTensors checkpoint = io::read_safetensors(folder / "run/last.safetensors");
  CHECK(checkpoint.metadata("step") == "3");
  CHECK(std::isfinite(checkpoint.values<float>("slope")[0]));
}

TEST_CASE("gradients of all ranks are summed before they are clipped") {
  const TemporaryFolder folder;
  const auto train_with = [&](auto communicator, const std::string& name) {
    Cpu device(1);
    Line task(device);
    train::RunFolder run((folder / name).string());
    run.start(provenance.settings, [] {});
    train::Trainer trainer(device, task, options, run, provenance, communicator);
    const std::atomic<bool> never{false};
    trainer.run(never, nullptr);
    return trainer.log().column("gradient_norm")[0];
  };
  Doubling two;
  CHECK(std::abs(train_with(two, "two") - 2 * train_with(dist::SelfCommunicator{}, "one")) < 1e-5);
  CHECK(*two.calls == 50);
}

TEST_CASE("a checkpoint of other settings, other data or another model is refused and changes nothing") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  optim::AdamW<float> optimiser(device, line.parameters());
  line.parameters()[0].parameter->value()[0] = 7;
  train::save_checkpoint<float, Cpu>(device, path, line.parameters(), &optimiser, provenance, {4, 0.5, 3});

  Line other(device);
  const auto load = [&](const train::Provenance& wanted, optim::AdamW<float>* state) {
    return message_of<std::exception>(
        [&] { train::load_checkpoint<float, Cpu>(device, path, other.parameters(), state, wanted); });
  };
  CHECK(load({{{"lr", 0.3}}, "points"}, nullptr) ==
        path + " was made with lr 0.2, not 0.3; go on with the same settings, or start in another folder");
  CHECK(load({{{"lr", 0.2}}, "other points"}, &optimiser).find("have changed since this run began") !=
        std::string::npos);
  CHECK(other.parameters()[0].parameter->value()[0] == 0);
  CHECK(load({{{"lr", 0.2}}, "other points"}, nullptr) == "no error");  // to evaluate, other data will do
  CHECK(other.parameters()[0].parameter->value()[0] == 7);

  // Another shape: the first tensors fit, but none is read.
  const std::vector<float> slope{1}, offset{1, 2};
  const std::vector<io::TensorRef> tensors{io::tensor_ref("slope", std::span(slope), {1}),
                                           io::tensor_ref("offset", std::span(offset), {2})};
  io::write_safetensors(
      path, tensors,
      {{"settings", R"({"lr":0.2})"}, {"data", ""}, {"step", "1"}, {"best_loss", "1"}, {"best_step", "1"}});
  CHECK(load(provenance, nullptr).find("tensor 'offset' has another shape than in this model") !=
        std::string::npos);
  CHECK(other.parameters()[0].parameter->value()[0] == 7);
}
