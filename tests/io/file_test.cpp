#include "support/temporary_folder.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vlp/core/stop.hpp>
#include <vlp/io/file.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

/// Errors of the next fsync and rename of this program, as of a full or failing disk; 0: they work.
thread_local int fsync_error = 0, rename_error = 0;

int failing_or(int& error, long result) {
  if (error == 0) return static_cast<int>(result);
  errno = std::exchange(error, 0);
  return -1;
}

}  // namespace

// A program's own functions come before the C library's of the same name.
extern "C" int fsync(int file) {
  return failing_or(fsync_error, fsync_error == 0 ? ::syscall(SYS_fsync, file) : 0);
}
extern "C" int rename(const char* from, const char* to) noexcept {
  return failing_or(rename_error,
                    rename_error == 0 ? ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) : 0);
}

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

TEST_CASE("a sparse file is read with its holes, and a file that grows to its end") {
  const TemporaryFolder folder;
  folder.write("sparse", "begin");
  std::filesystem::resize_file(folder / "sparse", 40'000'000);
  const std::string bytes = read_file(folder / "sparse");
  CHECK(bytes.size() == 40'000'000);
  CHECK(bytes.substr(0, 5) == "begin");
  CHECK(bytes.find_first_not_of('\0', 5) == std::string::npos);
}

