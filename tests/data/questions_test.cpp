#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/questions.hpp>
#include <vlp/data/vqa_med.hpp>
#include <vlp/data/vqa_rad.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using Texts = std::vector<std::string>;
using vlp::test::TemporaryFolder;

bool has(const Texts& notes, const std::string& part) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const auto& note) { return note.find(part) != note.npos; });
}

/// An entry of VQA-RAD with all of its keys.
std::string rad_entry(const std::string& qid, const std::string& image, const std::string& answer,
                      const std::string& answer_type, const std::string& phrase_type) {
  return "{\"qid\": " + qid + ", \"image_name\": \"" + image +
         "\", \"image_organ\": \"CHEST\", \"evaluation\": \"not evaluated\", \"question\": \"Is it " + qid +
         "?\", \"qid_linked_id\": \"03f451ca-de62-4617-9679-e836026a7642\", \"image_case_url\": "
         "\"https://example.org/1\", \"question_phrase_type\": \"x\", \"answer\": " +
         answer + ", \"answer_type\": \"" + answer_type +
         "\", \"question_type\": \"PRES, POS\", \"question_relation\": \"NOT similar\", \"phrase_type\": \"" +
         phrase_type + "\"}";
}

/// A small VQA-RAD as published: image a for training and tests, b for training, c missing.
struct VqaRadFolder : TemporaryFolder {
  VqaRadFolder() {
    std::filesystem::create_directory(*this / "VQA_RAD Image Folder");
    for (const char* name : {"VQA_RAD Image Folder/a.jpg", "VQA_RAD Image Folder/b.jpg"})
      write(name, "an image");
    published({rad_entry("1", "a.jpg", "\"Yes \"", "CLOSED", "freeform"),
               rad_entry("2", "a.jpg", "\"No\\t\"", "CLOSED ", "test_freeform"),
               rad_entry("3", "b.jpg", "4", " open", "para"),
               rad_entry("4", "a.jpg", "2.5", "OPEN", "test_para"),
               rad_entry("5", "c.jpg", "\"x\"", "OPEN", "frame"),
               rad_entry("6", "c.jpg", "\"x\"", "OPEN", "frame")});
  }
  void published(const Texts& entries) const { array("VQA_RAD Dataset Public.json", entries); }
  void array(const std::string& name, const Texts& entries) const {
    std::string text;
    for (const std::string& entry : entries) text += (text.empty() ? "[" : ",\n") + entry;
    write(name, text + "]");
  }
};

TEST_CASE("the published VQA-RAD is read, with numbers for answers and stray blanks") {
  const VqaRadFolder folder;
  const Questions read = read_vqa_rad(folder.path());
  REQUIRE(read.entries.size() == 4);
  CHECK(read.entries[0].id == "1");
  CHECK(read.entries[0].image == folder / "VQA_RAD Image Folder/a.jpg");
  CHECK(read.entries[0].question == "Is it 1?");
  CHECK(read.entries[0].answers == Texts{"Yes"});
  CHECK(read.entries[0].kind == AnswerKind::closed);
  CHECK(read.entries[0].category == "PRES, POS");
  CHECK(read.entries[0].split == "train");
  CHECK(read.entries[1].answers == Texts{"No"});
  CHECK(read.entries[1].kind == AnswerKind::closed);
  CHECK(read.entries[1].split == "test");
  CHECK(read.entries[2].answers == Texts{"4"});
  CHECK(read.entries[2].kind == AnswerKind::open);
  CHECK(read.entries[2].split == "train");
  CHECK(read.entries[3].answers == Texts{"2.5"});
  CHECK(read.entries[3].line == 4);
  CHECK(read.missing == std::vector<io::Path>{folder / "VQA_RAD Image Folder/c.jpg"});
  CHECK(read.without_image == 2);
  REQUIRE(read.files.size() == 1);
  CHECK(read.files[0].rows == 6);
  CHECK(has(read.notes, "2 questions are left out, for 1 image files are missing, the first is "));
  CHECK(has(read.notes, "2 questions of the split train, 1 of them closed"));
  CHECK(has(read.notes, "1 of the 1 images of test questions are images of training questions, too"));
}

