#include "cli/reading_bar.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/file.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

using namespace vlp;
using vlp::test::TemporaryFolder;

TEST_CASE("reading that takes a moment draws nothing, and longer reading a line for each kind") {
  const TemporaryFolder folder;
  const io::Path path = folder / "out";
  std::FILE* out = std::fopen(path.c_str(), "w");
  REQUIRE(out != nullptr);
  {
    cli::ReadingBar bar(out);
    const data::ReadProgress report = bar.report();
    for (Index done = 1; done <= 10; ++done) report("reports", done, 10);
    report("images", 1, 8);
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    report("images", 4, 8);
    report("images", 8, 8);
  }
  std::fclose(out);
  const std::string lines = io::read_file(path);
  CHECK(lines.starts_with("images 4/8  "));
  CHECK(lines.find("\nimages 8/8  ") != std::string::npos);
  CHECK(lines.find("reports") == std::string::npos);
}
