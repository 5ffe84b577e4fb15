/// \file
/// A report and its perturbations side by side, as a page that needs nothing but itself.
#pragma once

#include <vlp/text/perturbation.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/word_class.hpp>
#include <vlp/text/words.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::perturb_page {

/// `text` as HTML text or the value of an attribute.
[[nodiscard]] inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Control characters may not stand in a page.
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : std::string(1, c);
    }
  }
  return out;
}

/// The sentence that the page has below the name of each perturbation.
inline constexpr std::array<std::string_view, 9> descriptions{
    "nouns among noun positions, adjectives among adjective positions",
    "every other word among the other positions",
    "words inside each run of three",
    "the runs of three, each kept whole",
    "all words, anywhere",
    "words in reverse order",
    "nouns, verbs and adjectives together, among their positions",
    "each adjective with an opposite becomes one",
    "words 1 and 2 change places, 3 and 4, and so on"};

inline constexpr std::string_view style = R"(
:root{--ink:#1b2430;--soft:#8a94a3;--line:#e3e7ed;--page:#f5f7fa;--card:#fff;
--noun:#d7e6fd;--noun-ink:#174ea6;--adjective:#fde7c8;--adjective-ink:#8a4b00;
--verb:#d6f1dd;--verb-ink:#14633a;--other:#e9e4f5;--other-ink:#51408c}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#7f8a9a;--line:#2b3440;--page:#12171e;--card:#1a212b;
--noun:#1d3a66;--noun-ink:#b9d4ff;--adjective:#573a10;--adjective-ink:#ffd89c;
--verb:#174a2c;--verb-ink:#a9eabf;--other:#3a3160;--other-ink:#d5c9ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.75 system-ui,"Segoe UI","Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 24px 32px}
h1{font-size:21px;line-height:1.3;margin:0 0 2px}
.note{color:var(--soft);font-size:13px;margin:0 0 16px}
.note b{font-weight:600;padding:1px 7px;border-radius:4px;margin-right:4px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px 16px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(350px,1fr));gap:14px;margin-top:14px}
h2{font-size:14px;line-height:1.35;margin:0;display:flex;gap:9px;align-items:baseline}
h2 i{font-style:normal;font-variant-numeric:tabular-nums;color:var(--soft)}
h2 em{margin-left:auto;font-weight:400;font-style:normal;font-size:12px;color:var(--soft);white-space:nowrap}
.how{font-size:12.5px;line-height:1.4;color:var(--soft);margin:0 0 8px}
.words{margin:0;overflow-wrap:anywhere}
.words span{color:var(--soft)}
.words mark,.note b{color:inherit}
.words mark{padding:1px 4px;border-radius:4px;margin:0 -1px}
.n{background:var(--noun);color:var(--noun-ink)!important}
.j{background:var(--adjective);color:var(--adjective-ink)!important}
.v{background:var(--verb);color:var(--verb-ink)!important}
.o{background:var(--other);color:var(--other-ink)!important}
)";

[[nodiscard]] inline std::string_view style_of(text::WordClass word_class) {
  constexpr std::array<std::string_view, 4> styles{"n", "j", "v", "o"};
  return styles[static_cast<std::size_t>(word_class)];
}

/// One word in a line of words; marked ones stand out in the colour of their class.
inline void append_word(std::string& page, std::string_view word, text::WordClass word_class, bool marked,
                        const std::string& hint) {
  if (marked)
    page.append("<mark class=\"")
        .append(style_of(word_class))
        .append("\" title=\"")
        .append(hint)
        .append("\">");
  else
    page.append("<span>");
  page.append(escaped(word)).append(marked ? "</mark> " : "</span> ");
}

/// The card of one perturbation: marked is what reads otherwise than the original at its place.
inline void append_card(std::string& page, const text::Words& words, text::Perturbation perturbation,
                        const text::PerturbedReport& perturbed) {
  std::string line;
  std::size_t marked = 0;
  for (std::size_t i = 0; i < perturbed.size(); ++i) {
    const std::size_t from = perturbed.order[i];
    const bool differs = perturbed[i] != words[i];
    marked += differs ? 1 : 0;
    const std::string hint = from != i ? "word " + std::to_string(from + 1) + " of the report"
                                       : "in place of " + escaped(words[i]);
    append_word(line, perturbed[i], words.classes[from], differs, hint);
  }
  std::string title(name(perturbation));
  for (char& c : title)
    if (c == '_') c = ' ';
  page.append("<section><h2><i>" + std::to_string(number(perturbation)) + "</i>" + title + "<em>");
  page.append(perturbed.changed ? std::to_string(marked) + " of " + std::to_string(words.size()) + " words"
                                : "no other arrangement");
  page.append("</em></h2>\n<p class=\"how\">").append(descriptions[number(perturbation) - 1]);
  page.append("</p>\n<p class=\"words\">" + line + "</p></section>\n");
}

/// The page of one report: its words, coloured by class, and `perturbed[i]`, its draw of `perturbations[i]`.
/// `title` is plain text.
[[nodiscard]] inline std::string html_page(std::string_view title, const text::Words& words,
                                           const std::vector<text::Perturbation>& perturbations,
                                           const std::vector<text::PerturbedReport>& perturbed) {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
      escaped(title) + "</title>\n<style>";
  page.append(style).append("</style></head>\n<body><main>\n<h1>" + escaped(title) + "</h1>\n");
  page.append(
      "<p class=\"note\"><b class=\"n\">noun</b><b class=\"j\">adjective</b><b class=\"v\">verb</b>"
      "<b class=\"o\">other</b> Below, marked words read otherwise than the report at their place.</p>\n"
      "<section><h2>the report</h2>\n<p class=\"words\">");
  for (std::size_t i = 0; i < words.size(); ++i)
    append_word(page, words[i], words.classes[i], true, "word " + std::to_string(i + 1));
  page.append("</p></section>\n<div class=\"grid\">\n");
  for (std::size_t i = 0; i < perturbations.size(); ++i)
    append_card(page, words, perturbations[i], perturbed[i]);
  return page.append("</div>\n</main></body></html>\n");
}

}  // namespace vlp::perturb_page
