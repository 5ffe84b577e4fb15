// The program pretrain, run as a process on tiny data.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>

#include <vlp/core/numbers.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#ifdef VLP_TEST_PRETRAIN

using namespace vlp;
using namespace vlp::test;

TEST_CASE("a run trains and evaluates and leaves what it promises") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const ProgramResult result =
      pretrain(folder, {tiny, {"--epochs", "12", "--lr", "0.003", "--out", run.string()}});
  INFO(result.error);
  REQUIRE(result.status == 0);
  CHECK(result.error.empty());
  for (const char* file : {"config.json", "vocab.txt", "log.csv", "held_out.csv", "best.safetensors",
                           "last.safetensors", "summary.md", "overlays/1.png"})
    CHECK(std::filesystem::exists(run / file));
  CHECK(io::read_image(run / "overlays/1.png").width > 100);
  const auto loss = column(run / "log.csv", "loss");
  REQUIRE(loss.size() == 60);
  CHECK(std::accumulate(loss.end() - 10, loss.end(), 0.0) <
        0.95 * std::accumulate(loss.begin(), loss.begin() + 10, 0.0));
  CHECK(column(run / "held_out.csv", "epoch").size() == 12);
  for (const double chance : column(run / "log.csv", "local_chance"))
    CHECK(std::abs(chance - std::log(9)) < 1e-12);
  CHECK(result.out.find(" [chance 2.197], perturbation ") != std::string::npos);
  const std::string summary = io::read_file(run / "summary.md");
  const auto held_out = column(run / "held_out.csv", "loss");
  const auto best = static_cast<std::size_t>(std::ranges::min_element(held_out) - held_out.begin());
  CHECK(summary.find("| local | 1 | " + fixed_text(column(run / "held_out.csv", "local")[best], 3) + " | " +
                     fixed_text(column(run / "held_out.csv", "local_chance")[best], 3) + " |") !=
        std::string::npos);
  for (const char* part :
       {"Structure discrimination", "swap_adjacent_words", "R@10", "Pointing game", "examples/s"})
    CHECK(summary.find(part) != std::string::npos);
  const io::CsvTable scores = io::read_csv(run / "scores.csv");
  const auto recall =
      std::ranges::find_if(scores.rows, [](const auto& row) { return row[1] == "R@10 image to report"; });
  REQUIRE(recall != scores.rows.end());
  CHECK((*recall)[0] == "alignment");
  CHECK(summary.find("| R@10 | " + fixed_text(100 * std::stod((*recall)[2]), 1) + " % |") !=
        std::string::npos);

  const ProgramResult evaluation = pretrain(folder, {{"--eval-only", "--out", run.string()}});
  CHECK(evaluation.status == 0);
  const std::string tables = evaluation.out.substr(evaluation.out.find("### Structure"));
  CHECK(summary.find(tables) != std::string::npos);
}

TEST_CASE("a run that is killed goes on bit for bit") {
  const TemporaryFolder folder;
  const Arguments settings{"--epochs", "4", "--checkpoint-every", "1"};
  const io::Path whole = folder / "whole", cut = folder / "cut";
  REQUIRE(pretrain(folder, {tiny, settings, {"--out", whole.string()}}).status == 0);
  const auto expected = results_of(whole);

  for (const int signal : {SIGKILL, SIGTERM}) {
    std::filesystem::remove_all(cut);
    int status = 0, cuts = 0;
    // Cut it again and again, a step or so after each start.
    for (Arguments more{"--out", cut.string()}; cuts < 3; more = {"--out", cut.string(), "--resume"}) {
      const auto saved = [&] {
        std::error_code error;
        return std::filesystem::last_write_time(cut / "last.safetensors", error);
      };
      const auto before = saved();
      Program program(folder.path(), joined({tiny, settings, more}));
      REQUIRE(program.wait_until([&] { return saved() != before; }));
      program.send(signal);
      status = program.finish().status;
      CHECK(status == (signal == SIGKILL ? -SIGKILL : 130));
      ++cuts;
    }
    CHECK(pretrain(folder, {{"--out", cut.string(), "--resume"}}).status == 0);
    CHECK(results_of(cut) == expected);
  }
}

