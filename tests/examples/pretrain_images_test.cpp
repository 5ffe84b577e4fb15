// The program pretrain, run as a process on images that are decoded while it trains.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <string>
#include <vector>

#ifdef VLP_TEST_PRETRAIN

using namespace vlp;
using namespace vlp::test;

namespace {

/// Whatever a run computed, without its settings and paths.
std::vector<std::string> logs_of(const io::Path& run) {
  return {io::read_file(run / "vocab.txt"), io::read_file(run / "log.csv"),
          io::read_file(run / "held_out.csv")};
}

}  // namespace

TEST_CASE("an image that cannot be read while training ends the run, which goes on once it is mended") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const std::string manifest = "manifest:" + (folder / "manifest.csv").string();
  const io::Path whole = folder / "whole", cut = folder / "cut";
  const Arguments options{"--epochs", "2", "--batch-size", "2", "--data", manifest};
  REQUIRE(pretrain(folder, {tiny, options, {"--out", whole.string()}}).status == 0);

  const io::Path image = folder / "image1.png";
  const std::string sound = io::read_file(image);
  io::write_file(image, std::string(sound.size(), 'x'));  // a run knows files by their sizes
  const ProgramResult ended =
      pretrain(folder, {tiny, options, {"--read-images", "ahead", "--out", cut.string()}});
  check_refused(ended, "manifest.csv:4: " + image.string() + ": neither a PNG");
  CHECK(
      ended.error.find("once the file is mended, the run goes on with --resume; bad-rows skip would leave it "
                       "out") != std::string::npos);

  io::write_file(image, sound);
  // Now there is time to read all images first.
  const ProgramResult resumed =
      pretrain(folder, {{"--resume", "--read-images", "first", "--out", cut.string()}});
  INFO(resumed.error);
  CHECK(resumed.status == 0);
  CHECK(logs_of(cut) == logs_of(whole));
}

TEST_CASE(
    "images that cannot be read while training are left out where that is asked for, and named at the end") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const std::string manifest = "manifest:" + (folder / "manifest.csv").string();
  folder.write("image1.png", "nothing");
  const Arguments options{"--epochs",      "2",     "--batch-size", "2",   "--data", manifest,
                          "--read-images", "ahead", "--bad-rows",   "skip"};
  const ProgramResult result = pretrain(folder, {tiny, options, {"--out", (folder / "run").string()}});
  INFO(result.error);
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(result.out.find("1 image could not be read, and pairs of it were left out: ") != std::string::npos);
  CHECK(result.out.find("image1.png: neither a PNG") != std::string::npos);
  const ProgramResult again =
      pretrain(folder, {tiny, options, {"--out", (folder / "again").string(), "--image-threads", "3"}});
  CHECK(logs_of(folder / "again") == logs_of(folder / "run"));
}

#endif
