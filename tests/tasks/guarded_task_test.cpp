// Contrastive pretraining, training loop included, on a device whose memory the host cannot touch.
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_pairs.hpp"
#include "tasks/guarded_objective.hpp"

#include <vlp/io/file.hpp>
#include <vlp/io/parameters.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/trainer.hpp>

#include <atomic>
#include <string>
#include <vector>

using namespace vlp;

static_assert(train::Task<tasks::Contrastive<float, test::Guarded>>);

namespace {

/// Trains, goes on from the checkpoint, evaluates; returns all that came of it as bytes.
template <class Device>
std::vector<std::string> results_on(Device& device, const std::string& path,
                                    const tasks::ContrastiveOptions& options) {
  const data::Dataset dataset = test::few_pairs(16);
  const train::Provenance provenance{train::settings_of(options), data::fingerprint(dataset)};
  const train::TrainingOptions training{.epochs = 3, .lr = 0.01};
  std::atomic<bool> stop{true};
  for (int session = 0; session < 2; ++session) {
    tasks::Contrastive<float, Device> task(device, options, dataset,
                                           tasks::build_vocabulary(dataset, options.pairs));
    train::RunFolder folder(path);
    train::Trainer trainer(device, task, training, folder, provenance);
    if (session == 0) {
      folder.start(provenance.settings, [] {});
      trainer.run(StopToken(stop), nullptr);  // ends after a step, with a checkpoint
      CHECK(trainer.progression().step == 1);
      stop = false;
      continue;
    }
    folder.lock();
    trainer.resume();
    CHECK(trainer.run(StopToken(stop), nullptr));
    trainer.load_best();
    io::write_parameters(device, path + "/weights.safetensors", task.parameters());
    static_cast<void>(io::read_parameters(device, path + "/weights.safetensors", task.parameters()));
    Cpu host(1);
    std::vector<tasks::AttendedPair> attended;
    std::string text = tables(evaluate(task, device, host, 5, attended));
    text += task.describe(device, task.make_batch(0));
    for (const auto& pair : attended)
      for (const auto& word : pair.words)
        for (const float x : word.attention) text += " " + std::to_string(x);
    return {io::read_file(path + "/log.csv"), io::read_file(path + "/held_out.csv"),
            io::read_file(path + "/last.safetensors"), io::read_file(path + "/weights.safetensors"), text};
  }
  return {};
}

}  // namespace

TEST_CASE("a whole run comes to the same bytes on a device that the host cannot look into") {
  tasks::ContrastiveOptions options = test::small_options();
  options.pairs.batch_size = 2;
  options.objective.alpha = GENERATE(0.0, 0.7);
  options.pairs.micro_batch = GENERATE(0, 1);
  const test::TemporaryFolder folder;
  Cpu cpu(1);
  test::Guarded guarded;
  const auto expected = results_on(cpu, (folder / "cpu").string(), options);
  REQUIRE(expected.size() == 5);
  CHECK(results_on(guarded, (folder / "guarded").string(), options) == expected);
}
