#include "builtin/read_statements.hpp"
#include "builtin/study.hpp"
#include "support/catch.hpp"

#include <rapidcheck.h>

#include <vlp/text/normalise.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

using namespace vlp::builtin;

namespace vlp::builtin {

/// Shows a reading where a check fails.
std::ostream& operator<<(std::ostream& out, const Reading& reading) {
  for (const Statement& s : reading.findings) {
    out << finding_kind_names[static_cast<std::size_t>(s.kind)];
    const auto show = [&](const char* name, const auto& value) {
      if (value) out << ' ' << name << ' ' << static_cast<int>(*value);
    };
    show("side", s.side);
    show("zone", s.zone);
    show("size", s.size);
    show("severity", s.severity);
    out << "; ";
  }
  for (const Negative negative : reading.negatives) out << "negative " << static_cast<int>(negative) << "; ";
  return out;
}

}  // namespace vlp::builtin

namespace {

constexpr std::uint32_t many = 4000;

/// The reports of many studies; their images, which take most of the time, are not drawn.
struct Report {
  std::vector<Finding> truth;
  detail::WrittenReport written;
};

const std::vector<Report>& reports() {
  static const std::vector<Report> drawn = [] {
    std::vector<Report> out(many);
    for (std::uint32_t i = 0; i < many; ++i) {
      vlp::Random for_truth(11, i, 1), for_report(11, i, 2);
      out[i].truth = detail::draw_findings(for_truth);
      out[i].written = detail::write_report(out[i].truth, for_report);
    }
    return out;
  }();
  return drawn;
}

Statement statement(FindingKind kind, std::optional<Side> side = {}, std::optional<Zone> zone = {},
                    std::optional<Size> size = {}, std::optional<Severity> severity = {}) {
  return {kind, side, zone, size, severity};
}

Reading of(std::vector<Statement> findings, std::set<Negative> negatives = {}) {
  return {std::move(findings), std::move(negatives)};
}

/// All attributes of a finding that a sentence of the findings section tells in words.
Statement told_in_full(const Finding& f) {
  Statement out{.kind = f.kind};
  const bool is_lesion = f.kind == FindingKind::opacity || f.kind == FindingKind::nodule;
  if (f.kind != FindingKind::enlarged_heart) out.side = f.side;
  if (is_lesion || f.kind == FindingKind::tube) out.zone = f.zone;
  if (f.size != Size::none) out.size = f.size;
  if (f.severity != Severity::none) out.severity = f.severity;
  return out;
}

const auto opacity = FindingKind::opacity, nodule = FindingKind::nodule, effusion = FindingKind::effusion,
           pneumothorax = FindingKind::pneumothorax, heart = FindingKind::enlarged_heart,
           tube = FindingKind::tube;

}  // namespace

TEST_CASE("reading the impression of a built-in study gives what it was written from") {
  for (const Report& report : reports()) {
    const detail::WrittenReport& written = report.written;
    INFO(written.impression);
    CHECK(read_statements(written.impression) == written.told);
    CHECK(read_statements(vlp::text::normalise(written.impression)) == written.told);
    CHECK(written.told.findings.size() ==
          (report.truth.size() == 2 ? 2 : std::min<std::size_t>(report.truth.size(), 1)));
    CHECK(written.told.negatives ==
          (report.truth.empty() ? std::set{Negative::normal} : std::set<Negative>{}));
    for (std::size_t i = 0; i < written.told.findings.size(); ++i)
      CHECK(detail::covers(told_in_full(report.truth[i]), written.told.findings[i]));
  }
}

TEST_CASE("what the impression of a built-in study tells is the same wherever it is read") {
  for (std::uint32_t i = 0; i < 30; ++i) {
    const Study study = draw_study(5, i, 32);
    CHECK(read_statements(study.impression) == study.told);
  }
}

TEST_CASE("reading the findings of a built-in study gives all of its findings, and denies no other") {
  for (const Report& report : reports()) {
    INFO(report.written.findings);
    const Reading reading = read_statements(report.written.findings);
    CHECK(reading.findings.size() == report.truth.size());
    for (const Finding& finding : report.truth)
      CHECK(std::ranges::count(reading.findings, told_in_full(finding)) == 1);
    for (const Negative negative : reading.negatives)
      for (const Finding& f : report.truth) {
        CHECK(negative != absence_of(f.kind));
        if (f.kind == tube) continue;
        if (f.side == Side::right) CHECK(negative != Negative::right_lung_clear);
        if (f.side == Side::left) CHECK(negative != Negative::left_lung_clear);
      }
    CHECK_FALSE(reading.negatives.contains(Negative::normal));
  }
}

