#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/enum_names.hpp>
#include <vlp/train/options.hpp>
#include <vlp/train/settings.hpp>

#include <array>
#include <string>
#include <string_view>

using namespace vlp;
using test::message_of;

namespace {

enum class Colour { red, green };

struct Options {
  double rate = 0.5;
  std::int64_t count = 3;
  std::string name = "a \"quoted\" name";
  Colour colour = Colour::green;
  bool is_bright = true;
};

template <class AnyOptions, class Visit>
requires std::is_same_v<std::remove_const_t<AnyOptions>, Options>
void for_each_setting(AnyOptions& o, Visit&& visit) {
  visit("rate", o.rate, "");
  visit("count", o.count, "");
  visit("name", o.name, "");
  visit("colour", o.colour, "");
  visit("bright", o.is_bright, "");
}

}  // namespace

template <>
inline constexpr std::array<std::string_view, 2> vlp::enum_names<Colour>{"red", "green"};

TEST_CASE("settings go to JSON and back") {
  const train::Settings settings = train::settings_of(Options{});
  CHECK(settings.dump() ==
        R"({"rate":0.5,"count":3,"name":"a \"quoted\" name","colour":"green","bright":true})");
  Options read{.rate = 9, .count = 9, .name = "", .colour = Colour::red, .is_bright = false};
  train::read_settings(settings, "config.json", read);
  CHECK(read.rate == 0.5);
  CHECK(read.count == 3);
  CHECK(read.name == "a \"quoted\" name");
  CHECK(read.colour == Colour::green);
  CHECK(read.is_bright);
}

TEST_CASE("a setting that is absent, of another type or unknown is named") {
  const auto message = [](const char* json) {
    Options options;
    return message_of<std::runtime_error>(
        [&] { train::read_settings(train::Settings::parse(json), "config.json", options); });
  };
  CHECK(message("[]") == "config.json: the setting 'rate' is absent");
  CHECK(message(R"({"rate":1})") == "config.json: the setting 'count' is absent");
  CHECK(message(R"({"rate":"fast"})") == "config.json: the setting 'rate' must be a number, but is \"fast\"");
  CHECK(message(R"({"rate":1,"count":1,"name":"","colour":"blue"})") ==
        "config.json: the setting 'colour' must be one of red, green, but is 'blue'");
  CHECK(message(R"({"rate":1,"count":1,"name":"","colour":7})") ==
        "config.json: the setting 'colour' must be text, but is 7");
  CHECK(message(R"({"rate":1,"count":1,"name":2,"colour":"red"})") ==
        "config.json: the setting 'name' must be text, but is 2");
  CHECK(message(R"({"rate":1,"count":1,"name":"","colour":"red","bright":1})") ==
        "config.json: the setting 'bright' must be true or false, but is 1");
  CHECK(message(R"({"rate":1,"count":1,"name":"","colour":"red","bright":false,"size":1})") ==
        "config.json: the setting \"size\" is unknown to this version");
  for (const char* count :
       {"1e30", "1.5", "1e0", "-9223372036854775809", "9223372036854775808", "true", "null"})
    CHECK(message((R"({"rate":1,"count":)" + std::string(count) + "}").c_str())
              .starts_with("config.json: the setting 'count' must be a whole number, but is "));
}

TEST_CASE("messages never repeat a long value") {
  const auto message = [](const std::string& json) {
    Options options;
    return message_of<std::runtime_error>(
        [&] { train::read_settings(train::Settings::parse(json), "config.json", options); });
  };
  CHECK(message(R"({"rate":")" + std::string(40000, 'x') + "\"}") ==
        "config.json: the setting 'rate' must be a number, but is \"" + std::string(59, 'x') + "...");
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "\xC3\xA4";
  const std::string shown = message(R"({"rate":")" + umlauts + "\"}");
  CHECK(shown.ends_with("\xC3\xA4..."));
  CHECK(message(R"({"rate":[[[[]]]]})") ==
        "config.json: the setting 'rate' must be a number, but is an array");
}

