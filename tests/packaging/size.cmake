# libcalyx.so without its debug information stays small enough to ride along in somebody's package.
cmake_minimum_required(VERSION 3.25)
set(bytes_max 3145728)
execute_process(COMMAND ${STRIP} --strip-unneeded -o ${COPY} ${LIBRARY} COMMAND_ERROR_IS_FATAL ANY)
file(SIZE ${COPY} bytes)
if(bytes GREATER bytes_max)
  message(FATAL_ERROR "libcalyx.so takes ${bytes} bytes stripped, and may take ${bytes_max}")
endif()
message(STATUS "libcalyx.so takes ${bytes} of ${bytes_max} bytes, stripped")
