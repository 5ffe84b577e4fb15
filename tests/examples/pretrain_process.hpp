/// \file
/// The program pretrain as a process, on data and a model as small as they go.
#pragma once

#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

namespace vlp::test {

using Arguments = std::vector<std::string>;

/// A model and a data set as small as they go, so that a run takes a moment.
inline const Arguments tiny{
    "--studies",   "60", "--image-size", "32", "--width",    "16", "--heads",   "2", "--text-blocks", "1",
    "--embedding", "8",  "--batch-size", "9",  "--overlays", "1",  "--threads", "1", "--held-out",    "0.2"};

#ifdef VLP_TEST_PRETRAIN  // the program, where it is built

/// The program and its arguments; an option that comes again replaces the one before.
inline Arguments joined(std::initializer_list<Arguments> parts) {
  Arguments all{VLP_TEST_PRETRAIN};
  for (const Arguments& part : parts)
    for (const std::string& argument : part) {
      const auto earlier = std::find(all.begin(), all.end(), argument);
      if (argument.starts_with("--") && earlier != all.end()) all.erase(earlier, earlier + 2);
      all.push_back(argument);
    }
  return all;
}

inline ProgramResult pretrain(const TemporaryFolder& folder, std::initializer_list<Arguments> parts) {
  return run_program(folder.path(), joined(parts));
}

inline const char* const no_plots = "PATH=/nowhere";  // where there is no gnuplot; most of a tiny run's time

/// The program with variables of the environment set.
inline ProgramResult pretrain_with(const TemporaryFolder& folder, const Arguments& environment,
                                   std::initializer_list<Arguments> parts) {
  Arguments command{"/usr/bin/env"};
  command.insert(command.end(), environment.begin(), environment.end());
  for (const std::string& argument : joined(parts)) command.push_back(argument);
  return run_program(folder.path(), command);
}

#endif

#ifdef VLP_TEST_FAULT_INJECTION

/// The environment of a program that meets a fault (support/fault_injection.cpp).
inline Arguments with_fault(const std::string& fault) {
  return {"LD_PRELOAD=" VLP_TEST_FAULT_INJECTION, "VLP_FAULT=" + fault,
          "ASAN_OPTIONS=verify_asan_link_order=0"};
}

#endif

/// One line on stderr that holds `part`, and exit status 2.
inline void check_refused(const ProgramResult& result, const std::string& part) {
  INFO("stderr: " << result.error);
  CHECK(result.status == 2);
  CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  CHECK(result.error.rfind("pretrain: ", 0) == 0);
  CHECK(result.error.find(part) != std::string::npos);
}

inline std::vector<double> column(const io::Path& csv, const char* name) {
  const io::CsvTable table = io::read_csv(csv);
  std::vector<double> values;
  for (const auto& row : table.rows)
    values.push_back(std::stod(row[static_cast<std::size_t>(table.column(name))]));
  return values;
}

/// Everything that a run computed, as bytes: equal for equal runs.
inline std::vector<std::string> results_of(const io::Path& run) {
  std::vector<std::string> bytes;
  for (const char* file :
       {"config.json", "vocab.txt", "log.csv", "held_out.csv", "best.safetensors", "last.safetensors"})
    bytes.push_back(io::read_file(run / file));
  return bytes;
}

/// The same of a run of two stages.
inline std::vector<std::string> results_of_stages(const io::Path& run) {
  std::vector<std::string> bytes = results_of(run);
  for (const char* file : {"log.csv", "held_out.csv", "best.safetensors", "last.safetensors"})
    bytes.push_back(io::read_file(run / "stage1" / file));
  return bytes;
}

inline io::GrayImage picture(Index width, Index height, int seed) {
  io::GrayImage image = io::make_gray_image(width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<float>((i * static_cast<std::size_t>(37 + seed)) % 251) / 251.0f;
  return image;
}

/// A manifest of six pairs of six patients, with quotes and line breaks in its reports.
inline void write_manifest(const TemporaryFolder& folder) {
  std::string csv = "image,report,patient\n";
  for (int i = 0; i < 6; ++i) {
    const std::string name = "image" + std::to_string(i) + ".png";
    io::write_png(folder / name, picture(40 + i, 50, i));
    csv += name + ",\"The \"\"left\"\" lung,\nis clear in patient number " + std::to_string(i) + ".\"," +
           std::to_string(i) + "\n";
  }
  folder.write("manifest.csv", csv);
}

}  // namespace vlp::test
