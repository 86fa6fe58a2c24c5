# cmake --install, and Debian packages by CPack: cpack -G DEB in the build directory.
#
#   cairnfs-server   dfs-master, dfs-chunkserver, their units; makes the user cairnfs and its directories
#   cairnfs-client   dfs-mount, mount.fuse.dfs for mount(8) and fstab, dfs
#   cairnfs-tools    dfsadmin with its completions
# Manual pages and completions are what the programs print of themselves.
include(GNUInstallDirs)
set(PACKAGE_FILES ${CMAKE_CURRENT_LIST_DIR})
set(UNIT_DIR lib/systemd/system)

# Runs a command, and installs what it prints. install_printed(COMPONENT DIRECTORY NAME COMMAND...)
function(install_printed component directory name)
  set(words)
  foreach(word IN LISTS ARGN)
    string(APPEND words " \"${word}\"")
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/printed)
  install(CODE "
    execute_process(COMMAND${words} OUTPUT_FILE ${CMAKE_BINARY_DIR}/printed/${name}
                    COMMAND_ERROR_IS_FATAL ANY)
    if(\"${name}\" MATCHES \"\\\\.[18]$\")
      execute_process(COMMAND gzip -9nf ${CMAKE_BINARY_DIR}/printed/${name} COMMAND_ERROR_IS_FATAL ANY)
      file(INSTALL ${CMAKE_BINARY_DIR}/printed/${name}.gz DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${directory}\")
    else()
      file(INSTALL ${CMAKE_BINARY_DIR}/printed/${name} DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${directory}\")
    endif()
  " COMPONENT ${component})
endfunction()

install(TARGETS dfs-master dfs-chunkserver RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
install(PROGRAMS ${PACKAGE_FILES}/dfs-master-start DESTINATION lib/cairnfs COMPONENT server)
install(FILES ${PACKAGE_FILES}/dfs-master@.service ${PACKAGE_FILES}/dfs-chunkserver@.service
        DESTINATION ${UNIT_DIR} COMPONENT server)
install(FILES ${PACKAGE_FILES}/m1.env ${PACKAGE_FILES}/c1.env
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/cairnfs-server/examples COMPONENT server)
install_printed(server ${CMAKE_INSTALL_MANDIR}/man8 dfs-master.8 $<TARGET_FILE:dfs-master> --man)
install_printed(server ${CMAKE_INSTALL_MANDIR}/man8 dfs-chunkserver.8 $<TARGET_FILE:dfs-chunkserver> --man)

install(TARGETS dfs-mount RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT client)
install(PROGRAMS $<TARGET_FILE:dfs-user> DESTINATION ${CMAKE_INSTALL_BINDIR} RENAME dfs COMPONENT client)
# mount(8) looks for mount.TYPE first, and would else take `dfs` for the program that mounts.
foreach(helper mount.dfs mount.fuse.dfs)
  install(CODE "
    file(MAKE_DIRECTORY \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
    file(CREATE_LINK ../${CMAKE_INSTALL_BINDIR}/dfs-mount
         \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}/${helper}\" SYMBOLIC)
  " COMPONENT client)
endforeach()
install_printed(client ${CMAKE_INSTALL_MANDIR}/man8 dfs-mount.8
                ${PACKAGE_FILES}/help_page.sh $<TARGET_FILE:dfs-mount> dfs-mount 8 "mounts a CairnFS cluster")
install_printed(client ${CMAKE_INSTALL_MANDIR}/man1 dfs.1
                ${PACKAGE_FILES}/help_page.sh $<TARGET_FILE:dfs-user> dfs 1 "for users of a CairnFS mount")

install(TARGETS dfsadmin RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
install_printed(tools ${CMAKE_INSTALL_MANDIR}/man8 dfsadmin.8 $<TARGET_FILE:dfsadmin> --man)
install_printed(tools ${CMAKE_INSTALL_DATADIR}/bash-completion/completions dfsadmin $<TARGET_FILE:dfsadmin> completion bash)
install_printed(tools ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions _dfsadmin $<TARGET_FILE:dfsadmin> completion zsh)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME cairnfs)
set(CPACK_PACKAGE_VENDOR CairnFS)
set(CPACK_PACKAGE_CONTACT "CairnFS <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "distributed file system, replicated and checksummed from end to end")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL server client tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
foreach(component SERVER CLIENT TOOLS)
  string(TOLOWER ${component} name)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME cairnfs-${name})
endforeach()
set(CPACK_COMPONENT_SERVER_DESCRIPTION "CairnFS's servers: the masters, which keep the names, and the chunkservers, which keep the bytes.")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION "Mounts a CairnFS cluster through FUSE, by mount(8) and fstab too.")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "Looks after a CairnFS cluster: dfsadmin.")
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS cairnfs-tools)
set(CPACK_DEBIAN_CLIENT_PACKAGE_DEPENDS fuse3)
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
    ${PACKAGE_FILES}/server/postinst ${PACKAGE_FILES}/server/prerm ${PACKAGE_FILES}/server/postrm)
include(CPack)