TEST_CASE("VQA-RAD is read from its training and test files, which say the split") {
  const VqaRadFolder folder;
  std::filesystem::rename(folder / "VQA_RAD Image Folder", folder / "images");
  folder.array("trainset.json", {rad_entry("1", "a.jpg", "\"x\"", "OPEN", "test_freeform")});
  folder.array("testset.json",
               {rad_entry("2", "b.jpg", "\"y\"", "OPEN", "freeform"),
                "{\"qid\": 3, \"image_name\": \"b.jpg\", \"question\": \"Q\", \"answer\": \"A\", "
                "\"answer_type\": \"Closed\", \"question_type\": null}"});
  const Questions read = read_vqa_rad(folder.path(), VqaRadFiles::split);
  REQUIRE(read.entries.size() == 3);
  CHECK(read.entries[0].split == "train");
  CHECK(read.entries[0].image == folder / "images/a.jpg");
  CHECK(read.entries[1].split == "test");
  CHECK(read.entries[2].category.empty());
  CHECK(read.entries[2].kind == AnswerKind::closed);
  CHECK_FALSE(has(read.notes, "images of training questions"));
  const Questions any = read_vqa_rad(folder.path());
  CHECK(any.entries.size() == 4);
  CHECK(has(any.notes, "trainset.json and testset.json are there, too, and are not read"));
  CHECK_FALSE(has(read_vqa_rad(folder.path(), VqaRadFiles::published).notes, "trainset.json"));

  std::filesystem::remove(folder / "VQA_RAD Dataset Public.json");
  CHECK(read_vqa_rad(folder.path()).entries.size() == 3);
  std::filesystem::remove(folder / "trainset.json");
  const Questions test = read_vqa_rad(folder.path());
  CHECK(test.entries.size() == 2);
  CHECK(has(test.notes, "trainset.json: there is no such file, so the split train is empty"));
  const std::string path = folder.path().string();
  CHECK_MESSAGE_HAS(read_vqa_rad(folder.path(), VqaRadFiles::published),
                    path + ": no VQA_RAD Dataset Public.json");
  std::filesystem::remove(folder / "testset.json");
  CHECK_MESSAGE_HAS(read_vqa_rad(folder.path()),
                    path + ": no VQA_RAD Dataset Public.json, nor trainset.json or testset.json");
  CHECK_MESSAGE_HAS(read_vqa_rad(folder.path(), VqaRadFiles::split),
                    path + ": no trainset.json or testset.json");
}

TEST_CASE("every bad entry of VQA-RAD is named by file, entry and qid") {
  const VqaRadFolder folder;
  folder.published(
      {rad_entry("1", "a.jpg", "\"x\"", "OPEN", "para"), "7", "{}",
       rad_entry("4", "", "\"x\"", "OPEN", "para"), rad_entry("5", "../a.jpg", "\"x\"", "OPEN", "para"),
       rad_entry("6", "a.jpg", "\" \"", "OPEN", "para"), rad_entry("7", "a.jpg", "null", "OPEN", "para"),
       rad_entry("8", "a.jpg", "[\"x\"]", "OPEN", "para"), rad_entry("9", "a.jpg", "\"x\"", "BOTH", "para"),
       rad_entry("10", "a.jpg", "\"x\"", "OPEN", " "), rad_entry("true", "a.jpg", "\"x\"", "OPEN", "para"),
       rad_entry("12", "..", "\"x\"", "OPEN", "para")});
  const Questions read = read_vqa_rad(folder.path());
  CHECK(read.entries.size() == 1);
  Texts bad;
  for (const BadRow& row : read.files[0].bad) bad.push_back(std::to_string(row.line) + ": " + row.what);
  CHECK(bad == Texts{"2: a number, not an object", "3: no qid", "4: qid '4': empty image_name",
                     "5: qid '5': image '../a.jpg' is no plain file name", "6: qid '6': empty answer",
                     "7: qid '7': answer is null, not a string or number",
                     "8: qid '8': answer is an array, not a string or number",
                     "9: qid '9': answer_type 'both' is neither OPEN nor CLOSED",
                     "10: qid '10': empty phrase_type", "11: qid is true or false, not a string or number",
                     "12: qid '12': image '..' is no plain file name"});
  CHECK(describe(read.files).find("Public.json: entry 2: a number, not an object; entry 3: no qid") !=
        std::string::npos);
}

TEST_CASE("VQA-RAD without a question that can be used is refused") {
  const VqaRadFolder folder;
  const std::string name = "VQA_RAD Dataset Public.json";
  const auto with = [&](const std::string& text) {
    folder.write(name, text);
    return test::message_of([&] { static_cast<void>(read_vqa_rad(folder.path())); });
  };
  const std::string path = (folder / name).string();
  CHECK(with("{}") == path + ": an object, not an array of questions");
  CHECK(with("[{}") == path + ": not JSON (column 4)");
  CHECK(with("[\n{\"a\": NaN}]") == path + ": not JSON (line 2, column 7)");
  CHECK(with("[{\"a\": 1, \"a\": 2}]") == path + ": the name 'a' occurs twice");
  CHECK(with("\xEF\xBB\xBF[]").find(": no question about an image (the files list none)") !=
        std::string::npos);
  CHECK(with("[{}]").find("(" + path + ": entry 1: no qid)") != std::string::npos);
  CHECK(
      with("[" + rad_entry("1", "c.jpg", "\"x\"", "OPEN", "para") + "]").find("1 image files are missing") !=
      std::string::npos);
  CHECK(with("[\"caf\xE9\"]") ==
        path + ":1: the byte E9 is not UTF-8 (text in Latin-1 or Windows-1252 must be converted)");
}

