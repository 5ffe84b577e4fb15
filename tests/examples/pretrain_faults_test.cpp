// pretrain under signals, kills at any call, a full disk and odd environments.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>
#include <sys/stat.h>

#include <vlp/io/file.hpp>
#include <vlp/io/safetensors.hpp>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#ifdef VLP_TEST_PRETRAIN

using namespace vlp;
using namespace vlp::test;

namespace {

const Arguments quick{"--studies", "40", "--epochs", "1", "--overlays", "0"};

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// A run that has begun goes on, one that has not begins; both end with these results.
void check_mended(const TemporaryFolder& folder, const io::Path& run,
                  const std::vector<std::string>& expected) {
  const Arguments out{"--out", run.string()};
  const bool begun = std::filesystem::exists(run / "config.json");
  const ProgramResult result = begun ? pretrain_with(folder, {no_plots}, {out, {"--resume"}})
                                     : pretrain_with(folder, {no_plots}, {tiny, quick, out});
  INFO(result.error);
  CHECK(result.status == 0);
  CHECK(results_of(run) == expected);
  for (const auto& entry : std::filesystem::directory_iterator(run)) {
    INFO(entry.path());
    CHECK(entry.path().filename().string().front() != '.');
  }
}

}  // namespace

TEST_CASE("a signal while data are read ends the program soon, and nothing is written") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  for (const int signal : {SIGINT, SIGTERM}) {
    Program program(folder.path(), joined({tiny, {"--studies", "200000", "--out", run.string()}}));
    pause(300);
    program.send(signal);
    const ProgramResult result = program.finish();
    INFO(result.out << result.error);
    CHECK(result.status == 130);
    CHECK(result.out == "stopped while reading the data; nothing was written\n");
    CHECK_FALSE(std::filesystem::exists(run));
  }
}

TEST_CASE("a signal ends the wait for a pipe that nobody writes to") {
  const TemporaryFolder folder;
  const io::Path pipe = folder / "pipe.csv", run = folder / "run";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Program program(folder.path(),
                  joined({tiny, {"--data", "manifest:" + pipe.string(), "--out", run.string()}}));
  pause(200);
  program.send(SIGTERM);
  const ProgramResult result = program.finish();
  CHECK(result.status == 130);
  CHECK(result.out == "stopped while reading the data; nothing was written\n");
  CHECK_FALSE(std::filesystem::exists(run));
}

TEST_CASE("the second signal ends the program at once") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  Program program(folder.path(), joined({tiny,
                                         {"--studies", "1300", "--image-size", "64", "--width", "64",
                                          "--batch-size", "1000", "--out", run.string()}}));
  REQUIRE(program.wait_until([&] { return std::filesystem::exists(run / "config.json"); }));
  pause(200);
  program.send(SIGINT);  // takes effect after the step in hand, which takes seconds
  pause(100);
  program.send(SIGTERM);
  CHECK(program.finish().status == -SIGTERM);
}

TEST_CASE("a signal while the trained model is evaluated says how to come by the results") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  Program program(folder.path(), joined({tiny,
                                         {"--studies", "2500", "--held-out", "0.99", "--epochs", "1",
                                          "--alpha", "0", "--out", run.string()}}));
  REQUIRE(program.wait_until([&] { return std::filesystem::exists(run / "last.safetensors"); }));
  program.send(SIGINT);
  const ProgramResult result = program.finish();
  INFO(result.out << result.error);
  CHECK(result.status == 130);
  CHECK(result.out.find("stopped while evaluating; the run is trained to its end: --resume --out ") !=
        std::string::npos);
  CHECK_FALSE(std::filesystem::exists(run / "summary.md"));
}

TEST_CASE("the fuzzer of settings begins with those of a run, every one of them") {
  for (const char* seed : {"tiny", "tiny_hybrid"}) {
    const TemporaryFolder folder;
    folder.write("config.json", io::read_file(io::Path(VLP_TEST_DATA_DIR) / "../fuzz/seeds/config" / seed));
    const ProgramResult result = pretrain(folder, {{"--eval-only", "--out", folder.path().string()}});
    CHECK(result.error.find("vocab.txt: cannot be opened") != std::string::npos);
  }
}

