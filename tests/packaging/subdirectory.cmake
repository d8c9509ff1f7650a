# Builds subdirectory/, a host that adds the checkout as a folder, runs it, and looks that no flag of calyx's own came
# along: the host's files are compiled by what the host asked for.
cmake_minimum_required(VERSION 3.25)
set(ENV{CCACHE_BASEDIR} ${SOURCE})
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/subdirectory -B ${WORK} -G ${GENERATOR}
  -DCMAKE_C_COMPILER=${CC} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O0 -DCALYX_WERROR=ON -DCALYX_UNITY=ON -DCALYX_TUNED=OFF -DCALYX_CUDA=OFF
  -DCALYX_CHECKOUT=${SOURCE} -DCALYX_CONSUMER=${CMAKE_CURRENT_LIST_DIR}/consumer
  COMMAND_ERROR_IS_FATAL ANY)
file(READ ${WORK}/compile_commands.json commands)
string(JSON count LENGTH "${commands}")
math(EXPR last "${count} - 1")
set(looked 0)
foreach(i RANGE ${last})
  string(JSON file GET "${commands}" ${i} file)
  string(JSON command GET "${commands}" ${i} command)
  if(file MATCHES "/consumer/in_(cpp|core)\\.cpp$")
    math(EXPR looked "${looked} + 1")
    string(REGEX MATCHALL " -(W|f|march|D)[^ ]*" inherited "${command}")
    if(inherited)
      message(FATAL_ERROR "${file} inherits${inherited}")
    endif()
  endif()
endforeach()
if(NOT looked EQUAL 2)
  message(FATAL_ERROR "${looked} of the host's 2 files were found among the compile commands")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK} --target in_cpp in_core COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/in_core COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/in_cpp OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
if(NOT said STREQUAL "calyx ${VERSION}\n")
  message(FATAL_ERROR "in_cpp said \"${said}\", and this is ${VERSION}")
endif()
