#include "fuse-client/fuse/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

MountOptions parsed(const Words& words, bool asRoot = true) {
  auto result = parseCommandLine(words, asRoot);
  auto* exit = std::get_if<EarlyExit>(&result);
  EXPECT_EQ(exit, nullptr) << (exit == nullptr ? "" : exit->text);
  return exit == nullptr ? std::get<MountOptions>(result) : MountOptions();
}

EarlyExit ended(const Words& words) {
  auto result = parseCommandLine(words, true);
  auto* exit = std::get_if<EarlyExit>(&result);
  EXPECT_NE(exit, nullptr);
  return exit == nullptr ? EarlyExit() : *exit;
}

TEST(MountOptions, DefaultsDependOnWhoMounts) {
  auto root = parsed({"c.toml", "/mnt"});
  EXPECT_EQ(root.clusterFile, "c.toml");
  EXPECT_EQ(root.mountPoint, "/mnt");
  EXPECT_EQ(root.fsname, "c.toml");
  EXPECT_TRUE(root.allowOther);
  EXPECT_TRUE(root.defaultPermissions);
  EXPECT_FALSE(root.foreground);
  EXPECT_EQ(root.softTimeout, 0);
  EXPECT_EQ(root.entryTimeout, 3600 * SECOND);
  EXPECT_EQ(root.attributeTimeout, 3600 * SECOND);
  EXPECT_EQ(root.negativeTimeout, 3600 * SECOND);
  EXPECT_FALSE(parsed({"c.toml", "/mnt"}, false).allowOther);
}

TEST(MountOptions, FormOfMount8) {
  auto options = parsed({"c.toml", "/mnt", "-n", "-s", "-o", "rw,noatime,_netdev,x-systemd.automount,subdir=/home"});
  EXPECT_EQ(options.subdir, "/home");
  EXPECT_FALSE(options.readOnly);
  EXPECT_EQ(options.kernelFlags, Words{"noatime"});
  EXPECT_FALSE(options.checkOnly);
  EXPECT_TRUE(parsed({"c.toml", "/mnt", "-f"}).checkOnly);
  EXPECT_TRUE(parsed({"-f", "c.toml", "/mnt"}).foreground);
}

TEST(MountOptions, TheLastWordOnAccessTimesCounts) {
  auto times = [](const std::string& text) { return parsed({"-o", text, "c.toml", "/mnt"}).accessTimes; };
  EXPECT_EQ(parsed({"c.toml", "/mnt"}).accessTimes, AccessTimes::RELATIVE);
  EXPECT_EQ(times("noatime"), AccessTimes::NEVER);
  EXPECT_EQ(times("noatime,relatime"), AccessTimes::RELATIVE);
  EXPECT_EQ(times("relatime,strictatime"), AccessTimes::STRICT);
  EXPECT_EQ(times("strictatime,noatime"), AccessTimes::NEVER);
  EXPECT_TRUE(parsed({"c.toml", "/mnt"}).directoryAccessTimes);
  auto files = parsed({"-o", "nodiratime", "c.toml", "/mnt"});
  EXPECT_FALSE(files.directoryAccessTimes);
  EXPECT_EQ(files.kernelFlags, Words{});
  EXPECT_EQ(files.accessTimes, AccessTimes::RELATIVE);
}

TEST(MountOptions, SupervisedInTheBackgroundUnlessToldOtherwise) {
  EXPECT_TRUE(parsed({"c.toml", "/mnt"}).supervised);
  EXPECT_FALSE(parsed({"--no-supervise", "c.toml", "/mnt"}).supervised);
  EXPECT_FALSE(parsed({"-f", "c.toml", "/mnt"}).supervised);
  EXPECT_TRUE(parsed({"-f", "--supervise", "c.toml", "/mnt"}).supervised);
}

TEST(MountOptions, AWorkerGetsAllWordsButThePlaces) {
  auto options = parsed({"-f", "--log", "x", "c.toml", "-oro", "--connect-timeout=3", "--", "/mnt"});
  EXPECT_EQ(options.flags, (Words{"-f", "--log", "x", "-oro", "--connect-timeout=3"}));
  EXPECT_TRUE(options.worker.empty());
  EXPECT_EQ(parsed({"--worker", "1,2", "c.toml", "/mnt"}).worker, "1,2");
}

