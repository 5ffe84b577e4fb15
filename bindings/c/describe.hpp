/// \file
/// The losses of a library as JSON.
#pragma once

#include "any_loss.hpp"
#include "options.hpp"

#include <vlp/core/config.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>
#include <vlp/losses/loss.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vlp::bindings {

/// Text in quotes. All that is described are names and numbers, without a character that JSON would escape.
inline std::string quoted(std::string_view text) {
  return std::string("\"").append(text).append("\"");
}

/// A JSON list of parts that are JSON.
class JsonList {
 public:
  void add(std::string_view part) { text_.append(text_.empty() ? "" : ", ").append(part); }
  [[nodiscard]] std::string text() const { return "[" + text_ + "]"; }

 private:
  std::string text_;
};

/// A JSON object of names and values that are JSON.
inline std::string json_object(std::initializer_list<std::pair<std::string_view, std::string>> members) {
  std::string out;
  for (const auto& [name, value] : members)
    out.append(out.empty() ? "{" : ", ").append(quoted(name)).append(": ").append(value);
  return out + "}";
}

/// The number of dimensions of an array that an input or an output takes, and the type of its elements.
template <class T, std::size_t Rank>
constexpr std::size_t rank_of(const View<T, Rank>&) {
  return Rank;
}
template <class T>
constexpr std::size_t rank_of(const std::span<T>&) {
  return 1;
}
template <class T>
constexpr std::size_t rank_of(T* const&) {
  return 0;
}

template <class T, std::size_t Rank>
T element_of(const View<T, Rank>&);
template <class T>
T element_of(const std::span<T>&);
template <class T>
T element_of(T* const&);

/// The type of an input's or an output's elements, as vlp_ops_describe() says it. Single numbers are
/// accumulators, also where that is the type of the others.
template <class Member>
constexpr std::string_view type_of(const Member& member) {
  using Element = std::remove_const_t<decltype(element_of(member))>;
  if constexpr (std::is_same_v<Element, std::int64_t>)
    return "int64";
  else if constexpr (std::is_same_v<Element, std::uint8_t>)
    return "bool";
  else
    return std::is_pointer_v<Member> ? "accumulator" : "number";
}

template <Loss L>
std::string describe_inputs() {
  typename L::Inputs inputs{};
  typename L::Gradients gradients{};
  JsonList out;
  L::for_each_input(inputs, gradients, [&](std::string_view name, auto& input, auto&... gradient) {
    out.add(json_object({{"name", quoted(name)},
                         {"rank", std::to_string(rank_of(input))},
                         {"type", quoted(type_of(input))},
                         {"gradient", sizeof...(gradient) > 0 ? "true" : "false"}}));
  });
  return out.text();
}

template <Loss L>
std::string describe_outputs() {
  typename L::Outputs outputs{};
  JsonList out;
  const auto add = [&](std::string_view name, auto& output) {
    out.add(json_object({{"name", quoted(name)},
                         {"rank", std::to_string(rank_of(output))},
                         {"type", quoted(type_of(output))}}));
  };
  add("loss", outputs.loss);
  L::for_each_output(outputs, add);
  return out.text();
}

template <Loss L>
std::string describe_numbers() {
  typename L::Inputs inputs{};
  JsonList out;
  L::for_each_host_number(inputs, [&](std::string_view name, const Index& value) {
    out.add(json_object({{"name", quoted(name)}, {"default", std::to_string(value)}}));
  });
  return out.text();
}

template <Loss L>
std::string describe_options() {
  typename L::Options options{};
  JsonList out;
  L::for_each_option(options, [&](std::string_view name, const auto& option) {
    using Option = std::remove_cvref_t<decltype(option)>;
    JsonList choices;
    if constexpr (NamedEnum<Option>)
      for (const std::string_view choice : enum_names<Option>) choices.add(quoted(choice));
    out.add(json_object({{"name", quoted(name)},
                         {"kind", quoted(option_kind<Option>())},
                         {"choices", choices.text()},
                         {"default", quoted(option_text(option))}}));
  });
  return out.text();
}

/// Description of one loss: its name and what it takes.
template <Loss L>
std::string describe() {
  return json_object({{"name", quoted(L::name)},
                      {"forward_backward", has_forward_backward<L> ? "true" : "false"},
                      {"blocks", has_blocks<L> ? "true" : "false"},
                      {"inputs", describe_inputs<L>()},
                      {"outputs", describe_outputs<L>()},
                      {"numbers", describe_numbers<L>()},
                      {"options", describe_options<L>()}});
}

}  // namespace vlp::bindings
