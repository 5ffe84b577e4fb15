# Options that vlp's own CUDA programs are compiled with; never passed on to users.
if(NOT TARGET vlp::cuda)
  message(FATAL_ERROR "VLP_CUDA needs the CUDA toolkit, 12 or later")
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
endif()
if(NOT CMAKE_CUDA_COMPILER AND CUDAToolkit_NVCC_EXECUTABLE)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
endif()
if(CCACHE_PROGRAM)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.25.2 does not know that nvcc 12 speaks C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

add_library(vlp_cuda_developer INTERFACE)
target_link_libraries(vlp_cuda_developer INTERFACE vlp::cuda Random123::Random123)
# Eigen is for the host alone here; nvcc would otherwise compile it for the device too.
target_compile_definitions(vlp_cuda_developer INTERFACE EIGEN_NO_CUDA)
target_compile_options(vlp_cuda_developer INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
# Programs are carried to other machines: what they say of a file names its place in the project.
target_compile_options(vlp_cuda_developer INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>)
if(VLP_WARNINGS_AS_ERRORS)
  target_compile_options(vlp_cuda_developer INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()

# Everything that is to be taken to a machine with a CUDA device: vlp_cuda_program(TARGET) adds one of them.
add_custom_target(cuda_programs)
function(vlp_cuda_program target)
  add_dependencies(cuda_programs ${target})
endfunction()
