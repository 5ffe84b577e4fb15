// The program prepare_data, run as a process on small collections.
#include "examples/pretrain_process.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <signal.h>
#include <sys/stat.h>

#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#if defined(VLP_TEST_PREPARE_DATA) && defined(VLP_TEST_PRETRAIN)

using namespace vlp;
using namespace vlp::test;

namespace {

ProgramResult prepare(const TemporaryFolder& folder, const Arguments& arguments) {
  Arguments command{VLP_TEST_PREPARE_DATA};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(folder.path(), command);
}

std::string manifest_in(const TemporaryFolder& folder, const char* name) {
  return "manifest:" + (folder / name).string();
}

bool says(const ProgramResult& result, const std::string& part) {
  UNSCOPED_INFO(result.out << result.error);
  return result.out.find(part) != std::string::npos;
}

std::size_t files_in(const io::Path& folder) {
  return static_cast<std::size_t>(std::ranges::count_if(
      std::filesystem::recursive_directory_iterator(folder),
      [](const std::filesystem::directory_entry& entry) { return entry.is_regular_file(); }));
}

}  // namespace

TEST_CASE("preparing a sound collection fills the cache, from which a run reads") {
  const TemporaryFolder folder;
  write_manifest(folder);
  const std::string manifest = manifest_in(folder, "manifest.csv");
  const std::string cache = (folder / "cache").string();
  const Arguments arguments{manifest, "--image-size", "32", "--image-cache", cache};
  const ProgramResult result = prepare(folder, arguments);
  CHECK(result.status == 0);
  CHECK(result.error.empty());
  CHECK(says(result, "manifest.csv: 6 pairs of an image and a report\n"));
  CHECK(says(result, "6 of 6 images read and brought to 32 x 32 pixels, "));
  CHECK(files_in(cache) >= 6);

  const auto run = [&](const std::string& name, const Arguments& more) {
    const std::string out = (folder / name).string();
    const ProgramResult trained = pretrain(
        folder, {tiny, {"--epochs", "2", "--batch-size", "2", "--data", manifest, "--out", out}, more});
    INFO(trained.error);
    REQUIRE(trained.status == 0);
    std::vector<std::string> bytes = results_of(out);
    bytes.erase(bytes.begin());  // config.json, which says when images were read
    return bytes;
  };
  const std::vector<std::string> plain = run("plain", {});
  const auto logs = [](const std::vector<std::string>& bytes) {
    return std::vector<std::string>(bytes.begin(), bytes.begin() + 3);
  };
  CHECK(run("cached", {"--image-cache", cache}) == plain);
  // Checkpoints of images read ahead have another fingerprint of the data.
  CHECK(logs(run("ahead", {"--read-images", "ahead"})) == logs(plain));
  CHECK(logs(run("ahead_cached",
                 {"--read-images", "ahead", "--image-cache", cache, "--image-threads", "3"})) == logs(plain));
}

TEST_CASE("preparing names every faulty row and every image that cannot be read") {
  const TemporaryFolder folder;
  write_manifest(folder);
  io::write_png(folder / "good.png", picture(40, 40, 1));
  const std::string damaged = io::read_file(folder / "good.png").substr(0, 100);
  std::string csv = "image,report,label:Edema,label:Mass\n";
  for (int i = 0; i < 25; ++i) csv += "good.png,,1.0,\n";  // more than a message names
  for (int i = 0; i < 25; ++i) {
    folder.write(concat("damaged", i, ".png"), damaged);
    csv += concat("damaged", i, ".png,Clear.,-1.0,0\n");
  }
  csv += "good.png,Clear lungs.,0.0,1\nnone.png,Clear.,,\n";
  folder.write("faulty.csv", csv);
  const ProgramResult result = prepare(folder, {manifest_in(folder, "faulty.csv")});
  CHECK(result.status == 1);
  CHECK(says(result, "faulty.csv:2: empty report\n"));
  CHECK(says(result, "faulty.csv:26: empty report\n"));
  CHECK(says(result, "faulty.csv:27: "));
  CHECK(says(result, "faulty.csv:51: "));
  CHECK(says(result, "1 of 52 images are missing"));
  CHECK(says(result, "1 of 26 images read"));
  CHECK(says(result, "50 rows or images are faulty; pretrain needs --bad-rows skip for them\n"));
  CHECK(says(result, "| Edema | 0 | 1 | 25 | 0 |\n"));
  CHECK(says(prepare(folder, {manifest_in(folder, "faulty.csv"), "--uncertain-labels", "ones"}),
             "| Edema | 25 | 1 | 0 | 0 |\n"));
}

