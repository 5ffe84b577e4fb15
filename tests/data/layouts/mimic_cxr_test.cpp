#include "mimic_folder.hpp"
#include "support/gzip.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/data/chexpert_classes.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/labels.hpp>
#include <vlp/data/layouts/mimic_cxr.hpp>
#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace vlp;
using namespace vlp::data;
using io::Path;
using layouts::Projection;
using namespace vlp::test;

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
  const Collection table = folder.read();
  CHECK(table.missing.size() == 1);
  REQUIRE(table.entries.size() == 2);
  CHECK(table.entries[0].image == folder / "files/p10/p10000032/s53189527/bbb-1.jpg");
  CHECK(table.entries[0].report == "Unchanged.");
  CHECK(table.entries[1].image == folder / "files/p11/p11000183/s51967845/ccc-1.dcm");
  CHECK(table.entries[1].report == "Small effusion.");
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
  // Faults that are found at different times stand in the order of their lines.
  folder.write(split, split_header + "aaa-1,1,1,train\nbbb-1,1,1,val\nccc-1,1,1,test\n");
  folder.write(chexpert, label_header + "10000032,50414267,,,,,,,,,2.0,,,,,\n");
  const Collection both = folder.read();
  REQUIRE(both.bad.size() == 2);
  CHECK(both.bad[0].line == 2);
  CHECK(both.bad[1].line == 4);
  folder.write(split, splits);
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
  std::filesystem::create_directory(folder / "mimic-cxr-3.0.0-metadata.csv");  // a folder is no table
  const Collection newest = folder.read();
  CHECK(newest.path == folder.name("mimic-cxr-2.10.0-metadata.csv.gz"));
  CHECK(has_note(newest,
                 folder.path().string() +
                     ": mimic-cxr-2.10.0-metadata.csv.gz is read, and not mimic-cxr-2.9-metadata.csv or " +
                     metadata + " or " + metadata + ".gz"));
}

TEST_CASE("of many versions of a table of MIMIC-CXR a few are named") {
  const MimicFolder folder;
  for (int i = 10; i < 20; ++i) folder.write(concat("mimic-cxr-1.", i, "-metadata.csv"), "");
  const std::string note = folder.read().notes.front();
  CHECK(note.find(metadata + " is read, and not mimic-cxr-1.19-metadata.csv or mimic-cxr-1.18-") !=
        note.npos);
  CHECK(note.ends_with("mimic-cxr-1.15-metadata.csv or 5 other versions"));
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
  if (const auto labels = tables.find("chexpert", notes))
    CHECK(io::read_csv(*labels, {.columns = {"study_id"}}).rows.size() == 227'827);
  if (!std::filesystem::is_directory(*folder / "files")) return;
  const Collection collection = layouts::read_mimic_cxr(*folder, {.projection = Projection::both});
  CHECK(collection.rows == 377'110);
  CHECK(collection.bad.empty());
}

}  // namespace
