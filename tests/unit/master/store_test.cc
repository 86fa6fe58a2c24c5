// The store: what is applied and what is written seen as one, and which LevelDB is to be trusted.
#include "master/namespace/store.h"

#include <gtest/gtest.h>
#include <leveldb/helpers/memenv.h>
#include <leveldb/write_batch.h>

#include <cerrno>
#include <random>

#include "master/namespace/keys.h"
#include "master/namespace/snapshot.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr uint64_t CACHE_BYTES = 1 << 20;
constexpr Nanos LIMIT = 60 * SECOND;

kj::Own<Store> openStore(leveldb::Env& env) {
  auto store = Store::open(env, "/state", CACHE_BYTES);
  KJ_REQUIRE(store.ok(), store.error().why);
  return kj::mv(store.value());
}

Head headAt(uint64_t index) {
  Head head;
  head.cluster = ClusterId{1, 1};
  head.index = LogIndex{index};
  head.digest = index * 7;
  return head;
}

void writeOut(Store& store, uint64_t index) {
  auto job = store.beginWrite(headAt(index));
  job();
  store.endWrite();
}

std::map<std::string, std::string> all(const Store& store, std::string_view prefix) {
  std::map<std::string, std::string> found;
  for (auto at = store.scan(prefix); at.valid(); at.next()) {
    EXPECT_TRUE(found.emplace(at.key(), at.value()).second);
  }
  return found;
}

TEST(Store, CursorsSeeEveryLayerAsOne) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
    auto store = openStore(*env);
    std::map<std::string, std::string> model;
    uint64_t index = 0;
    kj::Maybe<kj::Function<void()>> job;
    for (int step = 0; step < 2000; ++step) {
      std::string key = (random() % 2 == 0 ? "Xa" : "Xb") + std::to_string(random() % 50);
      switch (random() % 8) {
        case 0:
        case 1:
          store->erase(key);
          model.erase(key);
          break;
        case 2:
          if (!store->writing()) {
            job = store->beginWrite(headAt(++index));
          } else {
            KJ_IF_MAYBE (run, job) {
              (*run)();
            }
            job = nullptr;
            store->endWrite();
          }
          break;
        case 3: {
          std::string value;
          EXPECT_EQ(store->get(key, value), model.count(key) > 0);
          EXPECT_EQ(store->has(key), model.count(key) > 0);
          break;
        }
        default:
          store->put(key, std::to_string(step));
          model[key] = std::to_string(step);
      }
      if (step % 100 == 0) {
        ASSERT_EQ(all(*store, "X"), model);
        std::map<std::string, std::string> onlyB;
        for (const auto& [key, value] : model) {
          if (key.starts_with("Xb")) {
            onlyB.emplace(key, value);
          }
        }
        ASSERT_EQ(all(*store, "Xb"), onlyB);
      }
    }
  }
}

TEST(Store, SeekGoesToTheFirstKeyAtOrAfter) {
  std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
  auto store = openStore(*env);
  for (const char* key : {"Xb", "Xd", "Xf", "Y"}) {
    store->put(key, "1");
  }
  auto at = store->scan("X");
  at.seek("Xc");
  EXPECT_EQ(at.key(), "Xd");
  at.seek("Xf");
  EXPECT_EQ(at.key(), "Xf");
  at.next();
  EXPECT_FALSE(at.valid());
}

TEST(Store, TheHeadComesBackWithItsDigest) {
  std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
  {
    auto store = openStore(*env);
    EXPECT_EQ(store->writtenHead().index, LogIndex{});
    store->put("Xa", "1");
    writeOut(*store, 5);
  }
  auto store = openStore(*env);
  EXPECT_EQ(store->writtenHead().index, LogIndex{5});
  EXPECT_EQ(store->digest(), 35u);
}

TEST(Store, MarksAreClearedByCheckpoints) {
  std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
  {
    auto store = openStore(*env);
    for (uint64_t index = 1; index <= Store::MARKS_MAX + 10; ++index) {
      store->put("Xa", std::to_string(index));
      writeOut(*store, index * 2);
    }
    EXPECT_EQ(all(*store, keys::MARKS).size(), 10u);
  }
  auto store = openStore(*env);
  EXPECT_EQ(raw(store->writtenHead().index), 2 * (Store::MARKS_MAX + 10));
}

