// Random operations on a few files, with everything that may go wrong and be mended going wrong, against an array of
// bytes. The seed of a failure is in its message.
#include <algorithm>

#include "tests/unit/client/client_world.h"

namespace cairn {
namespace {

using Fate = FakeMaster::Fate;
using wire::Verdict;

class RandomFiles {
 public:
  RandomFiles(uint64_t seed, bool faults) : w_(seed), random_(seed, "test"), faults_(faults) {
    w_.master.chunkBits = 16;
    ClientOptions options;
    options.limits.dirtyBytesMax = 1u << 20;
    options.limits.unsyncedBytesMax = 1u << 20;
    options.limits.readAheadBytesMax = 512u << 10;
    client_ = w_.newClient("k1", options);
    if (faults) {
      w_.master.fate = [this](const char*) { return fate(); };
      for (auto* server : w_.all) {
        server->fate = [this](const char*) { return fate(); };
        server->verdict = [this](const char*) { return verdict(); };
        server->slowness = [this](const char*) {
          return random_.chance(50'000) ? random_.between(0, 300) * MILLISECOND : 0;
        };
      }
    }
    for (unsigned i = 0; i < FILES; ++i) {
      files_.push_back({"f" + std::to_string(i), w_.create(*client_, "f" + std::to_string(i)), {}});
    }
  }

  void run(unsigned steps) {
    for (unsigned i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      step();
    }
    quiet();
    for (auto& file : files_) {
      w_.done(client_->fsync(file.handle, false));
    }
    crashAll();
    auto other = w_.newClient("k2");
    for (auto& file : files_) {
      check(*other, w_.open(*other, file.name, 0), file, 0, file.bytes.size() + 10);
      EXPECT_EQ(w_.sizeOf(*other, file.name), file.bytes.size());
    }
    for (auto& file : files_) {
      client_->release(file.handle);
    }
    w_.done(client_->stop());
    EXPECT_EQ(client_->stats().dirtyBytes, 0u);
    EXPECT_EQ(client_->stats().unsyncedBytes, 0u);
    EXPECT_EQ(client_->stats().readAheadBytes, 0u);
  }

 private:
  static constexpr unsigned FILES = 3;
  static constexpr uint64_t SIZE_MAX_BYTES = 900'000;

  struct File {
    std::string name;
    HandleId handle;
    std::string bytes;
  };

  Fate fate() {
    if (!random_.chance(8'000)) {
      return Fate::NORMAL;
    }
    return random_.chance(500'000) ? Fate::BREAK_BEFORE : Fate::BREAK_AFTER;
  }
  Verdict verdict() {
    static constexpr Verdict SOME[] = {Verdict::STALE_EPOCH, Verdict::NOT_PRIMARY, Verdict::NOT_READY,
                                       Verdict::STALE_LAYOUT};
    return random_.chance(20'000) ? SOME[random_.below(4)] : Verdict::OK;
  }

  void quiet() {
    w_.master.fate = nullptr;
    for (auto* server : w_.all) {
      server->fate = nullptr;
      server->verdict = nullptr;
      server->slowness = nullptr;
    }
  }

  void crashAll() {
    for (auto* server : w_.all) {
      server->crash();
    }
    w_.setMembers({1, 2, 3});
  }

  void step() {
    File& file = files_[random_.below(FILES)];
    uint64_t dice = random_.below(100);
    uint64_t offset = random_.chance(300'000) ? file.bytes.size() : random_.below(SIZE_MAX_BYTES);
    uint64_t length = 1 + (random_.chance(500'000) ? random_.below(5000) : random_.below(200'000));
    if (dice < 40) {
      write(file, offset, length);
    } else if (dice < 75) {
      check(*client_, file.handle, file, offset, length);
    } else if (dice < 80) {
      truncate(file, random_.chance(100'000) ? 0 : random_.below(SIZE_MAX_BYTES));
    } else if (dice < 86) {
      punch(file, offset, length);
    } else if (dice < 91) {
      w_.done(client_->fsync(file.handle, random_.chance(500'000)));
    } else if (dice < 95) {
      reopen(file);
    } else if (dice < 99) {
      w_.world.runFor(static_cast<Nanos>(random_.below(900)) * MILLISECOND);
    } else if (faults_) {
      crashAll();
    }
    EXPECT_EQ(w_.sizeOf(*client_, file.name), file.bytes.size());
  }

  void write(File& file, uint64_t offset, uint64_t length) {
    std::string text = pattern(length, ++salt_);
    w_.write(*client_, file.handle, offset, text);
    if (file.bytes.size() < offset + length) {
      file.bytes.resize(offset + length);
    }
    file.bytes.replace(offset, length, text);
  }

  void check(Client& client, HandleId handle, const File& file, uint64_t offset, uint64_t length) {
    std::string got = w_.read(client, handle, offset, static_cast<uint32_t>(length));
    std::string expected = offset < file.bytes.size() ? file.bytes.substr(offset, length) : "";
    ASSERT_EQ(got.size(), expected.size());
    auto differs = std::mismatch(got.begin(), got.end(), expected.begin()).first;
    ASSERT_TRUE(differs == got.end()) << file.name << " differs at " << offset + (differs - got.begin());
  }

  void truncate(File& file, uint64_t size) {
    AttributeChange change;
    change.which = SET_SIZE;
    change.sizeBytes = size;
    InodeId inode = w_.done(client_->lookup(ROOT_INODE, file.name, Caller{})).inode;
    w_.done(client_->setAttributes(inode, change, Caller{}));
    file.bytes.resize(size);
  }

  void punch(File& file, uint64_t offset, uint64_t length) {
    w_.done(client_->allocate(file.handle, AllocateMode::PUNCH, offset, length));
    if (offset < file.bytes.size()) {
      uint64_t count = std::min<uint64_t>(length, file.bytes.size() - offset);
      file.bytes.replace(offset, count, std::string(count, '\0'));
    }
  }

  void reopen(File& file) {
    w_.done(client_->flush(file.handle));
    client_->release(file.handle);
    file.handle = w_.open(*client_, file.name);
  }

  ClientWorld w_;
  SimRandom random_;
  const bool faults_;
  std::unique_ptr<Client> client_;
  std::vector<File> files_;
  unsigned salt_ = 0;
};

TEST(ClientRandom, FilesEqualTheirModel) {
  for (uint64_t seed = 1; seed <= 20 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomFiles(seed, false).run(150);
  }
}

TEST(ClientRandom, FilesEqualTheirModelThroughFaults) {
  for (uint64_t seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomFiles(seed, true).run(150);
  }
}

}  // namespace
}  // namespace cairn
