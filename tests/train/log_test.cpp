#include "support/catch.hpp"
#include "support/grouping_locale.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <vlp/io/file.hpp>
#include <vlp/train/log.hpp>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

using namespace vlp;
using test::message_of;
using test::TemporaryFolder;
using train::Log;

namespace {

const std::vector<std::string> columns{"step", "loss"};

Log log_of(const std::string& path, int rows) {
  Log log(path, columns);
  for (int i = 1; i <= rows; ++i) log.append({static_cast<double>(i), 1.0 / i});
  return log;
}

ino_t file_number(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_ino;
}

}  // namespace

TEST_CASE("a log keeps rows up to a step, to the bit") {
  const TemporaryFolder folder;
  const std::string path = (folder / "log.csv").string();
  Log log(path, columns);
  log.append({1, 0.1});
  log.append({2, 5e-324});
  log.append({3, 1.0 / 3});
  log.save();
  CHECK(io::read_file(path) == "step,loss\n1,0.1\n2,5e-324\n3,0.3333333333333333\n");
  Log read(path, columns);
  read.load(2);
  CHECK(read.rows().size() == 2);
  CHECK(read.column("loss") == std::vector<double>{0.1, 5e-324});
  CHECK_THROWS_AS(log.append({4}), std::invalid_argument);
  CHECK_THROWS_AS(log.append({5, 1}), std::invalid_argument);
  CHECK_THROWS_AS(log.append({3, 1}), std::invalid_argument);
  CHECK(log.rows().size() == 3);
}

TEST_CASE("a log is appended to, and written whole where another program has changed it") {
  const TemporaryFolder folder;
  const std::string path = (folder / "log.csv").string();
  Log log = log_of(path, 2);
  log.save();
  const auto first = file_number(path);
  log.save();
  log.append({3, 0.5});
  log.save();
  CHECK(file_number(path) == first);
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,0.5\n3,0.5\n");
  log.append({4, 0.25});
  std::filesystem::resize_file(path, 12);
  log.save();
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,0.5\n3,0.5\n4,0.25\n");
  std::filesystem::remove(path);
  log.save();
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,0.5\n3,0.5\n4,0.25\n");
  const auto anew = file_number(path);
  log.append({5, 0.125});
  log.save();
  CHECK(file_number(path) == anew);
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,0.5\n3,0.5\n4,0.25\n5,0.125\n");
  // A link in its place is replaced, not followed.
  const std::string victim = folder.write("victim", io::read_file(path)).string();
  std::filesystem::remove(path);
  std::filesystem::create_symlink("victim", path);
  log.append({6, 1});
  log.save();
  CHECK(io::read_file(victim) == "step,loss\n1,1\n2,0.5\n3,0.5\n4,0.25\n5,0.125\n");
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,0.5\n3,0.5\n4,0.25\n5,0.125\n6,1\n");
}

TEST_CASE("a log goes on after any rows that a killed run left behind the last checkpoint") {
  const TemporaryFolder folder;
  const std::string path = (folder / "log.csv").string();
  const std::string whole = "step,loss\n1,1\n2,0.5\n3,0.3333333333333333\n";
  for (const char* left : {"", "4,0.25\n", "4,0.25\n5,0", "4", "x,y,z\n\n", "\n"}) {
    io::write_file(path, whole + left);
    Log log(path, columns);
    log.load(3);
    CHECK(io::read_file(path) == whole + left);
    log.append({4, 2});
    log.save();
    CHECK(io::read_file(path) == whole + "4,2\n");
  }
  // Killed before its first checkpoint: there are rows, or a part of the file, or none.
  for (const char* left : {"step,loss\n1,1\n", "garbage"}) {
    io::write_file(path, left);
    Log log(path, columns);
    log.load(0);
    log.append({1, 2});
    log.save();
    CHECK(io::read_file(path) == "step,loss\n1,2\n");
  }
  CHECK_NOTHROW(Log((folder / "none.csv").string(), columns).load(0));
}

TEST_CASE("a log that lacks rows, or whose rows are no numbers, is refused with its line") {
  const TemporaryFolder folder;
  const std::string path = (folder / "log.csv").string();
  const auto loading = [&](const std::string& text, Index last = 3) {
    folder.write("log.csv", text);
    Log log = log_of(path, 1);
    const std::string message = message_of([&] { log.load(last); });
    CHECK(log.rows().size() == 1);  // as it was
    return message;
  };
  const std::string head = "step,loss\n";
  CHECK(loading(head + "1,1\n2,2\n") == path + ":4: the row of step 3 of 3 is missing or cut off");
  CHECK(loading(head + "1,1\n2,2\n3,0.3") == path + ":4: the row of step 3 of 3 is missing or cut off");
  CHECK(loading(head + "1,1\n3,3\n4,4\n") == path + ":3: step 3 where 2 belongs");
  CHECK(loading(head + "1,1\n1,1\n2,2\n3,3\n") == path + ":3: step 1 where 2 belongs");
  CHECK(loading(head + "1,1\n2,x\n3,3\n") == path + ":3: the loss 'x' is not a number");
  CHECK(loading(head + "1,1\n2,2e\n3,3\n") == path + ":3: the loss '2e' is not a number");
  CHECK(loading(head + "1,1\n2,\n3,3\n") == path + ":3: the loss '' is not a number");
  CHECK(loading(head + "hello,1\n2,2\n3,3\n") == path + ":2: the step 'hello' is not a number");
  CHECK(loading(head + "nan,1\n2,2\n3,3\n") == path + ":2: step nan where 1 belongs");
  CHECK(loading(head + "1,1\n2\n3,3\n") == path + ":3: 1 fields, but 2 columns");
  CHECK(loading(head + "1,1\n2,2,2\n3,3\n") == path + ":3: 3 fields, but 2 columns");
  CHECK(loading(head + "1,1\n\n3,3\n") == path + ":3: the row of step 2 of 3 is missing or cut off");
  CHECK(loading("step,other\n1,1\n", 1) ==
        path + ":1: has other columns than this version writes (step,loss)");
  CHECK(loading("", 1).find(path + ":1: has other columns") == 0);
  std::filesystem::remove(path);
  CHECK(message_of([&] { Log(path, columns).load(1); }) == path + ": cannot open: No such file or directory");
}

TEST_CASE("a disk that is full while a log is appended to is named, and the log can be saved again") {
  const TemporaryFolder folder;
  const std::string path = (folder / "log.csv").string();
  Log log = log_of(path, 1);
  log.save();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 18;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  for (int i = 2; i <= 9; ++i) log.append({static_cast<double>(i), 1});
  const std::string message = message_of([&] { log.save(); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(message == path + ": cannot write: File too large");
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,1\n");  // a part
  log.save();
  CHECK(io::read_file(path) == "step,loss\n1,1\n2,1\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n9,1\n");
}

TEST_CASE("a log of any locale is the same") {
  const TemporaryFolder folder;
  const test::GroupingLocale locale;
  Log log((folder / "log.csv").string(), columns);
  for (int i = 1; i <= 1234; ++i) log.append({static_cast<double>(i), 0.5});
  log.save();
  const std::string text = io::read_file(folder / "log.csv");
  CHECK(text.find("\n1234,0.5\n") != std::string::npos);
  Log read((folder / "log.csv").string(), columns);
  read.load(1234);
  CHECK(read.rows() == log.rows());
}
