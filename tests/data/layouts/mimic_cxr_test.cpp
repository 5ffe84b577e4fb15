#include "support/gzip.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/stop.hpp>
#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/mimic_cxr.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using layouts::Projection;
using vlp::test::TemporaryFolder;

const std::string metadata = "mimic-cxr-2.0.0-metadata.csv", split = "mimic-cxr-2.0.0-split.csv",
                  chexpert = "mimic-cxr-2.0.0-chexpert.csv", negbio = "mimic-cxr-2.0.0-negbio.csv";

/// A row of the metadata.
std::string image_row(const std::string& id, const std::string& patient, const std::string& study,
                      const std::string& view) {
  return id + "," + patient + "," + study + ",CHEST (PA AND LAT)," + view +
         ",3056,2544,21800506,213014.531,CHEST (PA AND LAT),postero-anterior,Erect\n";
}
const std::string image_header =
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
    "StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning\n";
const std::string split_header = "dicom_id,study_id,subject_id,split\n";
const std::string label_header =
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged "
    "Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural "
    "Other,Pneumonia,Pneumothorax,Support Devices\n";

/// A small folder of MIMIC-CXR-JPG: two patients, of whom the first has a study of two views and one without
/// findings. The image ccc is there as DICOM alone.
struct MimicFolder : TemporaryFolder {
  MimicFolder() {
    write(metadata, image_header + image_row("aaa-1", "10000032", "50414267", "PA") +
                        image_row("aaa-2", "10000032", "50414267", "LATERAL") +
                        image_row("bbb-1", "10000032", "53189527", "AP") +
                        image_row("ccc-1", "11000183", "51967845", "AP"));
    write(split, split_header +
                     "aaa-1,50414267,10000032,train\naaa-2,50414267,10000032,train\n"
                     "bbb-1,53189527,10000032,train\nccc-1,51967845,11000183,test\n");
    image("p10/p10000032/s50414267/aaa-1.jpg");
    image("p10/p10000032/s50414267/aaa-2.jpg");
    image("p10/p10000032/s53189527/bbb-1.jpg");
    image("p11/p11000183/s51967845/ccc-1.dcm");
    report("p10/p10000032/s50414267.txt",
           "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n"
           " INDICATION:  ___F with dyspnea\n\n FINDINGS: \n \n The lungs are clear.\n\n"
           " IMPRESSION: \n \n No pneumonia.\n");
    report("p10/p10000032/s53189527.txt", " FINAL REPORT\n IMPRESSION:  Unchanged.\n");
    report("p11/p11000183/s51967845.txt", " FINAL REPORT\n FINDINGS:  Small effusion.\n");
  }
  void image(const std::string& path) const { file("files/" + path, "an image"); }
  void report(const std::string& path, std::string_view text) const { file("files/" + path, text); }
  void file(const std::string& path, std::string_view text) const {
    std::filesystem::create_directories((*this / path).parent_path());
    write(path, text);
  }
  [[nodiscard]] Collection read(Projection projection = Projection::frontal) const {
    return layouts::read_mimic_cxr(path(), {.projection = projection});
  }
  [[nodiscard]] std::string name(const std::string& file) const { return (*this / file).string(); }
};

bool has_note(const Collection& collection, const std::string& note) {
  for (const std::string& sentence : collection.notes) UNSCOPED_INFO(sentence);
  return std::find(collection.notes.begin(), collection.notes.end(), note) != collection.notes.end();
}

