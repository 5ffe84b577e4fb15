// What pretrain makes of a run folder that has changed, and of data that have moved.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>

#include <vlp/io/file.hpp>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#ifdef VLP_TEST_PRETRAIN

using namespace vlp;
using namespace vlp::test;

namespace {

const Arguments quick{"--studies", "40", "--epochs", "1", "--overlays", "0"};

/// The program in another working folder.
ProgramResult pretrain_in(const io::Path& place, const TemporaryFolder& folder, Arguments arguments) {
  arguments.insert(arguments.begin(), {"/usr/bin/env", "-C", place.string()});
  return run_program(folder.path(), arguments);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("files of a run that have changed are refused by name before anything is trained") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const Arguments resume{"--resume", "--out", run.string()};
  REQUIRE(pretrain(folder, {tiny, quick, {"--out", run.string()}}).status == 0);
  const auto refused = [&](const char* file, const std::string& bytes, const std::string& part) {
    const std::string good = io::read_file(run / file);
    io::write_file(run / file, bytes);
    const ProgramResult result = pretrain(folder, {resume});
    INFO(file);
    check_refused(result, part);
    CHECK(result.error.size() < 1000);
    CHECK(result.out.find("run folder") == std::string::npos);
    io::write_file(run / file, good);
  };
  std::string vocabulary = io::read_file(run / "vocab.txt");
  const auto second_last = vocabulary.rfind('\n', vocabulary.rfind('\n', vocabulary.size() - 2) - 1);
  const std::string last_line = vocabulary.substr(vocabulary.rfind('\n', vocabulary.size() - 2) + 1);
  std::string permuted = vocabulary.substr(0, vocabulary.size() - last_line.size());
  permuted.insert(second_last + 1, last_line);
  refused("vocab.txt", permuted, "made with another vocab.txt than the one in its folder; put that one back");

  const std::string advice = "or remove " + (run / "last.safetensors").string();
  const std::string log = io::read_file(run / "log.csv"), best = io::read_file(run / "best.safetensors");
  refused("log.csv", log.substr(0, log.rfind('\n', log.size() - 2) + 1), advice);
  refused("best.safetensors", best.substr(0, best.size() - 1) + '?', advice);
  std::string last = io::read_file(run / "last.safetensors");
  last[last.size() - 2] = static_cast<char>(last[last.size() - 2] ^ 4);
  refused("last.safetensors", last, "last.safetensors: damaged, or changed since it was written; put back");

  const std::string config = io::read_file(run / "config.json");
  refused("config.json", replaced(config, "\"epochs\": 1", "\"epochs\": 1e30"),
          "config.json: the setting 'epochs' must be a whole number, but is 1e+30");
  refused("config.json", replaced(config, "\"epochs\": 1", "\"epochs\": 0"),
          "config.json: the setting epochs must be from 1 to");
  refused("config.json", replaced(config, "\"epochs\": 1", "\"epochs\": 2"), "was made with epochs 1, not 2");
  refused("config.json", replaced(config, "\"builtin\"", std::string(100000, '[') + std::string(100000, ']')),
          "config.json: nested deeper than 64");
  refused("config.json", replaced(config, "\"builtin\"", "[[\"" + std::string(40000, 'x') + "\"]]"),
          "config.json: the setting \"data\" is an array");
  refused("config.json", replaced(config, "{", "{\"left\": 1,"), "the setting \"left\" is unknown");
  CHECK(pretrain(folder, {resume}).status == 0);

  // Without its last checkpoint a run begins again and ends the same.
  const auto expected = results_of(run);
  std::filesystem::remove(run / "last.safetensors");
  io::write_file(run / "best.safetensors", "damaged");
  const ProgramResult again = pretrain(folder, {resume});
  CHECK(again.status == 0);
  CHECK(again.out.find("last.safetensors is not there: the run begins at step 0") != std::string::npos);
  CHECK(results_of(run) == expected);

  std::filesystem::remove(run / "best.safetensors");
  check_refused(pretrain(folder, {resume}), "best.safetensors is missing, the checkpoint of step");
}

TEST_CASE("a run goes on with its data wherever they lie by then, from any folder") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const Arguments settings{"--epochs", "10", "--batch-size", "2", "--overlays", "0"};
  const io::Path whole = folder / "whole", cut = folder / "cut";
  const std::string manifest = "manifest:" + (folder / "manifest.csv").string();
  REQUIRE(pretrain(folder, {tiny, settings, {"--data", manifest, "--out", whole.string()}}).status == 0);
  // The path is given in another form, and kept as one that holds everywhere.
  Arguments first = joined({tiny, settings, {"--checkpoint-every", "1"}});
  first.insert(first.end(), {"--data", "manifest:./manifest.csv", "--out", "cut"});
  first.insert(first.begin(), {"/usr/bin/env", "-C", folder.path().string()});
  {
    Program program(folder.path(), first);
    REQUIRE(program.wait_until([&] { return std::filesystem::exists(cut / "last.safetensors"); }));
    program.send(SIGTERM);
    REQUIRE(program.finish().status == 130);
  }
  CHECK(io::read_file(cut / "config.json") == io::read_file(whole / "config.json"));

  std::filesystem::create_directory(folder / "moved");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path().extension() == ".png" || entry.path().extension() == ".csv")
      std::filesystem::rename(entry.path(), folder / "moved" / entry.path().filename());
  const Arguments resume{VLP_TEST_PRETRAIN, "--resume", "--out", cut.string()};
  check_refused(pretrain_in("/", folder, resume), "manifest.csv: cannot open");
  Arguments moved = resume;
  moved.insert(moved.end(), {"--data", "manifest:manifest.csv"});
  const ProgramResult result = pretrain_in(folder / "moved", folder, moved);
  INFO(result.error);
  CHECK(result.status == 0);
  CHECK(results_of(cut) == results_of(whole));
  CHECK(io::read_file(cut / "summary.md").find("moved/manifest.csv") != std::string::npos);

  const std::string csv = io::read_file(folder / "moved/manifest.csv");
  folder.write("moved/manifest.csv", replaced(csv, "clear in patient number 3", "clean in patient number 3"));
  check_refused(pretrain_in(folder / "moved", folder, moved), "the data have changed since this run began");
}

