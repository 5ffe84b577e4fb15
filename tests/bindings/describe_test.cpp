#include "bindings/c/options.hpp"
#include "bindings/c/vlp_ops.h"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <vlp/core/config.hpp>
#include <vlp/losses/all.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// What the C interface tells of the library, from which other languages make their faces.

namespace {

using Json = nlohmann::json;

Json description_of(std::string_view loss) {
  const Json library = Json::parse(vlp_ops_describe());
  for (const Json& one : library.at("losses"))
    if (one.at("name") == loss) return one;
  return {};
}

std::vector<std::string> names_of(const Json& list) {
  std::vector<std::string> out;
  for (const Json& one : list) out.push_back(one.at("name"));
  return out;
}

}  // namespace

TEST_CASE("the C interface describes the library") {
  const Json library = Json::parse(vlp_ops_describe());
  CHECK(library.at("version") == VLP_VERSION_STRING);
  CHECK(library.at("device") == "cpu");
  CHECK(library.at("types") == Json({"float32", "float64"}));
  CHECK(library.at("saved_alignment") == vlp_saved_alignment());
  CHECK(!library.at("products").get<std::string>().empty());
  CHECK(!library.at("compiler").get<std::string>().empty());
  std::vector<std::string> names;
  vlp::AllLosses<float>::for_each([&]<class L>(std::type_identity<L>) { names.emplace_back(L::name); });
  CHECK(names_of(library.at("losses")) == names);
}

TEST_CASE("the C interface describes the arrays and numbers of a loss") {
  const Json loss = description_of("local_alignment");
  CHECK(loss.at("forward_backward") == false);
  CHECK(loss.at("blocks") == true);
  CHECK(loss.at("inputs") ==
        Json::parse(R"([{"name": "regions", "rank": 3, "type": "number", "gradient": true},
                        {"name": "words", "rank": 3, "type": "number", "gradient": true},
                        {"name": "word_count", "rank": 1, "type": "int64", "gradient": false},
                        {"name": "group", "rank": 1, "type": "int64", "gradient": false}])"));
  CHECK(loss.at("outputs") == Json::parse(R"([{"name": "loss", "rank": 0, "type": "accumulator"},
                                              {"name": "similarity", "rank": 2, "type": "number"},
                                              {"name": "attention", "rank": 3, "type": "number"}])"));
  CHECK(names_of(loss.at("numbers")) == std::vector<std::string>{"word_capacity", "images", "texts",
                                                                 "first_image", "first_text", "own_text",
                                                                 "own_text_step"});
  CHECK(loss.at("numbers").back() == Json::parse(R"({"name": "own_text_step", "default": 1})"));
  const Json scales = description_of("perturbation_sensitivity").at("inputs");
  CHECK(scales.at(2) ==
        Json::parse(R"({"name": "log_scale", "rank": 0, "type": "accumulator", "gradient": true})"));
  CHECK(scales.at(3) == Json::parse(R"({"name": "valid", "rank": 2, "type": "bool", "gradient": false})"));
  CHECK(description_of("token_cross_entropy").at("forward_backward") == true);
  CHECK(description_of("token_cross_entropy").at("blocks") == false);
  CHECK(description_of("info_nce").at("blocks") == true);
  CHECK(description_of("pairwise_sigmoid").at("blocks") == false);
}

TEST_CASE("the C interface describes every option, with a default that it reads back") {
  vlp::AllLosses<double>::for_each([&]<class L>(std::type_identity<L>) {
    CAPTURE(L::name);
    const Json described = description_of(L::name).at("options");
    std::size_t i = 0;
    typename L::Options options;
    L::for_each_option(options, [&](std::string_view name, auto& option) {
      CAPTURE(name);
      REQUIRE(i < described.size());
      const Json& one = described.at(i++);
      CHECK(one.at("name") == name);
      auto read = option;
      read = {};
      vlp::bindings::read_option(one.at("default").get<std::string>(), read);
      CHECK(read == option);
    });
    CHECK(i == described.size());
  });
  const Json options = description_of("info_nce").at("options");
  CHECK(options.at(0) == Json::parse(R"({"name": "duplicate_policy", "kind": "choice", "default": "negatives",
                        "choices": ["negatives", "positives", "ignore"]})"));
  CHECK(options.at(2) == Json::parse(R"({"name": "image_to_text_weight", "kind": "number", "choices": [],
                                         "default": "0.5"})"));
  CHECK(options.at(4).at("kind") == "integer");
  CHECK(options.at(5).at("default") == "inf");
}