TEST_CASE("a file of more bytes than asked for is refused before it is read") {
  const TemporaryFolder folder;
  folder.write("file", "12345");
  CHECK(read_file(folder / "file", {.max_bytes = 5}) == "12345");
  CHECK_MESSAGE_HAS(read_file(folder / "file", {.max_bytes = 4}), (folder / "file").string(),
                    ": has 5 bytes, more than the 4 that are read");
  std::filesystem::resize_file(folder / "file", std::uintmax_t{1} << 40);
  const std::atomic<bool> stopped{true};  // which the first read would tell
  CHECK_MESSAGE_HAS(read_file(folder / "file", {.max_bytes = 1000, .stop = vlp::StopToken(stopped)}),
                    "has 1099511627776 bytes, more than the 1000 that are read");
  // The system does not tell the size of these.
  CHECK_MESSAGE_HAS(read_file("/dev/zero", {.max_bytes = 10'000}), "/dev/zero: has at least ",
                    "more than the 10000 that are read");
  CHECK_MESSAGE_HAS(read_file("/proc/self/status", {.max_bytes = 10}), "/proc/self/status: has at least ");
}

#if !defined(__SANITIZE_ADDRESS__)  // which needs more addresses than are left here
TEST_CASE("a file too large for the memory is named") {
  const TemporaryFolder folder;
  folder.write("file", "");
  std::filesystem::resize_file(folder / "file", std::uintmax_t{1} << 40);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  rlimit small = before;
  const std::size_t pages = std::stoul(read_file("/proc/self/statm"));
  small.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + (std::size_t{1} << 28);
  REQUIRE(::setrlimit(RLIMIT_AS, &small) == 0);
  const std::string message = vlp::test::message_of([&] { static_cast<void>(read_file(folder / "file")); });
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(message.find((folder / "file").string() + ": cannot read: out of memory after ") == 0);
  CHECK(message.find(" after 0 bytes") == std::string::npos);  // no memory is taken for a size alone
}
#endif

TEST_CASE("a pipe is read to its end, and waiting for it can be stopped") {
  const TemporaryFolder folder;
  const Path pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] {
    std::ofstream out(pipe, std::ios::binary);
    out << std::string(100'000, 'a') << std::flush;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    out << "end";
  });
  CHECK(read_file(pipe) == std::string(100'000, 'a') + "end");
  writer.join();

  // No one ever writes to it.
  std::atomic<bool> flag{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    flag = true;
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(read_file(pipe, {.stop = vlp::StopToken(flag)}), vlp::Stopped);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  stopper.join();
  CHECK_THROWS_AS(read_file(folder.write("file", "x"), {.stop = vlp::StopToken(flag)}), vlp::Stopped);
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

TEST_CASE("a disk that fails late is named with its own reason") {
  const TemporaryFolder folder;
  const Path path = folder.write("file", "old");
  errno = ERANGE;
  fsync_error = EIO;
  CHECK_MESSAGE_HAS(write_file(path, "new"), path.string() + ": cannot write: Input/output error");
  errno = ERANGE;
  rename_error = EBUSY;
  CHECK_MESSAGE_HAS(write_file(path, "new"), path.string() + ": cannot write: Device or resource busy");
  CHECK(read_file(path) == "old");
  CHECK(folder.file_count() == 1);
  CHECK_MESSAGE_HAS(detail::write_all(detail::Descriptor(::open("/dev/full", O_WRONLY)).get(), "x", "name"),
                    "name: cannot write: No space left on device");
}

TEST_CASE("no link is followed when a file is written") {
  const TemporaryFolder folder;
  folder.write("victim", "precious");
  std::filesystem::create_symlink("victim", folder / "file");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  write_file(folder / "file", "new");
  write_file(folder / "dangling", "new");
  CHECK(read_file(folder / "victim") == "precious");
  CHECK_FALSE(std::filesystem::is_symlink(folder / "file"));
  CHECK(read_file(folder / "file") == "new");
  CHECK(read_file(folder / "dangling") == "new");
  CHECK_FALSE(std::filesystem::exists(folder / "nowhere"));
  // Links and files that have the very names a process of this number would take next.
  const Path path = folder / "trap";
  const std::string first = [&] {
    const TemporaryFile probe(path);
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      if (is_temporary_name(entry.path().filename().string())) return entry.path().string();
    return std::string();
  }();
  const unsigned number = static_cast<unsigned>(std::stoul(first.substr(first.rfind('-') + 1)));
  std::filesystem::create_symlink("victim", detail::temporary_name(path, number + 1));
  std::filesystem::create_directory(detail::temporary_name(path, number + 2));
  write_file(path, "new");
  CHECK(read_file(path) == "new");
  CHECK(read_file(folder / "victim") == "precious");
}

TEST_CASE("a file is written under the longest name that a folder takes") {
  const TemporaryFolder folder;
  const std::string name(255, 'n');
  write_file(folder / name, "new");
  CHECK(read_file(folder / name) == "new");
  CHECK(folder.file_count() == 1);
}

TEST_CASE("what a killed process was writing is known by its name, and nothing else is") {
  CHECK(is_temporary_name(detail::temporary_name("a/log.csv", 0).filename().string()));
  CHECK(is_temporary_name(".vlp-last.safetensors.1-0.tmp"));
  for (const char* other :
       {".vlp-log.csv.tmp", ".vlp-log.csv.1-.tmp", ".vlp-log.csv.-0.tmp", ".vlp-log.csv.1.0.tmp",
        ".vlp-1-0.tmp", ".vlp-.tmp", ".log.csv.1-0.tmp", "vlp-log.csv.1-0.tmp", ".vlp-log.csv.1-0.tmp2",
        ".vlp-log.csv.1-x.tmp", ".vlp-.1-0.tmp", ".tmp", ""})
    CHECK_FALSE(is_temporary_name(other));

  const TemporaryFolder folder;
  folder.write("victim", "precious");
  folder.write(".notes.tmp", "the user's");
  folder.write(".vlp-log.csv.77-3.tmp", "half");
  std::filesystem::create_symlink("victim", folder / ".vlp-link.1-1.tmp");
  std::filesystem::create_directory(folder / ".vlp-folder.1-1.tmp");
  remove_temporaries(folder.path());
  CHECK(folder.file_count() == 3);
  CHECK(read_file(folder / "victim") == "precious");
  CHECK(read_file(folder / ".notes.tmp") == "the user's");
  CHECK(std::filesystem::is_directory(folder / ".vlp-folder.1-1.tmp"));
  CHECK_NOTHROW(remove_temporaries(folder / "none"));
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
