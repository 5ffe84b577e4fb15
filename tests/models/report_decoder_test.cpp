// The decoder of reports: gradients, branches, causality.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"

#include <vlp/models/report_decoder.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>

#include <cstdint>
#include <vector>

using namespace vlp;
using namespace vlp::test;

TEST_CASE("gradients of a report decoder agree with central differences") {
  const bool tied = GENERATE(true, false);
  const Index branch = GENERATE(0, 1);
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    models::ReportDecoder<double, Device> decoder({.vocabulary = 7,
                                                   .positions = 5,
                                                   .width = 8,
                                                   .depth = 2,
                                                   .heads = 2,
                                                   .context_width = 6,
                                                   .branches = {"summary", "caption"},
                                                   .tied_output = tied},
                                                  Random(1));
    nn::Tokens<Device> tokens;
    tokens.assign(device, std::vector<std::int32_t>{2, 4, 5, 2, 6, 6, 4, 2}, std::vector<Index>{0, 3, 7, 8});
    nn::Sequences<Device> contexts;
    contexts.assign(device, std::vector<Index>{0, 2, 3, 7});
    LayerGradient gradient(device);
    const auto& context = gradient.input("context", normal_values(7 * 6, 1));
    const auto& hidden = gradient.output(8 * 8);
    gradient.parameters(decoder);
    const typename models::ReportDecoder<double, Device>::Inputs in{
        .tokens = tokens, .context = context.value.view(7, 6), .contexts = contexts, .branch = branch};
    return gradient.check([&] { decoder.forward(device, in, hidden.value.view(8, 8)); },
                          [&] {
                            const auto d_context = context.gradient.view(7, 6);
                            fill(device, d_context.data(), d_context.size(), 0.0);
                            decoder.backward(device, in, hidden.gradient.view(8, 8), d_context);
                          });
  });
}
