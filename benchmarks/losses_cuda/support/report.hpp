/// \file
/// Measurements of each case, as a table and as JSON.
#pragma once

#include "losses_cuda/support/device_ceilings.hpp"
#include "losses_cuda/support/timing.hpp"
#include "support/case.hpp"

#include <vlp/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace vlp::benchmarks {

/// Demands that are set for a case; 0 stands for none.
struct Bar {
  double times_floor = 0;         ///< at most that many times the floor at the rates below
  std::size_t scratch_bytes = 0;  ///< at most
  std::size_t launches = 0;       ///< of forward and backward together, at most

  [[nodiscard]] bool is_set() const { return times_floor > 0 || scratch_bytes > 0 || launches > 0; }
};

/// Rates measured on an H200: the floors that bars refer to, whatever this run's card does.
inline constexpr double bar_products = 790e12, bar_copying = 4.3e12;

/// One line of the table.
struct Row {
  std::string loss, type;
  std::vector<std::pair<std::string, Index>> sizes;
  Bar bar;
  Times step, graph;                         ///< graph: empty where a step cannot be captured
  std::size_t launches = 0;                  ///< nodes of the graph
  double bar_floor = 0, measured_floor = 0;  ///< ms; 0: there is none
  std::size_t scratch_bytes = 0;
  std::int64_t kept_bytes = 0, allocations = 0;  ///< allocations: while steps were timed
  double value = 0;                              ///< of the loss
  std::string problem;                           ///< what went wrong; the rest may then be empty
};

/// The shape as the table and --shape have it: "B=4096 D=512".
[[nodiscard]] std::string shape_text(const std::vector<std::pair<std::string, Index>>& sizes);

/// Median milliseconds of a step, which bars are held against: replayed as a graph where that was measured,
/// since the launches of small shapes cost the host more than the device.
[[nodiscard]] double deciding_milliseconds(const Row& row);

/// Says whether all of a bar's demands are met: "yes", or what is not met; "-" where there is no bar.
[[nodiscard]] std::string verdict(const Row& row);

/// Everything that is known of the run but the rows, by name.
using Context = std::map<std::string, std::string>;

void write_header(std::ostream& out, const Context& context, const DeviceCeilings& ceilings);
void write_row(std::ostream& out, const Row& row);
void write_json(std::ostream& out, const Context& context, const DeviceCeilings& ceilings,
                const std::vector<Row>& rows);

}  // namespace vlp::benchmarks
