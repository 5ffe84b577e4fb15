#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/file.hpp>
#include <vlp/train/progress.hpp>

#include <algorithm>
#include <cstdio>
#include <string>

using namespace vlp;
using vlp::test::TemporaryFolder;

namespace {

/// Everything that `draw(out)` writes to a file.
template <class Draw>
std::string written(Draw&& draw) {
  const TemporaryFolder folder;
  const io::Path path = folder / "out";
  std::FILE* out = std::fopen(path.c_str(), "w");
  REQUIRE(out != nullptr);
  draw(out);
  std::fclose(out);
  return io::read_file(path);
}

}  // namespace

TEST_CASE("progress away from a terminal is a line each tenth of the way") {
  const std::string lines = written([](std::FILE* out) {
    train::Progress progress(100, 4, 0, out);
    for (Index step = 1; step <= 100; ++step) progress.show(step, "loss 2.5");
  });
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 10);
  CHECK(lines.starts_with("step 10/100  loss 2.5  "));
  CHECK(lines.find(" examples/s  0 s left\n") != std::string::npos);
  CHECK(lines.find("\nstep 100/100  loss 2.5  ") != std::string::npos);
}

TEST_CASE("progress of a continued run counts from where it goes on") {
  const std::string lines = written([](std::FILE* out) {
    train::Progress progress(1000, 1, 990, out);
    progress.show(991, {});
    progress.show(1000, {});
  });
  CHECK(lines.starts_with("step 991/1000  "));
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
}

TEST_CASE("progress names what it counts, and needs no text") {
  const std::string line = written([](std::FILE* out) {
    train::Progress(3, 1, 0, out, {"images", "images"}).show(3, {});
  });
  CHECK(line.starts_with("images 3/3  "));
  CHECK(line.ends_with(" images/s  0 s left\n"));
  CHECK(written([](std::FILE*) { train::Progress(3, 1, 0, nullptr).show(3, "text"); }).empty());
}

TEST_CASE("durations are given in the two largest units") {
  CHECK(train::duration_text(0.2) == "0 s");
  CHECK(train::duration_text(59.6) == "1 min 00 s");
  CHECK(train::duration_text(200) == "3 min 20 s");
  CHECK(train::duration_text(3725) == "1 h 02 min");
}