/// A small VQA-Med 2019 as its archives are unpacked.
struct VqaMedFolder : TemporaryFolder {
  VqaMedFolder() {
    const std::string train = "ImageClef-2019-VQA-Med-Training/",
                      validation = "ImageClef-2019-VQA-Med-Validation/";
    for (const std::string& name :
         {train + "QAPairsByCategory", train + "Train_images", validation + "QAPairsByCategory",
          validation + "Val_images", std::string("VQAMed2019Test/VQAMed2019_Test_Images")})
      std::filesystem::create_directories(*this / name);
    for (const std::string& name : {train + "Train_images/synpic1.jpg", train + "Train_images/synpic2.jpg",
                                    validation + "Val_images/synpic3.jpg",
                                    std::string("VQAMed2019Test/VQAMed2019_Test_Images/synpic4.jpg")})
      write(name, "an image");
    write(train + "QAPairsByCategory/C1_Modality_train.txt",
          "synpic1|what modality is shown?|ct w/contrast (iv)\nsynpic2|is this a ct scan?|yes\n");
    write(train + "QAPairsByCategory/C2_Plane_train.txt", "synpic1|in what plane is this?|axial\n");
    write(train + "QAPairsByCategory/C3_Organ_train.txt",
          "synpic1|what organ is this?|lung, mediastinum, pleura\n");
    write(train + "QAPairsByCategory/C4_Abnormality_train.txt", "synpic9|what is abnormal?|a#b\n");
    write(validation + "QAPairsByCategory/C2_Plane_val.txt", "synpic3|what plane?|mammo - cc\r\n");
    test(
        "synpic4|organ|what organ is this image of?|lung, mediastinum, pleura#spine and contents\n"
        "synpic4|abnormality|what is abnormal?|(angioinvasive aspergillosis with) septic cerebral emboli\n"
        "synpic4|abnormality|is there something wrong?|no");
  }
  void test(const std::string& text) const {
    write("VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt", text);
  }
};

TEST_CASE("VQA-Med 2019 is read by split and category") {
  const VqaMedFolder folder;
  const Questions read = read_vqa_med(folder.path());
  REQUIRE(read.entries.size() == 8);
  CHECK(read.entries[0].image == folder / "ImageClef-2019-VQA-Med-Training/Train_images/synpic1.jpg");
  CHECK(read.entries[0].question == "what modality is shown?");
  CHECK(read.entries[0].answers == Texts{"ct w/contrast (iv)"});
  CHECK(read.entries[0].kind == AnswerKind::open);
  CHECK(read.entries[0].category == "modality");
  CHECK(read.entries[0].split == "train");
  CHECK(read.entries[1].kind == AnswerKind::closed);
  CHECK(read.entries[1].line == 2);
  CHECK(read.entries[2].category == "plane");
  CHECK(read.entries[3].category == "organ");
  CHECK(read.entries[4].split == "validation");
  CHECK(read.entries[4].answers == Texts{"mammo - cc"});
  CHECK(read.entries[5].split == "test");
  CHECK(read.entries[5].category == "organ");
  CHECK(read.entries[5].answers == Texts{"lung, mediastinum, pleura", "spine and contents"});
  CHECK(read.entries[6].answers == Texts{"(angioinvasive aspergillosis with) septic cerebral emboli",
                                         "angioinvasive aspergillosis with septic cerebral emboli",
                                         "septic cerebral emboli"});
  CHECK(read.entries[7].kind == AnswerKind::closed);
  CHECK(read.without_image == 1);
  CHECK(read.files.size() == 6);
  CHECK(has(read.notes, "C1_Modality_val.txt: there is no such file"));
  CHECK(has(read.notes, "4 questions of the split train, 1 of them closed"));
}

