// libFuzzer target: any bytes as the files of VQA-RAD or VQA-Med 2019. The first byte chooses: the published
// file of VQA-RAD, its training file, a file of VQA-Med with references, or one without.
#include "fuzzer.hpp"

#include <vlp/data/questions.hpp>
#include <vlp/data/vqa_med.hpp>
#include <vlp/data/vqa_rad.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

namespace {

namespace data = vlp::data;
using vlp::fuzz::file_with;
using vlp::fuzz::folder;
using vlp::fuzz::promise;

constexpr const char* published = "VQA_RAD Dataset Public.json";
constexpr const char* train = "trainset.json";
constexpr const char* references = "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt";
constexpr const char* plane = "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C2_Plane_train.txt";

/// Makes the images that questions may name.
void make_images() {
  namespace fs = std::filesystem;
  for (const std::string images :
       {"images", "VQAMed2019Test/VQAMed2019_Test_Images", "ImageClef-2019-VQA-Med-Training/Train_images"}) {
    fs::create_directories(folder() / images);
    for (const char* name : {"/a.jpg", "/b.jpg"}) file_with("an image", (images + name).c_str());
  }
  fs::create_directories((folder() / plane).parent_path());
}

void check(const data::Questions& read) {
  promise(!read.entries.empty(), "a collection has questions");
  promise(read.files.size() == 1, "one file is read");
  promise(read.files[0].rows ==
              static_cast<vlp::Index>(read.entries.size()) + data::count_bad(read.files) + read.without_image,
          "every entry is accounted for");
  promise((read.without_image == 0) == read.missing.empty(), "missing images are named");
  vlp::Index line = 0;
  for (const data::Question& question : read.entries) {
    promise(question.line > line, "questions are in file order");
    line = question.line;
    promise(std::filesystem::is_regular_file(question.image), "every question has an image");
    const std::string name = question.image.filename().string();
    promise(name == "a.jpg" || name == "b.jpg", "no image lies elsewhere");
    promise(!question.question.empty() && !question.answers.empty(), "every question has an answer");
    promise(std::set(question.answers.begin(), question.answers.end()).size() == question.answers.size(),
            "accepted answers differ");
    for (const std::string& answer : question.answers) promise(!answer.empty(), "an answer is not empty");
    promise(question.split == "train" || question.split == "test", "a question has a split");
  }
  for (const data::BadRow& row : read.files[0].bad)
    promise(row.line > 0 && !row.what.empty() && row.what.size() < 1000,
            "a bad entry has a place and a reason");
  promise(data::describe(read.files).size() < 4096, "bad entries make no endless message");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const bool images = (make_images(), true);
  if (size < 1 || !images) return 0;
  const char* name = (const char*[]){published, train, references, plane}[bytes[0] % 4];
  const auto path = file_with(vlp::fuzz::text_of(bytes + 1, size - 1), name);
  vlp::fuzz::reads(
      [&] { check(bytes[0] % 4 < 2 ? data::read_vqa_rad(folder()) : data::read_vqa_med(folder())); });
  std::filesystem::remove(path);
  return 0;
}
