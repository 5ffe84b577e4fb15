# Makes `cmake --install` put the headers and a CMake package where `find_package(vlp COMPONENTS text io)` finds
# them. Each component is an export set of its own: what one needs is only looked for when it is asked for.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(vlp_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vlp)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cuda/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.cuh")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/vlp)

foreach(component ${vlp_components})
  install(TARGETS ${component} EXPORT ${component}Targets)
  install(EXPORT ${component}Targets NAMESPACE vlp:: DESTINATION ${vlp_package_dir})
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vlpConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/vlpConfig.cmake INSTALL_DESTINATION ${vlp_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vlpConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/vlpConfig.cmake ${PROJECT_BINARY_DIR}/vlpConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindCBLAS.cmake ${PROJECT_SOURCE_DIR}/cmake/FindRandom123.cmake
              ${PROJECT_SOURCE_DIR}/cmake/Findlibcsv.cmake ${PROJECT_SOURCE_DIR}/cmake/Findstb.cmake
              ${PROJECT_SOURCE_DIR}/cmake/Findutf8proc.cmake
        DESTINATION ${vlp_package_dir})