TEST_CASE("the impression of a built-in study tells an attribute or leaves it out") {
  const auto read = [](const char* text) { return read_statements(text); };
  CHECK(read("Dense right lower lung opacity.") ==
        of({statement(opacity, Side::right, Zone::lower, {}, Severity::severe)}));
  CHECK(read("Right lower lung pneumonia.") == of({statement(opacity, Side::right, Zone::lower)}));
  CHECK(read("Small left middle lung nodule.") ==
        of({statement(nodule, Side::left, Zone::middle, Size::small)}));
  CHECK(read("Large left pleural effusion and mild cardiomegaly.") ==
        of({statement(effusion, Side::left, {}, Size::large), statement(heart, {}, {}, {}, Severity::mild)}));
  CHECK(read("Endotracheal tube in good position and small right pneumothorax.") ==
        of({statement(tube, Side::middle, Zone::upper),
            statement(pneumothorax, Side::right, {}, Size::small)}));
  CHECK(read("Left chest tube in place.") == of({statement(tube, Side::left, Zone::lower)}));
  CHECK(read("Right central venous catheter.") == of({statement(tube, Side::right, Zone::upper)}));
  CHECK(read("Central venous catheter.") == of({statement(tube, {}, Zone::upper)}));
  CHECK(read("Tube in place.") == of({statement(tube)}));
  CHECK(read("No acute disease.") == of({}, {Negative::normal}));
}

TEST_CASE("attributes go with the noun that they stand beside") {
  const auto read = [](const char* text) { return read_statements(text); };
  const Statement large_right = statement(effusion, Side::right, {}, Size::large);
  CHECK(read("a large effusion at the right base and a small left nodule") ==
        of({large_right, statement(nodule, Side::left, {}, Size::small)}));
  CHECK(read("large right effusion small left nodule") ==
        of({large_right, statement(nodule, Side::left, {}, Size::small)}));
  CHECK(read("large effusion in the right lung small left nodule") ==
        of({large_right, statement(nodule, Side::left, {}, Size::small)}));
  CHECK(read("large right effusion, left nodule") == of({large_right, statement(nodule, Side::left)}));
  CHECK(read("large right effusion with nodule in the left lung") ==
        of({large_right, statement(nodule, Side::left)}));
  CHECK(read("large right effusion. left.") == of({large_right}));
  CHECK(read("left large right effusion left small") == of({large_right}));  // the nearest before the noun
  CHECK(read("nodule, effusion") == of({statement(nodule), statement(effusion)}));
  CHECK(read("nodule left, effusion") == of({statement(nodule, Side::left), statement(effusion)}));
  CHECK(read("nodule on the left effusion") == of({statement(nodule), statement(effusion, Side::left)}));
  CHECK(read("left nodule on the effusion") == of({statement(nodule, Side::left), statement(effusion)}));
  CHECK(read("upper right effusion") == of({statement(effusion, Side::right, Zone::upper)}));
  CHECK(read("the heart is severely enlarged") == of({statement(heart, {}, {}, {}, Severity::severe)}));
  CHECK(read("the nodule is enlarged") == of({statement(nodule)}));
  CHECK(read("left endotracheal tube") == of({statement(tube, Side::left, Zone::upper)}));
  CHECK(read("endotracheal chest tube") == of({statement(tube, {}, Zone::lower)}));
  CHECK(read("lower chest catheter") == of({statement(tube, {}, Zone::lower)}));
}

TEST_CASE("a finding that is told twice is one, and two of a kind are two") {
  const auto read = [](const char* text) { return read_statements(text); };
  const Statement small_left = statement(effusion, Side::left, {}, Size::small);
  CHECK(read("Small left effusion and small left effusion.") == of({small_left}));
  CHECK(read("Effusion. Small left effusion. Left effusion.") == of({small_left}));
  CHECK(read("Small left effusion and right effusion.") ==
        of({small_left, statement(effusion, Side::right)}));
  CHECK(read("Small left effusion and large effusion.") ==
        of({small_left, statement(effusion, {}, {}, Size::large)}));
}