TEST_CASE("preparing reads every image of many") {
  const TemporaryFolder folder;
  std::string csv = "image,report\n";
  for (int i = 0; i < 150; ++i) {  // more than are asked for at a time
    const std::string name = concat("image", i, ".png");
    io::write_png(folder / name, picture(8, 8, i));
    csv += name + ",Clear.\n";
  }
  folder.write("many.csv", csv);
  const ProgramResult result = prepare(folder, {manifest_in(folder, "many.csv"), "--image-size", "8"});
  CHECK(result.status == 0);
  CHECK(says(result, "150 of 150 images read and brought to 8 x 8 pixels, "));
}

TEST_CASE("preparing takes collections that have labels and no reports, and pretraining refuses them") {
  const TemporaryFolder folder;
  io::write_png(folder / "a.png", picture(40, 40, 1));
  folder.write("labels.csv", "image,label:Edema\na.png,1\n");
  const ProgramResult result = prepare(folder, {manifest_in(folder, "labels.csv")});
  CHECK(result.status == 0);
  CHECK(says(result, "| Edema | 1 | 0 | 0 | 0 |\n"));
  CHECK(says(result, "1 of 1 images read"));
  check_refused(
      pretrain(folder,
               {tiny, {"--data", manifest_in(folder, "labels.csv"), "--out", (folder / "run").string()}}),
      "labels.csv: has labels and no reports, which pretraining needs");
}

TEST_CASE("preparing names the rows whose split divides a patient, and takes columns as labels and groups") {
  const TemporaryFolder folder;
  write_manifest(folder);  // for its images
  folder.write("divided.csv",
               "image,report,split,clinic,Mass\nimage0.png,Clear.,train,a,1\nimage1.png,Dense.,test,a,0\n"
               "image2.png,Fluid.,train,b,-1\nimage3.png,Air.,train,c,\n");
  const std::string manifest = manifest_in(folder, "divided.csv");
  CHECK(prepare(folder, {manifest}).status == 0);
  const ProgramResult result =
      prepare(folder, {manifest, "--group-column", "clinic", "--label-columns", "Mass"});
  CHECK(result.status == 1);
  CHECK(says(result, "divided.csv:2: to train on, though line 3, "));
  CHECK(says(result, "1 rows or images are faulty") == false);
  CHECK(says(result, "one row or image is faulty; pretrain needs --bad-rows skip for it\n"));
  CHECK(says(result, "| Mass | 1 | 1 | 1 | 1 |\n"));
}

TEST_CASE("preparing ends within a second of a signal, and keeps what it has") {
  const TemporaryFolder folder;
  const io::Path pipe = folder / "pipe.csv";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Program program(folder.path(), {VLP_TEST_PREPARE_DATA, "manifest:" + pipe.string()});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.send(SIGTERM);
  const ProgramResult result = program.finish();
  CHECK(result.status == 130);
  CHECK(says(result, "stopped; what is in the cache is kept\n"));
}

TEST_CASE("what cannot be prepared is refused in one sentence") {
  const TemporaryFolder folder;
  const auto refused = [&](const Arguments& arguments, const std::string& part) {
    const ProgramResult result = prepare(folder, arguments);
    INFO(result.error);
    CHECK(result.status == 2);
    CHECK(std::ranges::count(result.error, '\n') == 1);
    CHECK(result.error.starts_with("prepare_data: "));
    CHECK(result.error.find(part) != std::string::npos);
  };
  refused({}, "source is required");
  refused({"nowhere:x"}, "data must be manifest:FILE.csv or ");
  refused({"manifest:"}, "'manifest:' names no file or folder");
  refused({"manifest:none.csv"}, "none.csv: cannot open: No such file");
  refused({"manifest:none.csv", "--image-size", "0"}, "--image-size");
  refused({"manifest:none.csv", "--projection", "front"}, "--projection");
  refused({"manifest:none.csv", "--bogus"}, "--bogus");
  folder.write("file", "");
  write_manifest(folder);
  refused({manifest_in(folder, "manifest.csv"), "--image-cache", (folder / "file" / "cache").string()},
          "cache");
}

#endif
