/// \file
/// VQA-Med 2019, questions about radiology images by category.
#pragma once

#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/stop.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/data/file_account.hpp>
#include <vlp/data/questions.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace vlp::data {

namespace detail {

/// A part of a reference answer, and whether it may be left out.
struct AnswerPart {
  std::string text;
  bool is_optional;
};

/// Divides an answer at its outermost parentheses. Where they do not match all of it is one part.
inline std::vector<AnswerPart> answer_parts(std::string_view answer) {
  std::vector<AnswerPart> parts;
  std::string text;
  int depth = 0;
  const auto finish = [&](bool is_optional) { parts.push_back({std::exchange(text, {}), is_optional}); };
  for (const char c : answer) {
    if (c == '(' && depth++ == 0) {
      finish(false);
    } else if (c == ')' && --depth == 0) {
      finish(true);
    } else if (depth < 0) {
      break;
    } else {
      text += c;
    }
  }
  if (depth != 0) return {{std::string(answer), false}};
  finish(false);
  return parts;
}

/// The text without its outer blanks and with one blank where there are several.
inline std::string with_single_blanks(std::string_view text) {
  std::string out;
  for (const char c : trimmed(text))
    if (c != ' ' || !out.ends_with(' ')) out += c;
  return out;
}

inline constexpr std::ptrdiff_t most_optional_parts = 4;

/// Adds the answers that one alternative of a reference stands for: as it is written, then with and without
/// each of its optional parts. Returns what is wrong with it, or nothing.
inline std::string add_accepted(std::string_view alternative, std::vector<std::string>& answers) {
  alternative = trimmed(alternative);
  if (alternative.empty()) return "empty answer";
  const auto add = [&](std::string answer) {
    if (!answer.empty() && std::find(answers.begin(), answers.end(), answer) == answers.end())
      answers.push_back(std::move(answer));
  };
  add(std::string(alternative));
  const std::vector<AnswerPart> parts = answer_parts(alternative);
  const auto optional =
      std::count_if(parts.begin(), parts.end(), [](const auto& part) { return part.is_optional; });
  if (optional > most_optional_parts)
    return concat("an answer of ", optional, " optional parts, more than the ", most_optional_parts,
                  " that are read");
  for (unsigned kept = 1U << optional; optional > 0 && kept-- > 0;) {
    std::string answer;
    unsigned number = 0;
    for (const AnswerPart& part : parts)
      if (!part.is_optional || (kept >> number++ & 1U) != 0) answer += part.text;
    add(with_single_blanks(answer));
  }
  return {};
}

/// Reads the questions of VQA-Med's files, of which each line is one.
class VqaMedReader {
 public:
  VqaMedReader(Questions& out, StopToken stop) : out_(out), collector_(out), stop_(stop) {}

  /// A file of questions that have images in a folder. Where `category` is empty, each line names it, and
  /// gives the answer as a reference.
  void read(const io::Path& path, const io::Path& images, std::string_view split, std::string_view category) {
    const std::string bytes = io::read_file(path, {.stop = stop_});
    std::string_view rest = utf8_text(bytes, path.string());
    FileAccount account{.path = path.string()};
    for (Index number = 1; !rest.empty(); ++number) {
      stop_.check();
      const std::string_view line = trimmed(next_line(rest));
      if (line.empty()) continue;
      ++account.rows;
      Question question{.category = std::string(category), .split = std::string(split), .line = number};
      if (std::string fault = read_line(line, images, question); !fault.empty())
        account.bad.push_back({number, std::move(fault)});
      else
        collector_.add(std::move(question));
    }
    out_.files.push_back(std::move(account));
  }

