#include "support/catch.hpp"
#include "support/device.hpp"

#include <vlp/core/random.hpp>
#include <vlp/cuda/losses/detail/packed_words.cuh>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace vlp::test;
using vlp::BatchView;
using vlp::Index;
using vlp::MatrixView;
using vlp::cuda::detail::PackedWords;
using vlp::cuda::detail::WordRows;
using Counts = std::vector<std::int64_t>;

/// Copies what kernels see of a layout to where the host can read it.
template <class Number>
__global__ void read_layout(WordRows words, Number strips, Number rows, Number* begin, Number* first_report,
                            Number* report_of) {
  for (Number j = 0; j <= words.reports; ++j) begin[j] = words.begin[j];
  for (Number s = 0; s <= strips; ++s) first_report[s] = words.first_report[s];
  for (Number row = 0; row < rows; ++row) report_of[row] = words.report_of(row);
}

struct Layout {
  std::vector<int> begin, first_report, report_of;
};

Layout lay_out(const Counts& counts, Index most_words, Index capacity, Index strip_rows, int order = 1) {
  vlp::Cuda device = make_device(order);
  DeviceArray<std::int64_t> on_device(counts);
  PackedWords words("test", static_cast<Index>(counts.size()), most_words, on_device.span(), capacity);
  auto scratch = device.scratch().scope();
  words.lay_out(scratch, device, strip_rows);
  const auto room = [](Index size) { return std::vector<int>(static_cast<std::size_t>(size), -1); };
  DeviceArray<int> begin(room(words.reports() + 1)), first_report(room(words.strips() + 1)),
      report_of(room(words.rows()));
  vlp::cuda::launch(read_layout<int>, 1, 1, 0, device.stream(), words.view(),
                    static_cast<int>(words.strips()), static_cast<int>(words.rows()), begin.data(),
                    first_report.data(), report_of.data());
  device.synchronize();
  for (auto* array : {&begin, &first_report, &report_of}) array->download();
  return {begin.host(), first_report.host(), report_of.host()};
}

/// The same by going through all words.
Layout literal_layout(const Counts& counts, Index rows, Index strip_rows) {
  Layout out;
  int at = 0;
  for (std::size_t j = 0; j < counts.size(); ++j) {
    out.begin.push_back(at);
    for (std::int64_t w = 0; w < counts[j]; ++w) out.report_of.push_back(static_cast<int>(j));
    at += static_cast<int>(counts[j]);
  }
  out.begin.push_back(at);
  out.report_of.resize(static_cast<std::size_t>(rows), static_cast<int>(counts.size()));
  for (Index first = 0; first < rows + strip_rows; first += strip_rows) {
    int report = 0;
    while (report < static_cast<int>(counts.size()) && out.begin[static_cast<std::size_t>(report)] < first)
      ++report;
    out.first_report.push_back(first >= rows ? static_cast<int>(counts.size()) : report);
  }
  return out;
}

}  // namespace

TEST_CASE("CUDA words are laid out in strips of rows") {
  vlp::Random random(1);
  for (std::size_t reports : {1, 2, 7, 40, 1500})
    for (Index most : {1, 5, 30})
      for (Index strip_rows : {1, 8, 33}) {
        CAPTURE(reports, most, strip_rows);
        Counts counts;
        Index sum = 0;
        for (std::size_t j = 0; j < reports; ++j) {
          counts.push_back(1 + static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(most))));
          sum += counts.back();
        }
        if (reports == 1500 && strip_rows != 33) continue;
        for (Index capacity : {Index{0}, sum}) {
          const Layout got = lay_out(counts, most, capacity, strip_rows, 2);
          const Index rows = capacity > 0 ? capacity : static_cast<Index>(reports) * most;
          const Layout want = literal_layout(counts, rows, strip_rows);
          CHECK(got.begin == want.begin);
          CHECK(got.report_of == want.report_of);
          CHECK(got.first_report == want.first_report);
        }
      }
}

TEST_CASE("CUDA counts that cannot be leave no words") {
  constexpr std::int64_t huge = std::int64_t{1} << 62;
  for (const Counts& counts : {Counts{3, 0, 2}, {3, -1, 2}, {3, 6, 2}, {huge, huge, huge}, {5, 5, 5}}) {
    const Layout got = lay_out(counts, 5, 12, 4);
    CHECK(got.begin == std::vector<int>(4, 0));
    CHECK(got.report_of == std::vector<int>(12, 3));
    CHECK(got.first_report == std::vector<int>(4, 3));
  }
}

TEMPLATE_TEST_CASE("CUDA words are packed and measured", "", VLP_TEST_SCALARS) {
  constexpr Index most = 4, rows = 9;
  const Counts counts{2, 4, 1};
  vlp::Random random(2);
  for (Index features : {3, 16})  // an element and 16 bytes at a time
    for (Index stride : {features, features + 8}) {
      CAPTURE(features, stride);
      std::vector<TestType> values(static_cast<std::size_t>(3 * most * stride), not_a_result<TestType>());
      for (Index j = 0; j < 3; ++j)
        for (Index w = 0; w < counts[static_cast<std::size_t>(j)]; ++w)
          for (Index d = 0; d < features; ++d)
            values[static_cast<std::size_t>((j * most + w) * stride + d)] =
                from_double<TestType>(random.normal());
      DeviceArray<TestType> from(values),
          to(std::vector<TestType>(static_cast<std::size_t>(rows * stride), not_a_result<TestType>()));
      DeviceArray<float> norm(std::vector<float>(rows, -1));
      DeviceArray<std::int64_t> on_device(counts);
      vlp::Cuda device = make_device(3);
      PackedWords words("test", 3, most, on_device.span(), rows);
      auto scratch = device.scratch().scope();
      words.lay_out(scratch, device, 8);
      words.pack<TestType>(
          device, BatchView<const TestType>(from.data(), {3, most, features}, {most * stride, stride, 1}),
          MatrixView<TestType>(to.data(), {rows, features}, {stride, 1}), norm.data());
      device.synchronize();
      to.download();
      norm.download();
      Index row = 0;
      for (Index j = 0; j <= 3; ++j)
        for (Index w = 0; j < 3 ? w < counts[static_cast<std::size_t>(j)] : row < rows; ++w, ++row) {
          double sum = 0;
          for (Index d = 0; d < features; ++d) {
            const double want =
                j < 3 ? to_double(values[static_cast<std::size_t>((j * most + w) * stride + d)]) : 0.0;
            CHECK(to_double(to.host()[static_cast<std::size_t>(row * stride + d)]) == want);
            sum += want * want;
          }
          CHECK(static_cast<double>(norm.host()[static_cast<std::size_t>(row)]) == Approx(std::sqrt(sum)));
        }
    }
}

TEST_CASE("CUDA words that are too many to count are refused") {
  CHECK_THROWS_WITH(PackedWords("test", Index{1} << 20, 2000, {}, 0),
                    "test: 2097152000 words are more than 1073741824");
  CHECK_THROWS_WITH(PackedWords("test", 3, 5, {}, 14),
                    "test: word_capacity is 14 but the reports have 15 words");
  CHECK_THROWS_WITH(
      PackedWords("test", Index{1} << 40, Index{1} << 40, {}, 7),
      "test: the extents are 1099511627776 x 1099511627776, but each must be at least 0 and their "
      "product below 2^63");
}
