# Tests by ctest label: unit, sim, mount, chaos, fuzz run in CI; nightly and bench by hand.
enable_testing()

cairn_library(cairn_simulation tests/sim/world)
target_link_libraries(cairn_simulation PUBLIC cairn_common cairn_rpc)

# One program per area, from every *_test.cc of its folder.
function(cairn_test name label folder)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARGN} cairn_simulation GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 900
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
  add_dependencies(tests_${label} ${name})
endfunction()

# What a sanitizer build compiles, and no more (tools/shell/test.sh).
add_custom_target(tests_unit)
add_custom_target(tests_sim)
add_custom_target(tests_threads)

cairn_test(unit_common unit tests/unit/common cairn_common)
cairn_test(unit_rpc unit tests/unit/rpc cairn_rpc)
cairn_test(unit_master unit tests/unit/master cairn_master)
# The Raft core: scenarios in plain text, one test a known pitfall, then thousands of simulated hours.
cairn_library(cairn_raft_world tests/sim/raft/world)
target_link_libraries(cairn_raft_world PUBLIC cairn_raft cairn_simulation)
cairn_test(unit_raft unit tests/unit/master/raft cairn_raft_world)
target_compile_definitions(unit_raft PRIVATE CAIRN_RAFT_SCENARIOS="${CMAKE_SOURCE_DIR}/tests/unit/master/raft/scenarios")
cairn_test(sim_raft sim tests/sim/raft cairn_raft_world)
add_test(NAME nightly_raft COMMAND sim_raft --gtest_brief=1)
set_tests_properties(nightly_raft PROPERTIES LABELS nightly TIMEOUT 7200 ENVIRONMENT CAIRN_RAFT_HOURS=2000)
cairn_test(unit_chunkserver unit tests/unit/chunkserver cairn_chunkserver)
add_test(NAME nightly_unit_disk_faults COMMAND unit_chunkserver --gtest_brief=1 --gtest_filter=DiskFaults.*)
set_tests_properties(nightly_unit_disk_faults PROPERTIES LABELS nightly TIMEOUT 7200 ENVIRONMENT "CAIRN_FULL=1")
cairn_test(unit_observe unit tests/unit/observe cairn_master cairn_client)
cairn_test(unit_recover unit tests/unit/recover cairn_recover)
cairn_test(unit_client unit tests/unit/client cairn_client)
cairn_test(unit_tools unit tests/unit/tools cairn_admin)
cairn_test(unit_fuse unit tests/unit/fuse cairn_fuse)