TEST_CASE("images, splits, labels and reports of MIMIC-CXR are joined") {
  const MimicFolder folder;
  folder.write(chexpert, label_header +
                             "10000032,50414267,,,,,,,,,1.0,,,,,\n"
                             "10000032,53189527,1.0,0.0,-1.0,,,,,,,1,0,-1,,1.0\n");
  const Collection collection = folder.read();
  CHECK(collection.path == folder.name(metadata));
  CHECK(collection.rows == 3);
  CHECK(collection.bad.empty());
  CHECK(collection.missing.empty());
  REQUIRE(collection.entries.size() == 3);
  const Entry& first = collection.entries[0];
  CHECK(first.image == folder / "files/p10/p10000032/s50414267/aaa-1.jpg");
  CHECK(first.report == "The lungs are clear. No pneumonia.");
  CHECK(first.findings == "The lungs are clear.");
  CHECK(first.impression == "No pneumonia.");
  CHECK(first.split == "train");
  CHECK(first.patient == "10000032");
  CHECK(first.study == "50414267");
  CHECK(first.line == 2);
  CHECK(collection.entries[1].report == "Unchanged.");
  CHECK(collection.entries[1].findings.empty());
  CHECK(collection.entries[1].line == 4);
  const Entry& last = collection.entries[2];
  CHECK(last.image == folder / "files/p11/p11000183/s51967845/ccc-1.dcm");
  CHECK(last.report == "Small effusion.");
  CHECK(last.impression.empty());
  CHECK(last.split == "test");
  CHECK(collection.labels == std::vector<std::string>(chexpert_labels.begin(), chexpert_labels.end()));
  const auto label = [&](const Entry& entry, std::string_view name) {
    const auto at = std::find(collection.labels.begin(), collection.labels.end(), name);
    return entry.labels.at(static_cast<std::size_t>(at - collection.labels.begin()));
  };
  CHECK(label(first, "No Finding") == Label::positive);
  CHECK(std::count(first.labels.begin(), first.labels.end(), Label::unknown) == 13);
  CHECK(label(collection.entries[1], "Atelectasis") == Label::positive);
  CHECK(label(collection.entries[1], "Cardiomegaly") == Label::negative);
  CHECK(label(collection.entries[1], "Consolidation") == Label::uncertain);
  CHECK(label(collection.entries[1], "Edema") == Label::unknown);
  CHECK(label(collection.entries[1], "Pleural Effusion") == Label::positive);
  CHECK(label(collection.entries[1], "Pleural Other") == Label::negative);
  CHECK(label(collection.entries[1], "Pneumonia") == Label::uncertain);
  CHECK(last.labels == std::vector<Label>(14, Label::unknown));
  CHECK(collection.notes ==
        std::vector<std::string>{
            folder.name(metadata) + ": 1 images are left out by their ViewPosition: 'LATERAL' 1",
            folder.name(chexpert) + ": the labels; 1 of 3 images have no row, and their labels are unknown",
            folder.name(metadata) + ": 3 pairs of an image and a report"});
}

TEST_CASE("views of MIMIC-CXR are chosen by projection, and those left out are counted by their value") {
  const MimicFolder folder;
  std::string rows = image_header, splits = split_header;
  for (const char* view : {"PA", "AP", "LATERAL", "LL", "AP AXIAL", "", "LL", "pa"}) {
    const std::string id = concat("v-", rows.size());
    rows += image_row(id, "10000032", "50414267", view);
    splits += id + ",50414267,10000032,train\n";
    folder.image("p10/p10000032/s50414267/" + id + ".jpg");
  }
  folder.write(metadata, rows);
  folder.write(split, splits);
  const auto lines = [](const Collection& collection) {
    std::vector<Index> found;
    for (const Entry& entry : collection.entries) found.push_back(entry.line);
    return found;
  };
  const std::string left_out = " images are left out by their ViewPosition: ";
  const Collection frontal = folder.read();
  CHECK(lines(frontal) == std::vector<Index>{2, 3});
  CHECK(frontal.rows == 2);
  CHECK(has_note(frontal, folder.name(metadata) + ": 6" + left_out +
                              "none 1, 'AP AXIAL' 1, 'LATERAL' 1, 'LL' 2, 'pa' 1"));
  const Collection lateral = folder.read(Projection::lateral);
  CHECK(lines(lateral) == std::vector<Index>{4, 5, 8});
  CHECK(has_note(lateral,
                 folder.name(metadata) + ": 5" + left_out + "none 1, 'AP' 1, 'AP AXIAL' 1, 'PA' 1, 'pa' 1"));
  const Collection both = folder.read(Projection::both);
  CHECK(both.entries.size() == 8);
  CHECK(both.notes.size() == 1);
  // The images of a study share its report.
  for (const Entry& entry : both.entries) {
    CHECK(entry.findings == "The lungs are clear.");
    CHECK(entry.impression == "No pneumonia.");
    CHECK(entry.report == "The lungs are clear. No pneumonia.");
  }
  for (int i = 0; i < 30; ++i)
    rows += image_row(concat("w-", i), "10000032", "50414267", concat("VIEW ", 10 + i));
  folder.write(metadata, rows);
  const std::string note = folder.read().notes.front();
  CHECK(note.starts_with(folder.name(metadata) + ": 36" + left_out));
  CHECK(note.find("'VIEW 25' 1 and 15 other values") != std::string::npos);
}