TEST_CASE("a run does not depend on the number of threads") {
  const TemporaryFolder folder;
  REQUIRE(pretrain(folder, {tiny, {"--epochs", "2", "--out", (folder / "one").string()}}).status == 0);
  REQUIRE(pretrain(folder, {tiny, {"--epochs", "2", "--threads", "3", "--out", (folder / "three").string()}})
              .status == 0);
  CHECK(results_of(folder / "one") == results_of(folder / "three"));
}

TEST_CASE("a weight of 0 skips its term") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const ProgramResult result =
      pretrain(folder, {tiny, {"--epochs", "2", "--alpha", "0", "--beta", "0", "--out", run.string()}});
  INFO(result.error);
  REQUIRE(result.status == 0);
  for (const char* term : {"local", "perturbation"})
    for (double value : column(run / "log.csv", term)) CHECK(value == 0);
  const io::SafeTensors checkpoint = io::read_safetensors(run / "best.safetensors");
  for (const std::string& name : checkpoint.names()) CHECK(name.find("word_head") == std::string::npos);
  const std::string summary = io::read_file(run / "summary.md");
  CHECK(summary.find("swap_adjacent_words") != std::string::npos);
  CHECK(summary.find("Pointing game") == std::string::npos);
}

TEST_CASE("perturbed reports serve as negatives alone, and the run goes on so") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run", plain = folder / "plain";
  const Arguments weights{"--epochs", "1", "--alpha", "0", "--beta", "0"};
  REQUIRE(pretrain(folder, {tiny, weights, {"--out", plain.string()}}).status == 0);
  REQUIRE(pretrain(folder, {tiny, weights, {"--out", run.string(), "--perturbed-as-negatives"}}).status == 0);
  CHECK(column(run / "log.csv", "global")[0] > column(plain / "log.csv", "global")[0] + 0.1);
  for (const double value : column(run / "log.csv", "perturbation")) CHECK(value == 0);
  CHECK(io::read_file(run / "config.json").find("\"perturbed-as-negatives\": true") != std::string::npos);
  CHECK(io::read_file(run / "summary.md").find("perturbed reports as negatives") != std::string::npos);
  CHECK(pretrain(folder, {{"--resume", "--out", run.string()}}).status == 0);
  CHECK(pretrain(folder, {{"--resume", "--out", run.string(), "--perturbed-as-negatives"}}).status == 0);
  check_refused(pretrain(folder, {{"--resume", "--out", plain.string(), "--perturbed-as-negatives"}}),
                "was made with perturbed-as-negatives false, not true");
}

TEST_CASE("a manifest with quotes and line breaks is trained on") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const ProgramResult result =
      pretrain(folder, {tiny,
                        {"--epochs", "2", "--data", "manifest:" + (folder / "manifest.csv").string(), "--out",
                         (folder / "run").string()}});
  INFO(result.error);
  CHECK(result.status == 0);
  CHECK(result.out.find("5 pairs to train on, 1 held out, 6 different reports") != std::string::npos);
}

