/// \file
/// The report of a built-in study, in varied report English.
#pragma once

#include "builtin/detail/findings.hpp"
#include "builtin/statement.hpp"

#include <vlp/core/random.hpp>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::builtin::detail {

inline std::string_view pick(Random& random, std::initializer_list<std::string_view> choices) {
  return choices.begin()[random.below(static_cast<std::uint32_t>(choices.size()))];
}

inline std::string_view word_of(Side side) {
  return side == Side::right ? "right" : "left";
}
inline std::string_view word_of(Zone zone) {
  return zone == Zone::upper ? "upper" : zone == Zone::middle ? "middle" : "lower";
}
inline std::string_view word_of(Size size) {
  return size == Size::small ? "small" : "large";
}

/// How dense or grave: an attenuating shadow is faint or dense, a disease mild or severe.
inline std::string_view word_of(Severity severity, std::string_view noun) {
  if (noun == "opacity" || noun == "nodule") return severity == Severity::mild ? "faint" : "dense";
  return severity == Severity::mild ? "mild" : "severe";
}

inline void replace(std::string& text, std::string_view slot, std::string_view with) {
  for (auto at = text.find(slot); at != std::string::npos; at = text.find(slot, at + with.size()))
    text.replace(at, slot.size(), with);
}

/// Puts the attributes of a finding into the slots of a template.
inline std::string fill(std::string_view pattern, const Finding& finding) {
  std::string out(pattern);
  replace(out, "{side}", word_of(finding.side));
  replace(out, "{zone}", word_of(finding.zone));
  replace(out, "{size}", word_of(finding.size));
  replace(out, "{severity}", word_of(finding.severity, finding.word));
  replace(out, "{noun}", finding.word);
  return out;
}

/// "a large effusion is seen" -> "A large effusion is seen."
inline std::string sentence(std::string text) {
  text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text += '.';
}

/// The noun that names a finding in its report.
inline std::string_view draw_noun(const Finding& finding, Random& random) {
  switch (finding.kind) {
    case FindingKind::opacity:
      return pick(random, {"opacity", "consolidation"});
    case FindingKind::nodule:
      return "nodule";
    case FindingKind::effusion:
      return "effusion";
    case FindingKind::pneumothorax:
      return "pneumothorax";
    case FindingKind::enlarged_heart:
      return pick(random, {"heart", "cardiomegaly"});
    case FindingKind::tube:
      return finding.side != Side::middle && finding.zone == Zone::upper ? "catheter" : "tube";
  }
  return {};
}

/// One sentence of the findings section; it holds finding.word and all attributes of the finding.
inline std::string describe(const Finding& finding, Random& random) {
  std::string_view pattern;
  switch (finding.kind) {
    case FindingKind::opacity:
    case FindingKind::nodule:
      pattern = pick(random, {"there is a {size} {severity} {noun} in the {side} {zone} lung",
                              "a {size} {severity} {noun} projects over the {side} {zone} lung",
                              "{side} {zone} lung shows a {severity} {size} {noun}"});
      break;
    case FindingKind::effusion:
      pattern = pick(random, {"there is a {size} {side} pleural effusion",
                              "a {size} pleural effusion layers at the {side} base",
                              "{size} {side} effusion blunts the costophrenic angle"});
      break;
    case FindingKind::pneumothorax:
      pattern = pick(random, {"there is a {size} {side} apical pneumothorax",
                              "a {size} pneumothorax is seen at the {side} apex",
                              "{size} {side} pneumothorax with visible pleural line"});
      break;
    case FindingKind::enlarged_heart:
      if (finding.word == "heart")
        pattern = finding.severity == Severity::mild
                      ? pick(random, {"the heart is mildly enlarged", "mild enlargement of the heart"})
                      : pick(random, {"the heart is severely enlarged", "severe enlargement of the heart"});
      else
        pattern = pick(random, {"there is {severity} cardiomegaly", "{severity} cardiomegaly is present"});
      break;
    case FindingKind::tube:
      if (finding.side == Side::middle)
        pattern = pick(random, {"an endotracheal tube ends above the carina",
                                "the tip of the endotracheal tube is above the carina"});
      else if (finding.zone == Zone::upper)
        pattern = pick(random, {"a {side} central venous catheter ends in the superior vena cava",
                                "{side} subclavian catheter with tip in the superior vena cava"});
      else
        pattern =
            pick(random, {"a {side} basal chest tube is in place", "{side} chest tube enters at the base"});
      break;
  }
  return sentence(fill(pattern, finding));
}

/// A finding as a phrase of the impression, and what the phrase tells of it.
struct Phrase {
  std::string text;
  Statement told;
};

