# Compiler flags and the two helpers every folder uses: malseq_library and malseq_program.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

add_library(ms_flags INTERFACE)
target_include_directories(ms_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
target_compile_definitions(ms_flags INTERFACE _POSIX_C_SOURCE=200809L _FILE_OFFSET_BITS=64 MS_VERSION="${PROJECT_VERSION}")
target_compile_options(ms_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
    -fstack-protector-strong $<$<BOOL:${MALSEQ_WERROR}>:-Werror>)
if(MALSEQ_SANITIZE)
    target_compile_options(ms_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
    target_link_options(ms_flags INTERFACE -fsanitize=address,undefined)
else()
    target_compile_definitions(ms_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
    target_link_options(ms_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(MALSEQ_FUZZ)
    target_compile_options(ms_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# malseq_library(NAME source… DEPENDS library…): a static library of this folder.
function(malseq_library name)
    cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
    add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(${name} PUBLIC ms_flags ${ARG_DEPENDS})
endfunction()

# malseq_program(NAME source… DEPENDS library…): a tool, run by the umbrella and, where wanted, under its bare name.
function(malseq_program name)
    cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
    add_executable(${name}_program ${ARG_UNPARSED_ARGUMENTS})
    set_target_properties(${name}_program PROPERTIES OUTPUT_NAME ${name})
    target_link_libraries(${name}_program PRIVATE ms_flags ${ARG_DEPENDS})
    if(name STREQUAL "malseq")
        install(TARGETS ${name}_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    else()
        install(TARGETS ${name}_program RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/malseq)
        if(MALSEQ_BARE_NAMES)
            install(CODE "file(CREATE_LINK ../${CMAKE_INSTALL_LIBEXECDIR}/malseq/${name}
                          \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/${name} SYMBOLIC)")
        endif()
    endif()
endfunction()