TEST_CASE("a run starts from the weights of another configuration as far as they fit") {
  const TemporaryFolder folder;
  const io::Path first = folder / "first", second = folder / "second";
  REQUIRE(pretrain(folder, {tiny, {"--epochs", "1", "--alpha", "0", "--out", first.string()}}).status == 0);
  const std::string weights = (first / "last.safetensors").string();
  // So small a rate that what was read is still there after a step.
  const ProgramResult result = pretrain(folder, {tiny,
                                                 {"--epochs", "1", "--lr", "1e-12", "--embedding", "4",
                                                  "--weights", weights, "--out", second.string()}});
  INFO(result.error);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("parameters are read; ") != std::string::npos);
  CHECK(result.out.find("word_head.weight") != std::string::npos);                     // not in the file
  CHECK(result.out.find("image_head.weight: F32 [8, 16] for ") != std::string::npos);  // of another shape
  CHECK(result.out.find("optimiser") == std::string::npos);
  const auto value = [](const io::Path& run, const char* name) {
    return io::read_safetensors(run / "last.safetensors").values<float>(name);
  };
  const auto a = value(first, "text_encoder.block0.attention.output.weight"),
             b = value(second, "text_encoder.block0.attention.output.weight");
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 1e-6f);
  check_refused(pretrain(folder, {tiny,
                                  {"--weights", (folder / "none.safetensors").string(), "--out",
                                   (folder / "third").string()}}),
                "none.safetensors");
  CHECK_FALSE(std::filesystem::exists(folder / "third"));
}

TEST_CASE("bad options are refused in one line and nothing is written") {
  const TemporaryFolder folder;
  const std::string out = (folder / "run").string();
  const auto refused = [&](const Arguments& arguments, const std::string& part) {
    check_refused(pretrain(folder, {tiny, {"--out", out}, arguments}), part);
    CHECK_FALSE(std::filesystem::exists(out));
  };
  refused({"--epochs", "0"}, "--epochs must be from 1");
  refused({"--lr", "nan"}, "--lr must be a positive number, but is nan");
  refused({"--lr", "-1"}, "--lr");
  refused({"--beta", "-0.5"}, "--beta");
  refused({"--micro-batch", "-1"}, "--micro-batch must be from 0 to 1000000000, but is -1");
  refused({"--micro-batch", "two"}, "--micro-batch");
  refused({"--image-size", "33"}, "--image-size must be a multiple of 8, but is 33");
  refused({"--data", "nothing"}, "--data must be builtin");
  refused({"--perturbations", "reverse"}, "reverse");
  refused({"--scope", "word"}, "--scope must be one of report, sentence, but is 'word'");
  refused({"--duplicates", "drop"},
          "--duplicates must be one of negatives, positives, ignore, but is 'drop'");
  refused({"--image-size", "16"}, "--image-size must be at least 32 for the built-in data, but is 16");
  refused({"--data", "manifest:"}, "--data 'manifest:' names no file or folder");
  refused({"--no-such-flag"}, "no-such-flag");
  refused({"--max-image-pixels", "0"}, "--max-image-pixels must be from 1 to 1000000000000, but is 0");
  refused({"--studies", "1000000000"}, "1000000000 images of 32 x 32 pixels take");
  refused({"--resume"}, "there is no run in");
  refused({"--data", "manifest:" + (folder / "none.csv").string()}, "none.csv: cannot open: No such file");
  refused({"--data", "open-i:" + folder.path().string()}, "indiana_reports.csv");
  refused({"--vocabulary", (folder / "none.txt").string()}, "none.txt");
  check_refused(test::run_program(folder.path(), {VLP_TEST_PRETRAIN, "--batch-size", "0"}),
                "--batch-size must be from 1 to 1000000000, but is 0");
  CHECK(pretrain(folder, {{"--help"}}).status == 0);
}

TEST_CASE("bad data is refused in one line that names the file and nothing is written") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const std::string out = (folder / "run").string(), manifest = (folder / "manifest.csv").string();
  const auto refused = [&](const std::string& part) {
    check_refused(pretrain(folder, {tiny, {"--data", "manifest:" + manifest, "--out", out}}), part);
    CHECK_FALSE(std::filesystem::exists(out));
  };
  const std::string good = io::read_file(manifest), png = io::read_file(folder / "image3.png");
  folder.write("image3.png", png.substr(0, png.size() / 2));
  refused("image3.png");
  folder.write("image3.png", png);
  check_refused(
      pretrain(folder,
               {tiny, {"--data", "manifest:" + manifest, "--max-image-pixels", "2200", "--out", out}}),
      "image5.png: an image of 45 x 50 pixels is too large; max_pixels is 2200");
  folder.write("manifest.csv", "image,text" + good.substr(good.find(",patient")));
  refused("no column 'report'");
  folder.write("manifest.csv", good + "image0.png,,9\n");
  refused("empty report");
  folder.write("manifest.csv", good + "image0.png,\"never closed\n");
  refused("manifest.csv:");
  folder.write("manifest.csv", good + "image0.png,...,9\n");
  refused("its report has no words");
}

