#include "support/catch.hpp"
#include "support/device.hpp"

#ifdef VLP_TEST_CUDA
#include <vlp/cuda/losses/all.cuh>
#else
#include <vlp/losses/all.hpp>
#endif

#include <set>
#include <sstream>
#include <string>
#include <type_traits>

TEST_CASE("the list of losses has every loss that has a header") {
  std::set<std::string> headers, listed;
  std::istringstream names(VLP_TEST_LOSSES);
  for (std::string name; std::getline(names, name, ',');) headers.insert(name);
  using All = vlp::AllLosses<float, vlp::test::Device>;
  All::for_each([&]<class L>(std::type_identity<L>) { listed.emplace(L::name); });
  CHECK(listed == headers);
  CHECK(listed.size() == All::size);
}
