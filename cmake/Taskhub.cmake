# How every part of Taskhub is built. A folder's CMakeLists.txt is one call of these functions:
#
#   taskhub_library(th_base SOURCES str.c log.c PUBLIC PkgConfig::jansson PRIVATE m)
#       A static library. Its users, and itself, include "base/str.h" (folders below common/) or
#       "worker/pool.h" (folders at the top). PUBLIC and PRIVATE are what it links: its arrows.
#       PRIVATE hides the headers of what is linked, not its code.
#
#   taskhub_program(taskhub SOURCES main.c LINK th_node EXPORT th_sdk)
#       A program in bin/. EXPORT names the libraries whose functions applications call: they are
#       linked whole, and their symbols are visible to a loaded application.
#
#   taskhub_application(hello SOURCES hello.c LINK PkgConfig::lapacke)
#       apps/hello.so, an application that a program loads. It includes <taskhub.h> and takes
#       every th_* symbol from the program, so it never links one of our libraries.
#
#   taskhub_test(unit_str SOURCES str_test.c LINK th_base LABELS quick TIMEOUT 30)
#       A cmocka program in bin/tests/, registered with ctest. LABELS names its tier: quick (when
#       nothing is said) or long. The folder below tests/ is added as a label: unit, sim, e2e, ...
#       EXPORT as for a program, ARGS are handed to it, SERIAL keeps it from running beside others.
#
#   taskhub_script_test(e2e_restart COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/restart.sh LABELS quick)
#       A test that is any command; ARGS, LABELS, TIMEOUT and SERIAL as above.
#
#   taskhub_fuzzer(fuzz_record SOURCES record_fuzz.c LINK th_model)
#       A libFuzzer program in bin/fuzz/ in the fuzz preset; elsewhere nothing. Seeds lie in
#       corpus/<name>/ beside it, words in <name>.dict; TASKHUB_FUZZ_SECONDS bounds its ctest run.
#
#   taskhub_subfolders(base model)
#       Adds each named folder that has a CMakeLists.txt; without names, every such folder.
#
# Tests see TASKHUB_BIN, TASKHUB_APPS, TASKHUB_SOURCE and TASKHUB_BUILD in their environment.

include_guard(GLOBAL)
include(CheckPIESupported)

