/// \file
/// Groups of the hardware probe: what each finds out, in an order in which a later one leans on an earlier
/// one.
#pragma once

#include "records.hpp"

#include <functional>
#include <string>
#include <vector>

namespace hardware {

/// Takes the records of a group, also of one that fails later.
class Output {
 public:
  template <class Values>
  void add(const std::string& name, const Values& values) {
    bytes_ += serialized(name, values);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct Group {
  std::string name;
  std::function<void(Output&)> run;  // throws std::exception when it fails
  bool ends_process = false;         // since it leaves CUDA of its process unusable, as it should
};

/// Instructions that sm_80 has as well, and the library's functions.
std::vector<Group> basic_groups();
/// TMA and mbarrier, sm_90.
std::vector<Group> tma_groups();
/// wgmma, sm_90a.
std::vector<Group> wgmma_groups();
/// Copies of TMA that cards refuse, sm_90.
std::vector<Group> refused_groups();

}  // namespace hardware
