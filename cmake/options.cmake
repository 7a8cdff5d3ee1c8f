# What every target of ours is compiled with.
#
# -ffp-contract=off: a fused multiply-add rounds once where two operations round twice, so scores
# would depend on the instruction set. Scores are equal to the bit on every machine; see learners/.
add_library(shrike_options INTERFACE)
target_compile_options(shrike_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror
  -ffp-contract=off)
target_include_directories(shrike_options INTERFACE ${CMAKE_SOURCE_DIR})

# Headers that most sources of a target read anyway are compiled once for all of them: about a third of the time of a
# build. Sources still include what they use: the fuzz preset builds without. `want` names further sets beside std:
# fmt, json, cli, gtest.
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
  # ccache asks for the first. Of libstdc++'s own std::string, GCC 12 warns without cause (PR 105651), and a header that was
  # compiled before is no system header to it.
  target_compile_options(shrike_options INTERFACE -fpch-preprocess -Wno-array-bounds -Wno-restrict
    -Wno-stringop-overread -Wno-stringop-overflow)
endif()
set(shrike_headers_std <algorithm> <array> <bit> <chrono> <cmath> <cstdint> <cstring> <deque> <functional> <limits> <map>
  <memory> <optional> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector> <tl/expected.hpp>)
set(shrike_headers_fmt <fmt/format.h> <fmt/ranges.h>)
set(shrike_headers_json <nlohmann/json.hpp>)
set(shrike_headers_cli <CLI/CLI.hpp>)
set(shrike_headers_gtest <gtest/gtest.h>)
function(shrike_precompile target)
  set(headers ${shrike_headers_std})
  foreach(want ${ARGN})
    list(APPEND headers ${shrike_headers_${want}})
  endforeach()
  target_precompile_headers(${target} PRIVATE ${headers})
endfunction()

# One library per folder, named shrike_FOLDER, made of all its .cc files and .proto files, rooms included.
# Generated code is compiled apart, so that our warnings do not judge it. Lite: nothing reflects, and a program that has
# libshrike in it may compile wire.proto too (descriptors of one name in one process end it).
function(shrike_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.proto)
  add_library(shrike_${name} STATIC ${sources})
  target_link_libraries(shrike_${name} PRIVATE shrike_options PUBLIC tl::expected)
  target_include_directories(shrike_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  if(protos)
    add_library(shrike_${name}_proto STATIC)
    foreach(proto ${protos})
      file(RELATIVE_PATH stem ${CMAKE_SOURCE_DIR} ${proto})
      string(REGEX REPLACE "[.]proto$" ".pb" out ${CMAKE_BINARY_DIR}/generated/${stem})
      add_custom_command(
        OUTPUT ${out}.cc ${out}.h
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/generated
        COMMAND protobuf::protoc --cpp_out=lite:${CMAKE_BINARY_DIR}/generated -I${CMAKE_SOURCE_DIR} ${proto}
        DEPENDS ${proto} VERBATIM)
      target_sources(shrike_${name}_proto PRIVATE ${out}.cc ${out}.h)
    endforeach()
    target_include_directories(shrike_${name}_proto SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
    target_link_libraries(shrike_${name}_proto PUBLIC protobuf::libprotobuf)
    target_link_libraries(shrike_${name} PRIVATE shrike_${name}_proto)
  endif()
endfunction()
