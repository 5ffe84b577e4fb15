/// \file
/// Messages between processes that train together, and the communicator of one process alone.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/device.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/core/view.hpp>

#include <concepts>

namespace vlp::dist {

/// How values of several ranks become one.
enum class Reduction { sum, max };

/// A group of processes, each with a rank from 0 to size() - 1. All memory is the device's. Calls are made by
/// all ranks, in the same order, with the same extents; sums are taken in the order of ranks, so that two
/// runs are equal bit for bit.
///
/// - `all_reduce(device, values, reduction)`: values [N] become the sum or maximum over the ranks, on each.
/// - `all_gather(device, mine, all)`: all [W, N] holds mine [N] of rank r in row r.
/// - `reduce_scatter(device, all, mine)`: mine [N] is the sum over the ranks of row rank() of all [W, N].
/// - `exchange(device, to_right, from_left)`: to_right [N] goes to the next rank, from_left [N] comes from
/// the
///   one before, around the ring.
/// - `broadcast(device, values, root)`: values [N] become those of rank `root`.
/// - `barrier(device)`: returns when all ranks have called it.
template <class C, class Device>
concept Communicator = requires(C communicator, Device& device, VectorView<float> values,
                                VectorView<const float> given, MatrixView<float> all,
                                MatrixView<const float> given_all) {
  { communicator.rank() } -> std::convertible_to<int>;
  { communicator.size() } -> std::convertible_to<int>;
  communicator.all_reduce(device, values, Reduction::sum);
  communicator.all_gather(device, given, all);
  communicator.reduce_scatter(device, given_all, values);
  communicator.exchange(device, given, values);
  communicator.broadcast(device, values, 0);
  communicator.barrier(device);
};

/// One process alone: what it sends it receives, sums and maxima are its own values. The default wherever a
/// communicator is taken; costs a copy where the result has other memory than the values, and else nothing.
struct SelfCommunicator {
  [[nodiscard]] static constexpr int rank() noexcept { return 0; }
  [[nodiscard]] static constexpr int size() noexcept { return 1; }

  template <class Device, class T>
  void all_reduce(Device&, VectorView<T>, Reduction) {}
  template <class Device, class T>
  void all_gather(Device& device, VectorView<const T> mine, MatrixView<T> all) {
    check("all_gather", all.rows(), all.cols(), mine.size());
    copy(device, mine.data(), mine.size(), all.data());
  }
  template <class Device, class T>
  void reduce_scatter(Device& device, MatrixView<const T> all, VectorView<T> mine) {
    check("reduce_scatter", all.rows(), all.cols(), mine.size());
    copy(device, all.data(), mine.size(), mine.data());
  }
  template <class Device, class T>
  void exchange(Device& device, VectorView<const T> to_right, VectorView<T> from_left) {
    require(to_right.size() == from_left.size(), "exchange: ", to_right.size(), " elements to the right but ",
            from_left.size(), " from the left");
    copy(device, to_right.data(), to_right.size(), from_left.data());
  }
  template <class Device, class T>
  void broadcast(Device&, VectorView<T>, int root) {
    require(root == 0, "broadcast: the root is rank ", root, " of 1");
  }
  template <class Device>
  void barrier(Device&) {}

 private:
  static void check(const char* what, Index rows, Index cols, Index mine) {
    require(rows == 1 && cols == mine, what, ": the whole is ", rows, " x ", cols, " but must be 1 x ", mine);
  }
};

static_assert(Communicator<SelfCommunicator, Cpu>);

}  // namespace vlp::dist