/// Fills a template; its slots say which attributes are told. The noun of a tube tells where it is.
inline Phrase phrase(std::string_view pattern, const Finding& finding) {
  const auto tells = [&](std::string_view slot) { return pattern.find(slot) != pattern.npos; };
  const bool is_tube = finding.kind == FindingKind::tube;
  Phrase out{fill(pattern, finding), {.kind = finding.kind}};
  if (tells("{side}") || (is_tube && finding.side == Side::middle)) out.told.side = finding.side;
  if (tells("{zone}") || is_tube) out.told.zone = finding.zone;
  if (tells("{size}")) out.told.size = finding.size;
  if (tells("{severity}")) out.told.severity = finding.severity;
  return out;
}

/// The finding as a phrase of the impression.
inline Phrase summarise(const Finding& finding, Random& random) {
  switch (finding.kind) {
    case FindingKind::opacity:
      return phrase(pick(random, {"{severity} {side} {zone} lung {noun}", "{side} {zone} lung pneumonia"}),
                    finding);
    case FindingKind::nodule:
      return phrase("{size} {side} {zone} lung nodule", finding);
    case FindingKind::effusion:
      return phrase("{size} {side} pleural effusion", finding);
    case FindingKind::pneumothorax:
      return phrase("{size} {side} pneumothorax", finding);
    case FindingKind::enlarged_heart:
      return phrase("{severity} cardiomegaly", finding);
    case FindingKind::tube:
      if (finding.side == Side::middle) return phrase("endotracheal tube in good position", finding);
      return phrase(
          finding.zone == Zone::upper ? "{side} central venous catheter" : "{side} chest tube in place",
          finding);
  }
  return {};
}

/// Sentences on what is normal or absent, true of these findings.
inline std::vector<std::string> describe_absent(const std::vector<Finding>& findings, Random& random) {
  const auto has = [&](FindingKind kind) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.kind == kind; });
  };
  const auto in_lung = [&](Side side) {
    return std::any_of(findings.begin(), findings.end(),
                       [&](const Finding& f) { return f.side == side && f.kind != FindingKind::tube; });
  };
  std::vector<std::string> out;
  const bool effusion = has(FindingKind::effusion), pneumothorax = has(FindingKind::pneumothorax);
  if (!effusion && !pneumothorax)
    out.push_back(sentence(std::string(
        pick(random, {"no pleural effusion or pneumothorax", "there is no pneumothorax or pleural effusion",
                      "negative for pneumothorax or effusion"}))));
  else if (!effusion)
    out.push_back(
        sentence(std::string(pick(random, {"no pleural effusion", "there is no pleural effusion"}))));
  else if (!pneumothorax)
    out.push_back(sentence(std::string(pick(random, {"no pneumothorax", "there is no pneumothorax"}))));
  if (!has(FindingKind::enlarged_heart))
    out.push_back(sentence(std::string(pick(
        random, {"heart size is normal", "the cardiac silhouette is normal in size", "normal heart size"}))));
  if (!in_lung(Side::right) && !in_lung(Side::left))
    out.push_back(sentence(
        std::string(pick(random, {"the lungs are clear", "both lungs are clear without focal opacity"}))));
  else if (in_lung(Side::right) != in_lung(Side::left))
    out.push_back(sentence(in_lung(Side::right) ? "the left lung is clear" : "the right lung is clear"));
  random.shuffle(out.begin(), out.end());
  return out;
}

inline std::size_t count_words(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
}

/// The sections of a report.
struct WrittenReport {
  std::string findings, impression;
  Reading told;  ///< what the impression states
};

/// Findings and impression; sets the word of each finding.
inline WrittenReport write_report(std::vector<Finding>& findings, Random& random) {
  std::vector<std::string> sentences;
  std::size_t words = 0;
  for (Finding& finding : findings) {
    finding.word = draw_noun(finding, random);
    sentences.push_back(describe(finding, random));
    words += count_words(sentences.back());
  }
  // Reports stay short: what is absent is told as long as there is room.
  for (std::string& absent : describe_absent(findings, random)) {
    words += count_words(absent);
    if (words > 26) break;
    sentences.push_back(std::move(absent));
  }
  if (random.below(3) == 0) random.shuffle(sentences.begin(), sentences.end());

  std::string text;
  for (const std::string& s : sentences) text += (text.empty() ? "" : " ") + s;
  if (findings.empty())
    return {text,
            sentence(std::string(pick(random, {"no acute cardiopulmonary abnormality",
                                               "normal chest radiograph", "no acute disease"}))),
            {.negatives = {Negative::normal}}};
  // The impression tells the only finding, both of two, or the first of three.
  Phrase first = summarise(findings[0], random);
  Reading told{.findings = {first.told}};
  std::string impression = first.text;
  if (findings.size() == 2) {
    const Phrase second = summarise(findings[1], random);
    impression += " and " + second.text;
    told.findings.push_back(second.told);
  }
  return {text, sentence(impression), told};
}

}  // namespace vlp::builtin::detail
