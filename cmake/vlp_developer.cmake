# What vlp's own programs (tests, examples, benchmarks) are compiled with; never passed on to users.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
foreach(component text io)
  if(NOT TARGET vlp::${component})
    message(FATAL_ERROR "vlp's own programs need the component vlp::${component}; "
                        "scripts/install_packages.sh installs what it lacks")
  endif()
endforeach()

find_package(stb REQUIRED)  # a font for the pictures of the examples

add_library(vlp_developer INTERFACE)
target_link_libraries(vlp_developer INTERFACE vlp::train stb::stb)
target_compile_options(vlp_developer INTERFACE -Wall -Wextra -Wshadow -Wpedantic)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 takes the deliberately undefined registers of its own AVX-512 header for mistakes (GCC bug 105593), and
  # "text" + string for an overlapping copy (GCC bug 105651).
  target_compile_options(vlp_developer INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized -Wno-restrict)
endif()
if(VLP_WARNINGS_AS_ERRORS)
  target_compile_options(vlp_developer INTERFACE -Werror)
endif()
if(VLP_NATIVE)
  target_compile_options(vlp_developer INTERFACE -march=native)
endif()
if(VLP_SANITIZE)
  target_compile_options(vlp_developer INTERFACE -fsanitize=${VLP_SANITIZE} -fno-sanitize-recover=all -g)
  target_link_options(vlp_developer INTERFACE -fsanitize=${VLP_SANITIZE})
endif()
