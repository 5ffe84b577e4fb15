// Contrastive pretraining on images that are decoded while it trains.
#include "data/small_table.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_pairs.hpp"

#include <vlp/data/dataset.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/tasks/contrastive.hpp>
#include <vlp/tasks/pair_evaluation.hpp>
#include <vlp/train/run_folder.hpp>
#include <vlp/train/settings.hpp>
#include <vlp/train/trainer.hpp>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;
using data::ReadImages;
using test::message_of;
using test::table_of;
using test::TemporaryFolder;

namespace {

tasks::ContrastiveOptions small_task() {
  tasks::ContrastiveOptions options = test::small_options();
  options.pairs.batch_size = 3;
  return options;
}

/// Decodes PNG files behind a '#', which makes them files of another format.
io::GrayImage decode_marked(std::string_view bytes, const std::string& name, Index most,
                            const io::Admit& admit) {
  return io::decode_image(bytes.substr(1), name, most, admit);
}

data::DatasetOptions reading(ReadImages when) {
  data::DatasetOptions options;
  options.decode = decode_marked;
  options.image_size = 16;
  options.read_images = when;
  return options;
}

/// Ten pairs, of which the first three are held out.
data::Collection ten_pairs(const TemporaryFolder& folder) {
  data::Collection table = table_of(folder, 10);
  for (data::Entry& entry : table.entries) entry.split = entry.line < 5 ? "test" : "train";
  return table;
}

struct Session {
  Session(const io::Path& run, const data::Collection& table, const data::DatasetOptions& options,
          StopToken stop = {})
      : dataset(data::read_dataset(device, table, options, stop)), folder(run.string()) {}
  Cpu device{1};
  data::Dataset dataset;
  train::RunFolder folder;
  tasks::Contrastive<float> task{device, small_task(), dataset,
                                 tasks::build_vocabulary(dataset, small_task().pairs)};
  train::Settings settings = train::settings_of(small_task());
  train::Trainer<tasks::Contrastive<float>> trainer{
      device, task, {.epochs = 3, .checkpoint_every = 2}, folder, {settings, data::fingerprint(dataset)}};
};

std::vector<std::string> results_of(const io::Path& run) {
  std::vector<std::string> bytes;
  for (const char* file : {"log.csv", "held_out.csv", "last.safetensors", "best.safetensors"})
    bytes.push_back(io::read_file(run / file));
  return bytes;
}

}  // namespace

TEST_CASE("a run whose images are decoded while it trains stops at once and goes on to the same bytes") {
  const TemporaryFolder folder;
  const data::Collection table = ten_pairs(folder);
  for (const data::Entry& entry : table.entries) {
    folder.write(entry.image.filename().string(), "#" + io::read_file(entry.image));
    test::make_old(entry.image);
  }
  const auto log_of = [&](const std::string& run, const data::DatasetOptions& options) {
    Session session(folder / run, table, options);
    session.folder.start(session.settings, [] {});
    CHECK(session.trainer.run({}, nullptr));
    return io::read_file(folder / (run + "/log.csv")) + io::read_file(folder / (run + "/held_out.csv"));
  };
  data::DatasetOptions ahead = reading(ReadImages::ahead);
  const std::string whole = log_of("whole", ahead);
  CHECK(log_of("first", reading(ReadImages::first)) == whole);
  // Stopped after some images, in the middle of a batch or of a held-out pass, with a cache on the way.
  ahead.image_cache = folder / "cache";
  ahead.image_threads = 1;
  for (const int images : {1, 14}) {
    CAPTURE(images);
    const io::Path run = folder / ("run" + std::to_string(images));
    std::filesystem::remove_all(ahead.image_cache);
    std::atomic<bool> flag{false};
    std::atomic<int> decoded{0};
    data::DatasetOptions stopping = ahead;
    stopping.image_cache.clear();
    stopping.decode = [&](std::string_view bytes, const std::string& name, Index most,
                          const io::Admit& admit) {
      if (++decoded == images) flag = true;
      return decode_marked(bytes, name, most, admit);
    };
    {
      Session session(run, table, stopping, StopToken(flag));
      session.folder.start(session.settings, [] {});
      CHECK_FALSE(session.trainer.run(StopToken(flag), nullptr));
    }
    Session session(run, table, ahead);
    session.folder.lock();
    session.trainer.resume();
    CHECK(session.trainer.run({}, nullptr));
    CHECK(results_of(run) == results_of(folder / "whole"));
  }
}

