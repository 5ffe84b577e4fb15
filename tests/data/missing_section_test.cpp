#include "data/small_table.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/temporary_folder.hpp"

#include <rapidcheck.h>

#include <vlp/core/enum_names.hpp>
#include <vlp/data/dataset.hpp>
#include <vlp/data/fingerprint.hpp>
#include <vlp/data/layouts/manifest.hpp>
#include <vlp/data/layouts/open_i.hpp>
#include <vlp/data/missing_section.hpp>
#include <vlp/io/image.hpp>
#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using data::MissingSection;
using test::message_of;
using test::TemporaryFolder;

namespace {

using Sections = std::pair<std::string, std::string>;

constexpr MissingSection all_policies[] = {MissingSection::leave_out, MissingSection::whole_report,
                                           MissingSection::other_section};

/// Findings and impression by the name of the image's file, of both sides of the split.
std::map<std::string, Sections> sections_of(const data::Dataset& dataset) {
  std::map<std::string, Sections> out;
  for (const auto* examples : {&dataset.train, &dataset.held_out})
    for (const data::Example& example : *examples) {
      CHECK(example.report == example.impression);
      out[std::filesystem::path(example.name).filename().string()] = {example.findings, example.report};
    }
  return out;
}

/// The notes that speak of sections or reports that are missing.
std::vector<std::string> notes_of(const data::Dataset& dataset) {
  std::vector<std::string> out;
  for (const std::string& note : dataset.notes)
    if (note.find("have no") != note.npos || note.find("has no") != note.npos) out.push_back(note);
  return out;
}

data::DatasetOptions options_for(MissingSection policy) {
  data::DatasetOptions options;
  options.image_size = 4;
  options.held_out = 0.4;
  options.missing_section = policy;
  return options;
}

/// A table whose rows have both sections, in columns or in the text of the report, or lack one or both.
struct ManifestFolder : TemporaryFolder {
  data::Dataset read(const data::DatasetOptions& options) {
    for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) {
      io::GrayImage image = io::make_gray_image(4, 4);
      image.at(0, 0) = static_cast<float>(*name - 'a') / 10;
      io::write_png(*this / (std::string(name) + ".png"), image);
    }
    write("pairs.csv",
          "image,report,findings,impression\n"
          "a.png,Both are given.,Seen a.,Meant a.\n"
          "b.png,FINDINGS: Seen b. IMPRESSION: Meant b.,,\n"
          "c.png,Only findings here.,Seen c.,\n"
          "d.png,IMPRESSION: Meant d.,...,\n"
          "e.png,Neither of them.,,\n"
          "f.png,FINDINGS: Seen f.,,Meant f.\n"
          "g.png,Both again.,Seen g.,Meant a.\n");
    Cpu device(1);
    return data::read_dataset(device, data::layouts::read_manifest(*this / "pairs.csv"), options);
  }
};

const std::map<std::string, Sections> whole_pairs{{"a.png", {"Seen a.", "Meant a."}},
                                                  {"b.png", {"Seen b.", "Meant b."}},
                                                  {"f.png", {"Seen f.", "Meant f."}},
                                                  {"g.png", {"Seen g.", "Meant a."}}};

}  // namespace

TEST_CASE("pairs of a table that lack a section are left out, with a count of each kind") {
  ManifestFolder folder;
  const auto dataset = folder.read(options_for(MissingSection::leave_out));
  CHECK(dataset.sections);
  CHECK(sections_of(dataset) == whole_pairs);
  CHECK(notes_of(dataset) ==
        std::vector<std::string>{
            "1 of 7 pairs are left out, for their report has no findings",
            "1 of 7 pairs are left out, for their report has no impression",
            "1 of 7 pairs are left out, for their report has no findings and no impression"});
}

TEST_CASE("the whole report of a table stands in for a section that it lacks") {
  ManifestFolder folder;
  const auto dataset = folder.read(options_for(MissingSection::whole_report));
  auto expected = whole_pairs;
  expected["c.png"] = {"Seen c.", "Only findings here."};
  expected["d.png"] = {"IMPRESSION: Meant d.", "Meant d."};
  expected["e.png"] = {"Neither of them.", "Neither of them."};
  CHECK(sections_of(dataset) == expected);
  CHECK(notes_of(dataset) ==
        std::vector<std::string>{
            "1 of 7 reports have no findings, for which the whole report stands in",
            "1 of 7 reports have no impression, for which the whole report stands in",
            "1 of 7 reports have no findings and no impression, for which the whole report stands in"});
}

TEST_CASE("the other section of a table's report stands in for one that it lacks") {
  ManifestFolder folder;
  const auto dataset = folder.read(options_for(MissingSection::other_section));
  auto expected = whole_pairs;
  expected["c.png"] = {"Seen c.", "Seen c."};
  expected["d.png"] = {"Meant d.", "Meant d."};
  CHECK(sections_of(dataset) == expected);
  CHECK(notes_of(dataset) ==
        std::vector<std::string>{
            "1 of 7 reports have no findings, for which the text of the impression stands in",
            "1 of 7 reports have no impression, for which the text of the findings stands in",
            "1 of 7 pairs are left out, for their report has no findings and no impression"});
}

