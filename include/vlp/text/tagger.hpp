/// \file
/// The concept of a tagger, which gives words their classes.
#pragma once

#include <vlp/text/span.hpp>
#include <vlp/text/word_class.hpp>

#include <concepts>
#include <span>
#include <string_view>

namespace vlp::text {

/// A tagger gives each token of a sentence its class: `tagger.tag(report, tokens, classes)` is called once a
/// sentence with the original report (cased, punctuated), the sentence's tokens in it, and as many classes to
/// write. `tag` is const: one tagger serves any number of threads.
template <class T>
concept Tagger = requires(const T& tagger, std::string_view report, std::span<const Span> tokens,
                          std::span<WordClass> classes) {
  tagger.tag(report, tokens, classes);
};

}  // namespace vlp::text
