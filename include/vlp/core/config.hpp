/// \file
/// Version of the library.
#pragma once

#define VLP_VERSION_MAJOR 0
#define VLP_VERSION_MINOR 1
#define VLP_VERSION_PATCH 0
#define VLP_VERSION_STRING "0.1.0"
