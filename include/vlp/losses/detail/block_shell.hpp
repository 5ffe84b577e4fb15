/// \file
/// The frame of contrastive losses whose scores may be cut into blocks.
#pragma once

#include <vlp/core/into.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/losses/contrast.hpp>
#include <vlp/losses/detail/argument_checks.hpp>
#include <vlp/losses/detail/loss_shell.hpp>
#include <vlp/losses/detail/saved_arrays.hpp>

#include <cstddef>
#include <span>

namespace vlp::detail {

/// The backend of a loss over a whole batch (see LossShell), which is a single block of its scores. `Backend`
/// is that of blocks; see BlockShell.
template <class Interface, class Device, class Backend>
class OneBlock {
  using Accumulator = typename Interface::Accumulator;
  using Inputs = typename Interface::Inputs;
  using Arrays = SavedArrays<typename Device::Memory>;

 public:
  struct State {
    ContrastSums<Accumulator> sums;
    typename Backend::State block;
  };

  explicit OneBlock(const typename Interface::Options& options) : backend_(options) {}

  [[nodiscard]] const Backend& of_blocks() const noexcept { return backend_; }

  /// The inputs are a whole batch, and what the host can read of them is right.
  void check_values(const Inputs& inputs) const {
    const auto [images, texts] = Interface::block_extents(inputs);
    const PairBlock block = inputs.block.of(images, texts);
    require(images == block.images && texts == block.texts, Interface::name, ": ", images, " of ",
            block.images, " images and ", texts, " of ", block.texts,
            " texts are given; parts of a batch go through accumulate, finish and differentiate");
    if constexpr (requires { backend_.check_values(inputs); }) backend_.check_values(inputs);
  }

  State lay_out(Arrays& arrays, const Inputs& inputs) const {
    const auto [images, texts] = Interface::block_extents(inputs);
    State out;
    out.sums.rows = {arrays.template take_view<Accumulator>(images),
                     arrays.template take_view<Accumulator>(images)};
    out.sums.columns = {arrays.template take_view<Accumulator>(texts),
                        arrays.template take_view<Accumulator>(texts)};
    out.sums.target_score = arrays.template take<double>(1);
    out.block = backend_.lay_out(arrays, inputs);
    return out;
  }

  void forward(Device& device, const Inputs& inputs, const typename Interface::Outputs& outputs,
               const State& state) const {
    const auto [images, texts] = Interface::block_extents(inputs);
    backend_.accumulate(device, inputs, outputs, state.sums, Into::overwrite, state.block);
    if (outputs.loss != nullptr)
      backend_.finish(device, inputs.block.of(images, texts), state.sums, outputs.loss);
  }

  void backward(Device& device, const Inputs& inputs, const State& state, Accumulator upstream,
                const typename Interface::Gradients& gradients) const {
    backend_.differentiate(device, inputs, state.sums, state.block, upstream, gradients);
  }

 private:
  Backend backend_;
};

/// A contrastive loss as its user calls it. Beside the passes over a whole batch (LossShell) it has the steps
/// that these are made of, for batches whose scores are computed in blocks, at several places or at several
/// times. All steps are pure functions of their arguments.
///
///   accumulate   for each block: the log-sum-exps of its rows and columns, and its target scores
///   merge        takes the sums of one block into those of another
///   finish       once the sums are those of all blocks: the loss
///   differentiate  for each block, with those sums: its gradients, which add up to those of the batch
///
/// `Backend` (see LossShell) computes on blocks: lay_out(arrays, inputs) returns what differentiate needs
/// beside the sums; accumulate(device, inputs, outputs, sums, into, state), finish(device, block, sums, loss)
/// with a block whose numbers are filled in, differentiate(device, inputs, sums, state, upstream, gradients),
/// and merge(device, from, to). accumulate ignores outputs.loss.
template <class Interface, class DeviceType, class Backend>
class BlockShell : public LossShell<Interface, DeviceType, OneBlock<Interface, DeviceType, Backend>> {
  using Base = LossShell<Interface, DeviceType, OneBlock<Interface, DeviceType, Backend>>;

 public:
  using typename Base::Accumulator, typename Base::Device, typename Base::Gradients, typename Base::Inputs,
      typename Base::Options, typename Base::Outputs;
  using Sums = ContrastSums<Accumulator>;

  using Base::Base;