TEST_CASE("micro-batches change rounding alone, and a run goes on with the ones it began with or others") {
  const TemporaryFolder folder;
  const io::Path whole = folder / "whole", parts = folder / "parts", cut = folder / "cut";
  const Arguments settings{"--epochs", "4"}, micro{"--micro-batch", "4"};  // of batches of 9
  REQUIRE(pretrain(folder, {tiny, settings, {"--out", whole.string()}}).status == 0);
  REQUIRE(pretrain(folder, {tiny, settings, micro, {"--out", parts.string()}}).status == 0);
  const auto check_alike = [&](const io::Path& run) {
    for (const char* file : {"log.csv", "held_out.csv"}) {
      const auto expected = column(whole / file, "loss"), loss = column(run / file, "loss");
      REQUIRE(loss.size() == expected.size());
      CHECK(std::abs(loss.front() - expected.front()) < 1e-4 * expected.front());
      for (std::size_t i = 0; i < loss.size(); ++i)
        CHECK(std::abs(loss[i] - expected[i]) < 0.02 * expected[i]);
    }
  };
  check_alike(parts);
  CHECK(results_of(parts) != results_of(whole));  // it is at work

  const auto interrupt = [&] {
    std::filesystem::remove_all(cut);
    Program program(folder.path(),
                    joined({tiny, settings, micro, {"--checkpoint-every", "1", "--out", cut.string()}}));
    REQUIRE(program.wait_until([&] { return std::filesystem::exists(cut / "last.safetensors"); }));
    program.send(SIGTERM);
    REQUIRE(program.finish().status == 130);
  };
  interrupt();
  const ProgramResult same = pretrain(folder, {{"--resume", "--out", cut.string()}});
  CHECK(same.status == 0);
  CHECK(same.out.find("bit for bit") == std::string::npos);
  CHECK(results_of(cut) == results_of(parts));

  interrupt();
  const ProgramResult other = pretrain(folder, {{"--resume", "--micro-batch", "2", "--out", cut.string()}});
  INFO(other.error);
  CHECK(other.status == 0);
  CHECK(other.out.find(
            "the run goes on, but not bit for bit: it began with --micro-batch 4, and 2 rounds otherwise") !=
        std::string::npos);
  check_alike(cut);
  CHECK(results_of(cut)[0] == results_of(parts)[0]);  // config.json
}

TEST_CASE("a vocabulary and weights given anew are compared by what they hold, or said to be unread") {
  const TemporaryFolder folder;
  const io::Path first = folder / "first", run = folder / "run";
  REQUIRE(pretrain(folder, {tiny, quick, {"--out", first.string()}}).status == 0);
  const std::string vocabulary = (first / "vocab.txt").string(),
                    weights = (first / "best.safetensors").string();
  REQUIRE(pretrain(folder,
                   {tiny, quick, {"--vocabulary", vocabulary, "--weights", weights, "--out", run.string()}})
              .status == 0);
  const Arguments resume{"--resume", "--out", run.string()};
  std::filesystem::copy_file(vocabulary, folder / "copy.txt");
  const ProgramResult same =
      pretrain(folder, {resume, {"--vocabulary", (folder / "copy.txt").string(), "--weights", "elsewhere"}});
  INFO(same.error);
  CHECK(same.status == 0);
  CHECK(same.out.find("elsewhere is not read: a run goes on from its own checkpoint") != std::string::npos);
  // A run that was killed before its first checkpoint starts from the same weights.
  const auto expected = results_of(run);
  std::filesystem::remove(run / "last.safetensors");
  REQUIRE(pretrain(folder, {resume}).status == 0);
  CHECK(results_of(run) == expected);
  folder.write("copy.txt", io::read_file(vocabulary) + "extra\n");
  check_refused(pretrain(folder, {resume, {"--vocabulary", (folder / "copy.txt").string()}}),
                "copy.txt has other pieces than");
}

TEST_CASE("a path that JSON cannot hold is refused at the start, and nothing is left behind") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  const std::string name = (folder / "caf\xE9.csv").string();
  for (const char* option : {"--data", "--vocabulary", "--weights"})
    check_refused(pretrain(folder, {tiny,
                                    {option, option == std::string("--data") ? "manifest:" + name : name,
                                     "--out", run.string()}}),
                  std::string(option) + " must be text in UTF-8, but is '");
  CHECK_FALSE(std::filesystem::exists(run));
  // A run folder may have any name.
  CHECK(pretrain(folder, {tiny, quick, {"--out", (folder / "caf\xE9").string()}}).status == 0);
}

TEST_CASE("a run folder that cannot be used is named in one sentence, before any data are read") {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  folder.write("file", "");
  const auto refused = [&](const io::Path& out, const std::string& part) {
    for (const Arguments& more : std::vector<Arguments>{{"--studies", "100000"}, {"--resume"}})
      check_refused(pretrain(folder, {tiny, {"--out", out.string()}, more}),
                    "cannot use the run folder '" + out.string() + "': " + part);
  };
  refused(folder / "loop", "Too many levels of symbolic links");
  refused(folder / "file", "Not a directory");
  refused(folder / std::string(300, 'x'), "File name too long");
}

#endif