TEST_CASE("a run whose images were read first goes on with images that are decoded while it trains") {
  const TemporaryFolder folder;
  const data::Collection table = ten_pairs(folder);
  {
    Session session(folder / "run", table, reading(ReadImages::first));
    session.folder.start(session.settings, [] {});
    CHECK(session.trainer.run({}, nullptr));
  }
  {
    Session session(folder / "run", table, reading(ReadImages::ahead));
    CHECK(session.trainer.resume().empty());
  }
  folder.write("image7.png", io::read_file(folder / "image8.png") + "more");
  Session session(folder / "run", table, reading(ReadImages::ahead));
  CHECK_MESSAGE_HAS(session.trainer.resume(), "the data have changed since this run began");
}

TEST_CASE("pairs whose images cannot be read are left out of batches, held-out losses and evaluation alike") {
  const TemporaryFolder folder;
  Cpu device(1);
  const data::Collection table = ten_pairs(folder);
  data::DatasetOptions options = reading(ReadImages::ahead);
  options.bad_rows = data::BadRows::skip;
  tasks::ContrastiveOptions task_options = small_task();
  const auto vocabulary =
      tasks::build_vocabulary(data::read_dataset(device, table, options), task_options.pairs);
  // Held-out losses of one pair at a time: the mean of those of the pairs that are there.
  task_options.pairs.batch_size = 1;
  const data::Dataset sound = data::read_dataset(device, table, options);
  tasks::Contrastive<double> all(device, task_options, sound, vocabulary);
  std::vector<double> losses;
  data::PairBatchMaker maker(all.batch_options(), all.word_piece(), task_options.pairs.perturbations);
  all.for_each_batch(maker, sound.held_out, [&](const data::PairBatch& batch) {
    all.embed(device, batch);
    losses.push_back(all.evaluate_objective(device).total);
  });
  REQUIRE(losses.size() == 3);
  CHECK(std::abs(all.held_out(device).total - (losses[0] + losses[1] + losses[2]) / 3) < 1e-12);

  folder.write("image1.png", "damaged");
  folder.write("image4.png", "damaged");
  const data::Dataset dataset = data::read_dataset(device, table, options);
  tasks::Contrastive<double> task(device, task_options, dataset, vocabulary);
  CHECK(std::abs(task.held_out(device).total - (losses[0] + losses[2]) / 2) < 1e-12);
  std::vector<tasks::AttendedPair> attended;
  const auto evaluation = evaluate(task, device, device, 9, attended);
  CHECK(evaluation.pairs == 2);
  CHECK(evaluation.structure.overall.count == 2);
  CHECK(evaluation.retrieval.image_to_text[0].chance == 0.5);
  for (const auto& pair : attended) CHECK(pair.example != &dataset.held_out[1]);
  // A step of the one pair whose image is damaged has nothing to learn from.
  int empty = 0;
  for (Index step = 0; step < task.steps_per_epoch(); ++step) {
    const std::string message = message_of([&] { static_cast<void>(task.make_batch(step)); });
    if (message == "no error") continue;
    ++empty;
    CHECK(message.starts_with("step " + std::to_string(step + 1) +
                              ": none of the 1 images of its batch can be read: "));
    CHECK(message.find("line 6: " + (folder / "image4.png").string()) != std::string::npos);
  }
  CHECK(empty == 1);
  // Rows of a larger batch are described by the examples that are in it.
  task_options.pairs.batch_size = 7;
  tasks::Contrastive<double> large(device, task_options, dataset, vocabulary);
  auto batch = large.make_batch(0);
  REQUIRE(batch.pairs == 6);
  static_cast<void>(large.step(device, batch));
  batch.images[5 * 16 * 16] = std::numeric_limits<float>::quiet_NaN();
  static_cast<void>(large.step(device, batch));
  CHECK(large.describe(device, batch) ==
        "5 (image of " + dataset.train[static_cast<std::size_t>(batch.examples[5])].name + ")");
  for (int i = 0; i < 3; ++i) folder.write("image" + std::to_string(i) + ".png", "damaged");
  CHECK_MESSAGE_HAS(task.held_out(device), "no image of 3 pairs can be read: ");
}
