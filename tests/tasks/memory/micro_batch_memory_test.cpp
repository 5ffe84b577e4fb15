// Memory of steps by micro-batches. A program of its own, for it replaces the operator new by which buffers
// and scratch memory are taken.
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "tasks/few_hybrid.hpp"

#include <malloc.h>

#include <vlp/tasks/contrastive.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

/// Bytes of aligned memory that are taken, and the most that ever were.
std::atomic<std::size_t> taken = 0, most_taken = 0;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  void* const memory = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t now = taken += malloc_usable_size(memory);
  most_taken = std::max(most_taken.load(), now);
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  if (memory != nullptr) taken -= malloc_usable_size(memory);
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
  operator delete(memory, alignment);
}

using namespace vlp;

TEST_CASE("activations take the memory of a micro-batch, whatever the batch") {
  const data::Dataset few = test::few_pairs(16);
  data::Dataset dataset = test::few_pairs(16);
  for (int i = 0; i < 15; ++i) dataset.train.insert(dataset.train.end(), few.train.begin(), few.train.end());
  tasks::ContrastiveOptions options = test::small_options();
  options.pairs.model.width = 32;
  /// Most bytes of buffers and scratch above those of the parameters, over two steps and the held-out terms.
  const auto memory_of = [&](Index batch_size, Index micro_batch) {
    options.pairs.batch_size = batch_size;
    options.pairs.micro_batch = micro_batch;
    Cpu device(1);
    tasks::Contrastive<float> task(device, options, dataset, tasks::build_vocabulary(few, options.pairs));
    const std::size_t before = taken;
    most_taken = before;
    for (Index step = 0; step < 2; ++step) static_cast<void>(task.step(device, task.make_batch(step)));
    static_cast<void>(task.held_out(device));
    return static_cast<double>(most_taken - before);
  };
  const double of_4 = memory_of(4, 0), whole = memory_of(64, 0), parts = memory_of(64, 4);
  CAPTURE(of_4, whole, parts);
  CHECK(whole > 10 * of_4);
  CHECK(parts < 2 * of_4);
  CHECK(memory_of(64, 64) > 0.99 * whole);
}

TEST_CASE("activations of hybrid pretraining take the memory of a micro-batch, and logits that of a tile") {
  const data::Dataset few = test::few_pairs(16);
  data::Dataset dataset = test::few_pairs(16);
  for (int i = 0; i < 15; ++i) dataset.train.insert(dataset.train.end(), few.train.begin(), few.train.end());
  tasks::HybridOptions options = test::small_hybrid_options();
  options.pairs.model.width = 32;
  Cpu device(1);
  const test::TemporaryFolder folder;
  test::write_summariser<float>(device, options, few, folder / "summariser.safetensors");
  /// Most bytes of buffers and scratch above those of the parameters, over two steps and the held-out terms,
  /// and how many more a third step takes.
  const auto memory_of = [&](Index batch_size, Index micro_batch) {
    options.pairs.batch_size = batch_size;
    options.pairs.micro_batch = micro_batch;
    Cpu own(1);
    tasks::Hybrid<float> task(own, options, dataset, tasks::build_vocabulary(few, options),
                              folder / "summariser.safetensors");
    const std::size_t before = taken;
    most_taken = before;
    const auto batch = task.make_batch(0);
    for (Index step = 0; step < 2; ++step) static_cast<void>(task.step(own, batch));
    const std::size_t steady = taken, most = most_taken;
    static_cast<void>(task.step(own, batch));
    CHECK(taken == steady);
    CHECK(most_taken == most);
    static_cast<void>(task.held_out(own));
    return static_cast<double>(most_taken - before);
  };
  const double of_4 = memory_of(4, 0), whole = memory_of(64, 0), parts = memory_of(64, 4);
  CAPTURE(of_4, whole, parts);
  CHECK(whole > 8 * of_4);
  CHECK(parts < 2 * of_4);
}