TEST_CASE("settings are read from a small flat object alone") {
  const auto message = [](const std::string& text) {
    return message_of<std::runtime_error>(
        [&] { static_cast<void>(train::parse_settings(text, "config.json")); });
  };
  CHECK(train::parse_settings(R"({"a":1,"b":"x"})", "config.json").dump() == R"({"a":1,"b":"x"})");
  for (const char* text : {"", "{", "{} {}", "{\"a\":\"\xFF\"}", R"({"a":1e999})"})
    CHECK(message(text).starts_with("config.json: not JSON (column "));
  CHECK(message("[1]") == "config.json: the settings of a run are an object, but this is an array");
  CHECK(message("3") == "config.json: the settings of a run are an object, but this is 3");
  CHECK(message(R"({"a":{"b":1}})") == R"(config.json: the setting "a" is an object)");
  CHECK(message(R"({"a":[]})") == R"(config.json: the setting "a" is an array)");
  CHECK(message(R"({"a":)" + std::string(30000, '[') + std::string(30000, ']') + "}") ==
        "config.json: nested deeper than 64");
  CHECK(message(R"({"a":1,"a":2})") == "config.json: the name 'a' occurs twice");
  CHECK(message(std::string(2000000, '[')).starts_with("config.json: 2000000 bytes of JSON, more than"));
}

TEST_CASE("text that JSON cannot hold is refused by its setting") {
  Options options;
  options.name = "caf\xE9";
  CHECK(message_of<std::invalid_argument>([&] { static_cast<void>(train::settings_of(options)); }) ==
        "name must be text in UTF-8, but is 'caf\\xe9'");
}

TEST_CASE("the first setting that differs from the saved one is named with both values") {
  const train::Settings saved = train::settings_of(Options{});
  Options options;
  train::require_same_settings(train::settings_of(options), saved, "config.json");
  options.count = 4;
  CHECK(message_of<std::invalid_argument>(
            [&] { train::require_same_settings(train::settings_of(options), saved, "config.json"); }) ==
        "config.json was made with count 3, not 4; go on with the same settings, or start in another folder");
  CHECK_THROWS_AS(train::require_same_settings(saved, train::Settings::object(), "x"), std::invalid_argument);
  CHECK(message_of<std::invalid_argument>([&] {
          train::require_same_settings(train::Settings::object(), saved, "x");
        }).starts_with("x was made with rate 0.5, not (absent); "));
}

TEST_CASE("names of enumerations go both ways") {
  CHECK(to_text(Colour::red) == "red");
  Colour colour = Colour::red;
  from_text("green", colour);
  CHECK(colour == Colour::green);
  CHECK(message_of<std::invalid_argument>([&] { from_text("gree", colour); }) ==
        "must be one of red, green, but is 'gree'");
}

TEST_CASE("training options out of range are refused") {
  const auto message = [](auto change) {
    train::TrainingOptions options;
    change(options);
    return message_of<std::invalid_argument>([&] { validate(options); });
  };
  CHECK(message([](auto&) {}) == "no error");
  CHECK(message([](auto& o) { o.epochs = 0; }) == "epochs must be from 1 to 1000000000, but is 0");
  CHECK(message([](auto& o) { o.lr = 0; }) == "lr must be a positive number, but is 0");
  CHECK(message([](auto& o) { o.warmup = 1.5; }) == "warmup must be from 0 to 1, but is 1.5");
  CHECK(message([](auto& o) { o.weight_decay = -1; }) ==
        "weight-decay must be 0 or a positive number, but is -1");
  CHECK(message([](auto& o) { o.clip = 0; }) == "clip must be a positive number, but is 0");
  CHECK(message([](auto& o) { o.checkpoint_every = 0; }).starts_with("checkpoint-every must be from 1"));
}