layouts::detail::MimicReport parsed(std::string_view text) {
  return layouts::detail::parse_mimic_report(text);
}

TEST_CASE("the last findings and impression of a report of MIMIC-CXR are taken") {
  const auto wet = parsed(
      " WET READ: ___ 9:12 PM\n  IMPRESSION:  No pneumothorax.\n"
      " ______________________________________________________________________________\n"
      "                                 FINAL REPORT\n INDICATION:  Line placement.\n\n"
      " IMPRESSION:  Small right apical pneumothorax.\n");
  CHECK(wet.impression == "Small right apical pneumothorax.");
  CHECK(wet.findings.empty());
  CHECK(wet.text() == "Small right apical pneumothorax.");
  const auto twice = parsed("FINDINGS: Clear.\nIMPRESSION: Normal.\nFINDINGS:\nIMPRESSION: Stable.\n");
  CHECK(twice.findings == "Clear.");
  CHECK(twice.impression == "Stable.");
  const auto misspelt = parsed(" FINDNGS:  Lungs are clear.\n\n IMPRESSON:  No acute process.\n");
  CHECK(misspelt.findings == "Lungs are clear.");
  CHECK(misspelt.impression == "No acute process.");
  CHECK(parsed("FINDINGS AND IMPRESSION: Clear.\n").findings == "Clear.");
  CHECK(parsed("FINDINGS: Dry.\nFINDINGS AND IMPRESSION: Clear.\n").findings == "Dry.");
  CHECK(parsed("CONCLUSION: Clear.\n").impression == "Clear.");
  CHECK(parsed("IMPRESSION: Dry.\nCONCLUSION: Clear.\n").impression == "Dry.");
  CHECK(parsed("FINDINGS: Clear.\n\n NOTIFICATION: Called at 3:15 PM.\n\n Signed.\n").other.empty());
}

TEST_CASE("the last paragraph stands for a report without findings and impression") {
  const auto other = [](std::string_view text) {
    const auto report = parsed(text);
    CHECK(report.findings.empty());
    CHECK(report.impression.empty());
    CHECK(report.text() == report.other);
    return report.other;
  };
  // A paragraph that lost its header, after one of a section that says how or why.
  CHECK(other("                                 FINAL REPORT\n CHEST RADIOGRAPH\n\n INDICATION:  Cough.\n\n"
              " COMPARISON:  ___.\n \n PA and lateral views\n show no effusion.\n") ==
        "PA and lateral views\n show no effusion.");
  CHECK(other("AP CHEST, 5:45 A.M., ___\n\n Lungs are low.\n\n Heart is large.\n") == "Heart is large.");
  CHECK(other("CHEST, PA AND LATERAL:  Hyperinflated.\n") == "Hyperinflated.");
  CHECK(other("CHEST: Clear.\n\n NOTIFICATION: Called at 3:15 PM.\n") == "Clear.");
  CHECK(other("No header at all.") == "No header at all.");
  // Nothing is said of the images.
  CHECK(other("").empty());
  CHECK(other(" FINAL REPORT\n").empty());
  CHECK(other("INDICATION: Cough.\n\n COMPARISON: ___.\n\n TECHNIQUE: PA.\n").empty());
  CHECK(other("FINDINGS:\n\n IMPRESSION:\n").empty());
}

