#include "builtin/study.hpp"
#include "support/catch.hpp"

#include <vlp/core/cpu.hpp>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <sstream>

using vlp::Index;
using namespace vlp::builtin;

namespace {

constexpr std::uint32_t many = 600;

const std::vector<Study>& studies() {
  static const std::vector<Study> drawn = [] {
    std::vector<Study> out;
    for (std::uint32_t index = 0; index < many; ++index) out.push_back(draw_study(3, index, 64));
    return out;
  }();
  return drawn;
}

std::vector<std::string> words_of(std::string text) {
  for (char& c : text) c = c == '.' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

bool holds(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool same(const Study& a, const Study& b) {
  return a.image.pixels == b.image.pixels && a.findings == b.findings && a.impression == b.impression &&
         std::equal(a.truth.begin(), a.truth.end(), b.truth.begin(), b.truth.end(),
                    [](const Finding& f, const Finding& g) { return f.kind == g.kind && f.box == g.box; });
}

/// The sentence of the findings section that holds a word.
std::vector<std::string> sentence_with(const Study& study, const std::string& word) {
  std::istringstream in(study.findings);
  for (std::string sentence; std::getline(in, sentence, '.');)
    if (const auto words = words_of(sentence); holds(words, word)) return words;
  return {};
}

/// Mean brightness inside a box.
float brightness(const vlp::io::GrayImage& image, const vlp::eval::Box& box) {
  float sum = 0;
  int count = 0;
  for (auto y = static_cast<Index>(box.top); y < static_cast<Index>(box.bottom); ++y)
    for (auto x = static_cast<Index>(box.left); x < static_cast<Index>(box.right); ++x, ++count)
      sum += image.at(x, y);
  return sum / static_cast<float>(count);
}

}  // namespace

TEST_CASE("a built-in study is the same whatever was drawn before and in whichever thread") {
  std::vector<Study> again(40);
  vlp::Cpu device(2);
  device.parallel_for(40, [&](Index i, int) {
    const Index index = 39 - i;
    again[static_cast<std::size_t>(index)] = draw_study(3, static_cast<std::uint32_t>(index), 64);
  });
  for (std::size_t i = 0; i < again.size(); ++i) CHECK(same(again[i], studies()[i]));
  CHECK_FALSE(same(again[0], again[1]));
  CHECK_FALSE(same(again[0], draw_study(4, 0, 64)));
}

TEST_CASE("report and truth of a built-in study do not depend on the size of its image") {
  for (std::uint32_t index = 0; index < 50; ++index) {
    const auto large = draw_study(3, index, 128);
    const auto& small = studies()[index];
    CHECK(large.findings == small.findings);
    CHECK(large.impression == small.impression);
    REQUIRE(large.truth.size() == small.truth.size());
    for (std::size_t k = 0; k < large.truth.size(); ++k) {
      CHECK(large.truth[k].box.left / 2 == Approx(small.truth[k].box.left).margin(3));
      CHECK(large.truth[k].box.bottom / 2 == Approx(small.truth[k].box.bottom).margin(3));
    }
  }
}

TEST_CASE("images of built-in studies have the asked size and values from 0 to 1") {
  for (const Study& study : studies()) {
    REQUIRE(study.image.pixels.size() == 64 * 64);
    const auto [low, high] = std::minmax_element(study.image.pixels.begin(), study.image.pixels.end());
    CHECK(*low >= 0);
    CHECK(*high <= 1);
    CHECK(*high - *low > 0.6f);
  }
  CHECK_THROWS_WITH(draw_study(3, 0, 31), "draw_study: image_size must be at least 32, but is 31");
}

TEST_CASE("the findings of a built-in study are of different kinds and lie on their side") {
  for (const Index size : {32, 64, 96}) {
    for (std::uint32_t index = 0; index < 200; ++index) {
      const auto study = draw_study(5, index, size);
      CHECK(study.truth.size() <= 3);
      std::set<FindingKind> kinds;
      for (const Finding& f : study.truth) {
        kinds.insert(f.kind);
        const auto extent = static_cast<float>(size);
        CHECK((f.box.left >= 0 && f.box.top >= 0 && f.box.right <= extent && f.box.bottom <= extent));
        CHECK(f.box.right - f.box.left >= 1);
        CHECK(f.box.bottom - f.box.top >= (size < 64 ? 1 : 2));
        const float centre = (f.box.left + f.box.right) / 2 / extent;
        if (f.side == Side::right) CHECK(centre < 0.5f);
        if (f.side == Side::left) CHECK(centre > 0.45f);  // a left catheter crosses the midline
      }
      CHECK(kinds.size() == study.truth.size());
    }
  }
}

TEST_CASE("the boxes of built-in findings follow side, zone and size") {
  std::map<std::pair<Zone, FindingKind>, std::vector<float>> heights;
  std::map<std::pair<Size, FindingKind>, std::vector<float>> areas;
  for (const Study& study : studies())
    for (const Finding& f : study.truth) {
      heights[{f.zone, f.kind}].push_back((f.box.top + f.box.bottom) / 2);
      areas[{f.size, f.kind}].push_back((f.box.right - f.box.left) * (f.box.bottom - f.box.top));
    }
  const auto mean = [](const std::vector<float>& values) {
    REQUIRE(values.size() > 5);
    float sum = 0;
    for (const float v : values) sum += v;
    return sum / static_cast<float>(values.size());
  };
  for (const FindingKind kind : {FindingKind::opacity, FindingKind::nodule}) {
    CHECK(mean(heights[{Zone::upper, kind}]) + 6 < mean(heights[{Zone::middle, kind}]));
    CHECK(mean(heights[{Zone::middle, kind}]) + 6 < mean(heights[{Zone::lower, kind}]));
  }
  for (const FindingKind kind :
       {FindingKind::opacity, FindingKind::nodule, FindingKind::effusion, FindingKind::pneumothorax})
    CHECK(1.5f * mean(areas[{Size::small, kind}]) < mean(areas[{Size::large, kind}]));
}

TEST_CASE("what is in the box of a built-in finding can be seen") {
  // The same place of the other lung is the comparison; enough studies for pose and anatomy to average out.
  std::map<FindingKind, std::pair<float, int>> difference;
  for (const Study& study : studies()) {
    if (study.truth.size() != 1 || study.truth[0].side == Side::middle) continue;
    const Finding& f = study.truth[0];
    const vlp::eval::Box mirrored{64 - f.box.right, f.box.top, 64 - f.box.left, f.box.bottom};
    auto& [sum, count] = difference[f.kind];
    sum += brightness(study.image, f.box) - brightness(study.image, mirrored);
    ++count;
  }
  const auto mean = [&](FindingKind kind) {
    REQUIRE(difference[kind].second > 5);
    return difference[kind].first / static_cast<float>(difference[kind].second);
  };
  CHECK(mean(FindingKind::opacity) > 0.05f);
  CHECK(mean(FindingKind::nodule) > 0.05f);
  CHECK(mean(FindingKind::effusion) > 0.1f);
  CHECK(mean(FindingKind::pneumothorax) < -0.03f);
  CHECK(mean(FindingKind::tube) > 0.01f);
}

TEST_CASE("the report of a built-in study tells its findings and their attributes") {
  for (const Study& study : studies()) {
    INFO(study.findings << " | " << study.impression);
    const auto words = words_of(study.findings);
    for (const Finding& f : study.truth) {
      REQUIRE_FALSE(f.word.empty());
      CHECK(std::count(words.begin(), words.end(), f.word) == 1);  // so the word is this finding's alone
      const auto sentence = sentence_with(study, f.word);
      if (f.side == Side::right) CHECK((holds(sentence, "right") && !holds(sentence, "left")));
      if (f.side == Side::left) CHECK((holds(sentence, "left") && !holds(sentence, "right")));
      if (f.size == Size::small) CHECK((holds(sentence, "small") && !holds(sentence, "large")));
      if (f.size == Size::large) CHECK((holds(sentence, "large") && !holds(sentence, "small")));
      if (f.kind == FindingKind::opacity || f.kind == FindingKind::nodule) {
        CHECK(holds(sentence, "upper") == (f.zone == Zone::upper));
        CHECK(holds(sentence, "lower") == (f.zone == Zone::lower));
      }
      CHECK_FALSE(holds(sentence, "no"));
    }
    const auto all = words_of(study.findings + " " + study.impression);
    CHECK(all.size() >= 9);
    CHECK(all.size() <= 45);
    CHECK((study.findings + study.impression).find('{') == std::string::npos);
    CHECK(study.findings.back() == '.');
    CHECK(study.impression.back() == '.');
  }
}

TEST_CASE("the report of a built-in study denies only what is absent") {
  for (const Study& study : studies()) {
    INFO(study.findings << " | " << study.impression);
    const auto has = [&](FindingKind kind) {
      return std::any_of(study.truth.begin(), study.truth.end(),
                         [&](const Finding& f) { return f.kind == kind; });
    };
    std::istringstream in(study.findings);
    for (std::string sentence; std::getline(in, sentence, '.');) {
      const auto words = words_of(sentence);
      if (holds(words, "no") || holds(words, "negative")) {
        CHECK_FALSE((holds(words, "effusion") && has(FindingKind::effusion)));
        CHECK_FALSE((holds(words, "pneumothorax") && has(FindingKind::pneumothorax)));
      }
      if (holds(words, "normal")) CHECK_FALSE(has(FindingKind::enlarged_heart));
      if (holds(words, "clear"))
        for (const Finding& f : study.truth) {
          if (f.kind == FindingKind::tube || f.kind == FindingKind::enlarged_heart) continue;
          CHECK_FALSE(holds(words, "lungs"));
          CHECK_FALSE(holds(words, f.side == Side::left ? "left" : "right"));
        }
    }
  }
}

TEST_CASE("built-in studies are balanced and varied") {
  std::map<std::size_t, int> counts;
  std::map<FindingKind, int> kinds;
  int left = 0, sided = 0, large = 0, sized = 0, severe = 0, graded = 0;
  std::set<std::string> reports;
  for (const Study& study : studies()) {
    ++counts[study.truth.size()];
    reports.insert(study.findings + study.impression);
    for (const Finding& f : study.truth) {
      ++kinds[f.kind];
      sided += f.side != Side::middle;
      left += f.side == Side::left;
      sized += f.size != Size::none;
      large += f.size == Size::large;
      graded += f.severity != Severity::none;
      severe += f.severity == Severity::severe;
    }
  }
  const auto share = [](int part, int whole) { return static_cast<double>(part) / whole; };
  CHECK(share(counts[0], many) == Approx(0.15).margin(0.05));
  CHECK(share(counts[1], many) == Approx(0.35).margin(0.06));
  CHECK(share(counts[3], many) == Approx(0.20).margin(0.05));
  REQUIRE(kinds.size() == finding_kind_count);
  for (const auto& [kind, count] : kinds) CHECK(share(count, many) == Approx(1.55 / 6).margin(0.07));
  CHECK(share(left, sided) == Approx(0.5).margin(0.06));
  CHECK(share(large, sized) == Approx(0.5).margin(0.06));
  CHECK(share(severe, graded) == Approx(0.5).margin(0.08));
  CHECK(reports.size() > many * 3 / 4);
}
