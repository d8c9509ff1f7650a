# Installs BUILD into an empty PREFIX, and looks that nothing of the build's own place went along.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${PREFIX})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${PREFIX} --config ${CONFIG}
  COMMAND_ERROR_IS_FATAL ANY)
# The prefix lies inside the build folder, so its own name is taken out of the text before the look.
file(GLOB_RECURSE texts ${PREFIX}/*.cmake ${PREFIX}/*.pc)
if(NOT texts)
  message(FATAL_ERROR "no package files were installed")
endif()
foreach(text IN LISTS texts)
  file(READ ${text} content)
  string(REPLACE "${PREFIX}" "" content "${content}")
  string(FIND "${content}" "${BUILD}" place)
  if(NOT place EQUAL -1)
    message(FATAL_ERROR "${text} names the build folder ${BUILD}")
  endif()
endforeach()
