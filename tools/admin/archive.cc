#include "tools/admin/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <kj/debug.h>

#include <memory>

namespace cairn::admin {

namespace {

constexpr unsigned FILE_MODE = 0600;

la_ssize_t append(archive*, void* out, const void* bytes, size_t size) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

void check(archive* writer, int result) {
  KJ_REQUIRE(result == ARCHIVE_OK, "the archive can't be made", archive_error_string(writer));
}

}  // namespace

std::string tarGz(const std::string& top, const std::vector<ArchiveEntry>& entries, int64_t timeSeconds) {
  std::string out;
  std::unique_ptr<archive, int (*)(archive*)> owner(archive_write_new(), archive_write_free);
  archive* writer = owner.get();
  KJ_REQUIRE(writer != nullptr, "no memory for an archive");
  check(writer, archive_write_add_filter_gzip(writer));
  check(writer, archive_write_set_format_ustar(writer));
  check(writer, archive_write_open(writer, &out, nullptr, append, nullptr));
  for (const auto& one : entries) {
    std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), archive_entry_free);
    std::string name = top + "/" + one.name;
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(one.text.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), FILE_MODE);
    archive_entry_set_mtime(entry.get(), timeSeconds, 0);
    check(writer, archive_write_header(writer, entry.get()));
    KJ_REQUIRE(archive_write_data(writer, one.text.data(), one.text.size()) == static_cast<la_ssize_t>(one.text.size()),
               "the archive can't be made", archive_error_string(writer));
  }
  check(writer, archive_write_close(writer));
  return out;
}

}  // namespace cairn::admin
