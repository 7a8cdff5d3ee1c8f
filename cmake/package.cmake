# `cmake --install build/release` and the Debian package: `cmake --build --preset release --target deb`. Both take the
# command, libshrike and their pages only, so that neither tests nor benchmarks need be built; tests/package tries the package.
include(GNUInstallDirs)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CMAKE_INSTALL_DOCDIR ${CMAKE_INSTALL_DATAROOTDIR}/doc/shrike)

install(TARGETS shrike RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS libshrike EXPORT shrike LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# find_package(shrike) gives shrike::shrike; pkg-config knows it as shrike.
set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/shrike)
install(EXPORT shrike NAMESPACE shrike:: FILE shrikeConfig.cmake DESTINATION ${config_dir})
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/shrikeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)  # wherever it is installed
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/shrike.pc @ONLY CONTENT [==[
prefix=${pcfiledir}/@to_prefix@
includedir=${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
libdir=${prefix}/@CMAKE_INSTALL_LIBDIR@

Name: shrike
Description: online learning for fraud scoring, in process
Version: @PROJECT_VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} -lshrike
]==])
install(FILES ${CMAKE_BINARY_DIR}/shrikeConfigVersion.cmake DESTINATION ${config_dir})
install(FILES ${CMAKE_BINARY_DIR}/shrike.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_BINARY_DIR}/manual/shrike.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_BINARY_DIR}/manual/shrike.bash RENAME shrike
  DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions)
install(FILES LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})  # the name that Debian asks for
install(FILES README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES tools/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/tools)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs FILES_MATCHING PATTERN "*.md")
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
# What clients compile, and what reads a log; at their place in the sources, as the documents name them.
install(FILES engine/wire/wire.proto DESTINATION ${CMAKE_INSTALL_DOCDIR}/engine/wire)
install(FILES engine/fold/log.proto DESTINATION ${CMAKE_INSTALL_DOCDIR}/engine/fold)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "Shrike maintainers <maintainers@shrike.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "online learning for fraud scoring")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A server that scores transactions for fraud within a millisecond, learns
from labels as they come, and can compute every score again from its log.
Also the tools around it: replay, evaluation, a simulator, models.")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_STRIP_FILES ON)
include(CPack)

add_custom_target(deb
  COMMAND ${CMAKE_CPACK_COMMAND} --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake -B ${CMAKE_BINARY_DIR}/package
  DEPENDS shrike_manual libshrike VERBATIM)