TEST_CASE("paragraphs end at blank lines, whatever ends a line") {
  using layouts::detail::last_paragraph;
  CHECK(last_paragraph("one\ntwo") == "one\ntwo");
  CHECK(last_paragraph("one\n\ntwo\nthree") == "two\nthree");
  CHECK(last_paragraph("one\r\n \r\ntwo") == "two");
  CHECK(last_paragraph("one\r\rtwo") == "two");
  CHECK(last_paragraph("one\n\n\n\ttwo") == "two");
  CHECK(last_paragraph("").empty());
}

TEST_CASE("what is missing of MIMIC-CXR is counted") {
  const MimicFolder folder;
  std::filesystem::remove(folder / "files/p10/p10000032/s53189527/bbb-1.jpg");
  std::filesystem::remove(folder / "files/p11/p11000183/s51967845.txt");
  const Collection table = folder.read();
  CHECK(table.entries.size() == 1);
  CHECK(table.rows == 3);
  CHECK(table.missing == std::vector<Path>{folder / "files/p10/p10000032/s53189527/bbb-1.jpg"});
  CHECK(table.without_report == 1);
  CHECK(has_note(table,
                 folder.path().string() +
                     ": 1 studies have no report, the first is that of study 51967845 of subject 11000183"));
  CHECK(has_note(table, folder.name(metadata) + ": 1 of 3 images are missing, the first is " +
                            folder.name("files/p10/p10000032/s53189527/bbb-1.jpg")));
  CHECK(
      has_note(table, folder.name(metadata) +
                          ": 1 of 3 images are left out, for their report has no findings, no impression and "
                          "no other paragraph, or is missing"));
  folder.report("p11/p11000183/s51967845.txt", " FINAL REPORT\n INDICATION: Cough.\n");
  const Collection empty = folder.read();
  CHECK(empty.without_report == 1);
  CHECK(has_note(empty, folder.path().string() +
                            ": 1 reports have no text that is taken, the first is that of study 51967845 of "
                            "subject 11000183"));
  folder.report("p11/p11000183/s51967845.txt", " FINAL REPORT\n INDICATION: Cough.\n\n Clear lungs.\n");
  const Collection other = folder.read();
  CHECK(other.entries.back().report == "Clear lungs.");
  CHECK(has_note(other,
                 folder.path().string() +
                     ": 1 reports have neither findings nor impression, and their last paragraph is taken; "
                     "the first is that of study 51967845 of subject 11000183"));
}

TEST_CASE("of an image as JPEG and as DICOM the JPEG is taken") {
  const MimicFolder folder;
  folder.image("p10/p10000032/s50414267/aaa-1.dcm");
  CHECK(folder.read().entries[0].image.extension() == ".jpg");
  std::filesystem::remove(folder / "files/p10/p10000032/s50414267/aaa-1.jpg");
  CHECK(folder.read().entries[0].image.extension() == ".dcm");
  // A folder of that name is no image.
  std::filesystem::remove(folder / "files/p10/p10000032/s50414267/aaa-1.dcm");
  std::filesystem::create_directory(folder / "files/p10/p10000032/s50414267/aaa-1.jpg");
  CHECK(folder.read().missing.size() == 1);
}

TEST_CASE("every bad row of MIMIC-CXR is named") {
  const MimicFolder folder;
  folder.write(
      metadata,
      image_header + image_row("aaa-1", "10000032", "50414267", "PA") +
          image_row("../../aaa-1", "10000032", "50414267", "PA") +
          image_row("", "10000032", "50414267", "PA") + image_row("aaa-2", "-10000032", "50414267", "PA") +
          image_row("aaa-3", "10000032", "../50414267", "PA") + image_row("aaa-4", "1", "50414267", "PA") +
          image_row("aaa-5", "10000032", "", "PA") + image_row("aaa-1", "10000032", "50414267", "AP") +
          image_row("bbb-1", "11000183", "50414267", "PA") +
          image_row("zzz-1", "10000032", "50414267", "PA") +
          image_row("aaa-2", "10000032", "1234567890123456789", "PA") +
          image_row("../x", "10000032", "50414267", "LATERAL"));
  const Collection table = folder.read();
  CHECK(table.entries.size() == 1);
  CHECK(table.rows == 11);
  CHECK(describe(table.path, table.bad) ==
        folder.name(metadata) +
            ":3: dicom_id '../../aaa-1' is not letters, digits and hyphens"
            "; line 4: dicom_id '' is not letters, digits and hyphens"
            "; line 5: subject_id '-10000032' is not a number of 2 to 18 digits"
            "; line 6: study_id '../50414267' is not a number of 2 to 18 digits"
            "; line 7: subject_id '1' is not a number of 2 to 18 digits"
            "; line 8: study_id '' is not a number of 2 to 18 digits"
            "; line 9: dicom_id 'aaa-1' stands on line 2 too"
            "; line 10: study_id '50414267' has subject_id '10000032' in a row before"
            "; line 11: no split of dicom_id 'zzz-1' in " +
            folder.name(split) +
            "; line 12: study_id '1234567890123456789' is not a number of 2 to 18 digits");
}

