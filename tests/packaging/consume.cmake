# Builds consumer/ against PREFIX by WAY (cmake or pkgconfig), linked as KIND (shared or static), and runs it.
cmake_minimum_required(VERSION 3.25)
set(source ${CMAKE_CURRENT_LIST_DIR}/consumer)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
# The package files of the prefix come first, and the distribution's stay in reach.
set(ENV{PKG_CONFIG_PATH} "${PREFIX}/${LIBDIR}/pkgconfig:$ENV{PKG_CONFIG_PATH}")
set(ENV{LD_LIBRARY_PATH} "${PREFIX}/${LIBDIR}")

if(WAY STREQUAL "cmake")
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${source} -B ${WORK} -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${PREFIX}
    -DKIND=${KIND} -DVERSION=${VERSION} -DCMAKE_C_COMPILER=${CC} -DCMAKE_CXX_COMPILER=${CXX}
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK} COMMAND_ERROR_IS_FATAL ANY)
else()
  function(ask_pkg_config out)
    execute_process(COMMAND pkg-config ${ARGN} calyx OUTPUT_VARIABLE said OUTPUT_STRIP_TRAILING_WHITESPACE
      COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(said UNIX_COMMAND "${said}")
    set(${out} ${said} PARENT_SCOPE)
  endfunction()
  ask_pkg_config(version --modversion)
  if(NOT version STREQUAL VERSION)
    message(FATAL_ERROR "calyx.pc says ${version}, and this is ${VERSION}")
  endif()
  ask_pkg_config(flags --cflags)
  if(KIND STREQUAL "static")
    ask_pkg_config(libraries --static --libs)
    list(TRANSFORM libraries REPLACE "^-lcalyx$" ${PREFIX}/${LIBDIR}/libcalyx.a)
    list(REMOVE_ITEM libraries -lcalyx_recipes)  # the archive has them
  else()
    ask_pkg_config(libraries --libs)
  endif()
  execute_process(COMMAND ${CXX} -std=c++20 -Wall -Wextra -Werror ${flags} ${source}/in_cpp.cpp -o ${WORK}/in_cpp
    ${libraries} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CXX} -std=c++20 -Wall -Wextra -Werror ${flags} ${source}/in_core.cpp -o ${WORK}/in_core
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CC} -std=c99 -Wall -Wextra -Werror ${flags} ${source}/in_c.c -o ${WORK}/in_c ${libraries}
    COMMAND_ERROR_IS_FATAL ANY)
endif()

execute_process(COMMAND ${WORK}/in_core COMMAND_ERROR_IS_FATAL ANY)
foreach(program IN ITEMS in_cpp in_c)
  execute_process(COMMAND ${WORK}/${program} WORKING_DIRECTORY ${WORK} OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
  if(NOT said STREQUAL "calyx ${VERSION}\n")
    message(FATAL_ERROR "${program} said \"${said}\", and this is ${VERSION}")
  endif()
  execute_process(COMMAND ldd ${WORK}/${program} OUTPUT_VARIABLE libraries COMMAND_ERROR_IS_FATAL ANY)
  if(libraries MATCHES "libcalyx\\.so")
    set(linked shared)
  else()
    set(linked static)
  endif()
  if(NOT linked STREQUAL KIND)
    message(FATAL_ERROR "${program} was to be linked ${KIND}, and is ${linked}")
  endif()
endforeach()
