// Both stages of hybrid pretraining under the training loop: a stage that is stopped goes on to the same
// bytes, on every device.
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_hybrid.hpp"
#include "tasks/guarded_objective.hpp"

#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/trainer.hpp>

#include <atomic>
#include <string>
#include <vector>

using namespace vlp;

static_assert(train::Task<tasks::Hybrid<float, test::Guarded>>);
static_assert(train::Task<tasks::Summarisation<float, test::Guarded>>);

namespace {

const train::TrainingOptions training{.epochs = 3, .lr = 0.01};

/// Trains a task that `make()` returns in a folder: at once, or stopped after its first step and by another
/// task from the checkpoint on. Returns the bytes of what was written, and what `visit` says of the task.
template <class Device, class Make, class Visit>
std::vector<std::string> train_stage(Device& device, const io::Path& path, bool stopped, Make&& make,
                                     Visit&& visit) {
  std::atomic<bool> stop{stopped};
  std::string text;
  for (int session = stopped ? 0 : 1; session < 2; ++session) {
    auto task = make();
    const train::Provenance provenance{train::settings_of(task.options()), data::fingerprint(task.dataset())};
    train::RunFolder folder(path.string());
    train::Trainer trainer(device, task, training, folder, provenance);
    if (session == 1 && stopped) {
      folder.lock();
      trainer.resume();
    } else {
      folder.start(provenance.settings, [] {});
    }
    const bool finished = trainer.run(StopToken(stop), nullptr);
    CHECK(finished == (session == 1));
    if (finished) {
      trainer.load_best();
      text = visit(task);
    }
    stop = false;
  }
  return {io::read_file(path / "log.csv"), io::read_file(path / "held_out.csv"),
          io::read_file(path / "last.safetensors"), io::read_file(path / "best.safetensors"), text};
}

/// Both stages in turn, and all that came of them.
template <class Device>
std::vector<std::string> results_on(Device& device, const io::Path& path, const tasks::HybridOptions& options,
                                    bool stopped) {
  const data::Dataset dataset = test::few_pairs(16);
  const auto vocabulary = tasks::build_vocabulary(dataset, options);
  const io::Path first = path.string() + "-1", second = path.string() + "-2";
  auto results = train_stage(
      device, first, stopped,
      [&] { return tasks::Summarisation<float, Device>(device, options, dataset, vocabulary); },
      [&](auto& task) { return task.describe(device, task.make_batch(0)); });
  const auto of_second = train_stage(
      device, second, stopped,
      [&] {
        return tasks::Hybrid<float, Device>(device, options, dataset, vocabulary, first / "best.safetensors");
      },
      [&](auto& task) {
        Cpu host(1);
        std::vector<tasks::AttendedPair> attended;
        std::string text = tables(evaluate(task, device, host, 5, attended));
        text += task.describe(device, task.make_batch(0));
        for (const auto& pair : attended)
          for (const auto& word : pair.words)
            for (const float x : word.attention) text += " " + std::to_string(x);
        return text;
      });
  results.insert(results.end(), of_second.begin(), of_second.end());
  return results;
}

tasks::HybridOptions options_of_stages() {
  tasks::HybridOptions options = test::small_hybrid_options();
  options.pairs.batch_size = 2;
  options.pairs.perturbations = text::parse_perturbations("1,6");
  return options;
}

}  // namespace

TEST_CASE("both stages of hybrid pretraining, stopped after a step, go on to the same bytes") {
  tasks::HybridOptions options = options_of_stages();
  options.objective.shared_weights = GENERATE(tasks::SharedWeights::trained, tasks::SharedWeights::frozen);
  const test::TemporaryFolder folder;
  Cpu device(1);
  const auto whole = results_on(device, folder / "whole", options, false);
  REQUIRE(whole.size() == 10);
  CHECK(results_on(device, folder / "stopped", options, true) == whole);
  // A checkpoint with the state of the optimiser serves as a summariser too.
  const data::Dataset dataset = test::few_pairs(16);
  CHECK_NOTHROW(tasks::Hybrid<float>(device, options, dataset, tasks::build_vocabulary(dataset, options),
                                     folder / "whole-1/last.safetensors"));
}

TEST_CASE("both stages come to the same bytes on a device that the host cannot look into") {
  tasks::HybridOptions options = options_of_stages();
  options.objective.token_loss =
      GENERATE(tasks::TokenLoss::token_alignment, tasks::TokenLoss::local_alignment);
  options.pairs.micro_batch = options.objective.token_loss == tasks::TokenLoss::token_alignment ? 0 : 1;
  const test::TemporaryFolder folder;
  Cpu cpu(1);
  test::Guarded guarded;
  const auto expected = results_on(cpu, folder / "cpu", options, false);
  CHECK(results_on(guarded, folder / "guarded", options, false) == expected);
}