TEST_CASE("images whose split, labels or report are unsound are bad rows, which name where that is") {
  const MimicFolder folder;
  const auto bad = [&] {
    const Collection table = folder.read();
    CHECK(table.entries.size() + table.bad.size() == 3);
    return describe("t", table.bad);
  };
  const std::string splits = io::read_file(folder / split);
  folder.write(split, splits + "aaa-1,50414267,10000032,test\n");
  CHECK(bad() == "t:2: dicom_id 'aaa-1' has a second row, " + folder.name(split) + ":6");
  folder.write(split, split_header + "aaa-1,1,1,train\nbbb-1,1,1,val\nccc-1,1,1,\n");
  CHECK(bad() == "t:4: split 'val', " + folder.name(split) +
                     ":3, is neither train, validate nor test; line 5: " + "split '', " + folder.name(split) +
                     ":4, is neither train, validate nor test");
  folder.write(split, splits);
  folder.write(chexpert, label_header +
                             "10000032,50414267,,,,,,,,,2.0,,,,,\n"
                             "11000183,51967845,,,,,,,,,1.0,,,,,\n"
                             "11000183,51967845,,,,,,,,,1.0,,,,,\n"
                             "11000183,99,x,,,,,,,,1.0,,,,,\n");
  CHECK(bad() ==
        "t:2: " + folder.name(chexpert) +
            ":2: 'No Finding' is '2.0', but a label is 1, 0, -1 or empty; line 5: study_id '51967845' has "
            "a second row, " +
            folder.name(chexpert) + ":4");
  std::filesystem::remove(folder / chexpert);
  const std::string report = folder.name("files/p10/p10000032/s50414267.txt");
  folder.report("p10/p10000032/s50414267.txt", "FINDINGS: Clear.\nIMPRESSION: L\xE9sion.\n");
  CHECK(bad().starts_with("t:2: " + report + ":2: the byte E9 is not UTF-8"));
  folder.report("p10/p10000032/s50414267.txt", std::string(2'000'000, 'x'));
  CHECK(bad().starts_with("t:2: " + report + ": has 2000000 bytes, more than the 1048576 that are read"));
}

TEST_CASE("tables of MIMIC-CXR are found packed, and of several versions the newest is read") {
  const MimicFolder folder;
  const std::string text = io::read_file(folder / metadata);
  std::filesystem::remove(folder / metadata);
  folder.write(metadata + ".gz", test::gzip(text));
  const Collection packed = folder.read();
  CHECK(packed.path == folder.name(metadata + ".gz"));
  CHECK(packed.entries.size() == 3);
  folder.write(metadata, text);
  const Collection both = folder.read();
  CHECK(both.path == folder.name(metadata));
  CHECK(has_note(both, folder.path().string() + ": " + metadata + " is read, and not " + metadata + ".gz"));
  folder.write("mimic-cxr-2.10.0-metadata.csv.gz", test::gzip(text));
  folder.write("mimic-cxr-2.9-metadata.csv", "a,b\n");
  const Collection newest = folder.read();
  CHECK(newest.path == folder.name("mimic-cxr-2.10.0-metadata.csv.gz"));
  CHECK(has_note(newest,
                 folder.path().string() +
                     ": mimic-cxr-2.10.0-metadata.csv.gz is read, and not mimic-cxr-2.9-metadata.csv or " +
                     metadata + " or " + metadata + ".gz"));
}

