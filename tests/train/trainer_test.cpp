// The training loop, on a task that fits a line.
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"
#include "train/line_task.hpp"

#include <vlp/io/file.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/train/trainer.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

using namespace vlp;
using test::Line;
using test::message_of;
using test::TemporaryFolder;

namespace {

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
const train::Provenance provenance{{{"lr", 0.2}}, {"points", "drawn"}, {{"notes", "1"}}};

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
  CHECK(session.trainer.run(StopToken(session.stop), nullptr));
  CHECK(session.task.constrained == 50);
  const train::Log& log = session.trainer.log();
  CHECK(log.columns() == std::vector<std::string>{"step", "epoch", "loss", "error", "error_chance", "penalty",
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
        std::vector<std::string>{"epoch", "step", "loss", "error", "error_chance", "penalty"});
  CHECK(log.column("error_chance") == std::vector<double>(50, test::Line::chance));
  CHECK(session.trainer.held_out_log().column("error_chance") ==
        std::vector<double>(5, 2 * test::Line::chance));
  CHECK(session.trainer.held_out_log().column("step") == std::vector<double>{10, 20, 30, 40, 50});
  const auto losses = session.trainer.held_out_log().column("loss");
  CHECK(session.trainer.progression().best_loss == *std::min_element(losses.begin(), losses.end()));
  CHECK(session.trainer.timing().seconds > 0);
  CHECK(session.trainer.timing().parts.entries()[0].work == "line");
  CHECK(session.trainer.run(StopToken(session.stop), nullptr));  // nothing is left
  CHECK(session.task.steps == 50);
}

TEST_CASE("the best checkpoint is that of the lowest held-out loss") {
  const TemporaryFolder folder;
  Session session((folder / "run").string());
  session.folder.start(provenance.settings, [] {});
  session.task.held_out_losses = {5, 3, 4, 3, 6};
  CHECK(session.trainer.run(StopToken(session.stop), nullptr));
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
    CHECK(whole.trainer.run({}, nullptr));
  }
  for (const int after : {1, 10, 13}) {
    const std::string run = "cut " + std::to_string(after);
    {
      Session session((folder / run).string());
      session.folder.start(provenance.settings, [] {});
      session.task.stop = &session.stop;
      session.task.stop_after = after;
      CHECK_FALSE(session.trainer.run(StopToken(session.stop), nullptr));
      CHECK(session.trainer.progression().step == after);
    }
    Session session((folder / run).string());
    session.folder.lock();
    session.trainer.resume();
    CHECK(session.trainer.progression().step == after);
    CHECK(session.trainer.run(StopToken(session.stop), nullptr));
    CHECK(results_of(folder, run) == results_of(folder, "whole"));
  }
}

TEST_CASE(
    "a run that is stopped while it waits for a batch or for held-out losses goes on to the same bytes") {
  const TemporaryFolder folder;
  {
    Session whole((folder / "whole").string());
    whole.folder.start(provenance.settings, [] {});
    CHECK(whole.trainer.run({}, nullptr));
  }
  const auto stop_and_go_on = [&](const std::string& run, Index after, auto stop) {
    {
      Session session((folder / run).string());
      session.folder.start(provenance.settings, [] {});
      stop(session.task);
      CHECK_FALSE(session.trainer.run({}, nullptr));
      CHECK(session.trainer.progression().step == after);
    }
    // The held-out losses are stopped once more.
    Session again((folder / run).string());
    again.folder.lock();
    again.trainer.resume();
    CHECK(again.trainer.progression().step == after);
    if (run.starts_with("losses")) {
      again.task.stopped_held_out = 0;
      CHECK_FALSE(again.trainer.run({}, nullptr));
      CHECK(again.trainer.progression().step == after);
      again.task.stopped_held_out = -1;
    }
    CHECK(again.trainer.run({}, nullptr));
    CHECK(results_of(folder, run) == results_of(folder, "whole"));
  };
  for (const Index step : {0, 4, 10, 23})
    stop_and_go_on("batch " + std::to_string(step), step, [&](Line& task) { task.stopped_batch = step; });
  for (const int step : {10, 20, 50})
    stop_and_go_on("losses " + std::to_string(step), step, [&](Line& task) { task.stopped_held_out = step; });
}

TEST_CASE("a run that is killed between its two checkpoints, after it was stopped before, goes on") {
  const TemporaryFolder folder;
  const auto session_of = [&] { return std::make_unique<Session>((folder / "run").string()); };
  {
    const auto session = session_of();
    session->folder.start(provenance.settings, [] {});
    session->task.stopped_held_out = 20;
    CHECK_FALSE(session->trainer.run({}, nullptr));
  }
  const std::string last = io::read_file(folder / "run/last.safetensors");
  const auto go_on = [&](Index to) {
    const auto session = session_of();
    session->folder.lock();
    session->trainer.resume();
    session->task.stopped_batch = to;
    session->trainer.run({}, nullptr);
  };
  go_on(20);
  io::write_file(folder / "run/last.safetensors", last);  // that of step 20 is better than that of step 10
  CHECK(io::read_safetensors(folder / "run/best.safetensors").metadata("step") == "20");
  go_on(-1);
  CHECK(io::read_safetensors(folder / "run/last.safetensors").metadata("step") == "50");
}

