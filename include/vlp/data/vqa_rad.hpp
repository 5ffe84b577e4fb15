/// \file
/// VQA-RAD, questions of clinicians about radiographs, CT and MR images.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/detail/json_fields.hpp>
#include <vlp/data/file_account.hpp>
#include <vlp/data/questions.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/json.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

namespace vlp::data {

/// The files from which VQA-RAD is read.
enum class VqaRadFiles {
  any,        ///< those that are there; the published ones where all are
  published,  ///< `VQA_RAD Dataset Public.json`, whose phrase_type says which questions are for testing
  split       ///< `trainset.json` and `testset.json`, of which either may be missing
};

namespace detail {

inline constexpr const char* vqa_rad_published = "VQA_RAD Dataset Public.json";

/// Reads the entries of one of VQA-RAD's JSON arrays.
class VqaRadReader {
 public:
  VqaRadReader(Questions& out, io::Path images, StopToken stop)
      : out_(out), collector_(out), images_(std::move(images)), stop_(stop) {}

  /// Reads a file of the given split, or of that which the entries themselves say if it is empty.
  void read(const io::Path& path, std::string_view split) {
    const std::string bytes = io::read_file(path, {.max_bytes = io::JsonLimits().max_bytes, .stop = stop_});
    const nlohmann::json entries = io::parse_json(utf8_text(bytes, path.string()), path.string());
    ensure(entries.is_array(), path.string(), ": ", io::json_kind(entries.type()),
           ", not an array of questions");
    FileAccount account{.path = path.string(), .has_lines = false};
    for (const nlohmann::json& entry : entries) {
      stop_.check();
      ++account.rows;
      if (std::string fault = read_entry(entry, split, account.rows); !fault.empty())
        account.bad.push_back({account.rows, std::move(fault)});
    }
    out_.files.push_back(std::move(account));
  }

 private:
  /// Adds a question. Returns what is wrong with it, or nothing.
  std::string read_entry(const nlohmann::json& entry, std::string_view split, Index position) {
    if (!entry.is_object()) return concat(io::json_kind(entry.type()), ", not an object");
    JsonFields fields(entry);
    Question question{.id = fields.text_or_number("qid"), .line = position};
    const std::string image = fields.text("image_name");
    question.question = fields.text("question");
    question.answers = {fields.text_or_number("answer")};
    std::string kind = fields.text("answer_type");
    question.category = fields.optional_text("question_type");
    question.split = split;
    if (split.empty()) question.split = fields.text("phrase_type").starts_with("test_") ? "test" : "train";
    if (fields.fault().empty()) fields.blame(fault_of_image_name(image));
    std::transform(kind.begin(), kind.end(), kind.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    if (kind != "open" && kind != "closed")
      fields.blame(concat("answer_type ", shown(kind), " is neither OPEN nor CLOSED"));
    if (!fields.fault().empty())
      return question.id.empty() ? fields.fault() : concat("qid ", shown(question.id), ": ", fields.fault());
    question.kind = kind == "open" ? AnswerKind::open : AnswerKind::closed;
    question.image = images_ / image;
    collector_.add(std::move(question));
    return {};
  }

  Questions& out_;
  QuestionCollector collector_;
  io::Path images_;
  StopToken stop_;
};

}  // namespace detail

/// Reads VQA-RAD (Lau et al., "A dataset of clinically generated visual questions and answers about radiology
/// images", Scientific Data 2018) from the folder that holds its images in `VQA_RAD Image Folder/` or
/// `images/` and either `VQA_RAD Dataset Public.json`, as published, or `trainset.json` and `testset.json`,
/// the 3,064 and 451 questions by which methods are compared since Nguyen et al., "Overcoming data limitation
/// in medical visual question answering", MICCAI 2019; see VqaRadFiles. Each is an array of objects, of which
/// the keys `qid`, `image_name`, `question`, `answer` (a text or a number), `answer_type` (OPEN or CLOSED, in
/// any case), `question_type` (the category, as it stands, misspelt ones too) and, in the published file,
/// `phrase_type` are read: questions whose phrase_type begins with `test_` are for testing. Question::line
/// counts entries.
///
/// Entries that lack a key or have another kind of value are left out and stand in Questions::files;
/// questions whose image is missing are left out and counted. A note says how many images are in training and
/// test questions, as nearly all of them are. Throws std::runtime_error, naming the file, when none of the
/// files is there, one is not a JSON array, or no question is left. Throws Stopped.
[[nodiscard]] inline Questions read_vqa_rad(const io::Path& folder, VqaRadFiles files = VqaRadFiles::any,
                                            StopToken stop = {}) {
  const auto exists = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(folder / name, ignored);
  };
  const bool has_published = exists(detail::vqa_rad_published);
  const bool has_train = exists("trainset.json"), has_test = exists("testset.json");
  const bool published = files == VqaRadFiles::published || (files == VqaRadFiles::any && has_published);
  Questions out;
  out.path = folder.string();
  ensure(published ? has_published : has_train || has_test, out.path, ": no ",
         files == VqaRadFiles::split ? "" : detail::vqa_rad_published,
         files == VqaRadFiles::any ? ", nor " : "", published ? "" : "trainset.json or testset.json");
  detail::VqaRadReader reader(out, detail::find_folder(folder, {"VQA_RAD Image Folder", "images"}), stop);
  if (published) {
    reader.read(folder / detail::vqa_rad_published, "");
    if (files == VqaRadFiles::any && (has_train || has_test))
      out.notes.push_back(
          concat(out.path, ": trainset.json and testset.json are there, too, and are not read"));
  } else {
    for (const auto& [split, name, is_there] :
         {std::tuple("train", "trainset.json", has_train), std::tuple("test", "testset.json", has_test)}) {
      if (is_there)
        reader.read(folder / name, split);
      else
        out.notes.push_back(
            concat((folder / name).string(), ": there is no such file, so the split ", split, " is empty"));
    }
  }
  detail::finish(out);
  return out;
}

}  // namespace vlp::data