TEST_CASE("names of MIMIC-CXR's tables are known by their parts") {
  using layouts::detail::parse_mimic_table_name;
  const auto name = parse_mimic_table_name("mimic-cxr-2.1.0-test-set-labeled.csv.gz");
  REQUIRE(name.has_value());
  CHECK(name->version == std::vector<std::uint64_t>{2, 1, 0});
  CHECK(name->kind == "test-set-labeled");
  CHECK(parse_mimic_table_name("mimic-cxr-2-split.csv")->kind == "split");
  for (const char* other :
       {"", "mimic-cxr-.csv", "mimic-cxr-split.csv", "mimic-cxr-2.0.0.csv", "mimic-cxr-2.0.0-split.txt",
        "mimic-cxr-2..0-split.csv", "mimic-cxr-2.0.-split.csv", "xmimic-cxr-2.0.0-split.csv",
        "mimic-cxr-99999999999999999999-split.csv", "mimic-cxr-2.0.0-split.gz", "mimic-cxr-2x-split.csv"})
    CHECK_FALSE(parse_mimic_table_name(other).has_value());
}

TEST_CASE("a table of sections goes before the reports' files, which stand in for its gaps") {
  const MimicFolder folder;
  folder.write("mimic_cxr_sectioned.csv",
               "study,impression,findings,last_paragraph,comparison\n"
               "s50414267,\" Dry.\n\",Clear., Not this.,None.\ns53189527,,nan,\"Kept.\",None.\n");
  const Collection table = folder.read();
  REQUIRE(table.entries.size() == 3);
  CHECK(table.entries[0].report == "Clear. Dry.");
  CHECK(table.entries[0].impression == "Dry.");
  CHECK(table.entries[1].report == "Kept.");
  CHECK(table.entries[1].findings.empty());
  CHECK(table.entries[2].report == "Small effusion.");
  const std::string sections = folder.name("mimic_cxr_sectioned.csv");
  CHECK(has_note(table,
                 sections + ": the reports, except for those of 1 studies, which are read from their files"));
  CHECK(has_note(table,
                 sections +
                     ": 1 fields of reports that hold only nan, None, NULL or N/A are taken for empty, the "
                     "first on line 4"));
  // Without files there are the reports of the table.
  std::filesystem::remove(folder / "files/p11/p11000183/s51967845.txt");
  CHECK(folder.read().entries.size() == 2);
  CHECK(folder.read().without_report == 1);
  folder.write("mimic_cxr_sectioned.csv",
               "study,impression,findings\ns50414267,Dry.,Clear.\n50414267,Dry.,Clear.\n53189527,Wet.,\n");
  const Collection repeated = folder.read();
  CHECK(repeated.entries.size() == 1);
  CHECK(repeated.entries[0].report == "Wet.");
  CHECK(describe("t", repeated.bad) == "t:2: study '50414267' has a second row, " + sections + ":3");
  folder.write("mimic_cxr_sectioned.csv.gz", test::gzip("study,impression\n"));
  CHECK(has_note(folder.read(), folder.path().string() +
                                    ": mimic_cxr_sectioned.csv is read, and not mimic_cxr_sectioned.csv.gz"));
  std::filesystem::remove(folder / "mimic_cxr_sectioned.csv");
  CHECK_MESSAGE_HAS(folder.read(), "mimic_cxr_sectioned.csv.gz: no column 'findings'");
}

TEST_CASE("reports of MIMIC-CXR are also found in a folder of their own") {
  const MimicFolder folder;
  for (const char* report : {"p10/p10000032/s50414267.txt", "p10/p10000032/s53189527.txt"}) {
    const std::string text = io::read_file(folder / (std::string("files/") + report));
    std::filesystem::remove(folder / (std::string("files/") + report));
    folder.file(std::string("mimic-cxr-reports/files/") + report, text);
  }
  const Collection table = folder.read();
  CHECK(table.entries.size() == 3);
  CHECK(table.entries[0].report == "The lungs are clear. No pneumonia.");
}