TEST_CASE(
    "equal impressions are equal texts, whatever their findings, and findings that are cut are counted") {
  ManifestFolder folder;
  auto options = options_for(MissingSection::leave_out);
  options.max_words = 1;
  const auto dataset = folder.read(options);
  std::map<std::string, std::int64_t> ids;
  for (const auto* examples : {&dataset.train, &dataset.held_out})
    for (const data::Example& example : *examples)
      ids[std::filesystem::path(example.name).filename().string()] = example.text_id;
  CHECK(ids.at("a.png") == ids.at("g.png"));
  CHECK(ids.at("a.png") != ids.at("b.png"));
  CHECK(dataset.notes.back() == "3 pairs to train on, 1 held out, 3 different reports");
  CHECK(dataset.notes.at(dataset.notes.size() - 2) ==
        "4 of 4 findings are longer than 1 words (max-words), and what follows is not read");
  options.max_words = 2;
  for (const std::string& note : folder.read(options).notes) CHECK(note.find("max-words") == note.npos);
}

TEST_CASE("sections of Open-I that are missing follow the policy") {
  const TemporaryFolder folder;
  folder.write("indiana_reports.csv",
               "uid,findings,impression\n1,Heart is large.,Big heart.\n2,Left lung clear.,\n3,,No disease.\n"
               "4,Right tube.,A tube.\n5,None,\n");
  std::string projections = "uid,filename,projection\n";
  std::filesystem::create_directory(folder / "images_normalized");
  for (const std::string uid : {"1", "2", "3", "4", "5"}) {
    io::GrayImage image = io::make_gray_image(4, 4);
    image.at(0, 0) = static_cast<float>(uid[0] - '0') / 10;
    io::write_png(folder / ("images_normalized/" + uid + ".png"), image);
    projections += uid + "," + uid + ".png,Frontal\n";
  }
  folder.write("indiana_projections.csv", projections);
  const auto read = [&](MissingSection policy) {
    Cpu device(1);
    return data::read_dataset(device, data::layouts::read_open_i(folder.path()), options_for(policy));
  };
  std::map<std::string, Sections> expected{{"1.png", {"Heart is large.", "Big heart."}},
                                           {"4.png", {"Right tube.", "A tube."}}};
  CHECK(sections_of(read(MissingSection::leave_out)) == expected);
  CHECK(notes_of(read(MissingSection::leave_out)).at(1) ==
        "1 of 4 pairs are left out, for their report has no findings");
  // A report that lacks a section is the other one.
  expected["2.png"] = {"Left lung clear.", "Left lung clear."};
  expected["3.png"] = {"No disease.", "No disease."};
  CHECK(sections_of(read(MissingSection::whole_report)) == expected);
  CHECK(sections_of(read(MissingSection::other_section)) == expected);
}

TEST_CASE("a report without words is a faulty row under every policy, and an empty one is left out") {
  const TemporaryFolder folder;
  Cpu device(1);
  for (const MissingSection policy : all_policies) {
    auto table = test::table_of(folder, 6);
    table.entries[1] = {.image = table.entries[1].image, .report = " ... ", .line = 3};
    table.entries[2] = {.image = table.entries[2].image, .line = 4};
    CHECK(message_of<std::runtime_error>([&] {
            return data::read_dataset(device, table, options_for(policy));
          }) == "table.csv:3: its report has no words (bad-rows skip would leave it out)");
    auto options = options_for(policy);
    options.bad_rows = data::BadRows::skip;
    const auto dataset = data::read_dataset(device, table, options);
    CHECK(dataset.train.size() + dataset.held_out.size() == 4);
    CHECK(dataset.notes.at(0) == "1 of 6 pairs are left out, for they have no report");
    CHECK(dataset.notes.at(1) == "1 bad row is left out: table.csv:3: its report has no words");
  }
}

TEST_CASE("computed pairs follow the policy for missing sections") {
  Cpu device(1);
  const auto make = [](std::size_t i) {
    data::ComputedPair pair{{}, data::Pixels(16, 1)};
    pair.example.name = "study " + std::to_string(i);
    pair.example.findings = i % 3 == 0 ? "" : "Seen.";
    pair.example.impression = i % 3 == 1 ? "" : "Meant.";
    pair.example.report = i == 5 ? "" : "Whole.";
    return pair;
  };
  const auto count = [&](MissingSection policy) {
    const auto dataset = data::make_dataset(device, 6, options_for(policy), make);
    CHECK(dataset.sections);
    return sections_of(dataset);
  };
  CHECK(count(MissingSection::leave_out) ==
        std::map<std::string, Sections>{{"study 2", {"Seen.", "Meant."}}, {"study 5", {"Seen.", "Meant."}}});
  const auto whole = count(MissingSection::whole_report);
  CHECK(whole.size() == 6);
  CHECK(whole.at("study 3") == Sections{"Whole.", "Meant."});
  CHECK(whole.at("study 4") == Sections{"Seen.", "Whole."});
  const auto other = count(MissingSection::other_section);
  CHECK(other.at("study 3") == Sections{"Meant.", "Meant."});
  CHECK(other.at("study 4") == Sections{"Seen.", "Seen."});
  CHECK_MESSAGE_HAS(data::make_dataset(device, 2, options_for(MissingSection::leave_out), make),
                    "make_dataset: 0 studies to train on and 0 held out have findings and impression");
}