// What LevelDB may do at a power cut: lose a write in the middle, keep a later one.
TEST(Store, AHoleBetweenWritesIsNotTrusted) {
  for (uint64_t lost = 1; lost <= 5; ++lost) {
    std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
    {
      auto store = openStore(*env);
      for (uint64_t index = 1; index <= 5; ++index) {
        store->put("Xa" + std::to_string(index), "1");
        writeOut(*store, index * 10);
      }
    }
    {
      leveldb::Options options;
      options.env = env.get();
      leveldb::DB* db = nullptr;
      ASSERT_TRUE(leveldb::DB::Open(options, "/state", &db).ok());
      std::unique_ptr<leveldb::DB> owner(db);
      ASSERT_TRUE(db->Delete({}, keys::mark(LogIndex{lost * 10})).ok());
    }
    auto store = Store::open(*env, "/state", CACHE_BYTES);
    EXPECT_FALSE(store.ok()) << lost;
    ASSERT_TRUE(Store::remove(*env, "/state").ok());
    EXPECT_EQ(openStore(*env)->writtenHead().index, LogIndex{});
  }
}

// LevelDB takes the damaged end of its list of tables for a torn one and goes on without those tables.
TEST(Store, ALostTableIsNoticed) {
  std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
  std::map<std::string, std::string> expected;
  {
    auto store = openStore(*env);
    for (uint64_t index = 1; index <= Store::MARKS_MAX * 3 + 10; ++index) {
      store->put("Xa" + std::to_string(index), std::to_string(index));
      writeOut(*store, index);
    }
    expected = all(*store, "X");
  }
  std::vector<std::string> names;
  ASSERT_TRUE(env->GetChildren("/state", &names).ok());
  unsigned refused = 0;
  std::mt19937_64 random(6);
  for (int trial = 0; trial < 300; ++trial) {
    std::string copy = "/copy" + std::to_string(trial);
    for (const auto& name : names) {
      std::string bytes;
      ASSERT_TRUE(leveldb::ReadFileToString(env.get(), "/state/" + name, &bytes).ok());
      if (name.starts_with("MANIFEST")) {
        bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
      }
      ASSERT_TRUE(leveldb::WriteStringToFile(env.get(), bytes, copy + "/" + name).ok());
    }
    auto store = Store::open(*env, copy, CACHE_BYTES);
    if (store.ok()) {
      EXPECT_EQ(all(*store.value(), "X"), expected) << "trial " << trial;
    } else {
      ++refused;
    }
    store = Error{EIO, {}};
    ASSERT_TRUE(Store::remove(*env, copy).ok());
  }
  EXPECT_GT(refused, 100u);
}

TEST(Store, AHalfLoadedStoreIsNotTrusted) {
  std::unique_ptr<leveldb::Env> env(leveldb::NewMemEnv(leveldb::Env::Default()));
  {
    auto store = openStore(*env);
    ASSERT_TRUE(store->load({{"Xa", "1"}}).ok());
  }
  EXPECT_FALSE(Store::open(*env, "/state", CACHE_BYTES).ok());
}

// ---- snapshots ----

class SnapshotTest : public testing::Test {
 protected:
  ~SnapshotTest() noexcept {}
  kj::Own<Store> open(const std::string& path) {
    auto store = Store::open(*env, disk->hostPath(path), CACHE_BYTES);
    KJ_REQUIRE(store.ok(), store.error().why);
    return kj::mv(store.value());
  }
  // A store with 3000 records, as a snapshot.
  std::map<std::string, std::string> makeSnapshot() {
    auto store = open("one");
    for (int i = 0; i < 3000; ++i) {
      store->put("Xa" + std::to_string(i), std::string(1000, static_cast<char>('a' + i % 26)));
    }
    writeOut(*store, 42);
    auto image = store->image();
    store->put("Xa1", "after the image");
    writeOut(*store, 43);
    auto status = world.await(writeSnapshot(*disk, *workers, kj::mv(image)), LIMIT);
    KJ_REQUIRE(status.ok(), status.error().why);
    store->put("Xa1", std::string(1000, 'b'));
    return all(*store, "X");
  }