TEST_CASE("a folder that is not one of MIMIC-CXR is refused, and says what is expected where") {
  const MimicFolder folder;
  CHECK_MESSAGE_HAS(layouts::read_mimic_cxr(folder / "none"), folder.name("none"), "cannot read the folder",
                    "No such file");
  CHECK_MESSAGE_HAS(layouts::read_mimic_cxr(folder / "files"), "files: no table mimic-cxr-2.0.0-metadata.csv",
                    "MIMIC-CXR-JPG");
  const std::string text = io::read_file(folder / metadata);
  folder.write(metadata, "dicom_id,subject_id,study_id\n");
  CHECK_MESSAGE_HAS(folder.read(), metadata + ": no column 'ViewPosition' (columns: dicom_id, subject_id");
  folder.write(metadata, image_header);
  CHECK_MESSAGE_HAS(folder.read(), metadata, "no pair", "no rows");
  folder.write(metadata, image_header + image_row("..", "10000032", "50414267", "PA"));
  CHECK_MESSAGE_HAS(folder.read(), metadata + ":2: dicom_id '..'", "no pair");
  folder.write(metadata, text);
  folder.write(split, "dicom_id,study_id\n");
  CHECK_MESSAGE_HAS(folder.read(), split + ": no column 'split'");
  std::filesystem::remove(folder / split);
  CHECK(has_note(folder.read(), folder.path().string() + ": no table of splits"));
  CHECK(folder.read().entries[0].split.empty());
  for (const char* study : {"p10/p10000032/s50414267", "p10/p10000032/s53189527", "p11/p11000183/s51967845"})
    std::filesystem::remove(folder / concat("files/", study, ".txt"));
  CHECK_MESSAGE_HAS(folder.read(), folder.path().string() + ": none of the reports of 3 studies is there",
                    folder.name("files/p10/p10000032/s50414267.txt"), "mimic-cxr-reports.zip");
  std::filesystem::remove_all(folder / "files");
  CHECK_MESSAGE_HAS(folder.read(), folder.path().string() + ": none of the 3 images",
                    folder.name("files/p10/p10000032/s50414267/aaa-1.jpg"), ".dcm");
}

TEST_CASE("labels of MIMIC-CXR are those of CheXpert, or else of NegBio") {
  const MimicFolder folder;
  CHECK(folder.read().labels.empty());
  CHECK(folder.read().entries[0].labels.empty());
  folder.write(negbio, "study_id,Edema\n50414267,1.0\n");
  const Collection other = folder.read();
  CHECK(other.labels.size() == 14);
  CHECK(std::count(other.entries[0].labels.begin(), other.entries[0].labels.end(), Label::positive) == 1);
  CHECK(has_note(other,
                 folder.name(negbio) +
                     ": no columns of No Finding, Enlarged Cardiomediastinum, Cardiomegaly, Lung Opacity, "
                     "Lung Lesion, Consolidation, Pneumonia, Atelectasis, Pneumothorax, Pleural Effusion, "
                     "Pleural Other, Fracture, Support Devices; these labels are unknown"));
  folder.write(chexpert, "study_id,Edema\n50414267,0.0\n");
  const Collection both = folder.read();
  CHECK(std::count(both.entries[0].labels.begin(), both.entries[0].labels.end(), Label::negative) == 1);
  folder.write(chexpert, "study_id,x\n50414267,0.0\n");
  CHECK_MESSAGE_HAS(folder.read(), chexpert + ": no column of a label");
  folder.write(chexpert, "study,Edema\n50414267,0.0\n");
  CHECK_MESSAGE_HAS(folder.read(), chexpert + ": no column 'study_id'");
}