# Whole clusters in one thread under virtual time. nightly_sim: many new seeds instead of the same few.
cairn_library(cairn_sim_cluster tests/sim/cluster)
target_link_libraries(cairn_sim_cluster PUBLIC cairn_master cairn_chunkserver cairn_client cairn_simulation)
file(GLOB sim_sources CONFIGURE_DEPENDS tests/sim/*.cc)
add_executable(sim_cluster ${sim_sources})
target_link_libraries(sim_cluster PRIVATE cairn_sim_cluster cairn_recover GTest::gmock GTest::gtest_main)
add_dependencies(tests_sim sim_cluster)
function(cairn_sim_test name label filter)
  add_test(NAME ${name} COMMAND sim_cluster --gtest_brief=1 --gtest_filter=${filter})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 900)
endfunction()
cairn_sim_test(sim_scenarios sim -Chaos.*)
cairn_sim_test(sim_chaos sim Chaos.*)
# A sanitizer makes a run fifteen times slower and looks for misuse of memory, which a few seeds show as well as many:
# a fifth of them there. Seeds that once found something run everywhere.
if(CAIRN_SANITIZE)
  set_property(TEST sim_chaos sim_scenarios APPEND PROPERTY ENVIRONMENT CAIRN_SIM_PART=5)
endif()
cairn_sim_test(nightly_sim nightly *)
set_tests_properties(nightly_sim PROPERTIES TIMEOUT 7200 ENVIRONMENT "CAIRN_FULL=1")

# Each rule taken out must be missed by a scenario. That all patches still apply is quick to see, the rest is nightly.
add_test(NAME planted_apply COMMAND python3 ${CMAKE_SOURCE_DIR}/tests/planted/run.py --check)
add_test(NAME nightly_planted COMMAND python3 ${CMAKE_SOURCE_DIR}/tests/planted/run.py --find)
set_tests_properties(planted_apply PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
set_tests_properties(nightly_planted PROPERTIES LABELS nightly TIMEOUT 7200 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")

# Tests over the real daemons, in Python; the full-length forms run under the label nightly.
function(cairn_script name label script)
  add_test(NAME ${name} COMMAND python3 ${CMAKE_SOURCE_DIR}/${script})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 1800 RUN_SERIAL TRUE
                       ENVIRONMENT "CAIRN_BIN=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1")
endfunction()
function(cairn_full_script name script)
  cairn_script(${name} nightly ${script})
  set_tests_properties(${name} PROPERTIES TIMEOUT 14400
                       ENVIRONMENT "CAIRN_BIN=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1;CAIRN_FULL=1")
endfunction()

cairn_script(mount_programs mount tests/programs/real_programs_test.py)
cairn_full_script(nightly_programs tests/programs/real_programs_test.py)
cairn_script(mount_postgresql mount tests/programs/postgresql_test.py)
cairn_full_script(nightly_postgresql tests/programs/postgresql_test.py)
cairn_script(mount_stress mount tests/programs/stress_test.py)
cairn_full_script(nightly_stress tests/programs/stress_test.py)
cairn_script(observe_metrics mount tests/observe/metrics_test.py)
cairn_script(observe_slow mount tests/observe/slow_test.py)
cairn_full_script(nightly_observe_page tests/observe/page_test.py)
cairn_script(cli_messages mount tests/cli/messages_test.py)
cairn_script(cli_admin mount tests/cli/admin_test.py)
cairn_script(cli_replicas mount tests/cli/replicas_test.py)
cairn_script(cli_replicas_copy mount tests/cli/replicas_copy_test.py)
cairn_script(cli_raft mount tests/cli/raft_test.py)
cairn_script(cli_raft_recover mount tests/cli/raft_recover_test.py)
cairn_script(recover_rebuild mount tests/recover/rebuild_test.py)
cairn_full_script(nightly_recover_rebuild tests/recover/rebuild_test.py)
cairn_script(recover_corruption mount tests/recover/corruption_test.py)
cairn_full_script(nightly_recover_corruption tests/recover/corruption_test.py)
cairn_script(cli_history mount tests/cli/history_test.py)
cairn_script(cli_space mount tests/cli/space_test.py)
cairn_script(cli_filling mount tests/cli/filling_test.py)
cairn_script(cli_trash mount tests/cli/trash_test.py)
cairn_script(cli_quota mount tests/cli/quota_test.py)
cairn_script(cli_hostile mount tests/cli/hostile_test.py)
cairn_script(cli_security mount tests/cli/security_test.py)
cairn_script(cli_verbs mount tests/cli/verbs_test.py)
cairn_script(package_manifests unit tests/package/manifests_test.py)
cairn_full_script(nightly_package tests/package/package_test.py)
cairn_script(chaos_failures chaos tests/chaos/failures_test.py)
cairn_full_script(nightly_failures tests/chaos/failures_test.py)
cairn_script(chaos_repair chaos tests/chaos/repair_test.py)
cairn_full_script(nightly_repair tests/chaos/repair_test.py)
cairn_script(chaos_failover chaos tests/chaos/failover_test.py)
cairn_full_script(nightly_failover tests/chaos/failover_test.py)
cairn_script(chaos_power_cut chaos tests/chaos/power_cut_test.py)
cairn_full_script(nightly_power_cut tests/chaos/power_cut_test.py)
cairn_script(chaos_losses chaos tests/chaos/losses_test.py)
cairn_full_script(nightly_losses tests/chaos/losses_test.py)
cairn_script(chaos_disk_flips chaos tests/chaos/disk_flips_test.py)
cairn_full_script(nightly_disk_flips tests/chaos/disk_flips_test.py)
cairn_script(chaos_disk_faults chaos tests/chaos/disk_faults_test.py)
cairn_full_script(nightly_disk_faults tests/chaos/disk_faults_test.py)
cairn_script(chaos_power_cut_data chaos tests/chaos/power_cut_data_test.py)
cairn_full_script(nightly_power_cut_data tests/chaos/power_cut_data_test.py)

cairn_script(chaos_hard_kills chaos tests/chaos/hard_kills_test.py)
cairn_full_script(nightly_hard_kills tests/chaos/hard_kills_test.py)
cairn_script(chaos_upgrade chaos tests/chaos/upgrade_test.py)
cairn_full_script(nightly_upgrade tests/chaos/upgrade_test.py)

# The parts that use threads, for the thread sanitizer.
if(TARGET unit_common)
  add_test(NAME threads_common COMMAND unit_common --gtest_brief=1 --gtest_filter=*Workers*:*Worker.*:*LevelDb*)
  set_tests_properties(threads_common PROPERTIES LABELS threads TIMEOUT 300
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
  add_dependencies(tests_threads unit_common)
endif()

# The rules of ARCHITECTURE.md, and the proof that each of them finds something.
foreach(script tidy tidy_test codes_test)
  add_test(NAME ${script} COMMAND python3 ${CMAKE_SOURCE_DIR}/tests/${script}.py)
  set_tests_properties(${script} PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endforeach()

# A mount over an in-memory stand-in for the client library: tests of the FUSE adapter alone. The same scripts then
# run over a cluster.
add_executable(dfs-mount-memory fuse-client/main.cc tests/mount/memory/memory_client.cc tests/mount/memory/memory_files.cc
               tests/mount/memory/memory_locks.cc)
target_link_libraries(dfs-mount-memory PRIVATE cairn_fuse cairn_master)
target_compile_definitions(dfs-mount-memory PRIVATE CAIRN_VERSION="${PROJECT_VERSION}")
cairn_script(mount_program mount tests/mount/program_test.py)
cairn_script(mount_away mount tests/mount/away_test.py)
cairn_script(mount_stuck mount tests/mount/stuck_test.py)
cairn_script(mount_handover mount tests/mount/handover_test.py)
cairn_full_script(nightly_handover tests/mount/handover_test.py)
cairn_script(mount_coherence mount tests/mount/coherence_test.py)
cairn_full_script(nightly_mount_coherence tests/mount/coherence_test.py)
cairn_script(mount_locks mount tests/mount/locks_test.py)
cairn_script(mount_acl mount tests/mount/acl_test.py)
cairn_script(mount_times mount tests/mount/times_test.py)
foreach(part posix random data)
  cairn_script(mount_adapter_${part} mount tests/mount/${part}_test.py)
  set_property(TEST mount_adapter_${part} APPEND PROPERTY ENVIRONMENT CAIRN_MOUNT=memory)
  cairn_script(mount_${part} mount tests/mount/${part}_test.py)
endforeach()
# Every call with its rules, on ext4 and on a mount. Knows nothing of this project: any directory will do.
add_executable(posix_suite tests/posix/acls.cc tests/posix/data.cc tests/posix/directories.cc tests/posix/holes.cc
  tests/posix/leftovers.cc tests/posix/locks.cc tests/posix/main.cc tests/posix/maps.cc tests/posix/modes.cc
  tests/posix/names.cc tests/posix/opens.cc tests/posix/paths.cc tests/posix/permissions.cc tests/posix/renames.cc
  tests/posix/suite.cc tests/posix/support.cc tests/posix/time_effects.cc tests/posix/times.cc tests/posix/xattrs.cc)
cairn_script(mount_posix_suite mount tests/posix/posix_suite_test.py)
cairn_full_script(nightly_mount_random tests/mount/random_test.py)
cairn_full_script(nightly_mount_data tests/mount/data_test.py)

# By hand: what parts cost on a real disk.
add_executable(store_bench EXCLUDE_FROM_ALL tests/bench/store_bench.cc)
target_link_libraries(store_bench PRIVATE cairn_chunkserver)
# What TLS costs over loopback.
add_executable(tls_bench EXCLUDE_FROM_ALL tests/bench/tls_bench.cc)
target_link_libraries(tls_bench PRIVATE cairn_rpc)
# How fast files are created; the test with many of them makes them so.
add_executable(create_bench tests/bench/create_bench.cc)
target_link_libraries(create_bench PRIVATE cairn_client cairn_master)
cairn_script(chaos_many_files chaos tests/chaos/many_files_test.py)
cairn_full_script(nightly_many_files tests/chaos/many_files_test.py)