option(TASKHUB_WERROR "Treat compiler warnings as errors" OFF)
option(TASKHUB_TESTS "Build the tests" ON)
option(TASKHUB_COVERAGE "Count executed lines" OFF)
option(TASKHUB_FUZZ "Build the fuzzers instead of the tests (clang only)" OFF)
set(TASKHUB_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=")
set(TASKHUB_FUZZ_SECONDS 60 CACHE STRING "How long ctest runs each fuzzer")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
check_pie_supported(LANGUAGES C)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
foreach(package msgpack sqlite3 libmicrohttpd libcurl jansson lapacke rdkafka hiredis
        libnghttp2 openssl)
    pkg_check_modules(${package} REQUIRED QUIET IMPORTED_TARGET GLOBAL ${package})
endforeach()
if(TASKHUB_TESTS AND NOT TASKHUB_FUZZ)
    pkg_check_modules(cmocka REQUIRED QUIET IMPORTED_TARGET GLOBAL cmocka)
endif()

# The flags of everything we compile and link; never part of what a library hands to its users.
add_library(taskhub_flags INTERFACE)
target_compile_definitions(taskhub_flags INTERFACE
    _GNU_SOURCE TASKHUB_VERSION="${PROJECT_VERSION}")
target_compile_options(taskhub_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef
    # Sizes and counts mix signedness at every system call; the casts would hide real ones.
    -Wno-sign-conversion
    # Callbacks seldom need all they are given, and {.field = x} means "the rest is zero".
    -Wno-unused-parameter -Wno-missing-field-initializers
    -Wno-format-nonliteral
    -fno-common -fno-omit-frame-pointer)
target_link_libraries(taskhub_flags INTERFACE Threads::Threads)
if(TASKHUB_WERROR)
    target_compile_options(taskhub_flags INTERFACE -Werror)
endif()
if(TASKHUB_SANITIZE)
    target_compile_options(taskhub_flags INTERFACE
        -fsanitize=${TASKHUB_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(taskhub_flags INTERFACE -fsanitize=${TASKHUB_SANITIZE})
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        # gcc loses track of values behind the sanitizers' checks and guesses wrongly.
        target_compile_options(taskhub_flags INTERFACE
            -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-stringop-truncation
            -Wno-format-truncation -Wno-array-bounds -Wno-null-dereference)
    endif()
endif()
if(TASKHUB_COVERAGE)
    target_compile_options(taskhub_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(taskhub_flags INTERFACE --coverage)
endif()
if(TASKHUB_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "TASKHUB_FUZZ needs clang: use the fuzz preset")
    endif()
    add_custom_target(fuzzers)
endif()

# A file that appears later is noticed at the next build: the glob is checked then.
function(taskhub_subfolders)
    set(folders ${ARGN})
    if(NOT folders)
        file(GLOB lists CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "*/CMakeLists.txt")
        list(TRANSFORM lists REPLACE "/CMakeLists.txt$" "" OUTPUT_VARIABLE folders)
    endif()
    foreach(folder IN LISTS folders)
        file(GLOB found CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt")
        if(found)
            add_subdirectory(${folder})
        endif()
    endforeach()
endfunction()

# cmake_parse_arguments with a word of our own for what it does not understand.
macro(taskhub_arguments options ones many)
    cmake_parse_arguments(arg "${options}" "${ones}" "${many}" ${ARGN})
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR
            "${CMAKE_CURRENT_FUNCTION}(${name}): not understood: ${arg_UNPARSED_ARGUMENTS}")
    endif()
endmacro()

function(taskhub_library name)
    taskhub_arguments("" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
    set(root "${PROJECT_SOURCE_DIR}")
    if("${CMAKE_CURRENT_SOURCE_DIR}/" MATCHES "^${PROJECT_SOURCE_DIR}/common/")
        set(root "${PROJECT_SOURCE_DIR}/common")
    endif()
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${root}")
    target_link_libraries(${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} taskhub_flags)
endfunction()

# What programs and tests share: every header, and the symbols that applications look for.
function(taskhub_executable name)
    taskhub_arguments("" "FOLDER" "SOURCES;LINK;EXPORT" ${ARGN})
    add_executable(${name} ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${arg_FOLDER}")
    target_include_directories(${name} PRIVATE
        "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/common")
    target_link_libraries(${name} PRIVATE ${arg_LINK} ${arg_EXPORT} taskhub_flags)
    if(arg_EXPORT)
        set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
    endif()
    # Linked as objects, whole: as an archive, whole, a library that also is the arrow of another
    # one would come twice.
    foreach(library IN LISTS arg_EXPORT)
        target_sources(${name} PRIVATE $<TARGET_OBJECTS:${library}>)
    endforeach()
endfunction()

function(taskhub_program name)
    taskhub_arguments("" "" "SOURCES;LINK;EXPORT" ${ARGN})
    taskhub_executable(${name} FOLDER bin
        SOURCES ${arg_SOURCES} LINK ${arg_LINK} EXPORT ${arg_EXPORT})
endfunction()

function(taskhub_application name)
    taskhub_arguments("" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} MODULE ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES
        PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/apps")
    target_include_directories(${name} PRIVATE
        "${PROJECT_SOURCE_DIR}/common" "${PROJECT_SOURCE_DIR}/common/sdk")
    target_link_libraries(${name} PRIVATE ${arg_LINK} taskhub_flags)
    # An application's own functions win over the program's functions of the same name.
    target_link_options(${name} PRIVATE -Wl,-Bsymbolic-functions)
endfunction()

function(taskhub_register_test name)
    taskhub_arguments("SERIAL" "TIMEOUT" "COMMAND;LABELS" ${ARGN})
    set(labels ${arg_LABELS})
    if(NOT "long" IN_LIST labels AND NOT "quick" IN_LIST labels)
        list(APPEND labels quick)
    endif()
    set(here "${CMAKE_CURRENT_SOURCE_DIR}")
    cmake_path(RELATIVE_PATH here BASE_DIRECTORY "${PROJECT_SOURCE_DIR}/tests")
    string(REGEX MATCH "^[a-z0-9_]+" folder "${here}")
    list(APPEND labels ${folder})
    list(REMOVE_DUPLICATES labels)
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
        if("long" IN_LIST labels)
            set(arg_TIMEOUT 1800)
        endif()
    endif()
    if(TASKHUB_SANITIZE)
        math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
    endif()
    add_test(NAME ${name} COMMAND ${arg_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT})
    if(arg_SERIAL)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "\
TASKHUB_BIN=${CMAKE_BINARY_DIR}/bin;TASKHUB_APPS=${CMAKE_BINARY_DIR}/apps;\
TASKHUB_SOURCE=${PROJECT_SOURCE_DIR};TASKHUB_BUILD=${CMAKE_BINARY_DIR};\
ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1;\
UBSAN_OPTIONS=print_stacktrace=1;TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
endfunction()

function(taskhub_test name)
    if(TASKHUB_FUZZ)
        return()
    endif()
    taskhub_arguments("SERIAL" "TIMEOUT" "SOURCES;LINK;EXPORT;ARGS;LABELS" ${ARGN})
    taskhub_executable(${name} FOLDER bin/tests
        SOURCES ${arg_SOURCES} LINK ${arg_LINK} PkgConfig::cmocka EXPORT ${arg_EXPORT})
    # Tests share helpers as "unit/helper.h"; they check with assertions in every build type.
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    target_compile_options(${name} PRIVATE -UNDEBUG)
    set(serial)
    if(arg_SERIAL)
        set(serial SERIAL)
    endif()
    taskhub_register_test(${name} ${serial} COMMAND ${name} ${arg_ARGS}
        LABELS ${arg_LABELS} TIMEOUT ${arg_TIMEOUT})
endfunction()

function(taskhub_script_test name)
    if(TASKHUB_FUZZ)
        return()
    endif()
    taskhub_arguments("SERIAL" "TIMEOUT" "COMMAND;ARGS;LABELS" ${ARGN})
    set(serial)
    if(arg_SERIAL)
        set(serial SERIAL)
    endif()
    taskhub_register_test(${name} ${serial} COMMAND ${arg_COMMAND} ${arg_ARGS}
        LABELS ${arg_LABELS} TIMEOUT ${arg_TIMEOUT})
endfunction()

function(taskhub_fuzzer name)
    if(NOT TASKHUB_FUZZ)
        return()
    endif()
    taskhub_arguments("" "" "SOURCES;LINK" ${ARGN})
    taskhub_executable(${name} FOLDER bin/fuzz SOURCES ${arg_SOURCES} LINK ${arg_LINK})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name})

    set(found "${CMAKE_BINARY_DIR}/corpus/${name}")
    file(MAKE_DIRECTORY "${found}")
    set(arguments -max_total_time=${TASKHUB_FUZZ_SECONDS} -timeout=10 -rss_limit_mb=2048
        -print_final_stats=1 "-artifact_prefix=${CMAKE_BINARY_DIR}/${name}-")
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${name}.dict")
        list(APPEND arguments "-dict=${CMAKE_CURRENT_SOURCE_DIR}/${name}.dict")
    endif()
    list(APPEND arguments "${found}")
    if(IS_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
        list(APPEND arguments "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
    endif()
    math(EXPR timeout "${TASKHUB_FUZZ_SECONDS} + 120")
    add_test(NAME ${name} COMMAND ${name} ${arguments})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${timeout})
endfunction()