TEST_CASE("a section that is missing is the other one where a table has no report") {
  std::vector<data::Example> examples(2);
  examples[0].findings = "Seen.";
  examples[1].impression = "Meant.";
  std::vector<char> kept(2);
  std::vector<std::string> notes;
  data::detail::take_sections(examples, MissingSection::whole_report, kept, notes, {});
  CHECK(kept == std::vector<char>{1, 1});
  CHECK(examples[0].report == "Seen.");
  CHECK(examples[1].findings == "Meant.");
}

TEST_CASE("whatever reports lack, each pair is kept with words in both sections, or counted") {
  CHECK(rc::check([] {
    const auto text = rc::gen::element<std::string>("", " ... ", "Seen.", "FINDINGS: A.", "IMPRESSION: B.",
                                                    "FINDINGS: A. IMPRESSION: B.", "FINDINGS: !");
    const auto count = *rc::gen::inRange<std::size_t>(0, 12);
    std::vector<data::Example> examples(count);
    for (auto& example : examples) {
      example.report = *text;
      example.findings = *text;
      example.impression = *text;
    }
    const auto policy =
        *rc::gen::elementOf(std::vector<MissingSection>(std::begin(all_policies), std::end(all_policies)));
    std::vector<char> kept(count);
    std::vector<std::string> notes;
    const auto before = examples;
    data::detail::take_sections(examples, policy, kept, notes, {});
    std::size_t left_out = 0, noted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      left_out += kept[i] == 0;
      const bool fault = kept[i] != 0 && !data::detail::has_words(examples[i].report);
      if (fault) RC_ASSERT(before[i].report == examples[i].report);
      if (kept[i] == 0 || fault) continue;
      RC_ASSERT(data::detail::has_words(examples[i].findings));
      RC_ASSERT(examples[i].report == examples[i].impression);
      if (data::detail::has_words(before[i].findings)) RC_ASSERT(examples[i].findings == before[i].findings);
      if (data::detail::has_words(before[i].impression))
        RC_ASSERT(examples[i].impression == before[i].impression);
    }
    for (const std::string& note : notes)
      if (note.find("left out") != note.npos) noted += std::stoul(note);
    RC_ASSERT(noted == left_out);
  }));
}

TEST_CASE("a part that is no section is refused beside sections of their own") {
  const TemporaryFolder folder;
  Cpu device(1);
  auto options = options_for(MissingSection::leave_out);
  for (const auto part : {data::ReportPart::findings, data::ReportPart::findings_and_impression}) {
    options.report_part = part;
    CHECK(
        message_of<std::invalid_argument>(
            [&] { return data::read_dataset(device, test::table_of(folder, 4), options); }) ==
        "report-part must be report or impression where findings and impression are texts of their own, but "
        "is " +
            to_text(part));
    CHECK_THROWS_AS(data::make_dataset(device, 4, options, [](std::size_t) { return data::ComputedPair{}; }),
                    std::invalid_argument);
  }
  options.report_part = data::ReportPart::impression;
  CHECK(data::read_dataset(device, test::table_of(folder, 4), options).train.at(0).report == "Normal.");
}

TEST_CASE("findings are part of a dataset's fingerprint where they are read") {
  const TemporaryFolder folder;
  Cpu device(1);
  const auto print = [&](const std::string& findings, std::optional<MissingSection> policy) {
    auto table = test::table_of(folder, 4);
    table.entries[0].findings = findings;
    auto options = options_for(MissingSection::leave_out);
    options.missing_section = policy;
    return data::fingerprint(data::read_dataset(device, table, options));
  };
  const auto one = print("One.", MissingSection::leave_out), two = print("Two.", MissingSection::leave_out);
  CHECK(one.values != two.values);
  CHECK(one.sources != two.sources);
  CHECK(one.sizes != two.sizes);
  CHECK(print("One.", {}).values == print("Two.", {}).values);
}

TEST_CASE("the names of the policies for missing sections") {
  for (const MissingSection policy : all_policies) {
    MissingSection read{};
    from_text(to_text(policy), read);
    CHECK(read == policy);
  }
  CHECK(to_text(MissingSection::leave_out) == "leave-out");
  CHECK(to_text(MissingSection::whole_report) == "whole-report");
  CHECK(to_text(MissingSection::other_section) == "other-section");
}