TEST_CASE("a term that is not finite ends the run with its name, step and rows, and harms no checkpoint") {
  const TemporaryFolder folder;
  Session session((folder / "run").string());
  session.folder.start(provenance.settings, [] {});
  session.task.bad_step = 6;
  const std::string message = message_of([&] { session.trainer.run(StopToken(session.stop), nullptr); });
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
    trainer.run({}, nullptr);
    return trainer.log().column("gradient_norm")[0];
  };
  Doubling two;
  CHECK(std::abs(train_with(two, "two") - 2 * train_with(dist::SelfCommunicator{}, "one")) < 1e-5);
  CHECK(*two.calls == 50);
}

TEST_CASE("a run goes on only from files that are as it left them, and says how to mend it") {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  {
    Session session(run);
    session.folder.start(provenance.settings, [] {});
    session.task.stop = &session.stop;
    session.task.stop_after = 23;
    CHECK_FALSE(session.trainer.run(StopToken(session.stop), nullptr));
  }
  const auto resume = [&] {
    Session session(run);
    session.folder.lock();
    return message_of([&] { session.trainer.resume(); });
  };
  CHECK(resume() == "no error");
  const std::string advice = "remove " + run + "/last.safetensors: then the run begins again at step 0";
  const auto refused = [&](const char* name, const std::string& bytes) {
    const std::string path = run + "/" + name, good = io::read_file(path);
    if (bytes == "missing")
      std::filesystem::remove(path);
    else
      io::write_file(path, bytes);
    const std::string message = resume();
    io::write_file(path, good);
    INFO(name << ": " << message);
    CHECK(message.find(path) == 0);
    CHECK(message.find(advice) != std::string::npos);
  };
  const std::string log = io::read_file(run + "/log.csv"), held_out = io::read_file(run + "/held_out.csv");
  const auto replaced = [](std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  };
  refused("log.csv", "missing");
  refused("log.csv", "");
  refused("log.csv", log.substr(0, log.size() / 2));
  refused("log.csv", log.substr(0, log.size() - 8));
  refused("log.csv", replaced(log, "\n7,", "\n8,"));
  refused("log.csv", replaced(log, "\n7,1,", "\n7,1.5,"));
  refused("log.csv", replaced(log, "\n7,1,", "\nx,1,"));
  refused("log.csv", replaced(log, "\n7,1,", "\n7,hello,"));
  refused("log.csv", log.substr(0, log.find("\n7,")) + log.substr(log.find("\n8,")));
  refused("log.csv", replaced(log, "step", "stop"));
  refused("held_out.csv", "missing");
  refused("held_out.csv", held_out.substr(0, held_out.find("\n2,") + 1));
  refused("held_out.csv", replaced(held_out, "\n2,20,", "\n2,20,1"));
  std::string last = io::read_file(run + "/last.safetensors");
  last.back() = static_cast<char>(last.back() ^ 1);
  refused("last.safetensors", last);
  refused("last.safetensors", last.substr(0, last.size() - 1));
  refused("last.safetensors", "");
  std::string best = io::read_file(run + "/best.safetensors");
  refused("best.safetensors", "missing");
  refused("best.safetensors", best.substr(0, 100));
  best.back() = static_cast<char>(best.back() ^ 1);
  refused("best.safetensors", best);
  CHECK(resume() == "no error");
}

TEST_CASE("the best checkpoint is that of the last one, or a later one that will be written again") {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  std::vector<std::string> best;  // after 10 and 20 steps
  std::string last;               // after 13
  for (const int after : {13, 23}) {
    Session session(run + std::to_string(after));
    session.folder.start(provenance.settings, [] {});
    session.task.held_out_losses = {3, 2, 1, 1, 1};
    session.task.stop = &session.stop;
    session.task.stop_after = after;
    CHECK_FALSE(session.trainer.run(StopToken(session.stop), nullptr));
    best.push_back(io::read_file(session.folder.file("best.safetensors")));
  }
  const auto resume = [&](const std::string& path) {
    Session session(path);
    session.folder.lock();
    return message_of([&] { session.trainer.resume(); });
  };
  io::write_file(run + "13/best.safetensors",
                 best[1]);  // as if killed between the two checkpoints of step 20
  CHECK(resume(run + "13") == "no error");
  io::write_file(run + "23/best.safetensors", best[0]);
  CHECK(resume(run + "23")
            .find("best.safetensors: the checkpoint of step 10, but that of the lowest held-out "
                  "loss is of step 20; ") != std::string::npos);
}

TEST_CASE("a run without its last checkpoint begins again, ends the same, and says so") {
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  {
    Session session(run);
    session.folder.start(provenance.settings, [] {});
    CHECK(session.trainer.run({}, nullptr));
  }
  const auto expected = results_of(folder, "run");
  std::filesystem::remove(run + "/last.safetensors");
  Session session(run);
  session.folder.lock();
  CHECK(session.trainer.resume() ==
        std::vector<std::string>{run + "/last.safetensors is not there: the run begins at step 0"});
  CHECK(session.trainer.run({}, nullptr));
  CHECK(results_of(folder, "run") == expected);
}
