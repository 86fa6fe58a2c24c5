#include "tools/recover/extract.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "tools/recover/chunk_reader.h"
#include "tools/recover/tree.h"

namespace cairn::rescue {

namespace {

class Extraction {
 public:
  Extraction(Archive& archive, TreeWriter* to) : archive_(archive), to_(to) {}

  Status tree(const std::string& start);
  void unnamed();
  Extracted result() { return std::move(out_); }

 private:
  bool enter(const TreeEntry& entry);
  void leave(const TreeEntry& entry);
  Status parents(const std::string& path);
  void file(const FileView& view, const std::string& path, const TreeAttributes& attributes);
  Status copy(const FileView& view, TreeWriter::Output* output, FileReport& report);
  Status copyChunk(const FileView& view, uint32_t index, TreeWriter::Output* output, FileReport& report);
  Status special(const TreeEntry& entry, const TreeAttributes& attributes);
  void alike(const std::string& first, const std::string& path);
  bool refuse(const std::string& path, const Status& why);
  TreeAttributes attributesOf(const InodeRecord& inode) const;

  Archive& archive_;
  TreeWriter* to_;
  Extracted out_;
  std::map<InodeId, std::string> linked_;  // the first of an inode's names
};

void addLost(std::vector<ByteRange>& lost, uint64_t first, uint64_t end) {
  if (!lost.empty() && lost.back().end == first) {
    lost.back().end = end;
  } else {
    lost.push_back({first, end});
  }
}

bool Extraction::refuse(const std::string& path, const Status& why) {
  if (!why.ok()) {
    out_.refused.push_back(path + ": " + why.error().why);
  }
  return !why.ok();
}

// What is wrong with a file is wrong under each of its names.
void Extraction::alike(const std::string& first, const std::string& path) {
  auto found = std::find_if(out_.damaged.begin(), out_.damaged.end(), [&](auto& file) { return file.path == first; });
  if (found != out_.damaged.end()) {
    FileReport report = *found;
    report.path = path;
    out_.damaged.push_back(std::move(report));
  }
}

TreeAttributes Extraction::attributesOf(const InodeRecord& inode) const {
  TreeAttributes out{inode.mode, inode.uid, inode.gid};
  out.accessedSeconds = inode.accessed.seconds;
  out.accessedNanos = inode.accessed.nanos;
  out.modifiedSeconds = inode.modified.seconds;
  out.modifiedNanos = inode.modified.nanos;
  bool any = inode.xattrs > 0 || !inode.accessAcl.empty() || !inode.defaultAcl.empty();
  if (any && !S_ISLNK(inode.mode)) {
    out.xattrs = xattrsOf(archive_.names()->reader(), inode.id);
  }
  return out;
}

// Of one path alone, the directories above it are made too.
Status Extraction::parents(const std::string& path) {
  for (size_t slash = path.find('/'); to_ != nullptr && slash != std::string::npos; slash = path.find('/', slash + 1)) {
    auto made = to_->makeDirectory(path.substr(0, slash));
    if (!made.ok()) {
      return made;
    }
  }
  return {};
}

Status Extraction::tree(const std::string& start) {
  auto made = parents(start);
  if (!made.ok()) {
    return made;
  }
  return walkTree(
      archive_.names()->reader(), start, [this](const TreeEntry& entry) { return enter(entry); },
      [this](const TreeEntry& entry) { leave(entry); });
}

bool Extraction::enter(const TreeEntry& entry) {
  const InodeRecord& inode = entry.inode;
  bool isNamed = entry.path.empty() || TreeWriter::isName(entry.name);
  if (!isNamed) {
    return !refuse(entry.path, Error{EINVAL, "this can't be a name"});
  }
  if (S_ISDIR(inode.mode)) {
    ++out_.others;
    bool isRoot = to_ == nullptr || entry.path.empty();
    return isRoot || !refuse(entry.path, to_->makeDirectory(entry.path));
  }
  auto first = inode.links > 1 ? linked_.find(inode.id) : linked_.end();
  if (first != linked_.end()) {
    ++out_.others;
    refuse(entry.path, to_ == nullptr ? Status() : to_->makeLink(first->second, entry.path));
    alike(first->second, entry.path);
    return false;
  }
  if (inode.links > 1) {
    linked_[inode.id] = entry.path;
  }
  auto attributes = attributesOf(inode);
  if (S_ISREG(inode.mode)) {
    file(viewOf(inode), entry.path, attributes);
  } else {
    ++out_.others;
    refuse(entry.path, to_ == nullptr ? Status() : special(entry, attributes));
  }
  return false;
}

void Extraction::leave(const TreeEntry& entry) {
  if (to_ != nullptr) {
    refuse(entry.path, to_->finishDirectory(entry.path, attributesOf(entry.inode)));
  }
}

Status Extraction::special(const TreeEntry& entry, const TreeAttributes& attributes) {
  return S_ISLNK(entry.inode.mode) ? to_->makeSymlink(entry.path, entry.inode.target, attributes)
                                   : to_->makeNode(entry.path, entry.inode.device, attributes);
}

void Extraction::file(const FileView& view, const std::string& path, const TreeAttributes& attributes) {
  ++out_.files;
  if (to_ != nullptr && to_->isDone(path, view.size, attributes)) {
    ++out_.skipped;
    auto report = assessFile(archive_, view, path);
    if (!report.lost.empty() || report.mayBeOlder) {
      out_.damaged.push_back(std::move(report));
    }
    return;
  }
  FileReport report{path, view.size};
  if (to_ == nullptr) {
    report = assessFile(archive_, view, path);
  } else {
    auto output = to_->createFile(path);
    auto done = output.ok() ? copy(view, output.value().get(), report) : Status(output.error());
    if (done.ok()) {
      done = output.value()->finish(view.size, attributes);
    }
    if (refuse(path, done)) {
      return;
    }
  }
  out_.bytes += view.size;
  if (!report.lost.empty() || report.mayBeOlder) {
    out_.damaged.push_back(std::move(report));
  }
}

Status Extraction::copy(const FileView& view, TreeWriter::Output* output, FileReport& report) {
  for (uint32_t i = 0; i < view.chunks(); ++i) {
    auto copied = copyChunk(view, i, output, report);
    if (!copied.ok()) {
      return copied;
    }
  }
  uint64_t lost = 0;
  for (auto& range : report.lost) {
    lost += range.end - range.first;
  }
  report.nothing = lost == view.size && lost > 0;
  return {};
}

// Neighbouring blocks are written together; holes are left out.
Status Extraction::copyChunk(const FileView& view, uint32_t index, TreeWriter::Output* output, FileReport& report) {
  constexpr uint32_t BLOCKS_AT_ONCE = 256;
  ChunkReader chunk(archive_, view, index);
  report.mayBeOlder = report.mayBeOlder || chunk.mayBeOlder();
  uint64_t begins = uint64_t{index} << view.chunkBits;
  uint64_t ends = std::min(view.size, begins + view.chunkBytes());
  if (chunk.isLost()) {
    addLost(report.lost, begins, ends);
    return {};
  }
  auto bytes = kj::heapArray<kj::byte>(BLOCKS_AT_ONCE * BLOCK_BYTES);
  auto blocks = static_cast<uint32_t>((ends - begins + BLOCK_BYTES - 1) / BLOCK_BYTES);
  uint32_t gathered = 0;
  auto flush = [&](uint32_t next) {
    uint64_t from = begins + uint64_t{next - gathered} * BLOCK_BYTES;
    size_t size = std::min<uint64_t>(uint64_t{gathered} * BLOCK_BYTES, ends - from);
    auto written = gathered == 0 ? Status() : output->write(from, bytes.slice(0, size));
    gathered = 0;
    return written;
  };
  Status written;
  for (uint32_t b = 0; b < blocks && written.ok(); ++b) {
    auto block = bytes.slice(gathered * BLOCK_BYTES, (gathered + 1) * BLOCK_BYTES);
    auto got = chunk.read(b, block);
    if (got == ChunkReader::Block::DATA) {
      ++gathered;
    }
    if (got == ChunkReader::Block::LOST) {
      uint64_t first = begins + uint64_t{b} * BLOCK_BYTES;
      addLost(report.lost, first, std::min(ends, first + BLOCK_BYTES));
    }
    bool isData = got == ChunkReader::Block::DATA;
    if (!isData || gathered == BLOCKS_AT_ONCE || b + 1 == blocks) {
      written = flush(isData ? b + 1 : b);
    }
  }
  return written;
}

// By what the chunks themselves say of their files.
void Extraction::unnamed() {
  auto found = findUnnamed(archive_);
  if (found.empty() || (to_ != nullptr && refuse(LOST_AND_FOUND, to_->makeDirectory(LOST_AND_FOUND)))) {
    return;
  }
  for (auto& one : found) {
    TreeAttributes attributes{one.hints.mode, one.hints.uid, one.hints.gid};
    file(one.file, std::string(LOST_AND_FOUND) + "/" + one.name, attributes);
  }
}

}  // namespace

Result<Extracted> extract(Archive& archive, const ExtractOptions& options) {
  Extraction extraction(archive, options.to);
  if (archive.names() != nullptr) {
    auto paths = options.paths.empty() ? std::vector<std::string>{""} : options.paths;
    for (auto& path : paths) {
      size_t first = std::min(path.find_first_not_of('/'), path.size());
      auto done = extraction.tree(path.substr(first));
      if (!done.ok()) {
        return done.error();
      }
    }
  }
  if (options.paths.empty()) {
    extraction.unnamed();
  }
  return extraction.result();
}

}  // namespace cairn::rescue
