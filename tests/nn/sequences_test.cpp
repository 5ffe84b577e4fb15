#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>
#include <vlp/nn/word_slots.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Offsets = std::vector<Index>;
using Ids = std::vector<std::int32_t>;

TEMPLATE_TEST_CASE("sequences know on the host what layers check", "", Cpu, Guarded) {
  TestType device(1);
  nn::Sequences<TestType> sequences;
  CHECK(sequences.count() == 0);
  CHECK(sequences.tokens() == 0);
  sequences.assign(device, Offsets{0, 2, 7, 7, 12, 12});
  CHECK(sequences.count() == 5);
  CHECK(sequences.tokens() == 12);
  CHECK(sequences.longest().value == 5);
  CHECK(sequences.longest().at == 1);  // the first of two
  CHECK(sequences.shortest().value == 0);
  CHECK(sequences.shortest().at == 2);
  const nn::SequenceView view = sequences.view();
  CHECK(downloaded(device, view.offsets, 6) == Offsets{0, 2, 7, 7, 12, 12});
  CHECK(view.count == 5);
  CHECK(view.tokens == 12);
  CHECK(view.longest == 5);
  CHECK(sequences.first_tokens().size() == 5);

  for (const auto& [offsets, message] :
       {std::pair{Offsets{}, "Sequences: offsets must start with 0"},
        {Offsets{1, 5}, "Sequences: offsets must start with 0"},
        {Offsets{0, 3, 2, 5}, "Sequences: offsets must not fall, but sequence 1 is from 3 to 2"}})
    CHECK(message_of<std::invalid_argument>([&] { sequences.assign(device, offsets); }) == message);
  CHECK(sequences.count() == 5);  // as before

  sequences.assign_equal(device, 3, 4);
  CHECK(downloaded(device, sequences.view().offsets, 4) == Offsets{0, 4, 8, 12});
  CHECK(sequences.longest().value == 4);
  CHECK(sequences.shortest().value == 4);
  sequences.assign(device, Offsets{0});
  CHECK(sequences.count() == 0);
  CHECK(sequences.longest().value == 0);
}

TEMPLATE_TEST_CASE("tokens know their extremes on the host", "", Cpu, Guarded) {
  TestType device(1);
  nn::Tokens<TestType> tokens;
  tokens.assign(device, Ids{3, 9, 1, 9, 1}, Offsets{0, 2, 5}, Ids{0, 1, 1, 0, 0});
  CHECK(tokens.count() == 5);
  CHECK(tokens.sequences().count() == 2);
  CHECK(tokens.smallest_id().value == 1);
  CHECK(tokens.smallest_id().at == 2);
  CHECK(tokens.largest_id().value == 9);
  CHECK(tokens.largest_id().at == 1);
  CHECK(tokens.smallest_type_id().value == 0);
  CHECK(tokens.largest_type_id().value == 1);
  CHECK(tokens.largest_type_id().at == 1);
  CHECK(downloaded(device, tokens.ids().data(), 5) == Ids{3, 9, 1, 9, 1});
  CHECK(downloaded(device, tokens.type_ids().data(), 5) == Ids{0, 1, 1, 0, 0});

  CHECK(message_of<std::invalid_argument>([&] {
          tokens.assign(device, Ids{1, 2}, Offsets{0, 1});
        }) == "Tokens: offsets end at 1 but there are 2 tokens");
  CHECK(message_of<std::invalid_argument>([&] {
          tokens.assign(device, Ids{1, 2}, Offsets{0, 2}, Ids{0});
        }) == "Tokens: 1 type ids for 2 tokens");
  CHECK(message_of<std::invalid_argument>([&] {
          tokens.assign(device, Ids{1, 2}, Offsets{1, 2});
        }) == "Sequences: offsets must start with 0");
  CHECK(message_of<std::invalid_argument>([&] { tokens.assign(device, Ids{}, Offsets{}); }) ==
        "Sequences: offsets must start with 0");
  CHECK(tokens.count() == 5);  // as before

  tokens.assign(device, Ids{4}, Offsets{0, 1});
  CHECK(!tokens.type_ids().given());
  CHECK(tokens.smallest_type_id().value == 0);
  CHECK(tokens.largest_type_id().value == 0);

  nn::WordSlots<TestType> slots;
  slots.assign(device, Ids{-1, 0, 2, 2});
  CHECK(slots.count() == 4);
  CHECK(slots.largest().value == 2);
  CHECK(slots.largest().at == 2);
  CHECK(downloaded(device, slots.slots().data(), 4) == Ids{-1, 0, 2, 2});
}
