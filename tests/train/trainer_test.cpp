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
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
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
    return message_of<std::exception>([&] {
      const train::Checkpoint checkpoint = train::read_checkpoint(path, 4);
      const std::string note =
          train::load_checkpoint<float, Cpu>(device, checkpoint, other.parameters(), state, wanted);
      if (!note.empty()) throw std::runtime_error("note: " + note);
    });
  };
  const auto with = [](auto change) {
    train::Provenance changed = provenance;
    change(changed);
    return changed;
  };
  CHECK(load(with([](auto& p) { p.settings["lr"] = 0.3; }), nullptr) ==
        path + " was made with lr 0.2, not 0.3; go on with the same settings, or start in another folder");
  const auto other_data = with([](auto& p) { p.data = {"other points", "others"}; });
  CHECK(load(other_data, &optimiser) ==
        path + ": the data have changed since this run began; start in another folder");
  CHECK(load(with([](auto& p) { p.files["notes"] = "2"; }), nullptr) ==
        path +
            ": made with another notes than the one in its folder; put that one back, or start in another "
            "folder");
  CHECK(load(with([](auto& p) { p.files["more"] = "1"; }), nullptr).find("made with another more") !=
        std::string::npos);
  CHECK(other.parameters()[0].parameter->value()[0] == 0);
  CHECK(load(other_data, nullptr) == "no error");  // to evaluate, other data will do
  CHECK(other.parameters()[0].parameter->value()[0] == 7);

  // The same data, wherever they lie: known by their values, or by their sources in another build.
  CHECK(load(with([](auto& p) { p.data.sources = "encoded anew"; }), &optimiser) == "no error");
  const auto other_build = with([](auto& p) { p.build = "another"; });
  CHECK(load(other_build, &optimiser) ==
        "note: the run goes on, but perhaps not bit for bit: it was saved by "
        "another build (" +
            provenance.build + "; this is another)");
  CHECK(
      load(with([](auto& p) { p.build = "another", p.data.values = "rounded"; }), &optimiser) ==
      "note: the run goes on, but not bit for bit: its images, whose files are unchanged, are read otherwise "
      "than when it was saved by another build (" +
          provenance.build + "; this is another)");
  CHECK(load(with([](auto& p) { p.data.values = "decoded"; }), &optimiser)
            .ends_with("than when it was saved, perhaps by another version of a library"));
  CHECK(load(with([](auto& p) {
               p.data = {"decoded", ""};
             }),
             &optimiser)
            .find("the data have changed") != std::string::npos);

  // Data whose sources are unknown.
  train::Provenance computed = with([](auto& p) { p.data.sources.clear(); });
  train::save_checkpoint<float, Cpu>(device, path, line.parameters(), &optimiser, computed, {4, 0.5, 3});
  CHECK(load(computed, &optimiser) == "no error");
  computed.data.values = "other points";
  CHECK(load(computed, &optimiser).ends_with("; start in another folder"));
  computed.build = "another";
  CHECK(load(computed, &optimiser)
            .find("; start in another folder, unless another build has computed them (") !=
        std::string::npos);
}

namespace {

/// A file that says it is a checkpoint, and whose hash is right, whatever else it says.
void write_checkpoint(const std::string& path, const std::map<std::string, std::string>& changes,
                      const std::vector<float>& offset = {1}) {
  const std::vector<float> slope{1};
  const std::vector<io::TensorRef> tensors{
      io::tensor_ref("slope", std::span(slope), {1}),
      io::tensor_ref("offset", std::span(offset), {static_cast<Index>(offset.size())})};
  io::Metadata metadata{
      {"settings", R"({"lr":0.2})"}, {"data", "points"}, {"data_sources", "drawn"}, {"build", ""},
      {"file:notes", "1"},           {"log", ""},        {"held_out_log", ""},      {"step", "5"},
      {"best_loss", "0.5"},          {"best_step", "5"}};
  for (const auto& [key, text] : changes) metadata[key] = text;
  metadata["contents"] = train::detail::contents_hash(tensors, metadata);
  io::write_safetensors(path, tensors, metadata);
}

}  // namespace