TEST(MountOptions, EveryOption) {
  auto options =
      parsed({"-o", "ro,sync,soft,timeout=2.5,cache-size=64M", "--connect-timeout=3", "-oentry-timeout=0", "-o",
              "attr_timeout=60,negative-timeout=1,fsname=a,allow_root,nonempty", "--", "c.toml", "-m"});
  EXPECT_TRUE(options.readOnly);
  EXPECT_TRUE(options.synchronous);
  EXPECT_EQ(options.softTimeout, 5 * SECOND / 2);
  EXPECT_EQ(options.cacheBytes, 64u << 20);
  EXPECT_EQ(options.connectTimeout, 3 * SECOND);
  EXPECT_EQ(options.entryTimeout, 0);
  EXPECT_EQ(options.attributeTimeout, 60 * SECOND);
  EXPECT_EQ(options.negativeTimeout, SECOND);
  EXPECT_EQ(options.fsname, "a");
  EXPECT_TRUE(options.allowRoot);
  EXPECT_FALSE(options.allowOther);
  EXPECT_TRUE(options.nonEmpty);
  EXPECT_EQ(options.mountPoint, "-m");
}

TEST(MountOptions, TheLastOfTwoWins) {
  auto options = parsed({"-o", "ro,rw,soft,hard,suid,nosuid", "c.toml", "/mnt"});
  EXPECT_FALSE(options.readOnly);
  EXPECT_EQ(options.softTimeout, 0);
  EXPECT_EQ(options.kernelFlags, (Words{"suid", "nosuid"}));
  EXPECT_EQ(parsed({"-o", "soft", "c.toml", "/mnt"}).softTimeout, 30 * SECOND);
}

TEST(MountOptions, MistakesNameTheWordAndEndWithUsage) {
  const struct {
    Words words;
    std::string said;
  } CASES[] = {
      {{}, "CLUSTER_FILE and MNT are missing"},
      {{"c.toml"}, "MNT"},
      {{"a", "b", "c"}, "'c'"},
      {{"--wrong", "a", "b"}, "--wrong"},
      {{"-o", "nonsense", "a", "b"}, "'nonsense'"},
      {{"-o", "subdir=", "a", "b"}, "subdir="},
      {{"-o", "subdir", "a", "b"}, "subdir"},
      {{"-o", "timeout=5", "a", "b"}, "soft,timeout="},
      {{"-o", "soft,timeout=0", "a", "b"}, "timeout=0"},
      {{"-o", "cache-size=12Q", "a", "b"}, "cache-size=12Q"},
      {{"-o", "cache-size=17", "a", "b"}, "cache-size=17"},
      {{"-o", "entry-timeout=-1", "a", "b"}, "entry-timeout=-1"},
      {{"-o", "attr-timeout=nan", "a", "b"}, "attr-timeout=nan"},
      {{"--connect-timeout", "soon", "a", "b"}, "--connect-timeout soon"},
      {{"--log-level", "loud", "a", "b"}, "loud"},
      {{"a", "b", "-o"}, "needs a value"},
  };
  for (const auto& one : CASES) {
    auto exit = ended(one.words);
    EXPECT_EQ(exit.code, EXIT_USAGE) << one.said;
    EXPECT_THAT(exit.text, HasSubstr(one.said));
    EXPECT_THAT(exit.text, HasSubstr("--help"));
  }
}

TEST(MountOptions, HelpAndVersionEndWell) {
  for (const char* word : {"-h", "--help"}) {
    EXPECT_EQ(ended({word}).code, EXIT_DONE);
    EXPECT_THAT(ended({word}).text, HasSubstr("Usage: dfs-mount"));
  }
  EXPECT_THAT(ended({"-V"}).text, HasSubstr("dfs-mount 0."));
}

TEST(MountOptions, WhatLibfuseGets) {
  auto options = parsed({"-o", "ro,fsname=a\\,b\\\\c,noexec", "c.toml", "/mnt"});
  EXPECT_EQ(options.fsname, "a,b\\c");
  EXPECT_EQ(libfuseOptions(options),
            "subtype=dfs,fsname=a\\,b\\\\c,ro,allow_other,default_permissions,max_read=1048576,noexec");
}

}  // namespace
}  // namespace cairn