TEST_CASE("a run is never overwritten and goes on with its own settings alone") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const std::string out = run.string();
  REQUIRE(pretrain(folder, {tiny, {"--epochs", "1", "--out", out}}).status == 0);
  const auto before = results_of(run);
  check_refused(pretrain(folder, {tiny, {"--epochs", "1", "--out", out}}), "already holds a run");
  check_refused(pretrain(folder, {{"--resume", "--lr", "0.5", "--out", out}}),
                "was made with lr 0.002, not 0.5");
  CHECK(pretrain(folder, {{"--resume", "--out", out}}).status == 0);  // nothing is left to do
  CHECK(results_of(run) == before);
  CHECK(io::read_file(run / "summary.md").find("Nothing was left to train") != std::string::npos);

  // A checkpoint of another configuration, and a damaged one.
  REQUIRE(pretrain(folder, {tiny, {"--epochs", "1", "--alpha", "0", "--out", (folder / "other").string()}})
              .status == 0);
  std::filesystem::copy_file(folder / "other/last.safetensors", run / "last.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  check_refused(pretrain(folder, {{"--resume", "--out", out}}), "last.safetensors was made with alpha 0");
  const std::string bytes = before.back();
  io::write_file(run / "last.safetensors", bytes.substr(0, bytes.size() - 7));
  check_refused(pretrain(folder, {{"--resume", "--out", out}}), "last.safetensors");
  CHECK(io::read_file(run / "best.safetensors") == before[4]);
}

TEST_CASE("a run goes on with the data it began with alone") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const io::Path manifest = folder / "manifest.csv";
  const Arguments out{"--out", (folder / "run").string()};
  REQUIRE(
      pretrain(folder, {tiny, {"--epochs", "1", "--data", "manifest:" + manifest.string()}, out}).status ==
      0);
  folder.write("image3.png", io::read_file(folder / "image4.png"));
  check_refused(pretrain(folder, {out, {"--resume"}}), "the data have changed");
}

TEST_CASE("one run at a time works in a folder") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const Arguments out{"--out", run.string()};
  Program program(folder.path(), joined({tiny, {"--epochs", "100000"}, out}));
  REQUIRE(program.wait_until([&] { return std::filesystem::exists(run / "last.safetensors"); }));
  const TemporaryFolder other;
  check_refused(pretrain(other, {out, {"--resume"}}), "another run is at work in");
  program.send(SIGKILL);
  CHECK(program.finish().status == -SIGKILL);
  // What a killed run was writing is cleared away by the next.
  io::write_file(run / ".vlp-last.safetensors.1-0.tmp", "half");
  Program next(other.path(), joined({out, {"--resume"}}));
  CHECK(next.wait_until([&] { return !std::filesystem::exists(run / ".vlp-last.safetensors.1-0.tmp"); }));
}

TEST_CASE("a loss that is not finite stops the run and says where") {
  const TemporaryFolder folder;
  const ProgramResult result = pretrain(
      folder, {tiny, {"--epochs", "1", "--lr", "1e38", "--warmup", "0", "--out", (folder / "run").string()}});
  check_refused(result, " at step ");
  CHECK(result.error.find("of the batch that are not finite: 0 (image and text of built-in study") !=
        std::string::npos);
}

#endif