TEST_CASE("reports of MIMIC-CXR are read once a study, with their number told, until they are to stop") {
  const MimicFolder folder;
  std::string rows = image_header;
  for (int i = 0; i < 100; ++i) {
    for (const char* view : {"PA", "AP"}) {
      rows += image_row(concat(view, "-", i), "10000032", concat(50000000 + i), view);
      folder.image(concat("p10/p10000032/s", 50000000 + i, "/", view, "-", i, ".jpg"));
    }
    folder.report(concat("p10/p10000032/s", 50000000 + i, ".txt"), concat("FINDINGS: Number ", i, "."));
  }
  folder.write(metadata, rows);
  std::filesystem::remove(folder / split);
  Index last = 0, calls = 0;
  bool is_sound = true;
  layouts::Options options;
  options.progress = [&](std::string_view kind, Index done, Index total) {
    is_sound = is_sound && kind == "reports" && total == 100 && done > last;
    last = done;
    ++calls;
  };
  const Collection table = layouts::read_mimic_cxr(folder.path(), options);
  CHECK(is_sound);
  CHECK(last == 100);
  REQUIRE(table.entries.size() == 200);
  for (std::size_t i = 0; i < 200; ++i) CHECK(table.entries[i].findings == concat("Number ", i / 2, "."));
  std::atomic<bool> flag{false};
  options.stop = StopToken(flag);
  options.progress = [&](std::string_view, Index, Index) { flag = true; };
  CHECK_THROWS_AS(layouts::read_mimic_cxr(folder.path(), options), Stopped);
  CHECK_THROWS_AS(layouts::read_mimic_cxr(folder.path(), options), Stopped);
}

TEST_CASE("many files are read once each, until one fails") {
  using layouts::detail::read_files;
  for (const std::size_t count : {0U, 1U, 31U, 32U, 33U, 1000U}) {
    std::vector<std::atomic<int>> read(count);
    std::vector<Index> told;
    read_files(
        count, "reports", {}, [&](std::string_view, Index done, Index) { told.push_back(done); },
        [&](std::size_t i) { ++read[i]; });
    CHECK(std::all_of(read.begin(), read.end(), [](const auto& times) { return times == 1; }));
    CHECK(std::is_sorted(told.begin(), told.end()));
    CHECK((count == 0 ? told.empty() : told.back() == static_cast<Index>(count)));
  }
  std::atomic<int> calls{0};
  CHECK_THROWS_AS(read_files(100'000, "reports", {}, {},
                             [&](std::size_t i) {
                               ++calls;
                               if (i == 40) throw std::out_of_range("40");
                             }),
                  std::out_of_range);
  CHECK(calls < 100'000);
}

TEST_CASE("the real tables of MIMIC-CXR are read", "[data]") {
  const auto folder = test::real_collection("mimic-cxr");
  if (!folder) return;
  // Counts that PhysioNet publishes with MIMIC-CXR and MIMIC-CXR-JPG 2.0.0.
  std::vector<std::string> notes;
  const layouts::detail::MimicTables tables(*folder);
  const auto path = tables.find("metadata", notes);
  REQUIRE(path.has_value());
  const io::CsvTable table = io::read_csv(*path, {.columns = {"dicom_id", "subject_id", "study_id"}});
  CHECK(table.rows.size() == 377'110);
  std::set<std::string> patients, studies;
  const layouts::detail::Fields patient(table, {"subject_id"}), study(table, {"study_id"});
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    patients.insert(patient[row]);
    studies.insert(study[row]);
  }
  CHECK(patients.size() == 65'379);
  CHECK(studies.size() == 227'835);
  if (const auto splits = tables.find("split", notes)) {
    const io::CsvTable rows = io::read_csv(*splits, {.columns = {"split"}});
    const auto count = [&](std::string_view name) {
      return std::count_if(rows.rows.begin(), rows.rows.end(),
                           [&](const auto& row) { return row[0] == name; });
    };
    CHECK(count("train") == 368'960);
    CHECK(count("validate") == 2'991);
    CHECK(count("test") == 5'159);
  }
  if (!std::filesystem::is_directory(*folder / "files")) return;
  const Collection collection = layouts::read_mimic_cxr(*folder, {.projection = Projection::both});
  CHECK(collection.rows == 377'110);
  CHECK(collection.bad.empty());
}

}  // namespace