  /// Bytes that accumulate saves of such a block for differentiate; see saved_bytes.
  [[nodiscard]] std::size_t block_saved_bytes(const Inputs& inputs) const {
    SavedArrays<typename Device::Memory> count;
    blocks().lay_out(count, inputs);
    return count.bytes();
  }

  /// Writes the sums of a block, or adds them to what `sums` holds, and the outputs that are given except
  /// the loss. `sums` has an element for each image and each text given; `saved` has
  /// block_saved_bytes(inputs) bytes. Results do not depend on the number of threads; sums of the same blocks
  /// added in another order differ in rounding. Throws std::invalid_argument for arguments that do not fit
  /// together.
  void accumulate(Device& device, const Inputs& inputs, const Outputs& outputs, const Sums& sums, Into into,
                  std::span<std::byte> saved) const {
    const typename CallOf<Device>::type call(device);
    check(inputs, sums);
    if constexpr (requires { Interface::check_outputs(inputs, outputs); })
      Interface::check_outputs(inputs, outputs);
    blocks().accumulate(device, inputs, outputs, sums, into, block_state(inputs, saved));
  }

  /// Adds the sums `from` to those of the same rows and columns in `to`. Sides that are not given in `from`
  /// are left alone. Throws std::invalid_argument where the others differ in size.
  static void merge(Device& device, const Sums& from, const Sums& to) {
    const typename CallOf<Device>::type call(device);
    check_merge(Interface::name, "rows", from.rows, to.rows);
    check_merge(Interface::name, "columns", from.columns, to.columns);
    require(from.target_score == nullptr || to.target_score != nullptr, Interface::name,
            ": a target_score is given to merge, but none to merge it into");
    Backend::merge(device, from, to);
  }

  /// Writes to `loss` the share of the batch's loss that is of the rows, the columns and the target scores
  /// given: rows are those of images from block.first_image on, columns those of texts from block.first_text
  /// on, each complete over the batch; a side that is not given adds nothing. With all rows, all columns and
  /// all target scores of the batch, at once or by several calls, shares add up to the loss.
  void finish(Device& device, const PairBlock& block, const Sums& sums, Accumulator* loss) const {
    const typename CallOf<Device>::type call(device);
    require(loss != nullptr, Interface::name, ": finish is given no place for the loss");
    check_sums(Interface::name, sums);
    const Index images = sums.rows.max.extent(0), texts = sums.columns.max.extent(0);
    check_block(Interface::name, block, images, texts);
    blocks().finish(device, block.of(images, texts), sums, loss);
  }

  /// Writes, or adds, upstream times the share of a block in the gradients of its inputs. `sums` are those of
  /// the block's rows and columns over the whole batch; `saved` is what accumulate wrote for the block.
  /// Throws std::invalid_argument for arguments that do not fit together.
  void differentiate(Device& device, const Inputs& inputs, const Sums& sums, std::span<const std::byte> saved,
                     Accumulator upstream, const Gradients& gradients) const {
    const typename CallOf<Device>::type call(device);
    check(inputs, sums);
    Interface::check_gradients(inputs, gradients);
    // One layout serves both steps; this one does not write.
    const std::span<std::byte> memory(const_cast<std::byte*>(saved.data()), saved.size());
    blocks().differentiate(device, inputs, sums, block_state(inputs, memory), upstream, gradients);
  }

 private:
  [[nodiscard]] const Backend& blocks() const noexcept { return this->backend().of_blocks(); }

  void check(const Inputs& inputs, const Sums& sums) const {
    Interface::check_inputs(inputs, this->options());
    Interface::check_block_options(this->options());
    if constexpr (requires { blocks().check_values(inputs); }) blocks().check_values(inputs);
    const auto [images, texts] = Interface::block_extents(inputs);
    check_sums(Interface::name, sums);
    require(sums.rows.max.extent(0) == images && sums.columns.max.extent(0) == texts &&
                sums.target_score != nullptr,
            Interface::name, ": sums have ", sums.rows.max.extent(0), " rows and ",
            sums.columns.max.extent(0), " columns", sums.target_score == nullptr ? ", no target_score" : "",
            ", but ", images, " images and ", texts, " texts are given");
  }

  [[nodiscard]] auto block_state(const Inputs& inputs, std::span<std::byte> memory) const {
    SavedArrays<typename Device::Memory> arrays(Interface::name, memory, block_saved_bytes(inputs));
    return blocks().lay_out(arrays, inputs);
  }
};

}  // namespace vlp::detail
