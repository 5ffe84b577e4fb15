#include "support/temporary_folder.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <vlp/io/file.hpp>

#include <csignal>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace vlp::io;
using vlp::test::TemporaryFolder;

TEST_CASE("a file is written and read back whole") {
  const TemporaryFolder folder;
  for (std::size_t size : {0, 1, 4095, 4096, 4097, 1'000'000}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 256);
    write_file(folder / "file", bytes);
    CHECK(read_file(folder / "file") == bytes);
  }
  const std::string_view pieces[] = {"one ", "", "two"};
  write_file(folder / "file", pieces);
  CHECK(read_file(folder / "file") == "one two");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a file whose size the system does not tell is read to its end") {
  CHECK(read_file("/proc/self/status").find("Pid:") != std::string::npos);
}

TEST_CASE("errors of files name the path and the reason") {
  const TemporaryFolder folder;
  CHECK_MESSAGE_HAS(read_file(folder / "none"), (folder / "none").string(), "No such file or directory");
  CHECK_MESSAGE_HAS(read_file(folder.path()), folder.path().string(), "Is a directory");
  CHECK_MESSAGE_HAS(write_file(folder / "no/such/folder", "x"), (folder / "no/such/folder").string(),
                    "No such file or directory");
  CHECK_MESSAGE_HAS(write_file(folder.path(), "x"), folder.path().string(), "not a regular file");
  CHECK_MESSAGE_HAS(write_file("/dev/null", "x"), "/dev/null", "not a regular file");
}

TEST_CASE("a write that fails leaves the old file and no other") {
  const TemporaryFolder folder;
  folder.write("file", "old");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 16;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message =
      vlp::test::message_of([&] { write_file(folder / "file", std::string(100, 'n')); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(message.find((folder / "file").string()) != std::string::npos);
  CHECK(read_file(folder / "file") == "old");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a file that is replaced keeps its permissions") {
  const TemporaryFolder folder;
  const Path path = folder.write("file", "old");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  write_file(path, "new");
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("writers of one file do not mix") {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (char c : {'a', 'b', 'c', 'd'})
    writers.emplace_back([&folder, c] {
      for (int i = 0; i < 5; ++i) write_file(folder / "file", std::string(100'000, c));
    });
  for (std::thread& writer : writers) writer.join();
  const std::string bytes = read_file(folder / "file");
  CHECK(bytes == std::string(100'000, bytes.at(0)));
  CHECK(folder.file_count() == 1);
}

}  // namespace
