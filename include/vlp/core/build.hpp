/// \file
/// The build of a program: all that decides how its sums are rounded.
#pragma once

#include <vlp/core/config.hpp>

#include <string>

namespace vlp {

namespace detail {

/// The sets of instructions that this processor has and libraries choose by, such as the C library's
/// functions of mathematics; empty where they cannot be asked for.
inline std::string processor_text() {
  std::string text;
#if defined(__x86_64__) || defined(__i386__)
  if (__builtin_cpu_supports("avx2")) text += " AVX2";
  if (__builtin_cpu_supports("fma")) text += " FMA";
  if (__builtin_cpu_supports("avx512f")) text += " AVX-512";
#endif
  return text;
}

}  // namespace detail

/// The version, the compiler, the instructions compiled for and those that the processor has: "vlp 0.1.0, g++
/// 12.2.0 for AVX2 FMA, on a processor with AVX2 FMA". Results are equal to the bit where these texts are.
[[nodiscard]] inline std::string build_text() {
  std::string text = "vlp " VLP_VERSION_STRING;
#if defined(__clang__)
  text += ", clang " __clang_version__;
#elif defined(__GNUC__)
  text += ", g++ " __VERSION__;
#endif
  std::string compiled;
#ifdef __AVX2__
  compiled += " AVX2";
#endif
#ifdef __FMA__
  compiled += " FMA";
#endif
#ifdef __AVX512F__
  compiled += " AVX-512";
#endif
#ifdef __FAST_MATH__
  compiled += " with -ffast-math";
#endif
#ifdef VLP_USE_BLAS
  compiled += " with a BLAS";
#endif
  if (!compiled.empty()) text += " for" + compiled;
  const std::string processor = detail::processor_text();
  return processor.empty() ? text : text + ", on a processor with" + processor;
}

}  // namespace vlp
