// Frames of namespace capsules: what is put in comes out, and no byte of one can be changed unseen.
#include <gtest/gtest.h>

#include "rpc/capsule_format.h"
#include "tests/sim/world/sim_random.h"

namespace cairn {
namespace {

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

FrameHead someHead() {
  FrameHead head;
  head.kind = FrameKind::TAIL;
  head.cluster = {7, 8};
  head.capsule = {GroupEpoch{3}, LogIndex{5}, Term{4}};
  head.first = 6;
  head.last = 9;
  head.seconds = 1700000000;
  return head;
}

TEST(CapsuleFormat, AFrameComesBack) {
  for (size_t size : {0, 1, 7, 8, 4096, 1 << 20}) {
    std::string content(size, 'x');
    std::string encoded = encodeFrame(someHead(), bytesOf(content));
    auto frame = checkFrame(bytesOf(encoded));
    ASSERT_TRUE(frame.ok()) << frame.error().why;
    EXPECT_EQ(frame.value().bytes, encoded.size());
    EXPECT_EQ(frame.value().head.capsule, someHead().capsule);
    EXPECT_EQ(frame.value().head.last, 9u);
    auto back = contentOf(frame.value());
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(std::string(back.value().asChars().begin(), back.value().size()), content);
  }
}

TEST(CapsuleFormat, NoBitCanBeChangedUnseen) {
  std::string content = "names of files, names of files, names of files";
  std::string encoded = encodeFrame(someHead(), bytesOf(content));
  auto stored = checkFrame(bytesOf(encoded)).value().stored.size();
  for (size_t bit = 0; bit < (FRAME_HEADER_BYTES + stored) * 8; ++bit) {
    std::string wrong = encoded;
    wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(checkFrame(bytesOf(wrong)).ok()) << "bit " << bit;
  }
  for (size_t size = 0; size < FRAME_HEADER_BYTES + stored; ++size) {
    EXPECT_FALSE(checkFrame(bytesOf(encoded).slice(0, size)).ok()) << size << " bytes";
  }
}

// What a hostile disk may hold: the parsers must come to an end, and not read past it.
TEST(CapsuleFormat, AnythingElseIsRefused) {
  SimRandom random(1);
  for (unsigned round = 0; round < 20000; ++round) {
    std::string junk(random.next() % 300, '\0');
    for (char& c : junk) {
      c = static_cast<char>(random.next());
    }
    EXPECT_FALSE(checkFrame(bytesOf(junk)).ok());
    (void)readTailEntries(bytesOf(junk), [](LogIndex, Term, kj::ArrayPtr<const kj::byte>) { return Status(); });
  }
}

TEST(CapsuleFormat, TailEntriesComeBackInOrder) {
  std::string content;
  for (uint64_t i = 1; i <= 20; ++i) {
    appendTailEntry(content, LogIndex{i}, Term{2}, bytesOf(std::string(i, 'a')));
  }
  uint64_t at = 0;
  auto read = readTailEntries(bytesOf(content), [&](LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) {
    EXPECT_EQ(raw(index), ++at);
    EXPECT_EQ(raw(term), 2u);
    EXPECT_EQ(payload.size(), at);
    return Status();
  });
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(at, 20u);
}

TEST(CapsuleFormat, NamesComeBack) {
  CapsuleId id{GroupEpoch{0xfedcba9876543210}, LogIndex{0x1234}, Term{7}};
  std::string prefix = std::string(CAPSULE_DIRECTORY) + "/";
  EXPECT_EQ(parseCapsuleName(capsulePath(id).substr(prefix.size())), id);
  EXPECT_EQ(parseTailName(tailPath(id).substr(prefix.size())), id);
  EXPECT_FALSE(parseCapsuleName("x.capsule"));
  EXPECT_FALSE(parseCapsuleName(tailPath(id).substr(prefix.size())));
}

}  // namespace
}  // namespace cairn