TEST_CASE("a reference answer stands for each of its alternatives, with and without its optional parts") {
  const auto accepted = [](const std::string& text) {
    Texts answers;
    CHECK(data::detail::add_accepted(text, answers).empty());
    return answers;
  };
  CHECK(accepted(" meningioma ") == Texts{"meningioma"});
  CHECK(accepted("dermoid tumor (inclusion cyst) of cns") == Texts{"dermoid tumor (inclusion cyst) of cns",
                                                                   "dermoid tumor inclusion cyst of cns",
                                                                   "dermoid tumor of cns"});
  CHECK(accepted("(a) b (c)") == Texts{"(a) b (c)", "a b c", "b c", "a b", "b"});
  CHECK(accepted("(yes)") == Texts{"(yes)", "yes"});
  CHECK(accepted("x (y (z))") == Texts{"x (y (z))", "x y (z)", "x"});
  for (const char* unmatched : {"x (y", "x) y", "x )y(", "(()", "(a) b (c", "(a) b) c"})
    CHECK(accepted(unmatched) == Texts{unmatched});
  CHECK(accepted("(a)(a)") == Texts{"(a)(a)", "aa", "a"});
  Texts answers;
  for (const char* same : {"x", "x", "x (y)"}) CHECK(data::detail::add_accepted(same, answers).empty());
  CHECK(answers == Texts{"x", "x (y)", "x y"});
  answers = {};
  CHECK(data::detail::add_accepted("(a)(b)(c)(d)", answers).empty());
  CHECK(answers.size() == 1 + 15);
  CHECK(data::detail::add_accepted("(a)(b)(c)(d)(e)", answers) ==
        "an answer of 5 optional parts, more than the 4 that are read");
}

TEST_CASE("every bad line of VQA-Med 2019 is named by file and line") {
  const VqaMedFolder folder;
  folder.test(
      "synpic4|organ|q|a\n\nsynpic4|organ|q\nsynpic4|organ|q|a|b\nsynpic4||q|a\nsynpic4|organ||a\n"
      "synpic4|organ|q|\nsynpic4|organ|q|a##b\n../x|organ|q|a\n|organ|q|a\n");
  const std::string train = "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C2_Plane_train.txt";
  folder.write(train, "synpic1|in what plane is this?|\nsynpic1|what plane?|axial|x\nsynpic1\n");
  const Questions read = read_vqa_med(folder.path());
  const auto bad_of = [&](const std::string& name) {
    Texts bad;
    for (const FileAccount& file : read.files)
      if (file.path == (folder / name).string())
        for (const BadRow& row : file.bad) bad.push_back(std::to_string(row.line) + ": " + row.what);
    return bad;
  };
  CHECK(bad_of("VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt") ==
        Texts{"3: not image|category|question|answer", "4: not image|category|question|answer",
              "5: empty category", "6: empty question", "7: empty answer", "8: empty answer",
              "9: image '../x' is no plain file name", "10: image '' is no plain file name"});
  CHECK(bad_of(train) ==
        Texts{"1: empty answer", "2: not image|question|answer", "3: not image|question|answer"});
}

TEST_CASE("a folder that is not VQA-Med 2019 is refused") {
  const TemporaryFolder folder;
  CHECK_MESSAGE_HAS(read_vqa_med(folder.path()),
                    folder.path().string() + ": none of the files of VQA-Med 2019");
  const VqaMedFolder whole;
  whole.test("synpic4|organ|q|caf\xE9\n");
  CHECK_MESSAGE_HAS(read_vqa_med(whole.path()), "Ref_Answers.txt:1: the byte E9 is not UTF-8");
}

TEST_CASE("reading questions ends when it is asked to") {
  const VqaRadFolder rad;
  const VqaMedFolder med;
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(read_vqa_rad(rad.path(), VqaRadFiles::any, StopToken(stop)), Stopped);
  CHECK_THROWS_AS(read_vqa_med(med.path(), StopToken(stop)), Stopped);
}

/// Entries of a split, those without an image included.
Index count(const Questions& read, const std::string& file) {
  for (const FileAccount& account : read.files)
    if (account.path.ends_with(file)) return account.rows;
  return 0;
}

TEST_CASE("the real VQA-RAD has the published counts", "[data]") {
  const auto folder = test::real_collection("vqa-rad");
  if (!folder) return;
  if (std::filesystem::exists(*folder / "trainset.json")) {
    const Questions read = read_vqa_rad(*folder, VqaRadFiles::split);
    CHECK(count(read, "trainset.json") == 3'064);
    CHECK(count(read, "testset.json") == 451);
    CHECK(count_bad(read.files) == 0);
    if (read.without_image == 0) CHECK(has(read.notes, "203 of the 203 images of test questions"));
  }
  if (std::filesystem::exists(*folder / "VQA_RAD Dataset Public.json"))
    CHECK(count_bad(read_vqa_rad(*folder, VqaRadFiles::published).files) == 0);
}

TEST_CASE("the real VQA-Med 2019 has the published counts", "[data]") {
  const auto folder = test::real_collection("vqa-med-2019");
  if (!folder) return;
  const Questions read = read_vqa_med(*folder);
  for (const FileAccount& file : read.files) CHECK(file.bad.empty());
  const Index train = count(read, "Modality_train.txt") + count(read, "Plane_train.txt") +
                      count(read, "Organ_train.txt") + count(read, "Abnormality_train.txt");
  CHECK((train == 0 || train == 12'792));
  CHECK(count(read, "Ref_Answers.txt") == 500);
}

}  // namespace
