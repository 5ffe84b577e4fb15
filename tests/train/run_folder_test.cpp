#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/file.hpp>
#include <vlp/train/run_folder.hpp>

#include <filesystem>

using namespace vlp;
using test::message_of;
using test::TemporaryFolder;
using train::RunFolder;

TEST_CASE("a run folder is made with its settings last, and locked") {
  const TemporaryFolder folder;
  const std::string path = (folder / "deep/run").string();
  RunFolder run(path);
  CHECK(run.path() == path);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(run.holds_run());
  CHECK(message_of([&] { return run.settings(); }).find("there is no run in '" + path) == 0);
  run.start({{"lr", 0.5}}, [&] {
    CHECK_FALSE(run.holds_run());
    io::write_file(run.file("vocab.txt"), "a\n");
  });
  CHECK(run.holds_run());
  CHECK(run.settings()["lr"] == 0.5);
  RunFolder other(path);
  CHECK(message_of([&] { other.lock(); }) == "another run is at work in '" + path + "'");
  CHECK(message_of([&] { other.start({}, [] {}); }).find("another run is at work") == 0);
}

TEST_CASE("a folder that holds a run is not taken for another, nor one that cannot be made") {
  const TemporaryFolder folder;
  const std::string path = (folder / "run").string();
  {
    RunFolder(path).start({}, [] {});
  }
  CHECK(message_of([&] {
          RunFolder(path).start({}, [] {});
        }).find("holds a run that began in the meantime") != std::string::npos);
  folder.write("file", "");
  CHECK(message_of([&] {
          RunFolder((folder / "file/run").string()).start({}, [] {});
        }).find("cannot create the run folder '") == 0);
  io::write_file(folder / "run/config.json", "{");
  CHECK(message_of([&] { return RunFolder(path).settings(); }).find(path + "/config.json: not JSON") == 0);
}

TEST_CASE("a run folder that cannot be looked at is named") {
  const TemporaryFolder folder;
  const auto message = [](const io::Path& path) {
    return message_of([&] { static_cast<void>(RunFolder(path.string()).holds_run()); });
  };
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  CHECK(message(folder / "loop") ==
        "cannot use the run folder '" + (folder / "loop").string() + "': Too many levels of symbolic links");
  folder.write("file", "");
  CHECK(message(folder / "file") ==
        "cannot use the run folder '" + (folder / "file").string() + "': Not a directory");
  CHECK(message(folder / std::string(300, 'x')).ends_with("': File name too long"));
  CHECK(message(folder / "none/deeper") == "no error");
  CHECK(train::first_free_folder((folder / "loop").string()) == (folder / "loop").string());
}

TEST_CASE("locking clears away what a killed run was writing, and nothing else") {
  const TemporaryFolder folder;
  folder.write(".vlp-last.safetensors.1-0.tmp", "half");
  folder.write(".notes.tmp", "the user's");
  RunFolder run(folder.path().string());
  run.lock();
  CHECK_FALSE(std::filesystem::exists(folder / ".vlp-last.safetensors.1-0.tmp"));
  CHECK(std::filesystem::exists(folder / ".notes.tmp"));
}

TEST_CASE("the first free folder is taken") {
  const TemporaryFolder folder;
  const std::string stem = (folder / "run").string();
  CHECK(train::first_free_folder(stem) == stem);
  folder.write("run", "");
  folder.write("run-2", "");
  CHECK(train::first_free_folder(stem) == stem + "-3");
}
