/// \file
/// A small folder as MIMIC-CXR-JPG is distributed, for tests.
#pragma once

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/data/collection.hpp>
#include <vlp/data/layouts/mimic_cxr.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

namespace vlp::test {

inline const std::string metadata = "mimic-cxr-2.0.0-metadata.csv", split = "mimic-cxr-2.0.0-split.csv",
                         chexpert = "mimic-cxr-2.0.0-chexpert.csv", negbio = "mimic-cxr-2.0.0-negbio.csv";

/// A row of the metadata.
inline std::string image_row(const std::string& id, const std::string& patient, const std::string& study,
                             const std::string& view) {
  return id + "," + patient + "," + study + ",CHEST (PA AND LAT)," + view +
         ",3056,2544,21800506,213014.531,CHEST (PA AND LAT),postero-anterior,Erect\n";
}
inline const std::string image_header =
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
    "StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning\n";
inline const std::string split_header = "dicom_id,study_id,subject_id,split\n";
inline const std::string label_header =
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
  [[nodiscard]] data::Collection read(
      data::layouts::Projection projection = data::layouts::Projection::frontal) const {
    return data::layouts::read_mimic_cxr(path(), {.projection = projection});
  }
  [[nodiscard]] std::string name(const std::string& file) const { return (*this / file).string(); }
};

/// Whether the collection has that note; shows all of them where a check fails.
inline bool has_note(const data::Collection& collection, const std::string& note) {
  for (const std::string& sentence : collection.notes) UNSCOPED_INFO(sentence);
  return std::find(collection.notes.begin(), collection.notes.end(), note) != collection.notes.end();
}

}  // namespace vlp::test