TEST_CASE("odd environments change nothing") {
  const TemporaryFolder folder;
  const io::Path plain = folder / "plain";
  const Arguments all_threads{"--threads", "0"};
  REQUIRE(pretrain_with(folder, {no_plots}, {tiny, quick, {"--out", plain.string()}}).status == 0);
  int number = 0;
  for (const Arguments& environment : std::vector<Arguments>{{"-i"},
                                                             {"OMP_NUM_THREADS=0"},
                                                             {"OMP_NUM_THREADS=-1"},
                                                             {"OMP_NUM_THREADS=abc"},
                                                             {"OMP_NUM_THREADS="},
                                                             {"OMP_NUM_THREADS=2,2"},
                                                             {"OMP_DYNAMIC=true", "OMP_THREAD_LIMIT=2"},
                                                             {"LC_ALL=de_DE.UTF-8", "LANGUAGE=de"},
                                                             {"TMPDIR=/nowhere"}}) {
    const io::Path run = folder / std::to_string(number++);
    Arguments with_path = environment;
    with_path.push_back(no_plots);
    const ProgramResult result =
        pretrain_with(folder, with_path, {tiny, quick, all_threads, {"--out", run.string()}});
    INFO(environment.front() << ": " << result.error);
    CHECK(result.status == 0);
    CHECK(results_of(run) == results_of(plain));
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // which takes more memory than any limit
TEST_CASE("lack of memory is said with what the program was doing") {
  const TemporaryFolder folder;
  const io::Path run = folder / "run";
  Arguments command{"/bin/sh", "-c", "ulimit -v 1000000 && exec \"$@\"", "sh"};
  for (const std::string& argument : joined({tiny, {"--width", "8192", "--out", run.string()}}))
    command.push_back(argument);
  check_refused(run_program(folder.path(), command),
                "out of memory while making the model; a smaller --width takes less");
  CHECK_FALSE(std::filesystem::exists(run));
}
#endif

#ifdef VLP_TEST_FAULT_INJECTION

namespace {

ProgramResult pretrain_with_fault(const TemporaryFolder& folder, const std::string& fault,
                                  const io::Path& run) {
  return pretrain_with(folder, with_fault(fault), {tiny, quick, {"--out", run.string()}});
}

}  // namespace

TEST_CASE("a run that is killed at any rename goes on to the same end") {
  const TemporaryFolder folder;
  REQUIRE(pretrain_with(folder, {no_plots}, {tiny, quick, {"--out", (folder / "whole").string()}}).status ==
          0);
  const auto expected = results_of(folder / "whole");
  int kills = 0;
  for (bool killed = true; killed; kills += killed) {
    const io::Path run = folder / ("run" + std::to_string(kills));
    killed =
        pretrain_with_fault(folder, "rename:" + std::to_string(kills + 1) + ":kill", run).status == -SIGKILL;
    check_mended(folder, run, expected);
  }
  CHECK(kills >= 7);  // vocabulary, settings, two logs, two checkpoints, the summary
}

TEST_CASE("a run that is killed while it waits for the disk or writes goes on to the same end") {
  const TemporaryFolder folder;
  REQUIRE(pretrain_with(folder, {no_plots}, {tiny, quick, {"--out", (folder / "whole").string()}}).status ==
          0);
  const auto expected = results_of(folder / "whole");
  for (const char* fault :
       {"fsync:2:kill", "fsync:5:kill", "fsync:8:kill", "fsync:11:kill", "write:2:kill", "write:40:kill"}) {
    const io::Path run = folder / fault;
    INFO(fault);
    CHECK(pretrain_with_fault(folder, fault, run).status == -SIGKILL);
    check_mended(folder, run, expected);
  }
}

TEST_CASE("a full or failing disk is named with its reason, and the run goes on to the same end") {
  const TemporaryFolder folder;
  REQUIRE(pretrain_with(folder, {no_plots}, {tiny, quick, {"--out", (folder / "whole").string()}}).status ==
          0);
  const auto expected = results_of(folder / "whole");
  const auto check = [&](const std::string& call, int number, int error, const std::string& file,
                         const std::string& reason) {
    const std::string fault = call + ":" + std::to_string(number) + ":" + std::to_string(error);
    const io::Path run = folder / fault;
    INFO(fault);
    check_refused(pretrain_with_fault(folder, fault, run),
                  (run / file).string() + ": cannot write: " + reason);
    check_mended(folder, run, expected);
  };
  const std::string full = "No space left on device", broken = "Input/output error";
  const std::vector<std::string> files{"vocab.txt", "config.json",  "best.safetensors",
                                       "log.csv",   "held_out.csv", "last.safetensors"};
  for (std::size_t i = 0; i < files.size(); ++i)
    check("rename", static_cast<int>(i) + 1, ENOSPC, files[i], full);
  check("fsync", 1, EIO, "vocab.txt", broken);
  check("fsync", 5, EIO, "best.safetensors", broken);
  check("write", 1, ENOSPC, "vocab.txt", full);
  check("write", 3, ENOSPC, "best.safetensors", full);
}

#endif
#endif
