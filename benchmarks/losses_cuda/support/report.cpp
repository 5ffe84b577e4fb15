#include "losses_cuda/support/report.hpp"

#include <vlp/core/errors.hpp>

#include <cmath>
#include <iomanip>
#include <sstream>

namespace vlp::benchmarks {
namespace {

/// Three or four digits, never an exponent.
std::string short_number(double x) {
  const int decimals = x >= 100 ? 1 : x >= 1 ? 2 : 4;
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << x;
  return out.str();
}

std::string or_dash(double x) {
  return x > 0 ? short_number(x) : "-";
}

/// A string of JSON.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

/// A number of JSON, which has neither NaN nor infinities.
std::string number(double x) {
  if (!std::isfinite(x)) return "null";
  std::ostringstream out;
  out << std::setprecision(8) << x;
  return out.str();
}

std::string numbers(const std::vector<double>& values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i > 0 ? ", " : "") + number(values[i]);
  return out + ']';
}

void write_json_row(std::ostream& out, const Row& row) {
  out << "  {\"loss\": " << quoted(row.loss) << ", \"type\": " << quoted(row.type) << ", \"sizes\": {";
  for (std::size_t i = 0; i < row.sizes.size(); ++i)
    out << (i > 0 ? ", " : "") << quoted(row.sizes[i].first) << ": " << row.sizes[i].second;
  out << '}';
  if (!row.problem.empty()) out << ", \"problem\": " << quoted(row.problem);
  if (!row.step.device.empty())
    out << ",\n   \"median_ms\": " << number(Times::median(row.step.device)) << ", \"median_graph_ms\": "
        << (row.graph.device.empty() ? "null" : number(Times::median(row.graph.device)))
        << ", \"bar_floor_ms\": " << number(row.bar_floor)
        << ", \"measured_floor_ms\": " << number(row.measured_floor)
        << ",\n   \"bar_met\": " << quoted(verdict(row))
        << ", \"bar_times_floor\": " << number(row.bar.times_floor) << ", \"launches\": " << row.launches
        << ", \"scratch_bytes\": " << row.scratch_bytes << ", \"kept_bytes\": " << row.kept_bytes
        << ", \"allocations\": " << row.allocations << ", \"value\": " << number(row.value)
        << ",\n   \"ms\": " << numbers(row.step.device) << ",\n   \"graph_ms\": " << numbers(row.graph.device)
        << ",\n   \"queue_ms\": " << numbers(row.step.host);
  out << '}';
}

}  // namespace

std::string shape_text(const std::vector<std::pair<std::string, Index>>& sizes) {
  std::string out;
  for (const auto& [name, size] : sizes) out += concat(out.empty() ? "" : " ", name, '=', size);
  return out;
}

double deciding_milliseconds(const Row& row) {
  return Times::median(row.graph.device.empty() ? row.step.device : row.graph.device);
}

std::string verdict(const Row& row) {
  if (!row.bar.is_set()) return "-";
  if (row.step.device.empty()) return "no: did not run";
  std::string missed;
  const auto miss = [&](bool missing, const std::string& what) {
    if (missing) missed += (missed.empty() ? "no: " : ", ") + what;
  };
  miss(row.bar.times_floor > 0 && deciding_milliseconds(row) > row.bar.times_floor * row.bar_floor,
       concat("over ", row.bar.times_floor, " times the floor"));
  miss(row.bar.scratch_bytes > 0 && row.scratch_bytes > row.bar.scratch_bytes,
       concat("over ", row.bar.scratch_bytes, " bytes of scratch"));
  miss(row.bar.launches > 0 && row.launches == 0, "launches not counted");
  miss(row.bar.launches > 0 && row.launches > row.bar.launches,
       concat("over ", row.bar.launches, " launches"));
  return missed.empty() ? "yes" : missed;
}

void write_header(std::ostream& out, const Context& context, const DeviceCeilings& ceilings) {
  for (const auto& [name, value] : context) out << name << ": " << value << '\n';
  out << "products of cuBLAS: bfloat16 " << short_number(ceilings.products_16_bit * 1e-12)
      << " TFLOP/s, float32 " << short_number(ceilings.products_float * 1e-12)
      << " TFLOP/s (no TF32); copying: " << short_number(ceilings.copying * 1e-12)
      << " TB/s read and written\n\n"
      << "Forward and backward: median (least to most) in ms. Replayed: the same as a captured graph. "
         "Queued: until\n"
         "the host had given it all to the stream. Floor: at 790 TFLOP/s and 4.3 TB/s (float32: no such rate "
         "for its\n"
         "products), and at this run's own rates; times: the replayed median over it.\n\n"
      << "| loss | type | shape | ms | replayed | queued | floor | times | floor, this run | times | bar met "
         "| launches | scratch MiB | kept KiB | mallocs |\n"
      << "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|\n";
  out.flush();
}

void write_row(std::ostream& out, const Row& row) {
  out << "| " << row.loss << " | " << row.type << " | " << shape_text(row.sizes) << " | ";
  if (row.step.device.empty()) {
    out << row.problem << " |\n";
    out.flush();
    return;
  }
  const double ms = Times::median(row.step.device), deciding = deciding_milliseconds(row);
  const auto over = [&](double floor) {
    return floor > 0 ? short_number(deciding / floor) : std::string("-");
  };
  out << short_number(ms) << " (" << short_number(Times::least(row.step.device)) << " to "
      << short_number(Times::most(row.step.device)) << ") | "
      << (row.graph.device.empty() ? "-" : short_number(Times::median(row.graph.device))) << " | "
      << short_number(Times::median(row.step.host)) << " | " << or_dash(row.bar_floor) << " | "
      << over(row.bar_floor) << " | " << or_dash(row.measured_floor) << " | " << over(row.measured_floor)
      << " | " << verdict(row) << " | ";
  if (row.launches > 0)
    out << row.launches;
  else
    out << '-';
  out << " | " << short_number(static_cast<double>(row.scratch_bytes) / 1048576) << " | "
      << short_number(static_cast<double>(row.kept_bytes) / 1024) << " | " << row.allocations << " |\n";
  if (!row.problem.empty()) out << "|  |  |  | " << row.problem << " |\n";
  out.flush();
}

void write_json(std::ostream& out, const Context& context, const DeviceCeilings& ceilings,
                const std::vector<Row>& rows) {
  out << "{\n \"context\": {";
  bool first = true;
  for (const auto& [name, value] : context) {
    out << (first ? "" : ", ") << quoted(name) << ": " << quoted(value);
    first = false;
  }
  out << "},\n \"ceilings\": {\"bfloat16_flop_per_s\": " << number(ceilings.products_16_bit)
      << ", \"float32_flop_per_s\": " << number(ceilings.products_float)
      << ", \"copied_bytes_per_s\": " << number(ceilings.copying) << "},\n \"rows\": [\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    write_json_row(out, rows[i]);
    out << (i + 1 < rows.size() ? ",\n" : "\n");
  }
  out << " ]\n}\n";
}

}  // namespace vlp::benchmarks