TEST_CASE("what is denied is no finding") {
  const auto read = [](const char* text) { return read_statements(text); };
  using enum Negative;
  CHECK(read("No pleural effusion or pneumothorax.") == of({}, {no_effusion, no_pneumothorax}));
  CHECK(read("Negative for pneumothorax or effusion") == of({}, {no_effusion, no_pneumothorax}));
  CHECK(read("no nodule, opacity, and effusion") == of({}, {no_nodule, no_opacity, no_effusion}));
  CHECK(read("no left effusion nor large right nodule") == of({}, {no_effusion, no_nodule}));
  CHECK(read("no effusion and small left pneumothorax") ==
        of({statement(pneumothorax, Side::left, {}, Size::small)}, {no_effusion}));
  CHECK(read("no effusion small left pneumothorax") ==
        of({statement(pneumothorax, Side::left, {}, Size::small)}, {no_effusion}));
  CHECK(read("no effusion, small pneumothorax or nodule") ==
        of({statement(pneumothorax, {}, {}, Size::small), statement(nodule)}, {no_effusion}));
  CHECK(read("no effusion but pneumothorax") == of({statement(pneumothorax)}, {no_effusion}));
  CHECK(read("cardiomegaly without effusion") == of({statement(heart)}, {no_effusion}));
  CHECK(read("nodule, no effusion") == of({statement(nodule)}, {no_effusion}));
  CHECK(read("the heart is not enlarged") == of({}, {no_enlarged_heart}));
  CHECK(read("pneumothorax is not seen and left effusion") ==
        of({statement(effusion, Side::left)}, {no_pneumothorax}));
  CHECK(read("no acute disease and right chest tube in place") ==
        of({statement(tube, Side::right, Zone::lower)}, {normal}));
  CHECK(read("acute disease") == of({}));
  CHECK(read("no. effusion") == of({statement(effusion)}));
  CHECK(read("no tube or disease") == of({}, {normal, no_tube}));
}

TEST_CASE("what is normal or clear is read as such") {
  const auto read = [](const char* text) { return read_statements(text); };
  using enum Negative;
  CHECK(read("Normal chest radiograph.") == of({}, {normal}));
  CHECK(read("normal radiograph") == of({}, {normal}));
  CHECK(read("heart size is normal") == of({}, {no_enlarged_heart}));
  CHECK(read("the cardiac silhouette is normal in size") == of({}, {no_enlarged_heart}));
  CHECK(read("Normal heart size.") == of({}, {no_enlarged_heart}));
  CHECK(read("not normal heart size") == of({}));
  CHECK(read("normal chest radiograph the heart is severely enlarged") ==
        of({statement(heart, {}, {}, {}, Severity::severe)}, {normal}));
  CHECK(read("heart with effusion normal") == of({statement(effusion)}));
  CHECK(read("heart a b c d normal") == of({}, {no_enlarged_heart}));
  CHECK(read("heart a b c d e normal") == of({}));
  CHECK(read("both lungs are clear without focal opacity") ==
        of({}, {right_lung_clear, left_lung_clear, no_opacity}));
  CHECK(read("the left lung is clear") == of({}, {left_lung_clear}));
  CHECK(read("the right lung is clear") == of({}, {right_lung_clear}));
  CHECK(read("the left lung is not clear") == of({}));
  CHECK(read("lungs a b c clear") == of({}));
  CHECK(read("small effusion the left lung is clear") ==
        of({statement(effusion, {}, {}, Size::small)}, {left_lung_clear}));
  CHECK(read("clear") == of({}));
}

TEST_CASE("any bytes are read, and what is read of them is a chest's") {
  CHECK(read_statements("") == Reading{});
  CHECK(read_statements("..,;\n\xff\xc3 {\"}") == Reading{});
  CHECK(read_statements("LARGE\tRight-Sided\xc2\xa0"
                        "EFFUSION!") == of({statement(effusion, Side::right, {}, Size::large)}));
  const std::vector<std::string> words{
      "no",    "and",     "or",     ",",     ".",        "with",    "left",   "right",
      "small", "large",   "mild",   "dense", "upper",    "lower",   "lung",   "endotracheal",
      "tube",  "clear",   "normal", "heart", "effusion", "opacity", "nodule", "enlarged",
      "in",    "disease", "\xff",   "not",   "chest",    "catheter"};
  CHECK(rc::check([&] {
    std::string text;
    const auto chosen = *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words));
    for (const std::string& word : chosen) text += word + " ";
    const Reading reading = read_statements(text);
    for (const Statement& s : reading.findings) {
      RC_ASSERT(std::ranges::count_if(reading.findings,
                                      [&](const Statement& other) { return detail::covers(other, s); }) == 1);
      RC_ASSERT(!s.zone || *s.zone != Zone::none);
      RC_ASSERT(!s.side || *s.side != Side::middle || s.kind == tube);
    }
    RC_ASSERT(read_statements(text + " . " + text) == reading);
  }));
  CHECK(rc::check([](const std::vector<char>& bytes) {
    static_cast<void>(read_statements(std::string(bytes.begin(), bytes.end())));
  }));
}

TEST_CASE("time to read statements grows with the text") {
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string piece :
       {"no left effusion ", "and ", "heart normal ", "lung clear ", "in the ", ". "}) {
    std::string text;
    while (text.size() < 200'000) text += piece;
    static_cast<void>(read_statements(text));
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
}