TEST_CASE("every field of a checkpoint is checked") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  const auto load = [&](const std::map<std::string, std::string>& changes,
                        const std::vector<float>& offset = {1}) {
    write_checkpoint(path, changes, offset);
    return message_of([&] {
      train::load_checkpoint<float, Cpu>(device, train::read_checkpoint(path, 50), line.parameters(), nullptr,
                                         provenance);
    });
  };
  const std::string step = path + ": its step must be a number from 0 to 50, but is ";
  CHECK(load({{"step", "-1"}}) == step + "\"-1\"");
  CHECK(load({{"step", "51"}}) == step + "\"51\"");
  CHECK(load({{"step", "1000000000000000000000"}}) == step + "\"1000000000000000000000\"");
  for (const char* text : {"", "abc", "4.7", "5 garbage", " 5", "+5", "0x5", "5\n"})
    CHECK(load({{"step", text}}).starts_with(step));
  CHECK(load({{"step", std::string(100000, '5')}}).size() < 300);
  CHECK(load({{"best_step", "6"}}).find("its best_step must be a number from 0 to 5, but is \"6\"") !=
        std::string::npos);
  for (const char* text : {"nan", "inf", "-inf", "abc", "", "1e999", "0.5x", "None"})
    CHECK(load({{"best_loss", text}}).find("its best_loss must be a number from -1.79") != std::string::npos);
  CHECK(load({{"best_loss", "none"}}) == path + ": its best_loss is \"none\" at best_step 5");
  CHECK(load({{"best_step", "0"}}) == path + ": its best_loss is \"0.5\" at best_step 0");
  CHECK(load({{"settings", "{"}}) == path + ": not JSON (line 1, column 2)");
  CHECK(load({{"settings", "[]"}}) == path + ": the settings of a run are an object, but this is an array");
  CHECK(load({{"settings", R"({"lr":[]})"}}) == path + R"(: the setting "lr" is an array)");
  CHECK(load({{"settings", R"({"lr":)" + std::string(30000, '[') + std::string(30000, ']') + "}"}}) ==
        path + ": nested deeper than 64");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(load({}, {nan}) == path + ": tensor 'offset' holds a number that is not finite");
  CHECK(load({}, {1, 2}) == path + ": tensor 'offset' has another shape than in this model");
  for (Index i = 0; i < 2; ++i)
    CHECK(line.parameters()[static_cast<std::size_t>(i)].parameter->value()[0] ==
          0);  // the first tensor fits
  CHECK(load({{"step", "50"}, {"best_step", "0"}, {"best_loss", "none"}}) == "no error");
  CHECK(line.parameters()[0].parameter->value()[0] == 1);
}

TEST_CASE("no single changed bit of a checkpoint is taken") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  write_checkpoint(path, {});
  CHECK(train::read_checkpoint(path, 50).progression.step == 5);
  std::string bytes = io::read_file(path);
  int refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (const int bit : {0, 3, 7}) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      folder.write("a.safetensors", bytes);
      const std::string message = message_of([&] { static_cast<void>(train::read_checkpoint(path, 50)); });
      INFO("byte " << i << ", bit " << bit);
      CHECK(message.starts_with(path));
      refused += message != "no error";
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
    }
  CHECK(refused == 3 * static_cast<int>(bytes.size()));
  for (std::size_t size = 0; size < bytes.size(); size += 5) {
    folder.write("a.safetensors", bytes.substr(0, size));
    CHECK(message_of([&] { static_cast<void>(train::read_checkpoint(path, 50)); }).starts_with(path));
  }
}

TEST_CASE("a checkpoint that is not finite is not written") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.safetensors").string();
  Cpu device(1);
  Line line(device);
  line.parameters()[1].parameter->value()[0] = std::numeric_limits<float>::infinity();
  CHECK(
      message_of([&] {
        train::save_checkpoint<float, Cpu>(device, path, line.parameters(), nullptr, provenance, {4, 0.5, 3});
      }) == path +
                ": not saved, since 'offset' holds a number that is not finite after step 4; a lower lr or "
                "clip may help");
  CHECK_FALSE(std::filesystem::exists(path));
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
