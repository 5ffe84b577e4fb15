#include "support/catch.hpp"

#include <vlp/dist/communicator.hpp>

#include <stdexcept>
#include <vector>

using namespace vlp;

TEST_CASE("one rank alone receives what it sends") {
  Cpu device(1);
  dist::SelfCommunicator self;
  CHECK(self.rank() == 0);
  CHECK(self.size() == 1);
  std::vector<float> mine{1, 2, 3}, out(3);
  const VectorView<float> values(mine.data(), {3}), result(out.data(), {3});
  const VectorView<const float> given(values);
  self.all_reduce(device, values, dist::Reduction::sum);
  self.all_reduce(device, values, dist::Reduction::max);
  self.broadcast(device, values, 0);
  CHECK(mine == std::vector<float>{1, 2, 3});
  self.all_gather(device, given, MatrixView<float>(out.data(), {1, 3}));
  CHECK(out == mine);
  out.assign(3, 0);
  self.reduce_scatter(device, MatrixView<const float>(mine.data(), {1, 3}), result);
  CHECK(out == mine);
  out.assign(3, 0);
  self.exchange(device, given, result);
  CHECK(out == mine);
  self.barrier(device);
  CHECK_THROWS_AS(self.broadcast(device, values, 1), std::invalid_argument);
  CHECK_THROWS_AS(self.all_gather(device, given, MatrixView<float>(out.data(), {3, 1})),
                  std::invalid_argument);
  CHECK_THROWS_AS(self.exchange(device, given, VectorView<float>(out.data(), {2})), std::invalid_argument);
}