  World world{1};
  kj::Own<Disk> disk = world.volume("m").open();
  std::unique_ptr<leveldb::Env> env = world.newEnv();
  kj::Own<SimWorkers> workers = world.newWorkers("m");
};

TEST_F(SnapshotTest, ComesBackWhole) {
  ASSERT_TRUE(findSnapshots(*disk).ok());
  auto expected = makeSnapshot();
  EXPECT_EQ(findSnapshots(*disk).value(), std::vector<LogIndex>{LogIndex{42}});
  auto store = open("other");
  auto loaded = loadSnapshot(*disk, LogIndex{42}, *store);
  ASSERT_TRUE(loaded.ok()) << loaded.error().why;
  EXPECT_EQ(store->writtenHead().index, LogIndex{42});
  EXPECT_EQ(store->digest(), 42u * 7);
  EXPECT_EQ(all(*store, "X"), expected);
  store = nullptr;
  EXPECT_EQ(open("other")->writtenHead().index, LogIndex{42});
}

TEST_F(SnapshotTest, SurvivesAPowerCutOnceItIsSaidToBeMade) {
  ASSERT_TRUE(findSnapshots(*disk).ok());
  ASSERT_TRUE(disk->syncDirectoryNow(".").ok());
  for (int trial = 0; trial < 8; ++trial) {
    auto expected = makeSnapshot();
    world.volume("m").powerCut();
    disk = world.volume("m").open();
    env = world.newEnv();
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("one")).ok());
    auto store = open("other");
    auto loaded = loadSnapshot(*disk, LogIndex{42}, *store);
    ASSERT_TRUE(loaded.ok()) << loaded.error().why;
    EXPECT_EQ(all(*store, "X"), expected);
    store = nullptr;
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("other")).ok());
    ASSERT_TRUE(removeSnapshot(*disk, LogIndex{42}).ok());
  }
}

TEST_F(SnapshotTest, DamageIsNoticed) {
  ASSERT_TRUE(findSnapshots(*disk).ok());
  makeSnapshot();
  std::string path = "snapshots/" + std::string(disk->list("snapshots").value()[0]);
  auto whole = readWholeFile(*disk, path, 64 << 20);
  ASSERT_TRUE(whole.ok());
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 60; ++trial) {
    uint64_t at = trial < 40 ? static_cast<uint64_t>(trial) * 5 : random() % whole.value().size();
    ASSERT_TRUE(world.volume("m").rotAt(path, at, trial % 8));
    auto store = open("trial");
    EXPECT_FALSE(loadSnapshot(*disk, LogIndex{42}, *store).ok()) << "byte " << at;
    store = nullptr;
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("trial")).ok());
    ASSERT_TRUE(replaceFile(*disk, path, whole.value()).ok());
  }
  for (uint64_t size : {uint64_t{0}, uint64_t{10}, uint64_t{100}, whole.value().size() / 2, whole.value().size() - 1}) {
    ASSERT_TRUE(replaceFile(*disk, path, whole.value().slice(0, size)).ok());
    auto store = open("trial");
    EXPECT_FALSE(loadSnapshot(*disk, LogIndex{42}, *store).ok()) << "size " << size;
    store = nullptr;
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("trial")).ok());
  }
}

TEST_F(SnapshotTest, LeftoversAreRemoved) {
  ASSERT_TRUE(findSnapshots(*disk).ok());
  ASSERT_TRUE(replaceFile(*disk, "snapshots/0000000000000007.snapshot.new", kj::StringPtr("part").asBytes()).ok());
  EXPECT_TRUE(findSnapshots(*disk).value().empty());
  EXPECT_TRUE(disk->list("snapshots").value().empty());
}

}  // namespace
}  // namespace cairn