 private:
  /// Returns what is wrong with a line, or nothing.
  static std::string read_line(std::string_view line, const io::Path& images, Question& question) {
    const bool is_reference = question.category.empty();
    std::vector<std::string> fields;
    for (std::string_view rest = line;; rest.remove_prefix(rest.find('|') + 1)) {
      fields.emplace_back(trimmed(rest.substr(0, rest.find('|'))));
      if (rest.find('|') == rest.npos || fields.size() > 4) break;
    }
    if (fields.size() != (is_reference ? 4 : 3))
      return is_reference ? "not image|category|question|answer" : "not image|question|answer";
    if (std::string fault = fault_of_image_name(fields[0]); !fault.empty()) return fault;
    question.image = images / (fields[0] + ".jpg");
    if (is_reference) {
      question.category = std::move(fields[1]);
      fields.erase(fields.begin() + 1);
      if (question.category.empty()) return "empty category";
    }
    question.question = std::move(fields[1]);
    if (question.question.empty()) return "empty question";
    const std::string_view answer = fields[2];
    if (!is_reference && !answer.empty()) {
      question.answers = {std::string(answer)};
    } else {
      for (std::string_view rest = answer;; rest.remove_prefix(rest.find('#') + 1)) {
        if (std::string fault = add_accepted(rest.substr(0, rest.find('#')), question.answers);
            !fault.empty())
          return fault;
        if (rest.find('#') == rest.npos) break;
      }
    }
    const std::string& first = question.answers.front();
    question.kind = first == "yes" || first == "no" ? AnswerKind::closed : AnswerKind::open;
    return {};
  }

  Questions& out_;
  QuestionCollector collector_;
  StopToken stop_;
};

}  // namespace detail

/// Reads VQA-Med 2019 (Ben Abacha et al., "VQA-Med: overview of the medical visual question answering task at
/// ImageCLEF 2019", CLEF 2019) from the folder that holds what its archives unpack to:
///
/// - `ImageClef-2019-VQA-Med-Training/`: `QAPairsByCategory/C1_Modality_train.txt`, `C2_Plane_train.txt`,
///   `C3_Organ_train.txt` and `C4_Abnormality_train.txt`, of lines `image|question|answer`, and
///   `Train_images/`;
/// - `ImageClef-2019-VQA-Med-Validation/`: the same with `val` for `train`, and `Val_images/`;
/// - `VQAMed2019Test/`: `VQAMed2019_Test_Questions_w_Ref_Answers.txt`, of lines
/// `image|category|question|answer`, and
///   `VQAMed2019_Test_Images/`.
///
/// An image's name is that of its file without `.jpg`. Categories are modality, plane, organ and abnormality.
/// A test answer may be one of several divided by `#`, and have parts in parentheses that may be left out:
/// Question::answers then holds each of them as it is written, without the parentheses, and without any of
/// the parts, 4 at most. Questions that are answered by yes or no are closed; they have no id. A file that is
/// missing is noted, as are images; lines of another number of fields, or with an empty one, are left out and
/// stand in Questions::files. Throws std::runtime_error, naming the file, when all files are missing, one is
/// not UTF-8, or no question is left. Throws Stopped.
[[nodiscard]] inline Questions read_vqa_med(const io::Path& folder, StopToken stop = {}) {
  Questions out;
  out.path = folder.string();
  detail::VqaMedReader reader(out, stop);
  const auto read = [&](const io::Path& path, const io::Path& images, std::string_view split,
                        std::string_view category) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored))
      reader.read(path, images, split, category);
    else
      out.notes.push_back(concat(path.string(), ": there is no such file"));
  };
  struct Part {
    const char *folder, *images, *ending;
    std::string_view split;
  };
  constexpr std::array<std::pair<const char*, std::string_view>, 4> categories{
      {{"C1_Modality", "modality"},
       {"C2_Plane", "plane"},
       {"C3_Organ", "organ"},
       {"C4_Abnormality", "abnormality"}}};
  for (const Part& part : {Part{"ImageClef-2019-VQA-Med-Training", "Train_images", "_train.txt", "train"},
                           Part{"ImageClef-2019-VQA-Med-Validation", "Val_images", "_val.txt", "validation"}})
    for (const auto& [name, category] : categories)
      read(folder / part.folder / "QAPairsByCategory" / concat(name, part.ending),
           folder / part.folder / part.images, part.split, category);
  const io::Path test = folder / "VQAMed2019Test";
  read(test / "VQAMed2019_Test_Questions_w_Ref_Answers.txt", test / "VQAMed2019_Test_Images", "test", "");
  ensure(!out.files.empty(), out.path,
         ": none of the files of VQA-Med 2019, such as "
         "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C1_Modality_train.txt");
  detail::finish(out);
  return out;
}

}  // namespace vlp::data
