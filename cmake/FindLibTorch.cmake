# Finds LibTorch, PyTorch's C++ library, and makes the target LibTorch::LibTorch, what computes on the CPU. LibTorch_ROOT is
# the folder that has its include and lib: of an unpacked LibTorch, or the folder `torch` of a Python environment; without it,
# that of the environment in build/python. LibTorch's own find_package(Torch) does more, and needs the CUDA toolkit where
# LibTorch was built for CUDA.
file(GLOB hints LIST_DIRECTORIES true ${CMAKE_CURRENT_LIST_DIR}/../build/python/lib/python3*/site-packages/torch)
find_path(LibTorch_INCLUDE_DIR torch/csrc/autograd/custom_function.h HINTS ${hints} PATH_SUFFIXES include)
find_library(LibTorch_LIBRARY torch_cpu HINTS ${hints} PATH_SUFFIXES lib)
find_library(LibTorch_C10_LIBRARY c10 HINTS ${hints} PATH_SUFFIXES lib)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR)
mark_as_advanced(LibTorch_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR)
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch UNKNOWN IMPORTED)
  set_target_properties(LibTorch::LibTorch PROPERTIES IMPORTED_LOCATION ${LibTorch_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include"
    # Libraries that it needs in turn may lie where the loader finds them and the linker does not.
    INTERFACE_LINK_LIBRARIES "${LibTorch_C10_LIBRARY};-Wl,--allow-shlib-undefined")
endif()
