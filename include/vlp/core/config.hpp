/// \file
/// Version of the library, and whether the compiler offers OpenMP.
#pragma once

#define VLP_VERSION_MAJOR 0
#define VLP_VERSION_MINOR 1
#define VLP_VERSION_PATCH 0
#define VLP_VERSION_STRING "0.1.0"

#ifdef _OPENMP
#define VLP_HAS_OPENMP 1
#else
#define VLP_HAS_OPENMP 0
#endif
