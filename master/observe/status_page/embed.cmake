# Makes status_page_files.h out of the files of the status page: one string each, so that a master needs nothing but
# its program to show it.
set(STATUS_PAGE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(STATUS_PAGE_SOURCES index.html page.css page.js icon.svg)
set(STATUS_PAGE_HEADER ${CMAKE_BINARY_DIR}/generated/status_page/status_page_files.h)
list(TRANSFORM STATUS_PAGE_SOURCES PREPEND ${STATUS_PAGE_DIR}/ OUTPUT_VARIABLE status_page_paths)
add_custom_command(OUTPUT ${STATUS_PAGE_HEADER}
  COMMAND ${CMAKE_COMMAND} -DDIR=${STATUS_PAGE_DIR} -DOUT=${STATUS_PAGE_HEADER} -P ${STATUS_PAGE_DIR}/write_header.cmake
  DEPENDS ${status_page_paths} ${STATUS_PAGE_DIR}/write_header.cmake VERBATIM)
target_sources(cairn_master PRIVATE ${STATUS_PAGE_HEADER})
target_include_directories(cairn_master PRIVATE ${CMAKE_BINARY_DIR}/generated/status_page)
