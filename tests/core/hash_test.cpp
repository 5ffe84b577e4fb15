#include "support/catch.hpp"

#include <vlp/core/hash.hpp>

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace vlp;

TEST_CASE("a hash changes with every bit of what is added") {
  std::string bytes(45, 'x');
  std::set<std::uint64_t> values{hash_of(bytes)};
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto flip = static_cast<char>(1 << bit % 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ flip);
    values.insert(hash_of(bytes));
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ flip);
  }
  CHECK(values.size() == 8 * bytes.size() + 1);
  CHECK(hash_of(bytes) == hash_of(std::string(45, 'x')));
}

TEST_CASE("two changes of sign do not cancel in a hash") {
  const auto hash_of_floats = [](const std::vector<float>& values) {
    Hash hash;
    hash.add(std::span<const float>(values));
    return hash.text();
  };
  const std::set<std::string> texts{hash_of_floats({1, 2, 3, 4, 5}),   hash_of_floats({1, -2, 3, -4, 5}),
                                    hash_of_floats({1, 2, 3, -4, -5}), hash_of_floats({1, -2, 3, 4, 5}),
                                    hash_of_floats({2, 1, 3, 4, 5}),   hash_of_floats({3, 4, 1, 2, 5})};
  CHECK(texts.size() == 6);
  for (const std::string& text : texts) CHECK(text.size() == 16);
}

TEST_CASE("a hash tells texts from their concatenation, and nothing from zeros") {
  const auto hash_of_texts = [](const std::vector<std::string_view>& texts) {
    Hash hash;
    for (const std::string_view text : texts) hash.add(text);
    return hash.value();
  };
  const std::string zeros(8, '\0');
  const std::set<std::uint64_t> values{hash_of_texts({}),          hash_of_texts({""}),
                                       hash_of_texts({"", ""}),    hash_of_texts({"ab", "c"}),
                                       hash_of_texts({"a", "bc"}), hash_of_texts({"abc"}),
                                       hash_of_texts({zeros}),     hash_of_texts({zeros.substr(1)})};
  CHECK(values.size() == 8);
  Hash zero, negative;
  zero.add(0.0);
  negative.add(-0.0);
  CHECK(zero.value() != negative.value());
}
