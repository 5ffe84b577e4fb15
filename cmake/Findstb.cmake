# Finds the font of stb, one header, and makes the target stb::stb.
find_path(stb_INCLUDE_DIR stb/stb_easy_font.h)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(stb REQUIRED_VARS stb_INCLUDE_DIR)
mark_as_advanced(stb_INCLUDE_DIR)
if(stb_FOUND AND NOT TARGET stb::stb)
  add_library(stb::stb INTERFACE IMPORTED)
  set_target_properties(stb::stb PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${stb_INCLUDE_DIR})
endif()
