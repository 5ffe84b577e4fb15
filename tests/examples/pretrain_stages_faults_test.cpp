// pretrain with two stages under kills at any call, and a full disk.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>

#include <vlp/io/file.hpp>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#if defined(VLP_TEST_PRETRAIN) && defined(VLP_TEST_FAULT_INJECTION)

using namespace vlp;
using namespace vlp::test;

namespace {

/// One step in each stage, of a model as small as it goes.
const Arguments shortest{"--objective", "hybrid", "--studies",        "20", "--batch-size", "16",
                         "--epochs",    "1",      "--decoder-blocks", "1",  "--overlays",   "0",
                         "--width",     "8",      "--max-words",      "8"};

/// A run, what it leaves when nothing happens to it, and the same with something happening to it.
struct Case {
  const TemporaryFolder& folder;
  Arguments options;
  std::vector<std::string> (*results)(const io::Path&);
  std::vector<std::string> expected{};

  [[nodiscard]] ProgramResult run(const Arguments& environment, const io::Path& out) const {
    return pretrain_with(folder, environment, {tiny, shortest, options, {"--out", out.string()}});
  }
  void run_undisturbed() {
    REQUIRE(run({no_plots}, folder / "whole").status == 0);
    expected = results(folder / "whole");
  }
  [[nodiscard]] ProgramResult run_with(const std::string& fault, const io::Path& out) const {
    Arguments environment = with_fault(fault);
    environment.push_back(no_plots);
    return run(environment, out);
  }
  /// A run that has begun goes on, one that has not begins; both end with the expected bytes.
  void check_mended(const io::Path& out) const {
    const bool begun = std::filesystem::exists(out / "config.json");
    const ProgramResult result =
        begun ? pretrain_with(folder, {no_plots},
                              {{"--resume", "--threads", "1", "--overlays", "0", "--out", out.string()}})
              : run({no_plots}, out);
    INFO(result.out << result.error);
    CHECK(result.status == 0);
    CHECK(results(out) == expected);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(out)) {
      INFO(entry.path());
      CHECK(entry.path().filename().string().front() != '.');
    }
  }
  /// Kills the run at its first, second, ... call, until it comes to its end. Returns how often it was
  /// killed.
  [[nodiscard]] int kill_at_every(const std::string& call) const {
    for (int kills = 0;; ++kills) {
      const std::string fault = call + ":" + std::to_string(kills + 1) + ":kill";
      const io::Path out = folder / fault;
      INFO(fault);
      const bool killed = run_with(fault, out).status == -SIGKILL;
      check_mended(out);
      if (!killed) return kills;
    }
  }
};

}  // namespace

TEST_CASE("a run of two stages that is killed at any rename goes on to the same end") {
  const TemporaryFolder folder;
  Case both{folder, {"--stage-1-epochs", "1"}, results_of_stages};
  both.run_undisturbed();
  CHECK(both.kill_at_every("rename") == 12);  // vocabulary, settings, four files a stage, scores, the summary
}

TEST_CASE(
    "a run of two stages that is killed while it waits for the disk or writes goes on to the same end") {
  const TemporaryFolder folder;
  Case both{folder, {"--stage-1-epochs", "1"}, results_of_stages};
  both.run_undisturbed();
  for (const char* fault : {"fsync:6:kill", "fsync:10:kill", "fsync:13:kill", "fsync:14:kill",
                            "fsync:20:kill", "write:5:kill", "write:8:kill"}) {
    INFO(fault);
    CHECK(both.run_with(fault, folder / fault).status == -SIGKILL);
    both.check_mended(folder / fault);
  }
}

TEST_CASE(
    "a second stage that is killed at any rename, also of its summariser's copy, goes on to the same end") {
  const TemporaryFolder folder;
  Case first{folder, {"--stage", "1", "--stage-1-epochs", "1"}, nullptr};
  REQUIRE(first.run({no_plots}, folder / "first").status == 0);
  Case second{folder,
              {"--stage", "2", "--summariser", (folder / "first/stage1/best.safetensors").string()},
              [](const io::Path& run) {
                std::vector<std::string> bytes = results_of(run);
                bytes.push_back(io::read_file(run / "stage1/best.safetensors"));
                return bytes;
              }};
  second.run_undisturbed();
  CHECK(second.kill_at_every("rename") == 9);  // vocabulary, copy, settings, four files, scores, the summary
  for (const char* fault : {"fsync:3:kill", "write:2:kill"}) {  // while it is copied
    INFO(fault);
    CHECK(second.run_with(fault, folder / fault).status == -SIGKILL);
    CHECK_FALSE(std::filesystem::exists(folder / fault / "config.json"));
    second.check_mended(folder / fault);
  }
}

TEST_CASE("a full disk in either stage is named with the file, and the run goes on to the same end") {
  const TemporaryFolder folder;
  Case both{folder, {"--stage-1-epochs", "1"}, results_of_stages};
  both.run_undisturbed();
  int number = 3;
  for (const char* file : {"stage1/best.safetensors", "stage1/log.csv", "stage1/held_out.csv",
                           "stage1/last.safetensors", "best.safetensors", "log.csv"}) {
    const std::string fault = "rename:" + std::to_string(number++) + ":" + std::to_string(ENOSPC);
    const io::Path out = folder / fault;
    check_refused(both.run_with(fault, out),
                  (out / file).string() + ": cannot write: No space left on device");
    both.check_mended(out);
  }
}

#endif
